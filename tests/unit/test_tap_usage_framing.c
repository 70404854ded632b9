/* SPDX-License-Identifier: MIT
 *
 * Where the tap's reader of usage looks: places in an event, framings, limits, what is coded, and Bedrock's binary
 * messages. */
#include "tap_usage_rig.h"

static void only_its_own_place_counts(void)
{
	CHECK_ROWS(
		SSE, true,
		{ "data: {\"tools\":[{\"usage\":" U "}],\"metadata\":{\"usage\":" U "},\"x\":{\"message\":{\"usage\":" U
		  "}}}\n\n",
		  NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"text\":\"\\\"usage\\\":{}\",\"a\":[\"usage\",{\"usage\":{}}],\"usage \":" U "}\n\n", NULL,
		  NULL, 1, 0, false, false, NULL },
		{ "data: {\"us\\u0061ge\":" U "}\n\n", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"choices\":{\"usage\":" U "},\"response\":[{\"usage\":" U "}],\"message\":[{\"usage\":" U
		  "}]}\n\n",
		  NULL, NULL, 1, 1, false, false, NULL },
		{ "data: [{\"usage\":" U "}]\n\n", NULL, NULL, 0, 0, false, false, NULL },
		{ "data: \"usage\":" U "\n\n", NULL, NULL, 0, 0, false, false, NULL },
		{ "data: x {\"usage\":" U "}\n\n", NULL, NULL, 0, 0, false, false, NULL },
		{ "usage: {\"usage\":" U "}\n\nevent: {\"usage\":" U "}\n\ndatas: {\"usage\":" U
		  "}\n\n: data: {\"usage\":" U "}\n\n",
		  NULL, NULL, 0, 0, false, false, NULL },
		/* Two that differ, and two that do not. */
		{ "data: {\"usage\":" U ",\"usage\":" V "}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":" U ",\"usage\":null}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":null,\"usage\":" U "}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":" U ",\"usage\":{\"prompt_tokens\":3}}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":{\"prompt_tokens\":3},\"usage\":" U "}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":" U ",\"usage\":" U "}\n\n", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":[1],\"a\":1}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":12}\n\n", NULL, NULL, 1, 0, false, false, NULL }, );
}

static void framings(void)
{
	CHECK_ROWS(
		SSE, true,
		{ "\xef\xbb\xbf"
		  "data:{\"usage\":" U "}\n\n",
		  NULL, U, 1, 0, true, false, NULL },
		{ "\xef\xbb"
		  "data:{\"usage\":" U "}\n\n",
		  NULL, NULL, 0, 0, false, false, NULL },
		{ "data: {\"usage\":" U "}\r\rid: 1\rdata: {\"usage\":" V "}\r\r", U, V, 2, 0, true, false, NULL },
		{ "id: 1\r\ndata: {\"usage\":" U "}\r\nretry: 3\r\n\r\n", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":\ndata: {\"prompt_tokens\":3,\r\ndata:\ndata\ndata:  \"completion_tokens\":2}}\n\n",
		  NULL, "{\"prompt_tokens\":3,\n\n\n \"completion_tokens\":2}", 1, 0, true, false, NULL },
		{ "data: {\"a\":\"b\ndata: c\"}\n\n", NULL, NULL, 1, 0, false, true, NULL },
		{ "data: {\"usage\":" U "}\ndata: {\"usage\":" V "}\n\n", NULL, NULL, 1, 0, false, true, NULL },
		{ "data: {\"usage\":" U "}\n", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":" U "}", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":" U ",", NULL, U, 1, 0, false, true, NULL },
		{ "data: {\"usage\":" U ",\n\n", NULL, NULL, 1, 0, false, true, NULL },
		{ "data: {\"usage\":" U ",\"a\":1,\n\ndata: {\"usage\":" V "}\n\n", NULL, V, 2, 0, false, true, NULL },
		{ "data: {\"usage\":" U "}\n\ndata: {oops}\n\n", NULL, U, 2, 0, false, true, NULL },
		{ "data: {oops}\n\n" STOP(",\"usage\":" U), NULL, U, 2, 0, false, true, NULL },
		{ "data: {oops}\n\n" STOP("") LAST, NULL, U, 3, 0, true, true, NULL },
		{ "data\n\ndata:\n\n\n\n:\n\ndat", NULL, NULL, 0, 0, false, false, NULL }, );
	CHECK_ROWS(SSE, false, { TEXT("a", ",\"usage\":" V) "data: [DONE]", NULL, V, 1, 1, true, false, NULL },
		   { TEXT("a", ",\"usage\":" V) "data: [DONE] \r\n\r\n", NULL, V, 1, 1, true, false, NULL },
		   { TEXT("a", ",\"usage\":" V) "data: [DON]\n\ndata: x[DONE]\n\ndata: [DONE]x\n\ndata: [DONE", NULL, V,
		     1, 1, false, false, NULL },
		   { "data: {\"usage\":" U ",\"a\":\"", NULL, U, 1, 0, false, false, NULL },
		   { "data: {\"usage\":" U, NULL, U, 1, 0, false, false, NULL },
		   { "data: {\"usage\":{\"a\":", NULL, NULL, 1, 0, false, false, NULL }, );
}

static void grammar(void)
{
	static const char *const bad[] = { "01",    "1.",      "1e",          "-",           "+1",    ".5",  "1.e1",
					   "tru",   "nul",     "nulls",       "truee",       "Inf",   "-I",  "Na",
					   "'a'",   "\"\\x\"", "\"\\u12g4\"", "\"\t\"",      "[}",    "{]",  "[\"\t\"]",
					   "[\"a]", "[1]]",    "1 2",         "\"a\" \"b\"", "/**/1", "\x01" };
	/* Of what is skipped, only strings and brackets are looked at. */
	static const char *const inside[] = { "[1,]",        "[,1]",       "{\"a\":1,}", "{,}",
					      "{a:1}",       "{\"a\" 1}",  "{\"a\":}",   "[1 2]",
					      "{\"a\":tru}", "{\"a\":01}", "[\"\\x\"]",  "{[]:{}}" };

	CHECK_ROWS(
		SSE, true,
		{ "data: {\"a\":[1,-0,0.5,1e3,-2.5E-7,true,false,null,NaN,Infinity,-Infinity,\"\\u00e9\\n\\\\\\\"]}\",{},[],[[{}]]],\"usage\":" U
		  "}\n\n",
		  NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"a\":-0 ,\"b\":-1.5e+7,\"c\":1E9,\"d\":true ,\"e\":NaN,\"f\":-Infinity,\"g\":Infinity,\"h\":\"\\ud83d\\/\\\"\",\"usage\":" U
		  "}\n\n",
		  NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":{\"a\":[1,-0,0.5,1e3,-2.5E-7,true,false,null,\"\\u00e9\\\"]}\",{},[],[[{}]]]}}\n\n",
		  NULL, "{\"a\":[1,-0,0.5,1e3,-2.5E-7,true,false,null,\"\\u00e9\\\"]}\",{},[],[[{}]]]}", 1, 0, true,
		  false, NULL }, );
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char body[256];
		int len = snprintf(body, sizeof body, "data: {\"usage\":" U ",\"x\":%s}\n\n", bad[i]);
		told t = read_bytes(SSE, slice_of(body, (size_t)len), true);
		CHECK((t.lost && t.last[0] == '\0') || !printf("  %s\n", bad[i]));
	}
	for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
		char body[256];
		int len = snprintf(body, sizeof body, "data: {\"usage\":" U ",\"x\":%s}\n\n", inside[i]);
		told t = read_bytes(SSE, slice_of(body, (size_t)len), true);
		CHECK((!t.lost && strcmp(t.last, U) == 0) || !printf("  %s\n", inside[i]));
		len = snprintf(body, sizeof body, "data: {\"usage\":{\"x\":%s}}\n\n", inside[i]);
		t = read_bytes(SSE, slice_of(body, (size_t)len), true);
		CHECK((t.lost && t.last[0] == '\0') || !printf("  %s\n", inside[i]));
	}
}

static void limits(void)
{
	size_t room = 4 << 20;
	char *body = malloc(room);

	/* A usage object that is as large as may be, and one byte larger. */
	for (int more = 0; more < 2; more++) {
		int n = snprintf(body, room, "data: {\"usage\":{\"a\":\"%*s\"}}\n\n", ANSWER_USAGE_MAX - 8 + more, "");
		told t = read_bytes(SSE, slice_of(body, (size_t)n), true);
		CHECK(strlen(t.last) == (more ? 0 : ANSWER_USAGE_MAX) && t.lost == more && t.final == !more);
	}
	/* Brackets as deep as json.h reads them. */
	for (int more = 0; more < 2; more++) {
		int n = snprintf(body, room, "data: {\"x\":");
		memset(body + n, '[', (size_t)(JSON_DEPTH_MAX + more));
		memset(body + n + JSON_DEPTH_MAX + more, ']', (size_t)(JSON_DEPTH_MAX + more));
		n += 2 * (JSON_DEPTH_MAX + more);
		n += snprintf(body + n, room - (size_t)n, ",\"usage\":" U "}\n\n");
		told t = read_in(SSE, slice_of(body, (size_t)n), 7, true);
		CHECK(t.lost == more && (strcmp(t.last, U) == 0) == !more);
	}
	/* A picture of megabytes. */
	int n = snprintf(body, room, "{\"data\":[{\"b64_json\":\"");
	memset(body + n, 'A', 3 << 20);
	n += 3 << 20;
	n += snprintf(body + n, room - (size_t)n, "\"}],\"usage\":" U "}");
	static const size_t steps[] = { 16384, 1000, 4 << 20 };
	for (size_t i = 0; i < 3; i++) {
		told t = read_in(JSON, slice_of(body, (size_t)n), steps[i], true);
		CHECK(t.final && strcmp(t.last, U) == 0);
	}
	/* Not UTF-8. */
	told t = read_bytes(SSE, SLICE("data: {\"usage\":{\"a\":\"\xff\"}}\n\n"), true);
	CHECK(t.lost && t.last[0] == '\0');
	free(body);
}

static void what_is_coded_is_lost(void)
{
	static const struct {
		const char *coding;
		bool lost;
	} rows[] = { { "gzip", true },
		     { "identity", false },
		     { " Identity ", false },
		     { "identity, br", true },
		     { "", false } };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		tap_usage u;
		tap_usage_told t;
		tap_usage_begin(&u, SLICE(SSE), slice_cstr(rows[i].coding));
		tap_usage_feed(&u, SLICE("data: {\"usage\":" U "}\n\n"));
		tap_usage_end(&u, true, &t);
		CHECK(t.lost == rows[i].lost && (t.last.len == 0) == rows[i].lost);
		tap_usage_free(&u);
	}
}

/* One message of Bedrock's event stream. */
static size_t message(char *to, const char *payload)
{
	static const char headers[] = "\x0b:event-type\x07\x00\x05"
				      "chunk";
	size_t headers_len = sizeof headers - 1, len = strlen(payload), all = 16 + headers_len + len;
	unsigned char *p = (unsigned char *)to;

	memset(p, 0, 12);
	p[1] = (unsigned char)(all >> 16);
	p[2] = (unsigned char)(all >> 8);
	p[3] = (unsigned char)all;
	p[7] = (unsigned char)headers_len;
	memcpy(p + 12, headers, headers_len);
	memcpy(p + 12 + headers_len, payload, len);
	memset(p + 12 + headers_len + len, '{', 4);
	return all;
}

/* One message that has `event` in base64. */
static size_t wrapped(char *to, const char *event, const char *escape)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char payload[4096] = "{\"bytes\":\"";
	size_t n = strlen(payload), len = strlen(event);

	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = 0;
		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (i + k < len ? (unsigned char)event[i + k] : 0);
		for (size_t k = 0; k < 4; k++) {
			char c = i + k > len ? '=' : digits[bits >> (18 - 6 * k) & 63];
			if (c == '/')
				n += (size_t)snprintf(payload + n, sizeof payload - n, "%s", escape);
			payload[n++] = c;
		}
	}
	snprintf(payload + n, sizeof payload - n, "\",\"p\":\"abcdefgh\"}");
	return message(to, payload);
}

typedef struct bedrock_row {
	const char *messages[5];
	bool wrapped;
	row want;
} bedrock_row;

#define METRICS \
	"\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":3,\"outputTokenCount\":13,\"invocationLatency\":3037,\"cacheReadInputTokenCount\":0,\"cacheWriteInputTokenCount\":25}"
#define MADE "{\"inputTokens\":3,\"outputTokens\":13,\"cacheReadInputTokens\":0,\"cacheWriteInputTokens\":25}"
#define CONVERSE "{\"inputTokens\":30,\"outputTokens\":7,\"totalTokens\":37}"

static void bedrock(void)
{
	static const bedrock_row rows[] = {
		{ { "{\"role\":\"assistant\"}", "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"a\"}}",
		    "{\"contentBlockIndex\":1,\"delta\":{\"toolUse\":{\"input\":\"{\\\"usage\\\":\"}}}",
		    "{\"stopReason\":\"end_turn\"}",
		    "{\"metrics\":{\"latencyMs\":1},\"usage\":" CONVERSE ",\"serviceTier\":{\"type\":\"flex\"}}" },
		  false,
		  { "converse", NULL, CONVERSE, 5, 2, true, false, "flex" } },
		{ { "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"a\"}}",
		    "{\"message\":\"The model is overloaded\"}" },
		  false,
		  { "converse, an exception", NULL, NULL, 2, 1, false, false, NULL } },
		{ { "{\"type\":\"message_start\",\"message\":{\"usage\":" A_IN "}}",
		    "{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"???\"}}",
		    "{\"type\":\"message_delta\",\"usage\":" A_OUT "}", "{\"type\":\"message_stop\"," METRICS "}" },
		  true,
		  { "Anthropic", A_IN, A_OUT, 4, 1, true, false, NULL } },
		{ { "{\"generation\":\"a\",\"prompt_token_count\":3,\"generation_token_count\":1}",
		    "{\"generation\":\"b\",\"prompt_token_count\":null,\"generation_token_count\":2}" },
		  true,
		  { "Llama, cut", "{\"prompt_token_count\":3,\"generation_token_count\":1}",
		    "{\"generation_token_count\":2}", 2, 2, false, false, NULL } },
		{ { "{\"generation\":\"a\",\"generation_token_count\":1}",
		    "{\"generation\":\"\",\"generation_token_count\":2,\"stop_reason\":\"stop\"," METRICS "}" },
		  true,
		  { "Llama", "{\"generation_token_count\":1}", MADE, 2, 1, true, false, NULL } },
		{ { "{\"outputText\":\"a\",\"inputTextTokenCount\":3," METRICS "}" },
		  true,
		  { "Titan", NULL, MADE, 1, 1, true, false, NULL } },
		{ { "{\"outputs\":[{\"text\":\"a\"}]}",
		    "{\"outputs\":[{\"text\":\"\",\"stop_reason\":\"stop\"}]," METRICS "}" },
		  true,
		  { "Mistral", NULL, MADE, 2, 1, true, false, NULL } },
		{ { "{\"contentBlockDelta\":{\"delta\":{\"text\":\"a\"}}}",
		    "{\"metadata\":{\"usage\":" CONVERSE "}," METRICS "}" },
		  true,
		  { "Nova", NULL, CONVERSE, 2, 1, true, false, NULL } },
		{ { "{\"type\":\"message_delta\",\"usage\":" A_OUT },
		  true,
		  { "a chunk that is cut", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "{\"type\":\"message_delta\",\"usage\":" A_OUT "}}" },
		  true,
		  { "a chunk with more", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "{\"bytes\":\"e30!\"}" }, false, { "no base64", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "{\"bytes\":{}}" }, false, { "no string", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "{\"bytes\":\"e30=\",\"bytes\":\"e30=\"}" },
		  false,
		  { "two", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "text", "" }, false, { "no JSON", NULL, NULL, 0, 0, false, false, NULL } },
	};
	static char body[16384];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (int escaped = 0; escaped < 2; escaped++) {
			size_t n = 0;
			for (size_t k = 0; k < 5 && rows[i].messages[k]; k++)
				n += rows[i].wrapped ? wrapped(body + n, rows[i].messages[k], escaped ? "\\" : "") :
						       message(body + n, rows[i].messages[k]);
			told t = read_bytes(BEDROCK, slice_of(body, n), false);
			CHECK(is(&t, &rows[i].want));
			if (n > 20 &&
			    !rows[i].want.lost) { /* cut in the last message's checksum, and before its payload */
				t = read_bytes(BEDROCK, slice_of(body, n - 1), true);
				CHECK(t.lost);
				t = read_bytes(BEDROCK, slice_of(body, 20), false);
				CHECK(!t.lost && t.events == 0);
			}
		}
	/* Lengths that cannot be. */
	size_t n = message(body, "{}");
	body[0] = 2;
	told t = read_bytes(BEDROCK, slice_of(body, n), false);
	CHECK(t.lost);
	n = message(body, "{}");
	body[5] = 8;
	t = read_bytes(BEDROCK, slice_of(body, n), false);
	CHECK(t.lost);
	n = message(body, "{}");
	body[3] = 15;
	t = read_bytes(BEDROCK, slice_of(body, n), false);
	CHECK(t.lost);
}

int main(void)
{
	RUN(only_its_own_place_counts);
	RUN(framings);
	RUN(grammar);
	RUN(limits);
	RUN(what_is_coded_is_lost);
	RUN(bedrock);
	return unit_end();
}

/* SPDX-License-Identifier: MIT
 *
 * Lines that are read by the lines before them, beside the same lines read as a whole. */
#include "unit.h"

#include "ledger/logline_impl.h"
#include "logline_rig.h"

#define ROOM 2048
#define HEAD "{\"v\":2,\"id\":\"01a203c1-2a9f-7599-a721-21d8363cb2c6\",\"te\":1795359320748,\"src\":\"127.0.0.1:5\","
#define MIDDLE \
	"\"status\":200,\"code\":\"\",\"term\":\"--\",\"in\":259,\"out\":1328,\"tr\":9,\"tw\":0,\"tc\":1,\"trs\":4,\"ta\":13,"
#define TAIL \
	",\"coding\":\"\",\"tier\":\"default\",\"hb\":\"100\",\"ha\":\"60\",\"hs\":\"\",\"text\":\"320\",\"comp\":\"0\"}"

/* What kinds of requests HAProxy writes. */
static const char *const kinds[] = {
	HEAD
	"\"route\":\"glm\",\"protocol\":\"openai\",\"model\":\"glm-4.6\",\"project\":\"-\",\"client\":\"\","
	"\"ua\":\"codex_exec\\/0.1\",\"stream\":\"0\",\"metered\":\"1\",\"backend\":\"llm-x\",\"srv\":\"s0\"," MIDDLE
	"\"ctype\":\"application/json\",\"seen\":\"all\",\"usage\":\"{\\\"prompt_tokens\\\": 1111, "
	"\\\"completion_tokens\\\": 22, \\\"queue_time\\\":0.25,\\\"prompt_tokens_details\\\": "
	"{\\\"cached_tokens\\\": 64}, \\\"completion_tokens_details\\\": {\\\"reasoning_tokens\\\": 7}}\"" TAIL,
	HEAD
	"\"route\":\"r\",\"protocol\":\"anthropic\",\"model\":\"claude-sonnet-4-5\",\"project\":\"a\",\"client\":\"c\","
	"\"ua\":\"\",\"stream\":\"1\",\"metered\":\"1\",\"backend\":\"llm-y\",\"srv\":\"s0\"," MIDDLE
	"\"ctype\":\"text\\/event-stream\",\"seen\":\"first\",\"usage\":\"{\\\"input_tokens\\\":25,"
	"\\\"cache_creation_input_tokens\\\":10,\\\"cache_read_input_tokens\\\":5,\\\"cache_creation\\\":"
	"{\\\"ephemeral_5m_input_tokens\\\":4,\\\"ephemeral_1h_input_tokens\\\":6},\\\"output_tokens\\\":99,"
	"\\\"service_tier\\\":\\\"standard\\\"}\"" TAIL,
	HEAD
	"\"route\":\"g\",\"protocol\":\"gemini\",\"model\":\"gemini-2.5-pro\",\"project\":\"\",\"client\":\"-\","
	"\"ua\":\"google-genai-sdk/1\",\"stream\":\"0\",\"metered\":\"1\",\"backend\":\"llm-z\",\"srv\":\"s0\"," MIDDLE
	"\"ctype\":\"application/json\",\"seen\":\"all\",\"usage\":\"{\\n \\\"promptTokenCount\\\": 8,"
	"\\\"candidatesTokenCount\\\":15,\\\"promptTokensDetails\\\":[{\\\"modality\\\":\\\"TEXT\\\","
	"\\\"tokenCount\\\":8},{\\\"modality\\\":\\\"AUDIO\\\",\\\"tokenCount\\\":3}],\\\"totalTokenCount\\\":23}\"" TAIL,
	HEAD
	"\"route\":\"p\",\"protocol\":\"openai\",\"model\":\"m\",\"project\":\"q\",\"client\":\"k\",\"ua\":\"curl/8\","
	"\"stream\":\"0\",\"metered\":\"1\",\"op\":\"embeddings\",\"keyed\":1,\"member\":\"b\",\"tried\":\"a:429\","
	"\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\","
	"\"backend\":\"pool.p\",\"srv\":\"s0\"," MIDDLE
	"\"ctype\":\"application/json\",\"seen\":\"\",\"usage\":\"\"" TAIL,
	HEAD
	"\"route\":\"t\",\"protocol\":\"openai\",\"model\":\"gpt-5\",\"project\":\"q\",\"client\":\"\",\"ua\":\"OpenAI/JS 6\","
	"\"stream\":\"1\",\"metered\":\"1\",\"behind\":\"llm-b\",\"backend\":\"leg.b\",\"srv\":\"tap\"," MIDDLE
	"\"ctype\":\"text/event-stream\",\"seen\":\"first\",\"usage\":\"\"" TAIL,
	HEAD
	"\"refused\":1,\"to\":\"llm-n\",\"backend\":\"llm-refuse\",\"srv\":\"<NOSRV>\",\"status\":503,\"code\":\"no_backend\","
	"\"term\":\"LR\",\"ta\":0,\"usage\":\"{\\\"cost\\\":0.0125,\\\"prompt_tokens\\\":5,\\\"num_cached_tokens\\\":2,"
	"\\\"cached_tokens\\\":3}\",\"new\":{\"a\":[1,\"}\"]}}",
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static uint64_t seed = 7;

static unsigned random_below(size_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)((seed >> 33) % n);
}

static char random_byte(void)
{
	static const char some[] = "0123456789\"\\{}[]:,.-+eEnutrlfasu \t\n\x01\x7f\xc3\xa4\xff";

	return some[random_below(sizeof some - 1)];
}

/* Changes `line`, of `len` bytes, in one place; returns its length. */
static size_t change(char *line, size_t len)
{
	size_t at = random_below(len);

	switch (random_below(8)) {
	case 0: /* a byte is gone */
		memmove(line + at, line + at + 1, len - at - 1);
		return len - 1;
	case 1: /* one more */
		memmove(line + at + 1, line + at, len - at);
		line[at] = random_byte();
		return len + 1;
	case 2: /* another one */
		line[at] = random_byte();
		return len;
	case 3: /* the end is gone */
		return at ? at : 1;
	default: /* another digit, or one more in front of it: most lines differ in these only */
		while (at < len && !ascii_is_digit(line[at]))
			at++;
		if (at == len)
			return len;
		if (random_below(2)) {
			line[at] = (char)('0' + random_below(10));
			return len;
		}
		memmove(line + at + 1, line + at, len - at);
		line[at] = (char)('1' + random_below(9));
		return len + 1;
	}
}

static bool reads_the_same(logline_last *last, const char *text, size_t len)
{
	static logline next, whole;
	static unsigned char *room;
	slice line, object;

	if (!room)
		room = unit_guarded((char[ROOM]){ 0 }, ROOM);
	memcpy(room + ROOM - len, text, len); /* reading one byte past the line is a fault */
	line = slice_of(room + ROOM - len, len);
	if (!logline_is_ours(line, SLICE(""), &object))
		return false;
	logline_result by_last = logline_parse_next(last, line, object, &next);
	logline_result as_whole = logline_parse(line, SLICE(""), &whole);
	return logline_same(by_last, &next, as_whole, &whole);
}

static void any_line_says_the_same_as_without_the_lines_before(void)
{
	logline_last *last = logline_last_new();
	char line[ROOM];
	bool same = last != NULL;
	unsigned long i = 0;

	for (; same && i < 60000; i++) {
		const char *kind = kinds[random_below(KINDS)];
		size_t len = strlen(kind);
		memcpy(line, kind, len);
		for (unsigned n = random_below(4); n && len < ROOM - 1; n--)
			len = change(line, len);
		same = reads_the_same(last, line, len);
	}
	CHECK(same);
	if (!same)
		fprintf(stderr, "line %lu\n", i);
	logline_last_free(last);
}

/* Members whose value another member of the line hides, or which once were set. */
static void a_value_that_is_gone_is_forgotten(void)
{
	static const char *const lines[][2] = {
		{ "\"coding\":\"gzip\",\"comp\":\"0\"", "\"coding\":\"\",\"comp\":\"0\"" },
		{ "\"coding\":\"\",\"comp\":\"1\"", "\"coding\":\"\",\"comp\":\"0\"" },
		{ "\"member\":\"longer\",\"tried\":\"a:429\"", "\"member\":\"b\",\"tried\":\"\"" },
		{ "\"client\":\"\",\"ua\":\"curl/8\"", "\"client\":\"\",\"ua\":\"\"" },
		{ "\"client\":\"\",\"ua\":\"curl/8\"", "\"client\":\"c\",\"ua\":\"curl/8\"" },
		{ "\"metered\":\"1\",\"op\":\"embeddings\"", "\"metered\":\"1\",\"op\":\"\"" },
		{ "\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"",
		  "\"traceparent\":\"\"" },
		{ "\"behind\":\"llm-b\",\"backend\":\"leg.b\",\"srv\":\"tap\"",
		  "\"behind\":\"\",\"backend\":\"leg.b\",\"srv\":\"s0\"" },
		{ "\"backend\":\"pool.p\",\"code\":\"upstream_error\"",
		  "\"backend\":\"llm-p\",\"code\":\"upstream_error\"" },
		{ "\"usage\":\"{\\\"prompt_tokens\\\":5,\\\"completion_tokens\\\":1}\"", "\"usage\":\"\"" },
		{ "\"usage\":\"{\\\"prompt_tokens\\\":5,\\\"completion_tokens\\\":1}\"",
		  "\"usage\":\"{\\\"prompt_tokens\\\":05,\\\"completion_tokens\\\":1}\"" },
		{ "\"usage\":\"{\\\"prompt_tokens\\\":5,\\\"cached_tokens\\\":1,\\\"num_cached_tokens\\\":1}\"",
		  "\"usage\":\"{\\\"prompt_tokens\\\":5,\\\"cached_tokens\\\":1,\\\"num_cached_tokens\\\":2}\"" },
		{ "\"usage\":\"{\\\"prompt_tokens\\\":5,\\\"completion_tokens\\\":1}\"",
		  "\"usage\":\"{\\\"prompt_tokens\\\":1000000000001,\\\"completion_tokens\\\":1}\"" },
		{ "\"usage\":\"{\\\"prompt_tokens\\\":5,\\\"cost_in_usd_ticks\\\":-1}\"",
		  "\"usage\":\"{\\\"prompt_tokens\\\":5,\\\"cost_in_usd_ticks\\\":12340}\"" },
		{ "\"usage\":\"{\\\"prompt_tokens\\\":5,\\\"prompt_audio_seconds\\\":-1}\"",
		  "\"usage\":\"{\\\"prompt_tokens\\\":5,\\\"prompt_audio_seconds\\\":30}\"" },
		{ "\"tier\":\"flex\",\"hb\":\"9\",\"ha\":\"5\"", "\"tier\":\"\",\"hb\":\"\",\"ha\":\"\"" },
	};
	char line[ROOM];

	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		logline_last *last = logline_last_new();
		for (int turn = 0; last && turn < 4; turn++) {
			int len = snprintf(line, sizeof line,
					   "{\"v\":2,\"id\":\"a%d\",\"te\":1,\"status\":200,\"ta\":1,%s}", turn,
					   lines[i][turn % 2]);
			CHECK(reads_the_same(last, line, (size_t)len));
		}
		logline_last_free(last);
	}
}

/* Returns whether `line` is read by the lines before it. */
static bool by_the_last(logline_last *last, const char *text)
{
	return last_read(last, slice_cstr(text)) != NULL;
}

static void only_what_differs_in_values_is_read_by_the_line_before(void)
{
	logline_last *last = logline_last_new();
	logline l;
	slice first = SLICE("{\"v\":2,\"id\":\"a\",\"te\":1,\"x\":[1],\"status\":200,\"ta\":1}");

	CHECK(last && !by_the_last(last, first.ptr));
	CHECK(logline_parse_next(last, first, first, &l) == LOGLINE_OK);
	CHECK(by_the_last(last, first.ptr));
	CHECK(by_the_last(last, "{\"v\":2,\"id\":\"longer\",\"te\":17,\"x\":{\"y\":2},\"status\":404,\"ta\":12345}"));
	CHECK(!by_the_last(last, "{\"v\":2,\"id\":\"a\",\"te\":1,\"x\":[1],\"status\":200,\"ta\":1,\"in\":3}"));
	CHECK(!by_the_last(last, "{\"v\":2,\"id\":\"a\",\"te\":1,\"x\":[1],\"status\":200}"));
	CHECK(!by_the_last(last, "{\"v\":2,\"id\":\"a\",\"te\":1,\"x\":[1],\"ta\":200,\"status\":1}"));
	CHECK(!by_the_last(last, "{\"v\":2,\"id\":\"a\",\"te\":1,\"x\":[1],\"status\":200,\"ta\":1}}"));
	CHECK(!by_the_last(last, "{\"v\":2,\"id\":\"a\",\"te\":1,\"x\":[1],\"status\":200,\"ta\":1"));
	logline_last_free(last);
}

/* As many kinds of requests as are kept, and as many forms of usage, are read by those before them in any order. */
static void several_kinds_are_kept(void)
{
	logline_last *last = logline_last_new();
	logline l;

	for (int turn = 0; last && turn < 2; turn++)
		for (size_t i = 0; i < LOGLINE_LAST; i++) {
			slice line = slice_cstr(kinds[i + 2]);
			CHECK(turn == 0 || by_the_last(last, kinds[i + 2]));
			CHECK(logline_parse_next(last, line, line, &l) == LOGLINE_OK);
		}
	logline_last_free(last);
}

static void numbers_alone_may_differ_in_a_usage(void)
{
	static const struct {
		const char *raw, *other;
		bool kept, same;
		int64_t prompt;
	} rows[] = {
		{ "{\\\"prompt_tokens\\\": 5}", "{\\\"prompt_tokens\\\": 123456789012}", true, true, 123456789012 },
		{ "{\\\"prompt_tokens\\\": 5}", "{\\\"prompt_tokens\\\": 1234567890123}", true, false, 0 },
		{ "{\\\"prompt_tokens\\\": 5}", "{\\\"prompt_tokens\\\": 012}", true, false, 0 },
		{ "{\\\"prompt_tokens\\\": 5}", "{\\\"prompt_tokens\\\": -1}", true, false, 0 },
		{ "{\\\"prompt_tokens\\\": 5}", "{\\\"prompt_tokens\\\": 7.0}", true, false, 0 },
		{ "{\\\"prompt_tokens\\\": 5}", "{\\\"prompt_tokens\\\": }", true, false, 0 },
		{ "{\\\"prompt_tokens\\\": 5}", "{\\\"prompt_tokens\\\": 5} ", true, false, 0 },
		{ "{\\\"prompt_tokens\\\": 5,\\\"t\\\":0.5}", "{\\\"prompt_tokens\\\": 6,\\\"t\\\":1e9}", true, true,
		  6 },
		{ "{\\\"prompt_tokens\\\": 5,\\\"t\\\":0.5}", "{\\\"prompt_tokens\\\": 6,\\\"t\\\":1e}", true, false,
		  0 },
		{ "{\\\"\\u0070rompt_tokens\\\": 5}", "", false, false, 0 },
		{ "{\\\"prompt_tokens\\\": 5,\\\"prompt_tokens\\\": 5}", "", false, false, 0 },
		{ "{\\\"prompt_tokens\\\": -5}", "", false, false, 0 },
		{ "{\\\"prompt_tokens\\\": 5", "", false, false, 0 },
		{ "{\\\"prompt_tokens\\\": 5}\\n", "", false, false, 0 },
		{ "{\\\"promptTokensDetails\\\":[{\\\"modality\\\":\\\"AUDIO\\\",\\\"tokenCount\\\":3}],"
		  "\\\"prompt_tokens_details\\\":{\\\"audio_tokens\\\":5}}",
		  "", false, false, 0 },
		{ "{\\\"inputTokens\\\":5,\\\"cacheDetails\\\":[{\\\"ttl\\\":\\\"1h\\\",\\\"inputTokens\\\":5}]}", "",
		  false, false, 0 },
		{ "{\\\"amzn_bedrock\\\":\\\"5 6 - -\\\",\\\"inputTokens\\\":5}", "", false, false, 0 },
		{ "{\\\"input_tokens\\\":5,\\\"iterations\\\":[{\\\"input_tokens\\\":5}]}", "", false, false, 0 },
	};
	static usage_last last;
	char text[256];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char quoted[300];
		size_t len;
		memset(&last, 0, sizeof last);
		int whole = snprintf(quoted, sizeof quoted, "\"%s\"", rows[i].raw);
		CHECK(json_text(slice_of(quoted, (size_t)whole), text, sizeof text, &len) == JSON_TEXT_OK);
		CHECK(!usage_last_read(&last, slice_cstr(rows[i].raw)));
		CHECK((usage_last_keep(&last, slice_cstr(rows[i].raw), slice_of(text, len)) != NULL) == rows[i].kept);
		const counts *c = usage_last_read(&last, slice_cstr(rows[i].other));
		CHECK((c != NULL) == rows[i].same);
		CHECK(!c || c->n[PROMPT] == rows[i].prompt);
	}
}

int main(void)
{
	RUN(any_line_says_the_same_as_without_the_lines_before);
	RUN(a_value_that_is_gone_is_forgotten);
	RUN(only_what_differs_in_values_is_read_by_the_line_before);
	RUN(several_kinds_are_kept);
	RUN(numbers_alone_may_differ_in_a_usage);
	return unit_end();
}

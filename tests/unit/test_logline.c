/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "ledger/logline.h"
#include "ledger/recent.h"
#include "ledger/tried.h"

static const char good[] =
	"<134>1 2026-11-22T14:55:20.748917+00:00 - haproxy 27748 - [llm@32473 key=\"k1\"] "
	"{\"v\":1,\"id\":\"01a203c1-2a9f-7599-a721-21d8363cb2c6\",\"te\":1795359320748,\"src\":\"127.0.0.1:58788\",\"method\":\"POST\","
	"\"route\":\"glm\",\"backend\":\"llm-x\",\"protocol\":\"openai\",\"model\":\"glm-4.6\",\"project\":\"-\",\"client\":\"\","
	"\"ua\":\"codex_exec\\/0.1\",\"status\":200,\"code\":\"\",\"term\":\"--\",\"stream\":\"1\",\"metered\":\"1\",\"in\":259,\"out\":328,\"tr\":9,\"tw\":0,"
	"\"tc\":1,\"trs\":4,\"ta\":13,\"ctype\":\"text\\/event-stream\",\"usage\":\"{\\\"prompt_tokens\\\": 11}\",\"hb\":\"100\",\"ha\":\"60\","
	"\"hs\":\"\",\"spoe\":\"\"}";

static void a_line_is_read(void)
{
	logline l;
	CHECK(logline_parse(slice_cstr(good), SLICE("k1"), &l) == LOGLINE_OK);
	CHECK(strcmp(l.record.id, "01a203c1-2a9f-7599-a721-21d8363cb2c6") == 0);
	CHECK(l.record.time_ms == 1795359320748 - 13 && l.record.total_ms == 13 && l.record.ttfb_ms == 14);
	CHECK(strcmp(l.record.route, "glm") == 0 && strcmp(l.record.model, "glm-4.6") == 0);
	CHECK(l.record.project[0] == '\0' && strcmp(l.record.client, "codex") == 0);
	CHECK(l.metered && l.record.stream && l.hints.stream && l.hints.ok && l.record.bytes_in == 259);
	CHECK(slice_eq(l.usage, SLICE("{\"prompt_tokens\": 11}")));
	CHECK(slice_eq(l.hints.headroom_before, SLICE("100")) && slice_eq(l.hints.headroom_after, SLICE("60")));
}

/* A line of version 2: the answer's type decides whether it was a stream, and what was seen of it says how much was
 * told. */
static void what_was_seen_of_the_answer_decides(void)
{
	static const struct {
		const char *members;
		bool record_stream, hint_stream, all, coded;
	} rows[] = {
		{ "\"stream\":\"1\",\"seen\":\"all\",\"ctype\":\"application\\/json\"", false, false, true, false },
		{ "\"stream\":\"0\",\"seen\":\"first\",\"ctype\":\"text\\/event-stream\"", true, true, false, false },
		{ "\"stream\":\"1\",\"seen\":\"first\",\"ctype\":\"application\\/json\"", true, true, false, false },
		{ "\"stream\":\"2\",\"seen\":\"first\",\"ctype\":\"application\\/json\"", true, true, false, false },
		{ "\"stream\":\"0\",\"seen\":\"\",\"ctype\":\"text\\/event-stream\"", true, true, false, false },
		{ "\"stream\":\"0\",\"seen\":\"\",\"ctype\":\"application\\/x-ndjson\"", true, true, false, false },
		{ "\"stream\":\"0\",\"seen\":\"all\",\"ctype\":\"application\\/x-ndjson\"", false, false, true, false },
		{ "\"stream\":\"0\",\"seen\":\"\",\"ctype\":\"audio\\/mpeg\",\"coding\":\"gzip\"", false, false, false,
		  true },
		{ "\"stream\":\"1\",\"seen\":\"\",\"ctype\":\"\",\"coding\":\"identity\"", true, false, false, false },
	};
	char line[512];
	logline l;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(line, sizeof line,
			 "{\"v\":2,\"id\":\"a\",\"te\":1,\"status\":200,\"ta\":1,\"tier\":\"flex\",%s}",
			 rows[i].members);
		CHECK(logline_parse(slice_cstr(line), SLICE(""), &l) == LOGLINE_OK);
		CHECK(l.record.stream == rows[i].record_stream && l.hints.stream == rows[i].hint_stream);
		CHECK(l.hints.all == rows[i].all && l.hints.coded == rows[i].coded);
		CHECK(slice_eq(l.hints.tier, SLICE("flex")));
	}
}

/* Where no operation is told, the protocol tells it of an endpoint that runs a model. */
static void the_operation_and_the_trace_are_read(void)
{
#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	static const struct {
		const char *members, *operation, *traceparent;
	} rows[] = {
		{ "\"protocol\":\"openai\",\"metered\":\"1\"", "chat", "" },
		{ "\"protocol\":\"anthropic\",\"metered\":\"1\",\"traceparent\":\"\"", "chat", "" },
		{ "\"protocol\":\"gemini\",\"metered\":\"1\",\"traceparent\":\"" PARENT "\"", "generate_content",
		  PARENT },
		{ "\"protocol\":\"gemini\",\"metered\":\"1\",\"op\":\"embeddings\"", "embeddings", "" },
		{ "\"protocol\":\"openai\",\"metered\":\"0\"", "", "" },
		{ "\"protocol\":\"openai\"", "", "" },
		/* None of these is a traceparent. */
		{ "\"metered\":\"0\",\"traceparent\":\"" PARENT "1\"", "", "" },
		{ "\"metered\":\"0\",\"traceparent\":\"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"", "",
		  "" },
		{ "\"metered\":\"0\",\"traceparent\":\"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"", "",
		  "" },
		{ "\"metered\":\"0\",\"traceparent\":\"00-00000000000000000000000000000000-b7ad6b7169203331-01\"", "",
		  "" },
		{ "\"metered\":\"0\",\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01\"", "",
		  "" },
		{ "\"metered\":\"0\",\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01\"", "",
		  "" },
	};
	char line[512];
	logline l;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(line, sizeof line, "{\"v\":2,\"id\":\"a\",\"te\":1,\"status\":200,\"ta\":1,%s}",
			 rows[i].members);
		CHECK(logline_parse(slice_cstr(line), SLICE(""), &l) == LOGLINE_OK);
		CHECK(strcmp(l.record.operation, rows[i].operation) == 0 &&
		      strcmp(l.record.traceparent, rows[i].traceparent) == 0);
	}
}

/* HAProxy logs the name of a leg; the record has the backend behind it. */
static void a_leg_is_recorded_as_what_is_behind_it(void)
{
	static const struct {
		const char *members, *backend, *behind;
		tap_state tap;
		bool fallback;
	} rows[] = {
		{ "\"behind\":\"llm-x\",\"backend\":\"leg.x.0123\",\"srv\":\"tap\"", "llm-x", "llm-x", TAP_MISSING,
		  false },
		{ "\"behind\":\"llm-x\",\"backend\":\"leg.x.0123\",\"srv\":\"leg\"", "llm-x", "llm-x", TAP_NOT, true },
		{ "\"behind\":\"llm-x\",\"backend\":\"leg.x.0123\",\"srv\":\"<NOSRV>\"", "llm-x", "llm-x", TAP_NOT,
		  false },
		{ "\"behind\":\"llm-x\",\"backend\":\"llm-x\",\"srv\":\"upstream\"", "llm-x", "llm-x", TAP_NOT, true },
		{ "\"behind\":\"llm-x\",\"backend\":\"llm-refuse\",\"srv\":\"-\"", "llm-refuse", "llm-x", TAP_NOT,
		  false },
		/* Somebody's own backend and server of such names. */
		{ "\"backend\":\"leg.mine\",\"srv\":\"a\"", "leg.mine", "", TAP_NOT, false },
		{ "\"backend\":\"leg.mine\",\"srv\":\"tap\"", "leg.mine", "", TAP_NOT, false },
		{ "\"backend\":\"llm-x\",\"srv\":\"tap\"", "llm-x", "", TAP_NOT, false },
		{ "\"behind\":\"llm-x\",\"backend\":\"llm-x\",\"srv\":\"tap\"", "llm-x", "llm-x", TAP_NOT, true },
	};
	char line[512];
	logline l;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(line, sizeof line, "{\"v\":2,\"id\":\"a\",\"te\":1,\"status\":200,\"ta\":1,%s}",
			 rows[i].members);
		CHECK(logline_parse(slice_cstr(line), SLICE(""), &l) == LOGLINE_OK);
		CHECK(strcmp(l.record.backend, rows[i].backend) == 0 && strcmp(l.behind, rows[i].behind) == 0);
		CHECK(l.record.tap == rows[i].tap && l.fallback == rows[i].fallback);
	}
}

static void an_error_of_a_leg_is_recorded_as_without_it(void)
{
	static const struct {
		const char *backend, *code, *want_code, *want_termination;
		int64_t want_ttfb;
		const char *more;
	} rows[] = {
		{ "leg.x.0", "upstream_unavailable", "", "SC", -1, "" },
		{ "leg.x.0", "upstream_error", "", "SH", -1, "" },
		{ "leg.x.0", "upstream_timeout", "", "sH", -1, "" },
		{ "leg.x.0", "gateway_error", "", "IC", -1, "" },
		{ "leg.x.0", "gateway_unavailable", "gateway_unavailable", "--", 7, "" },
		{ "leg.x.0", "", "", "--", 7, "" },
		{ "llm-x", "upstream_error", "upstream_error", "--", 7, "" },
		/* Of a pool, which has a leg for each member. */
		{ "pool.x", "upstream_timeout", "", "sH", -1, ",\"member\":\"a\",\"tried\":\"b:429\"" },
		{ "pool.x", "upstream_unavailable", "", "SC", -1, "" },
		{ "pool.x", "upstream_auth_unavailable", "upstream_auth_unavailable", "--", 7,
		  ",\"member\":\"a\",\"tried\":\"\"" },
		{ "pool.x", "", "", "--", 7, ",\"member\":\"a\",\"tried\":\"\"" },
	};
	char line[512];
	logline l;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(
			line, sizeof line,
			"{\"v\":2,\"id\":\"a\",\"te\":1,\"status\":503,\"ta\":9,\"trs\":7,\"term\":\"--\",\"behind\":\"llm-x\","
			"\"backend\":\"%s\",\"srv\":\"tap\",\"code\":\"%s\"%s}",
			rows[i].backend, rows[i].code, rows[i].more);
		CHECK(logline_parse(slice_cstr(line), SLICE(""), &l) == LOGLINE_OK);
		CHECK(strcmp(l.record.code, rows[i].want_code) == 0 && l.record.ttfb_ms == rows[i].want_ttfb);
		CHECK(strcmp(l.record.termination, rows[i].want_termination) == 0);
	}
}

/* Parses a line with these members behind those that each line has. */
static logline_result parse_with(const char *members, logline *l)
{
	static char line[2048];
	int len = snprintf(line, sizeof line, "{\"v\":2,\"id\":\"a\",\"te\":1,\"status\":200,\"ta\":1,%s}", members);

	CHECK(len < (int)sizeof line);
	return logline_parse(slice_of(unit_guarded(line, (size_t)len), (size_t)len), SLICE(""), l);
}

#define NAME_32 "0123456789-abcdefghijklmnopqrstu"
#define ENTRY_44 NAME_32 ":unreachable"
#define FOUR(entry) entry "," entry "," entry "," entry
#define FIFTEEN(entry) FOUR(entry) "," FOUR(entry) "," FOUR(entry) "," entry "," entry "," entry
#define POOL(member, tried) "\"member\":\"" member "\",\"tried\":\"" tried "\""

static void a_pool_is_recorded_with_who_was_tried(void)
{
	static const struct {
		const char *members, *member, *tried;
		int64_t attempts;
	} good_rows[] = {
		{ "\"x\":1", "", "", 0 },
		{ POOL("b", ""), "b", "", 1 },
		{ POOL("b", "-"), "b", "", 1 },
		{ POOL("b", "a:429"), "b", "a:429", 2 },
		{ "\"behind\":\"pool.x\"," POOL("api-openai-com", "0:unreachable,a-:resting,b:credential,c:529"),
		  "api-openai-com", "0:unreachable,a-:resting,b:credential,c:529", 5 },
		{ "\"tried\":\"a:500\",\"member\":\"b\"", "b", "a:500", 2 },
		{ POOL(NAME_32, FIFTEEN(ENTRY_44)), NAME_32, FIFTEEN(ENTRY_44), RECORD_ATTEMPTS_MAX },
	};
	static const char *const bad[] = {
		"\"member\":\"b\"",
		"\"tried\":\"\"",
		"\"tried\":\"a:429\"",
		POOL("", ""),
		POOL("-", ""),
		POOL("-b", ""),
		POOL("B", ""),
		POOL("b.c", ""),
		POOL("b c", ""),
		POOL("b\\u0000", ""),
		POOL("\xc3\xa9", ""),
		POOL(NAME_32 "v", ""),
		POOL(NAME_32 NAME_32 NAME_32, ""),
		"\"member\":7,\"tried\":\"\"",
		"\"member\":null,\"tried\":\"\"",
		"\"member\":\"b\",\"tried\":[]",
		"\"member\":\"b\",\"member\":\"b\",\"tried\":\"\"",
		POOL("b", "a"),
		POOL("b", "a:"),
		POOL("b", ":429"),
		POOL("b", "a:42"),
		POOL("b", "a:4290"),
		POOL("b", "a:200"),
		POOL("b", "a:4x9"),
		POOL("b", "a:Unreachable"),
		POOL("b", "a:unreachable2"),
		POOL("b", "a:429:429"),
		POOL("b", "a:429,"),
		POOL("b", ",a:429"),
		POOL("b", "a:429,,c:429"),
		POOL("b", "a:429, c:429"),
		POOL("b", "A:429"),
		POOL("b", NAME_32 "v:429"),
		POOL("b", "a:429\\u0000"),
		POOL("b", "a:429\\n"),
		POOL("b", FIFTEEN("a:429") ",b:429"),
		POOL("b", FIFTEEN(ENTRY_44) "," ENTRY_44),
		POOL("b", FIFTEEN(ENTRY_44) ","),
		POOL("b", FIFTEEN(ENTRY_44) "x"),
	};
	logline l;

	_Static_assert(sizeof FIFTEEN(ENTRY_44) - 1 == RECORD_TRIED_MAX, "the longest text");
	for (size_t i = 0; i < sizeof good_rows / sizeof good_rows[0]; i++) {
		CHECK(parse_with(good_rows[i].members, &l) == LOGLINE_OK);
		CHECK(strcmp(l.record.member, good_rows[i].member) == 0);
		CHECK(strcmp(l.record.tried, good_rows[i].tried) == 0 && l.record.attempts == good_rows[i].attempts);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		bool refused = parse_with(bad[i], &l) == LOGLINE_MALFORMED && l.problem;
		CHECK(refused);
		if (!refused)
			printf("  %s\n", bad[i]);
	}
}

static void only_1_says_that_a_request_had_a_key_or_was_refused(void)
{
	static const char *const bad[] = { "\"keyed\":0",      "\"keyed\":true",          "\"keyed\":\"\"",
					   "\"keyed\":2",      "\"keyed\":1,\"keyed\":1", "\"refused\":0",
					   "\"refused\":\"1\"" };
	logline l;

	CHECK(parse_with("\"x\":1", &l) == LOGLINE_OK && !l.record.keyed);
	CHECK(parse_with("\"keyed\":1", &l) == LOGLINE_OK && l.record.keyed && !l.refused);
	CHECK(parse_with("\"refused\":1", &l) == LOGLINE_OK && l.refused && !l.record.keyed);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK(parse_with(bad[i], &l) == LOGLINE_MALFORMED);
}

static void the_tried_are_read_one_by_one(void)
{
	slice left = SLICE("a:429,b:unreachable"), member, why;

	CHECK(tried_count(left) == 2);
	CHECK(tried_next(&left, &member, &why) && slice_eq(member, SLICE("a")) && slice_eq(why, SLICE("429")));
	CHECK(tried_next(&left, &member, &why) && slice_eq(member, SLICE("b")) && slice_eq(why, SLICE("unreachable")));
	CHECK(!tried_next(&left, &member, &why));
	CHECK(tried_count(SLICE("")) == 0 && tried_count(slice_of(NULL, 0)) == 0);
}

static void only_our_key_opens(void)
{
	static const char *const wrong[] = { "", "k", "k2", "k11", "K1", "k1\"] [llm@32473 key=\"k1" };
	logline l;
	for (size_t i = 1; i < sizeof wrong / sizeof wrong[0]; i++)
		CHECK(logline_parse(slice_cstr(good), slice_cstr(wrong[i]), &l) == LOGLINE_FOREIGN);
	/* A key inside the message is none. */
	CHECK(logline_parse(SLICE("<134>1 - - - - - - {\"x\":\"[llm@32473 key=\\\"k1\\\"]\"}"), SLICE("k1"), &l) ==
	      LOGLINE_FOREIGN);
	CHECK(logline_parse(slice_cstr(strchr(good, '{')), SLICE("k1"), &l) == LOGLINE_FOREIGN);
	/* One that is not closed is none, whatever stands behind it. */
	CHECK(logline_parse(SLICE("<134>1 - - - - - [llm@32473 key=\"k1{\"v\":1}"), SLICE("k1"), &l) ==
	      LOGLINE_FOREIGN);
	CHECK(logline_parse(slice_cstr(strchr(good, '{')), SLICE(""), &l) == LOGLINE_OK);
}

static void a_cut_line_is_malformed_and_nothing_past_it_is_read(void)
{
	size_t brace = (size_t)(strchr(good, '{') - good);
	logline l;
	for (size_t cut = brace; cut < sizeof good - 1; cut++)
		CHECK(logline_parse(slice_of(unit_guarded(good, cut), cut), SLICE("k1"), &l) == LOGLINE_MALFORMED &&
		      l.problem);
}

static void what_is_not_agreed_on_is_malformed(void)
{
	static const char *const lines[] = {
		"{}",
		"[]",
		"{\"v\":3,\"id\":\"a\",\"te\":1,\"status\":200,\"ta\":1}",
		"{\"v\":1,\"id\":5,\"te\":1,\"status\":200,\"ta\":1}",
		"{\"v\":1,\"id\":\"a\",\"te\":-5,\"status\":200,\"ta\":1}",
		"{\"v\":1,\"id\":\"a\",\"te\":1,\"status\":\"200\",\"ta\":1}",
		"{\"v\":1,\"id\":\"a\",\"id\":\"b\",\"te\":1,\"status\":200,\"ta\":1}",
		"{\"v\":1,\"id\":\"a\",\"te\":1,\"status\":200}",
		"{\"v\":1,\"id\":\"a\",\"te\":1,\"status\":200,\"ta\":1}x",
	};
	logline l;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		CHECK(logline_parse(slice_cstr(lines[i]), SLICE(""), &l) == LOGLINE_MALFORMED);
	CHECK(logline_parse(SLICE("{\"v\":1,\"id\":\"\",\"te\":1,\"status\":400,\"ta\":1}"), SLICE(""), &l) ==
	      LOGLINE_NO_REQUEST);
	CHECK(logline_parse(SLICE("{\"v\":1,\"id\":\"a\",\"te\":1,\"status\":200,\"ta\":1,\"new\":[{}]}"), SLICE(""),
			    &l) == LOGLINE_OK);
}

static void times_that_cannot_be_added_are_the_longest_there_is(void)
{
	logline l;

	CHECK(logline_parse(
		      SLICE("{\"v\":1,\"id\":\"a\",\"te\":1,\"status\":200,\"ta\":9223372036854775807,\"tr\":9223372036854775807,"
			    "\"tw\":9223372036854775807,\"tc\":3,\"trs\":9223372036854775807}"),
		      SLICE(""), &l) == LOGLINE_OK);
	CHECK(l.record.ttfb_ms == INT64_MAX && l.record.total_ms == INT64_MAX && l.record.time_ms == 1 - INT64_MAX);
}

static void names_are_cleaned(void)
{
	static const struct {
		const char *given, *clean;
	} rows[] = {
		{ " a b ", "a b" },
		{ "a\nb\x7f", "a_b_" },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "caf\xe9", "caf_" },
		{ "", "" },
		{ "a\xc2\x9b"
		  "b",
		  "a__b" },
		{ "a\xe2\x80\xae"
		  "b",
		  "a___b" },
		{ "\xc2\xa0x", "\xc2\xa0x" },
		/* Two names that look the same: a mark of direction, a space of no width, a tag, a joiner; and a flag,
		   which is seen. */
		{ "a\xd8\x9c"
		  "b",
		  "a__b" },
		{ "gpt-5\xe2\x80\x8b", "gpt-5___" },
		{ "a\xf3\xa0\x81\xa1", "a____" },
		{ "\xef\xbb\xbf"
		  "a",
		  "___a" },
		{ "\xf0\x9f\x87\xa9", "\xf0\x9f\x87\xa9" },
	};
	char out[RECORD_LABEL_MAX + 1], longer[200];
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		label_clean(slice_cstr(rows[i].given), out);
		CHECK(strcmp(out, rows[i].clean) == 0);
	}
	/* Cut between characters. */
	memset(longer, 'a', sizeof longer);
	memcpy(longer + RECORD_LABEL_MAX - 1, "\xc3\xa9", 2);
	label_clean(slice_of(longer, sizeof longer), out);
	CHECK(strlen(out) == RECORD_LABEL_MAX - 1);
}

static void a_second_copy_is_known_and_the_oldest_forgotten(void)
{
	recent r;
	char id[32];
	CHECK(recent_init(&r, 1024));
	for (int i = 0; i < 20000; i++) {
		snprintf(id, sizeof id, "id-%d", i);
		CHECK(!recent_seen(&r, slice_cstr(id)));
		CHECK(recent_seen(&r, slice_cstr(id)));
		snprintf(id, sizeof id, "id-%d", i - 1023);
		CHECK(i < 1023 || recent_seen(&r, slice_cstr(id)));
	}
	snprintf(id, sizeof id, "id-%d", 20000 - 1025);
	CHECK(!recent_seen(&r, slice_cstr(id)));
	recent_deinit(&r);
}

static void an_id_is_seen_only_where_it_needs_no_parsing(void)
{
	static const struct {
		const char *object, *id;
	} rows[] = {
		{ "{\"v\":2,\"id\":\"0193-a\",\"te\":1}", "0193-a" },
		{ "{\"v\":2,\"id\":\"0193-a\"", "0193-a" },
		{ "{\"v\":2,\"id\":\"\",\"te\":1}", "" },
		{ "{\"v\":2,\"id\":\"0193-a", "" },
		/* Two ids that are the same up to an escape are two ids. */
		{ "{\"v\":2,\"id\":\"0193\\\"a\",\"te\":1}", "" },
		{ "{\"v\":2,\"id\":\"0193\\u0061\",\"te\":1}", "" },
		{ "{\"v\":2,\"id\":7}", "" },
		{ "{\"v\":1,\"id\":\"0193-a\",\"te\":1}", "" },
		{ "{\"v\":2,\"te\":1,\"id\":\"0193-a\"}", "" },
		{ "{\"v\":2,", "" },
		{ "", "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK(slice_eq(logline_id(slice_cstr(rows[i].object)), slice_cstr(rows[i].id)));
}

int main(void)
{
	RUN(a_line_is_read);
	RUN(what_was_seen_of_the_answer_decides);
	RUN(a_leg_is_recorded_as_what_is_behind_it);
	RUN(the_operation_and_the_trace_are_read);
	RUN(an_error_of_a_leg_is_recorded_as_without_it);
	RUN(a_pool_is_recorded_with_who_was_tried);
	RUN(only_1_says_that_a_request_had_a_key_or_was_refused);
	RUN(the_tried_are_read_one_by_one);
	RUN(only_our_key_opens);
	RUN(a_cut_line_is_malformed_and_nothing_past_it_is_read);
	RUN(what_is_not_agreed_on_is_malformed);
	RUN(times_that_cannot_be_added_are_the_longest_there_is);
	RUN(names_are_cleaned);
	RUN(an_id_is_seen_only_where_it_needs_no_parsing);
	RUN(a_second_copy_is_known_and_the_oldest_forgotten);
	return unit_end();
}

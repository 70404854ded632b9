/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/json.h"

static const char *const step_names[] = { "member", "done", "cut", "bad" };

/* Copies the bytes so that reading one byte before them is a fault. */
static char *guarded_before(const char *bytes, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (len / page + 1) * page;
	char *map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) != 0)
		abort();
	if (len > 0)
		memcpy(map + page, bytes, len);
	return map + page;
}

/* Writes "key=value;" for each member, and then how the iteration ended. */
static void forward(slice doc, char *out, size_t size)
{
	json_iter it;
	json_member m;
	json_step step;
	size_t len = 0;

	json_iter_init(&it, doc);
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		len += (size_t)snprintf(out + len, size - len, "%.*s=%.*s;", (int)m.key.len, m.key.len ? m.key.ptr : "",
					(int)m.value.len, m.value.ptr);
	snprintf(out + len, size - len, "%s", step_names[step]);
}

static void backward(slice doc, bool whole, char *out, size_t size)
{
	json_back it;
	json_member m;
	json_step step;
	size_t len = 0;

	json_back_init(&it, doc, whole);
	while ((step = json_back_next(&it, &m)) == JSON_MEMBER)
		len += (size_t)snprintf(out + len, size - len, "%.*s=%.*s;", (int)m.key.len, m.key.ptr,
					(int)m.value.len, m.value.ptr);
	snprintf(out + len, size - len, "%s", step_names[step]);
}

#define IS(text) CHECK(strcmp(out, text) == 0 || (printf("  got %s\n", out), 0))

static void members_are_iterated(void)
{
	static const struct {
		const char *doc, *forward, *backward;
	} rows[] = {
		{ "{}", "done", "done" },
		{ " { } \n", "done", "done" },
		{ "{\"a\":1}", "a=1;done", "a=1;done" },
		{ "{ \"a\" : 1 , \"b\" : \"x\" }", "a=1;b=\"x\";done", "b=\"x\";a=1;done" },
		{ "{\"a\":{\"b\":[1,{}]},\"c\":[]}", "a={\"b\":[1,{}]};c=[];done", "c=[];a={\"b\":[1,{}]};done" },
		{ "{\"a\":\"}]\\\"\",\"b\":null}", "a=\"}]\\\"\";b=null;done", "b=null;a=\"}]\\\"\";done" },
		{ "{\"a\\\"\":\"\\\\\",\"\":-1.5e+3}", "a\\\"=\"\\\\\";=-1.5e+3;done", "=-1.5e+3;a\\\"=\"\\\\\";done" },
		{ "{\"a\":true,\"b\":false,\"c\":NaN,\"d\":-Infinity}", "a=true;b=false;c=NaN;d=-Infinity;done",
		  "d=-Infinity;c=NaN;b=false;a=true;done" },
		{ "{\"a\":1,}", "a=1;bad", "bad" },
		{ "{,\"a\":1}", "bad", "a=1;bad" },
		{ "{\"a\":1 \"b\":2}", "a=1;bad", "b=2;bad" },
		{ "{\"a\":1;\"b\":2}", "a=1;bad", "b=2;bad" },
		{ "{\"a\" 1}", "bad", "bad" },
		{ "{\"a\":}", "bad", "bad" },
		{ "{a:1}", "bad", "bad" },
		{ "{'a':1}", "bad", "bad" },
		{ "{\"a\":01}", "a=0;bad", "bad" },
		{ "{\"a\":1.}", "bad", "bad" },
		{ "{\"a\":.5}", "bad", "bad" },
		{ "{\"a\":+1}", "bad", "bad" },
		{ "{\"a\":truex}", "a=true;bad", "bad" },
		{ "{\"a\":nul}", "bad", "bad" },
		{ "{\"a\":1}{}", "a=1;bad", "bad" },
		{ "{\"a\":1} x", "a=1;bad", "bad" },
		{ "{\"a\":[1}}", "bad", "bad" },
		{ "{\"a\":[//\n]}", "bad", "bad" },
		{ "{\"a\":[/* \" */],\"model\":\"b\"}", "bad", "model=\"b\";bad" },
		{ "{\"a\":1/**/}", "a=1;bad", "bad" },
		{ "{\"a\":\"\n\"}", "bad", "bad" },
		{ "{\"a\":[\"\x01\"]}", "bad", "bad" },
		{ "{\"a\":['x']}", "bad", "bad" },
		{ "{\"a\":[\\\"]}", "bad", "bad" },
	};
	char out[400];

	for (int level = 0; level < JSON_LEVELS; level++) {
		if (!json_force_level((json_level)level))
			continue;
		for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
			forward(slice_cstr(rows[i].doc), out, sizeof out);
			CHECK(strcmp(out, rows[i].forward) == 0 || (printf("  %s: %s\n", rows[i].doc, out), 0));
			backward(slice_cstr(rows[i].doc), true, out, sizeof out);
			CHECK(strcmp(out, rows[i].backward) == 0 || (printf("  %s: %s\n", rows[i].doc, out), 0));
		}
	}
}

static void arrays_are_iterated(void)
{
	char out[200];

	forward(SLICE("[1, {\"a\":2}, \"x\"] "), out, sizeof out);
	IS("=1;={\"a\":2};=\"x\";done");
	forward(SLICE("[]"), out, sizeof out);
	IS("done");
	forward(SLICE("[1,]"), out, sizeof out);
	IS("=1;bad");
	forward(SLICE("[1"), out, sizeof out);
	IS("cut");
	forward(SLICE("1"), out, sizeof out);
	IS("bad");
}

/* Every prefix of a document is a cut, never an error, and yields no member that the document does not have. So does
 * every suffix, read backward. */
static void cuts_are_seen_as_cuts(void)
{
	static const char doc[] =
		" {\"a\\\\\" : \"x\\\"y\\\\\", \"b\":[{\"c\":\"]}\"},-1.5e-7,\"\\\\\\\"\"],\"d\":true,\"e\":-0,\"\\u0066\":{}, "
		"\"long\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"} ";
	char all[600], out[600];
	size_t n = sizeof doc - 1;

	for (int level = 0; level < JSON_LEVELS; level++) {
		if (!json_force_level((json_level)level))
			continue;
		forward(slice_of(doc, n), all, sizeof all);
		for (size_t len = 0; len + 2 <= n; len++) {
			forward(slice_of(unit_guarded(doc, len), len), out, sizeof out);
			size_t shared = strlen(out) - 3;
			CHECK(strcmp(out + shared, "cut") == 0 && strncmp(out, all, shared) == 0);
		}
		backward(slice_of(doc, n), true, all, sizeof all);
		for (size_t at = 3; at < n; at++) {
			backward(slice_of(guarded_before(doc + at, n - at), n - at), false, out, sizeof out);
			size_t shared = strlen(out) - 3;
			CHECK(strcmp(out + shared, "cut") == 0 && strncmp(out, all, shared) == 0);
		}
	}
}

/* Runs of backslashes and quotes around the ends of blocks, at every alignment: all levels must agree. */
static void levels_agree(void)
{
	unsigned seed = 1;
	static const char bytes[] = "\\\\\\\"\"a{}[],: \n";

	for (int round = 0; round < 20000; round++) {
		char doc[260], first[2][600], out[600];
		size_t len = 2 + (seed >> 8) % (sizeof doc - 2);
		for (size_t i = 0; i < len; i++) {
			seed = seed * 1664525u + 1013904223u;
			doc[i] = bytes[(seed >> 16) % (sizeof bytes - 1)];
		}
		memcpy(doc, "{\"", 2);
		if (round % 2)
			memcpy(doc + len - 2, "\"}", 2);
		for (int level = 0; level < JSON_LEVELS; level++) {
			if (!json_force_level((json_level)level))
				continue;
			forward(slice_of(doc, len), level ? out : first[0], sizeof out);
			CHECK(level == 0 || strcmp(out, first[0]) == 0);
			backward(slice_of(doc, len), false, level ? out : first[1], sizeof out);
			CHECK(level == 0 || strcmp(out, first[1]) == 0);
		}
	}
}

static void depth_has_a_limit(void)
{
	static char doc[3 * JSON_DEPTH_MAX];
	char out[3 * JSON_DEPTH_MAX];

	for (int level = 0; level < JSON_LEVELS; level++) {
		if (!json_force_level((json_level)level))
			continue;
		for (size_t depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
			memcpy(doc, "{\"a\":", 5);
			memset(doc + 5, '[', depth);
			memset(doc + 5 + depth, ']', depth);
			doc[5 + 2 * depth] = '}';
			bool fits = depth <= JSON_DEPTH_MAX;
			forward(slice_of(doc, 6 + 2 * depth), out, sizeof out);
			CHECK((strcmp(out, "bad") != 0) == fits);
			backward(slice_of(doc, 6 + 2 * depth), true, out, sizeof out);
			CHECK((strcmp(out, "bad") != 0) == fits);
		}
	}
}

/* A string of backslashes, read backward, must take linear time: otherwise this test takes minutes. */
static void backslashes_are_counted_once(void)
{
	static char doc[4 << 20];
	json_back it;
	json_member m;

	memset(doc, '\\', sizeof doc);
	memcpy(doc, "{\"a\":[\"x", 8);
	memcpy(doc + sizeof doc - 3, "\"]}", 3);
	if ((sizeof doc - 3 - 8) % 2)
		doc[8] = 'x';
	json_back_init(&it, slice_of(doc, sizeof doc), true);
	CHECK(json_back_next(&it, &m) == JSON_MEMBER);
	CHECK(json_back_next(&it, &m) == JSON_DONE);
}

/* A key that is reported as ASCII is ASCII to its last byte and without escapes; short keys of that kind are always
 * reported. */
static void ascii_keys_are_known(void)
{
	static const char *const keys[] = { "model",
					    "",
					    "a",
					    "temperature",
					    "123456789012345",
					    "mod\xc3\xa9",
					    "\xc3\xa9",
					    "12345678901234\xc3\xa9",
					    "\\u006dodel",
					    "a\\\"b",
					    "mod\x80",
					    "1234567890123456789" };
	char doc[128];
	json_iter it;
	json_member m;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		int len = snprintf(doc, sizeof doc, "{\"%s\":\"behind it more than sixteen bytes\"}", keys[i]);
		json_iter_init(&it, slice_of(doc, (size_t)len));
		CHECK(json_next(&it, &m) == JSON_MEMBER && slice_eq(m.key, slice_cstr(keys[i])));
		bool plain = true;
		for (const char *c = keys[i]; *c; c++)
			plain = plain && (unsigned char)*c < 0x80 && *c != '\\';
		CHECK(plain || !m.ascii);
#if defined(__SSE2__)
		CHECK(m.ascii == (plain && strlen(keys[i]) < 16));
#endif
	}
	json_iter_init(&it, SLICE("[\"element of an array\"]"));
	m.ascii = true;
	CHECK(json_next(&it, &m) == JSON_MEMBER && !m.ascii);
}

static void the_place_of_a_fault_is_told(void)
{
	json_iter it;
	json_member m;

	json_iter_init(&it, SLICE("{\"a\":1,\n \"b\":[/]}"));
	CHECK(json_next(&it, &m) == JSON_MEMBER);
	CHECK(json_next(&it, &m) == JSON_BAD);
	CHECK(it.at == 14 && it.why != NULL);
	CHECK(json_next(&it, &m) == JSON_BAD);
}

static void one_value_is_skipped(void)
{
	static const struct {
		const char *doc;
		size_t at;
		json_step step;
		size_t end;
		json_type type;
	} rows[] = {
		{ " 12 ", 0, JSON_MEMBER, 3, JSON_NUMBER },  { "12", 0, JSON_MEMBER, 2, JSON_NUMBER },
		{ "1e", 0, JSON_CUT, 2, JSON_NUMBER },       { "tru", 0, JSON_CUT, 3, JSON_TRUE },
		{ "true", 0, JSON_MEMBER, 4, JSON_TRUE },    { "{\"a\":[]}x", 0, JSON_MEMBER, 8, JSON_OBJECT },
		{ "x[1,2]", 1, JSON_MEMBER, 6, JSON_ARRAY }, { "\"a\\\"\"", 0, JSON_MEMBER, 5, JSON_STRING },
		{ "\"a", 0, JSON_CUT, 2, JSON_STRING },      { "  ", 0, JSON_CUT, 2, JSON_NULL },
		{ "x", 0, JSON_BAD, 0, JSON_NUMBER },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		slice value;
		json_type type = JSON_NULL;
		size_t at = rows[i].at;
		CHECK(json_value(slice_cstr(rows[i].doc), &at, &value, &type) == rows[i].step);
		CHECK(at == rows[i].end && type == rows[i].type);
	}
}

static void text_is_decoded(void)
{
	static const struct {
		const char *raw, *text;
		json_text_status status;
	} rows[] = {
		{ "\"abc\"", "abc", JSON_TEXT_OK },
		{ "abc", "abc", JSON_TEXT_OK },
		{ "\"\"", "", JSON_TEXT_OK },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", JSON_TEXT_OK },
		{ "\"mod\\u0065l\"", "model", JSON_TEXT_OK },
		{ "\"\\u00e9\\u6f22\\ud83D\\uDE00\"", "\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80", JSON_TEXT_OK },
		{ "\"\\x\"", "", JSON_TEXT_ESCAPE },
		{ "\"\\u12\"", "", JSON_TEXT_ESCAPE },
		{ "\"\\u12g4\"", "", JSON_TEXT_ESCAPE },
		{ "\"\\ud800\"", "", JSON_TEXT_SURROGATE },
		{ "\"\\udc00\\ud800\"", "", JSON_TEXT_SURROGATE },
		{ "\"\\ud800\\u0041\"", "", JSON_TEXT_SURROGATE },
		{ "\"\xff\"", "\xff", JSON_TEXT_UTF8 },
		{ "\"\xc0\x80\"", "\xc0\x80", JSON_TEXT_UTF8 },
		{ "\"\xed\xa0\x80\"", "\xed\xa0\x80", JSON_TEXT_UTF8 },
		{ "\"\xf4\x90\x80\x80\"", "\xf4\x90\x80\x80", JSON_TEXT_UTF8 },
		{ "\"01234567890123456789\"", "0123456789abcdef", JSON_TEXT_LONG },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char buf[16];
		size_t len = 0, raw_len = strlen(rows[i].raw);
		slice raw = slice_of(unit_guarded(rows[i].raw, raw_len), raw_len);
		CHECK(json_text(raw, buf, sizeof buf, &len) == rows[i].status);
		if (rows[i].status != JSON_TEXT_LONG)
			CHECK(slice_eq(slice_of(buf, len), slice_cstr(rows[i].text)));
		else
			CHECK(len == sizeof buf);
	}
}

/* Wherever escapes stand, and wherever the room ends, json_text() gives the text up to there, and touches no byte
 * outside. */
static void escapes_stand_anywhere(void)
{
	static const struct {
		const char *raw, *text;
	} escapes[] = { { "\\\"", "\"" }, { "\\n", "\n" }, { "\\u00e9", "\xc3\xa9" }, { "\\\\\\\"", "\\\"" } };
	const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV", zeros[128] = "";
	unsigned char *in_end = unit_guarded(zeros, sizeof zeros) + sizeof zeros;
	char out[160], behind[16];

	memset(behind, '#', sizeof behind);
	for (size_t e = 0; e < sizeof escapes / sizeof escapes[0]; e++)
		for (int front = 0; front <= 34; front++)
			for (int between = 0; between <= 34; between += between < 18 ? 1 : 8) {
				char raw[128], text[128];
				int raw_len = snprintf(raw, sizeof raw, "%.*s%s%.*s%s%.9s", front, plain,
						       escapes[e].raw, between, plain, escapes[e].raw, plain);
				size_t all = (size_t)snprintf(text, sizeof text, "%.*s%s%.*s%s%.9s", front, plain,
							      escapes[e].text, between, plain, escapes[e].text, plain);
				slice value = slice_of(in_end - raw_len, (size_t)raw_len);
				memcpy(in_end - raw_len, raw, (size_t)raw_len);
				for (size_t cap = 0; cap <= all + 20; cap += 3) {
					size_t len = 0;
					memset(out, '#', sizeof out);
					json_text_status status = json_text(value, out, cap, &len);
					CHECK(memcmp(out + cap, behind, sizeof behind) == 0);
					/* A character of two bytes may not fit where one byte is left. */
					CHECK(status == (cap < all ? JSON_TEXT_LONG : JSON_TEXT_OK) && len <= cap &&
					      (cap < all ? cap - len <= 1 : len == all) && memcmp(out, text, len) == 0);
				}
			}
}

static void keys_are_compared(void)
{
	static const struct {
		const char *key;
		json_key_match match;
	} rows[] = {
		{ "model", JSON_KEY_SAME },
		{ "m\\u006Fdel", JSON_KEY_SAME },
		{ "\\u006d\\u006f\\u0064\\u0065\\u006c", JSON_KEY_SAME },
		{ "Model", JSON_KEY_ALIKE },
		{ "MOD\\u0045L", JSON_KEY_ALIKE },
		{ "model\\u0000", JSON_KEY_ALIKE },
		{ "model\\u0000 and a lot more text than fits", JSON_KEY_ALIKE },
		{ "models", JSON_KEY_OTHER },
		{ "", JSON_KEY_OTHER },
		{ "mod\\u00e9l", JSON_KEY_OTHER },
		{ "model\\ud800", JSON_KEY_OTHER },
		{ "model\\u00", JSON_KEY_BAD },
		{ "mod\xff"
		  "el",
		  JSON_KEY_BAD },
		{ "mod\\x65l", JSON_KEY_BAD },
		{ "\\\\model", JSON_KEY_OTHER },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK(json_key_like(slice_cstr(rows[i].key), SLICE("model")) == rows[i].match ||
		      (printf("  %s\n", rows[i].key), 0));
	CHECK(json_key_is(SLICE("str\\u0065am"), SLICE("stream")));
	CHECK(!json_key_is(SLICE("Stream"), SLICE("stream")));
}

static void numbers_are_strict(void)
{
	static const struct {
		const char *text;
		int64_t value;
	} good[] = { { "0", 0 },
		     { "-0", 0 },
		     { "17", 17 },
		     { "-5", -5 },
		     { "9223372036854775807", INT64_MAX },
		     { "-9223372036854775808", INT64_MIN } };
	static const char *const bad[] = { "",
					   "-",
					   "01",
					   "+1",
					   "1.0",
					   "1e3",
					   " 1",
					   "1 ",
					   "9223372036854775808",
					   "-9223372036854775809",
					   "99999999999999999999",
					   "0x1",
					   "\"1\"",
					   "null" };
	int64_t out = 42;
	double real = 0;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		CHECK(json_int64(slice_cstr(good[i].text), &out) && out == good[i].value);
	out = 42;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK(!json_int64(slice_cstr(bad[i]), &out) && out == 42);
	CHECK(json_double(SLICE("-1.25e2"), &real) && real > -125.1 && real < -124.9);
	CHECK(!json_double(SLICE("NaN"), &real) && !json_double(SLICE("1e999"), &real) &&
	      !json_double(SLICE("0x10"), &real) && !json_double(SLICE("1."), &real) &&
	      !json_double(SLICE("true"), &real) && !json_double(SLICE(""), &real));
}

int main(void)
{
	RUN(members_are_iterated);
	RUN(arrays_are_iterated);
	RUN(cuts_are_seen_as_cuts);
	RUN(levels_agree);
	RUN(depth_has_a_limit);
	RUN(backslashes_are_counted_once);
	RUN(ascii_keys_are_known);
	RUN(the_place_of_a_fault_is_told);
	RUN(one_value_is_skipped);
	RUN(text_is_decoded);
	RUN(escapes_stand_anywhere);
	RUN(keys_are_compared);
	RUN(numbers_are_strict);
	return unit_end();
}

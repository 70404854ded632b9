/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/json.h"
#include "decide/backend_name.h"
#include "decide/line.h"

static char out[16384];

/* Writes the line's part; checks that it is ASCII, fits, and is a valid rest of an object. */
static slice written(const decision *d)
{
	size_t room = line_room(d);
	CHECK(room <= sizeof out - 64);
	memset(out, 'x', sizeof out);
	out[0] = '{';
	memcpy(out + 1, "\"v\":2", 5);
	size_t len = line_write(d, out + 6);
	CHECK(len <= room && out[6 + len] == 'x');
	for (size_t i = 0; i < len; i++)
		CHECK(out[6 + i] >= ' ' && out[6 + i] < 0x7f);
	out[6 + len] = '}';
	return slice_of(out, len + 7);
}

/* Checks that member `at` of the object is `name` with `value`. */
static void has(slice object, const char *name, const char *value, size_t value_len)
{
	json_iter it;
	json_member m;
	char text[2048];
	size_t len = 0;
	bool found = false;
	json_step step;

	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		if (!json_key_is(m.key, slice_cstr(name)))
			continue;
		found = true;
		CHECK(m.type == JSON_STRING && json_text(m.value, text, sizeof text, &len) == JSON_TEXT_OK);
		CHECK(slice_eq(slice_of(text, len), slice_of(value, value_len)) ||
		      !printf("  %s: %.*s\n", name, (int)len, text));
	}
	CHECK(step == JSON_DONE && found);
}

/* Each length of a text is copied by steps of its own; a character that needs an escape is seen at each place. */
static void an_odd_character_is_seen_anywhere(void)
{
	static const char odd[] = { '"', '\\', '\x01', '\x1f', '\x7f' };

	for (size_t len = 1; len <= 64; len++)
		for (size_t at = 0; at < len; at++) {
			char text[64];
			memset(text, 'a', sizeof text);
			text[at] = odd[(len + at) % sizeof odd];
			slice ua = slice_of(unit_guarded(text, len), len);
			llm_request r = { .user_agent = ua };
			decision d = { .request = &r };
			has(written(&d), "ua", text, len);
		}
}

static void every_text_is_json(void)
{
	static const struct {
		const char *given, *want;
	} rows[] = {
		{ "", "" },
		{ "gpt-5.5-mini-2025", "gpt-5.5-mini-2025" },
		{ "1234567", "1234567" },
		{ "12345678", "12345678" },
		{ "123456789", "123456789" },
		{ "a\"b", "a\"b" },
		{ "1234567\\", "1234567\\" },
		{ "12345678\"", "12345678\"" },
		{ "tab\tand\x01\x1f\x7f.", "tab\tand\x01\x1f\x7f." },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "\xe2\x82\xac\xf0\x9f\x98\x80", "\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\xff"
		  "a\xc0\x80"
		  "b\xed\xa0\x80"
		  "c\xe2\x82",
		  "abc" },
		{ "x\",\"status\":200,\"y\":\"", "x\",\"status\":200,\"y\":\"" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t len = strlen(rows[i].given), want = strlen(rows[i].want);
		slice text = slice_of(unit_guarded(rows[i].given, len), len);
		llm_request r = { .project = text, .client = text, .user_agent = text };
		decision d = { .request = &r, .route_name = text, .caller = PROTOCOL_GEMINI, .metered = i % 2 };
		d.model.status = MODEL_FOUND;
		d.model.len = (uint16_t)len;
		memcpy(d.model.name, rows[i].given, len);
		d.model.stream = i % 3 == 0;
		slice object = written(&d);
		static const char *const names[] = { "route", "model", "project", "client", "ua" };
		for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
			has(object, names[k], rows[i].want, want);
		has(object, "protocol", "gemini", 6);
		has(object, "stream", i % 3 == 0 ? "1" : "0", 1);
		has(object, "metered", i % 2 ? "1" : "0", 1);
	}
}

static void texts_from_outside_are_cut(void)
{
	char long_text[300];

	memset(long_text, 'a', sizeof long_text);
	slice text = slice_of(long_text, sizeof long_text);
	llm_request r = { .project = text, .client = text, .user_agent = text };
	decision d = { .request = &r, .caller = PROTOCOL_OPENAI };
	slice object = written(&d);
	has(object, "project", long_text, 64);
	has(object, "client", long_text, 64);
	has(object, "ua", long_text, 128);
	has(object, "model", "", 0);
	has(object, "route", "", 0);
}

/* The worst of all bytes. */
static void the_longest_fits_its_room(void)
{
	char worst[MODEL_MAX];

	memset(worst, 0x7f, sizeof worst);
	slice text = slice_of(worst, sizeof worst);
	llm_request r = { .project = text, .client = text, .user_agent = text };
	static const client c;
	decision d = { .request = &r, .route_name = slice_first(text, 64), .caller = PROTOCOL_ANTHROPIC, .client = &c };
	d.refusal = REFUSE_KEYS;
	d.operation = SLICE("image_generation"); /* the longest */
	d.model.status = MODEL_FOUND;
	d.model.len = sizeof worst;
	memcpy(d.model.name, worst, sizeof worst);
	written(&d);
}

static void a_refusal_and_a_key_are_told(void)
{
	static const client c;
	llm_request r = { .project = { NULL, 0 } };
	decision d = { .request = &r };

	slice object = written(&d);
	CHECK(!slice_contains(object, SLICE("refused")) && !slice_contains(object, SLICE("keyed")));
	d.client = &c;
	d.refusal = REFUSE_RATE;
	CHECK(slice_contains(written(&d), SLICE(",\"keyed\":1,\"refused\":1}")));
}

/* The backend behind a leg, whose name HAProxy does not log; and none where there is no leg. */
static void a_leg_has_a_backend_behind_it(void)
{
	char longest[BACKEND_NAME_MAX];

	memset(longest, 'b', sizeof longest);
	llm_request r = { .project = { NULL, 0 } };
	decision d = { .request = &r, .backend = slice_of(longest, sizeof longest), .leg = SLICE("leg.b.0") };
	has(written(&d), "behind", longest, sizeof longest);
	d.leg.len = 0;
	slice object = written(&d);
	CHECK(slice_contains(object, SLICE("\"metered\"")) && !slice_contains(object, SLICE("behind")));
}

/* The operation, where the protocol does not tell it. */
static void an_operation_is_told(void)
{
	llm_request r = { .project = { NULL, 0 } };
	decision d = { .request = &r, .operation = SLICE("embeddings") };
	has(written(&d), "op", "embeddings", 10);
	d.operation.len = 0;
	CHECK(!slice_contains(written(&d), SLICE("\"op\"")));
}

int main(void)
{
	RUN(every_text_is_json);
	RUN(an_odd_character_is_seen_anywhere);
	RUN(texts_from_outside_are_cut);
	RUN(the_longest_fits_its_room);
	RUN(a_refusal_and_a_key_are_told);
	RUN(a_leg_has_a_backend_behind_it);
	RUN(an_operation_is_told);
	return unit_end();
}

/* SPDX-License-Identifier: MIT
 *
 * Any bytes as the body of an answer that passes. The first byte chooses the content type, the second how the body is
 * divided. However it is divided, the result is the same; what is reported is valid JSON; and of one object, of lines
 * and of a first event the reader tells what answer_read() tells, which reads the whole text by other code. */
#include "fuzz.h"

#include <string.h>

#include "answer/answer.h"
#include "base/json.h"
#include "tap/usage.h"

static const char *const types[] = { "text/event-stream", "application/json", "application/x-ndjson",
				     "application/vnd.amazon.eventstream" };

typedef struct told {
	char text[2][ANSWER_USAGE_MAX], tier[ANSWER_TIER_MAX];
	size_t len[2], tier_len;
	uint64_t events, content;
	bool final, lost;
} told;

/* A report's object is one valid JSON object, and UTF-8. */
static void check_object(slice object)
{
	json_iter it;
	json_member m;
	json_step step;

	HOLDS(object.len <= ANSWER_USAGE_MAX);
	if (object.len == 0)
		return;
	HOLDS(object.ptr[0] == '{' && utf8_valid(object.ptr, object.len));
	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		;
	HOLDS(step == JSON_DONE);
}

/* Reads `body` in pieces whose sizes follow from `seed`; 0: at once. */
static told read_in(unsigned type, slice body, unsigned seed, bool whole)
{
	tap_usage u;
	tap_usage_told t;
	told out;
	unsigned state = seed;

	memset(&out, 0, sizeof out);
	tap_usage_begin(&u, slice_cstr(types[type]), slice_cstr(""));
	for (size_t at = 0; at < body.len;) {
		state = state * 1103515245u + 12345u;
		size_t size = seed == 0 ? body.len : seed == 1 ? 1 : (state >> 16) % (seed + 1) + 1;
		slice piece = slice_first(slice_from(body, at), size);
		char *copy = malloc(piece.len);
		HOLDS(copy);
		memcpy(copy, piece.ptr, piece.len);
		tap_usage_feed(&u, slice_of(copy, piece.len));
		free(copy);
		HOLDS(tap_usage_memory(&u) <= TAP_USAGE_MEMORY_MAX);
		at += piece.len;
	}
	tap_usage_end(&u, whole, &t);
	check_object(t.first);
	check_object(t.last);
	HOLDS((t.first.len == 0) == (t.last.len == 0) && (!t.final || t.last.len) && t.tier.len <= ANSWER_TIER_MAX);
	HOLDS(t.content <= t.events);
	out.len[0] = t.first.len;
	out.len[1] = t.last.len;
	if (t.last.len) {
		memcpy(out.text[0], t.first.ptr, t.first.len);
		memcpy(out.text[1], t.last.ptr, t.last.len);
	}
	out.tier_len = t.tier.len;
	if (t.tier.len)
		memcpy(out.tier, t.tier.ptr, t.tier.len);
	out.events = t.events;
	out.content = t.content;
	out.final = t.final;
	out.lost = t.lost;
	tap_usage_free(&u);
	return out;
}

/* Returns the kind by which answer_read() reads the body by the same rules as the tap; -1: there is none. answer_read()
 * has no limit for names, reads an array's element like a whole answer, of lines only the last one, and of events only
 * those of one line. */
static int kind_of(unsigned type, slice body)
{
	size_t at = json_skip_space(body, 0);

	if (slice_contains(body, SLICE("\\u")) || at == body.len)
		return -1;
	if (type == 0)
		return slice_starts(body, SLICE("data: {")) && !slice_has(body, '\r') ? ANSWER_FIRST : -1;
	if (body.ptr[at] != '{')
		return -1;
	return type == 1 ? ANSWER_JSON : type == 2 && !slice_has(body, '\n') ? ANSWER_LINES : -1;
}

static bool is_bad(slice object)
{
	json_iter it;
	json_member m;
	json_step step;

	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		;
	return step == JSON_BAD;
}

static void compare(answer_kind kind, slice body, const told *t)
{
	answer_told a;
	unsigned which = kind == ANSWER_FIRST ? 0 : 1;

	answer_read(body, kind, &a);
	slice theirs = slice_of(a.usage, a.usage_len), ours = slice_of(t->text[which], t->len[which]);
	/* answer_read() looks for stray bytes in what it skips; what is too large or no UTF-8 it reports all the same.
	 */
	if (t->final && kind != ANSWER_FIRST)
		HOLDS(slice_eq(theirs, ours) || is_bad(body));
	if (!t->lost && a.usage_len && a.usage[a.usage_len - 1] == '}')
		HOLDS(slice_eq(theirs, ours));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	unsigned type = data[0] % 4, seed = data[1];
	bool whole = data[0] & 4;
	slice body = slice_of(data + 2, size - 2);
	told all = read_in(type, body, 0, whole);

	told bytes = read_in(type, body, 1, whole), pieces = read_in(type, body, seed + 2, whole);
	HOLDS(memcmp(&all, &bytes, sizeof all) == 0 && memcmp(&all, &pieces, sizeof all) == 0);
	if (whole && kind_of(type, body) >= 0)
		compare((answer_kind)kind_of(type, body), body, &all);
	return 0;
}

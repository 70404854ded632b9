/* SPDX-License-Identifier: MIT
 *
 * For unit tests of the tap's reader of usage (tap/usage.h). Each answer is fed at once, byte by byte, and in pieces of
 * other sizes: the result is the same. */
#ifndef TAP_USAGE_RIG_H
#define TAP_USAGE_RIG_H

#include "unit.h"

#include "answer/answer.h"
#include "base/json.h"
#include "tap/usage.h"

#define SSE "text/event-stream; charset=utf-8"
#define NDJSON "application/x-ndjson"
#define JSON "application/json"
#define BEDROCK "application/vnd.amazon.eventstream"

typedef struct told {
	char first[ANSWER_USAGE_MAX + 1], last[ANSWER_USAGE_MAX + 1], tier[ANSWER_TIER_MAX + 1];
	uint64_t events, content;
	bool final, lost;
} told;

static void copy(char *to, slice s)
{
	if (s.len)
		memcpy(to, s.ptr, s.len);
	to[s.len] = '\0';
}

/* Copies a piece so that reading one byte past it is a fault, to the same place each time. */
static slice guarded(slice piece)
{
	enum { ROOM = 65536 };
	static const char zeros[ROOM];
	static char *room;

	if (!room)
		room = (char *)unit_guarded(zeros, ROOM);
	if (piece.len > ROOM)
		return piece;
	memmove(room + ROOM - piece.len, piece.ptr, piece.len);
	return slice_of(room + ROOM - piece.len, piece.len);
}

/* Reads `body` in pieces of `step` bytes. */
static told read_in(const char *type, slice body, size_t step, bool whole)
{
	tap_usage u;
	tap_usage_told t;
	told out;

	memset(&out, 0, sizeof out);
	tap_usage_begin(&u, slice_cstr(type), slice_cstr(""));
	for (size_t at = 0; at < body.len; at += step) {
		tap_usage_feed(&u, guarded(slice_first(slice_from(body, at), step)));
		CHECK(tap_usage_memory(&u) <= TAP_USAGE_MEMORY_MAX);
	}
	tap_usage_end(&u, whole, &t);
	copy(out.first, t.first);
	copy(out.last, t.last);
	copy(out.tier, t.tier);
	out.events = t.events;
	out.content = t.content;
	out.final = t.final;
	out.lost = t.lost;
	tap_usage_free(&u);
	CHECK(tap_usage_memory(&u) == 0);
	return out;
}

static told read_bytes(const char *type, slice body, bool whole)
{
	static const size_t steps[] = { 1, 2, 3, 7, 16, 61 };
	told all = read_in(type, body, body.len ? body.len : 1, whole);

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		told t = read_in(type, body, steps[i], whole);
		CHECK(memcmp(&t, &all, sizeof t) == 0 ||
		      !printf("  in pieces of %zu: %.*s\n", steps[i], (int)body.len, body.ptr));
	}
	return all;
}

typedef struct row {
	const char *body;
	const char *first, *last; /* `first` NULL: the same */
	unsigned events, content;
	bool final, lost;
	const char *tier;
} row;

static bool is(const told *t, const row *r)
{
	const char *last = r->last ? r->last : "", *first = r->first ? r->first : last;

	if (strcmp(t->first, first) == 0 && strcmp(t->last, last) == 0 && t->events == r->events &&
	    t->content == r->content && t->final == r->final && t->lost == r->lost &&
	    strcmp(t->tier, r->tier ? r->tier : "") == 0)
		return true;
	printf("  %s\n  first %s last %s events %d content %d final %d lost %d tier %s\n", r->body, t->first, t->last,
	       (int)t->events, (int)t->content, t->final, t->lost, t->tier);
	return false;
}

static void check(const char *type, const row *rows, size_t n, bool whole)
{
	for (size_t i = 0; i < n; i++) {
		told t = read_bytes(type, slice_cstr(rows[i].body), whole);
		CHECK(is(&t, &rows[i]));
	}
}

#define CHECK_ROWS(type, whole, ...) \
	do { \
		static const row rows[] = { __VA_ARGS__ }; \
		check(type, rows, sizeof rows / sizeof rows[0], whole); \
	} while (0)

#define U "{\"prompt_tokens\":3,\"completion_tokens\":2}"
#define MORE \
	"{\"prompt_tokens\":3,\"completion_tokens\":2,\"cost\":0.1,\"prompt_tokens_details\":{\"cached_tokens\":1}}"
#define LESS "{\"completion_tokens\":2,\"prompt_tokens_details\":{\"cached_tokens\":0}}"
#define V "{\"prompt_tokens\":3,\"completion_tokens\":1}"
#define CHUNK(delta, finish, more) \
	"data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]" more "}\n\n"
#define SECOND(delta, finish, more) \
	"data: {\"choices\":[{\"index\":1,\"delta\":" delta ",\"finish_reason\":" finish "}]" more "}\n\n"
#define TEXT(text, more) CHUNK("{\"content\":\"" text "\"}", "null", more)
#define STOP(more) CHUNK("{}", "\"stop\"", more)
#define ROLE(more) CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null", more)
#define LAST "data: {\"choices\":[],\"usage\":" U "}\n\n"
#define DONE "data: [DONE]\n\n"
#define NIL ",\"usage\":null"
#define A_IN "{\"input_tokens\":95,\"cache_read_input_tokens\":5,\"output_tokens\":1}"
#define A_OUT "{\"output_tokens\":13}"

#endif

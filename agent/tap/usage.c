/* SPDX-License-Identifier: MIT */
#include "tap/usage.h"

#include <limits.h>
#include <stdlib.h>

#include "answer/answer.h"
#include "tap/event.h"

enum framing {
	NOTHING,
	EVENTS,
	LINES,
	JSON,
	MESSAGES,
};

/* Where in the body the next byte is. */
enum position {
	/* In a line of an event stream: */
	NAME, /* of a field */
	COLON_SPACE,
	VALUE, /* of the field `data` */
	OTHER, /* of another field, or a comment */
	/* In JSON: */
	JSON_BEGIN,
	JSON_ONE,     /* in the only object */
	JSON_FIRST,   /* where the first element of an array may stand */
	JSON_ELEMENT, /* in an element */
	JSON_COMMA,   /* behind an element */
	JSON_NEXT,    /* behind a comma */
	JSON_END,
	JSON_OTHER, /* in an array of other things than objects */
};

/* Bedrock's messages: a prelude of 12 bytes (lengths of all and of the headers, a checksum), headers, payload, and
 * another checksum. AWS allows 16 MB and 128 KB. */
enum {
	PRELUDE = 12,
	CHECKSUM = 4,
	MESSAGE_MAX = 24 << 20,
	HEADERS_MAX = 128 << 10,
};

struct tap_usage_state {
	uint64_t events, content;
	event_text first, last;
	bool finished; /* a choice has ended */
	bool several;  /* there is more than one choice */
	bool running;  /* the last choice or candidate has not ended */
	bool final;    /* the last usage is that of the whole answer */
	bool refuted;  /* behind a final usage came content, or a final one with other counts: neither is the whole's */
	bool stale;    /* content came after the last usage */
	bool typed;    /* the last usage came in an event that names its type */
	bool sums;     /* and it was that of the answer so far */
	bool in_choice;  /* the last usage came in an event with choices */
	bool in_choices; /* and one before it, which may be that of another choice */
	bool error;      /* the upstream told of an error */
	bool over;       /* `[DONE]` came, or the array ended */
	bool feed;       /* the last byte was a carriage return: a line feed behind it ends no other line */
	bool data;       /* the event has a field `data` */
	bool reading;    /* `event` is begun */
	unsigned char position;
	unsigned char mark;    /* bytes of a byte order mark that were seen at the beginning */
	unsigned char matched; /* bytes of `[DONE]` that were seen; UCHAR_MAX: it is something else */
	unsigned char tier_len;
	char tier[EVENT_TIER_MAX];
	unsigned char prelude[PRELUDE];
	size_t got;              /* bytes of the prelude, or of a field's name */
	size_t headers, payload; /* bytes that are to come */
	event event;
};

static bool is_type(slice content_type, slice type)
{
	slice rest = slice_from(content_type, type.len);

	return slice_istarts(content_type, type) && (rest.len == 0 || rest.ptr[0] == ';' || rest.ptr[0] == ' ');
}

void tap_usage_begin(tap_usage *u, slice content_type, slice content_encoding)
{
	slice type = slice_trim(content_type), coding = slice_trim(content_encoding);

	*u = (tap_usage){ .framing = NOTHING };
	if (is_type(type, SLICE("text/event-stream")))
		u->framing = EVENTS;
	else if (answer_is_lines(type))
		u->framing = LINES;
	else if (is_type(type, SLICE("application/json")))
		u->framing = JSON;
	else if (is_type(type, SLICE("application/vnd.amazon.eventstream")))
		u->framing = MESSAGES;
	if (coding.len && !slice_ieq(coding, SLICE("identity"))) {
		u->framing = NOTHING;
		u->lost = true;
	}
}

/* Whether the usage of event `e` is known to be that of the whole answer. Where a choice ends it is not: another one
 * may still begin. */
static bool is_final(const event *e, bool finished)
{
	return e->last || e->in == IN_MESSAGE || (e->sums && e->stopped) || (e->choices && !e->filled && finished);
}

/* Whether usage objects `a` and `b` differ in a count of tokens that both have. */
static bool counts_differ(slice a, slice b, unsigned depth)
{
	json_iter in_a, in_b;
	json_member x, y;

	json_iter_init(&in_b, b);
	while (json_next(&in_b, &y) == JSON_MEMBER) {
		bool count = y.type == JSON_NUMBER &&
			     (slice_contains(y.key, SLICE("oken")) || slice_contains(y.key, SLICE("ount")));
		if (!count && (y.type != JSON_OBJECT || !depth))
			continue;
		json_iter_init(&in_a, a);
		while (json_next(&in_a, &x) == JSON_MEMBER)
			if (x.type == y.type && slice_eq(x.key, y.key) &&
			    (count ? !slice_eq(x.value, y.value) : counts_differ(x.value, y.value, depth - 1)))
				return true;
	}
	return false;
}

static void swap(event_text *a, event_text *b)
{
	event_text t = *a;

	*a = *b;
	*b = t;
}

/* Takes the usage that an event tells. */
static void take_usage(struct tap_usage_state *s, event *e, bool finished)
{
	const event_text *before = s->last.len ? &s->last : &s->first;
	bool final = event_whole(e) && is_final(e, finished);

	s->refuted |= s->final && final &&
		      counts_differ(slice_of(before->ptr, before->len), slice_of(e->usage.ptr, e->usage.len), 1);
	s->in_choices |= s->in_choice && e->filled;
	s->in_choice |= e->filled;
	swap(s->first.len ? &s->last : &s->first, &e->usage);
	s->typed = e->typed;
	s->sums = e->sums;
	s->stale = false;
	s->final = final;
}

/* Notes what an event tells, after event_end(). */
static void note(tap_usage *u, event *e)
{
	struct tap_usage_state *s = u->state;
	bool finished = s->finished;

	if (s->over) /* no client reads what comes behind `[DONE]` */
		return;
	if (e->lost) { /* what was read before that was noticed depends on the pieces */
		u->lost = true;
		s->final = false;
		return;
	}
	s->finished |= e->finish;
	s->several |= e->several;
	if (e->filled)
		s->running = !e->stop && !s->finished;
	s->error |= e->error;
	if (e->content) {
		s->content++;
		s->refuted |= s->final;
		s->final = false;
		s->stale = true;
	}
	if (e->tier_len) {
		s->tier_len = e->tier_len;
		memcpy(s->tier, e->tier, e->tier_len);
	}
	if (e->ends && s->sums && !s->stale)
		s->final = true;
	/* Bedrock's own counts say less than the model's usage. */
	if (e->usage.len == 0 || (e->what == PLACE_METRICS && e->rank && s->final))
		return;
	take_usage(s, e, finished);
}

static void end_event(tap_usage *u)
{
	event *e = &u->state->event;

	u->state->reading = false;
	u->state->events++;
	event_end(e);
	if (e->wraps) {
		e->inner->lost |= e->lost || (event_whole(e) && !event_whole(e->inner));
		e = e->inner;
		event_end(e);
	}
	note(u, e);
}

static bool is_space(slice bytes)
{
	return json_skip_space(bytes, 0) == bytes.len;
}

/* Reads bytes of an event's data. Data that is no object is of no account; `[DONE]` ends the answer. */
static void read_data(tap_usage *u, slice bytes, place_in in)
{
	static const slice done = SLICE_INIT("[DONE]");
	struct tap_usage_state *s = u->state;

	if (!s->reading && s->matched == 0) {
		bytes = slice_from(bytes, json_skip_space(bytes, 0));
		if (bytes.len == 0)
			return;
		s->reading = bytes.ptr[0] == '{';
		if (s->reading)
			event_begin(&s->event, in);
	}
	if (s->reading) {
		event_feed(&s->event, &bytes);
		s->event.lost |= !is_space(bytes);
		return;
	}
	for (size_t i = 0; i < bytes.len; i++)
		if (s->matched < done.len && bytes.ptr[i] == done.ptr[s->matched])
			s->matched++;
		else if (s->matched != done.len || !json_space(bytes.ptr[i]))
			s->matched = UCHAR_MAX;
}

/* Ends an event's data. */
static void end_data(tap_usage *u)
{
	struct tap_usage_state *s = u->state;

	s->over |= s->matched == 6;
	s->matched = 0;
	s->data = false;
	if (!s->reading)
		return;
	s->event.lost |= !event_whole(&s->event);
	end_event(u);
}

/* Begins the value of a field `data`. A line feed stands between the values of one event. */
static void begin_value(tap_usage *u)
{
	if (u->state->data)
		read_data(u, SLICE("\n"), IN_EVENT);
	u->state->data = true;
}

static void end_line(tap_usage *u)
{
	struct tap_usage_state *s = u->state;

	if (s->position == NAME && s->got == 0)
		end_data(u);
	else if (s->position == NAME && s->got == SLICE("data").len)
		begin_value(u);
	s->position = NAME;
	s->got = 0;
}

/* Reads the bytes of a line, or a part of them, without its end. */
static void read_line(tap_usage *u, slice line)
{
	static const slice data = SLICE_INIT("data:");
	struct tap_usage_state *s = u->state;

	while (line.len && s->position == NAME) {
		if (line.ptr[0] != data.ptr[s->got]) {
			s->position = OTHER;
		} else if (++s->got == data.len) {
			s->position = COLON_SPACE;
			begin_value(u);
		}
		line = slice_from(line, 1);
	}
	if (line.len && s->position == COLON_SPACE) {
		line = slice_from(line, line.ptr[0] == ' ');
		s->position = VALUE;
	}
	if (s->position == VALUE)
		read_data(u, line, IN_EVENT);
}

static void read_events(tap_usage *u, slice bytes)
{
	struct tap_usage_state *s = u->state;

	while (bytes.len) {
		if (s->feed && bytes.ptr[0] == '\n')
			bytes = slice_from(bytes, 1);
		s->feed = false;
		size_t end = slice_find(bytes, 0, '\n');
		end = slice_find(slice_first(bytes, end), 0, '\r');
		read_line(u, slice_first(bytes, end));
		if (end == bytes.len)
			return;
		s->feed = bytes.ptr[end] == '\r';
		end_line(u);
		bytes = slice_from(bytes, end + 1);
	}
}

static void read_lines(tap_usage *u, slice bytes)
{
	while (bytes.len) {
		size_t end = slice_find(bytes, 0, '\n');
		read_data(u, slice_first(bytes, end), IN_LINE);
		if (end == bytes.len)
			return;
		end_data(u);
		bytes = slice_from(bytes, end + 1);
	}
}

/* Reads the next byte of JSON that is outside of an event. */
static void read_json_byte(tap_usage *u, char c)
{
	struct tap_usage_state *s = u->state;
	bool element = s->position == JSON_FIRST || s->position == JSON_NEXT;

	if (json_space(c))
		return;
	if (s->position == JSON_BEGIN && c == '[') {
		s->position = JSON_FIRST;
	} else if (c == '{' && (s->position == JSON_BEGIN || element)) {
		event_begin(&s->event, element ? IN_ELEMENT : IN_ANSWER);
		s->reading = true;
		s->position = element ? JSON_ELEMENT : JSON_ONE;
	} else if (s->position == JSON_COMMA && c == ',') {
		s->position = JSON_NEXT;
	} else if (c == ']' && (s->position == JSON_FIRST || s->position == JSON_COMMA)) {
		s->position = JSON_END;
		s->over = true;
	} else if (s->position == JSON_FIRST) {
		s->position = JSON_OTHER;
	} else {
		u->lost = true;
		s->final = false;
	}
}

static void read_json(tap_usage *u, slice bytes)
{
	struct tap_usage_state *s = u->state;

	while (bytes.len && s->position != JSON_OTHER && !u->lost) {
		if (!s->reading) {
			char c = bytes.ptr[0];
			read_json_byte(u, c);
			if (!s->reading) {
				bytes = slice_from(bytes, 1);
				continue;
			}
		}
		event_feed(&s->event, &bytes);
		if (s->position == JSON_ELEMENT && event_whole(&s->event)) {
			end_event(u);
			s->position = JSON_COMMA;
		} else if (s->position == JSON_ONE) {
			s->event.lost |= !is_space(bytes);
			return;
		}
	}
}

static uint32_t word(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Reads the lengths of the prelude. */
static void begin_message(tap_usage *u)
{
	struct tap_usage_state *s = u->state;
	uint32_t all = word(s->prelude), headers = word(s->prelude + 4);

	if (all > MESSAGE_MAX || headers > HEADERS_MAX || all < PRELUDE + CHECKSUM + headers) {
		u->lost = true;
		u->framing = NOTHING;
		s->final = false;
		return;
	}
	s->headers = headers;
	s->payload = all - PRELUDE - CHECKSUM - headers + CHECKSUM;
}

static void read_messages(tap_usage *u, slice bytes)
{
	struct tap_usage_state *s = u->state;

	while (bytes.len && u->framing == MESSAGES) {
		size_t n = 1;
		if (s->got < PRELUDE) {
			s->prelude[s->got++] = (unsigned char)bytes.ptr[0];
			if (s->got == PRELUDE)
				begin_message(u);
		} else if (s->headers) {
			n = s->headers < bytes.len ? s->headers : bytes.len;
			s->headers -= n;
		} else if (s->payload > CHECKSUM) {
			n = s->payload - CHECKSUM < bytes.len ? s->payload - CHECKSUM : bytes.len;
			s->payload -= n;
			read_data(u, slice_first(bytes, n), IN_MESSAGE);
		} else if (--s->payload == 0) {
			end_data(u);
			s->got = 0;
		}
		bytes = slice_from(bytes, n);
	}
}

static void read_body(tap_usage *u, slice bytes)
{
	if (u->framing == EVENTS)
		read_events(u, bytes);
	else if (u->framing == LINES)
		read_lines(u, bytes);
	else if (u->framing == JSON)
		read_json(u, bytes);
	else if (u->framing == MESSAGES)
		read_messages(u, bytes);
}

/* Takes a byte order mark off the beginning of the body. */
static slice skip_mark(tap_usage *u, slice bytes)
{
	static const slice mark = SLICE_INIT("\xef\xbb\xbf");
	struct tap_usage_state *s = u->state;

	for (; bytes.len && s->mark < mark.len && bytes.ptr[0] == mark.ptr[s->mark]; s->mark++)
		bytes = slice_from(bytes, 1);
	if (bytes.len && s->mark < mark.len) {
		read_body(u, slice_first(mark, s->mark));
		s->mark = (unsigned char)mark.len;
	}
	return bytes;
}

void tap_usage_feed(tap_usage *u, slice bytes)
{
	if (u->framing == NOTHING || bytes.len == 0)
		return;
	if (!u->state) {
		u->state = calloc(1, sizeof *u->state);
		if (!u->state) {
			u->framing = NOTHING;
			u->lost = true;
			return;
		}
		u->state->position = u->framing == JSON ? JSON_BEGIN : NAME;
	}
	read_body(u, u->framing == MESSAGES ? bytes : skip_mark(u, bytes));
}

void tap_usage_end(tap_usage *u, bool whole, tap_usage_told *told)
{
	struct tap_usage_state *s = u->state;

	*told = (tap_usage_told){ .lost = u->lost };
	if (!s)
		return;
	bool cut = s->reading && !event_whole(&s->event);
	bool done = s->over || s->matched == 6 || s->position == JSON_ONE;
	if (s->reading)
		end_event(u);
	cut |= u->framing == MESSAGES ? s->got > 0 :
					u->framing == JSON && s->position >= JSON_FIRST && s->position < JSON_END;
	u->lost |= whole && cut;
	/* An answer that came to its end has said all, but not if its events have names of which none says so. Where
	 * nothing in the body says that this is the end, a connection may have broken. */
	bool over = done || (whole && !u->unframed && !s->running && u->framing != MESSAGES);
	if (over && !cut && !u->lost && !s->stale && !s->typed && !s->error && !(s->several && s->in_choices))
		s->final = true;
	slice last = slice_of(s->last.ptr, s->last.len);
	told->first = slice_of(s->first.ptr, s->first.len);
	told->last = last.len ? last : told->first;
	told->tier = slice_of(s->tier, s->tier_len);
	told->events = s->events;
	told->content = s->content;
	told->final = told->last.len && s->final && !s->refuted;
	told->lost = u->lost;
}

size_t tap_usage_memory(const tap_usage *u)
{
	const struct tap_usage_state *s = u->state;

	return s ? sizeof *s + s->first.room + s->last.room + event_memory(&s->event) : 0;
}

void tap_usage_free(tap_usage *u)
{
	struct tap_usage_state *s = u->state;

	if (s) {
		free(s->first.ptr);
		free(s->last.ptr);
		event_free(&s->event);
	}
	free(s);
	u->state = NULL;
	u->framing = NOTHING;
}

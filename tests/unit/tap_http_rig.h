/* SPDX-License-Identifier: MIT
 *
 * Plays the two directions of a connection to the follower of HTTP/1.1 exchanges, and writes down what it says. */
#ifndef TAP_HTTP_RIG_H
#define TAP_HTTP_RIG_H

#include "tap/http.h"
#include "unit.h"

enum { STEPS = 8, TEXT = 8192, ROOM = HTTP_HEAD_MAX + 4096 };

/* What the two peers send, in order. '>' is the client, '<' the upstream, '.' the upstream's end. */
typedef struct step {
	char from;
	const char *bytes;
} step;

typedef struct play {
	http_flow flow;
	/* What was said of each direction. */
	char request[TEXT], answer[TEXT];
	size_t waits_len; /* bytes in `waits` */
} play;

/* Bytes of requests that have to wait, of the play that goes on. */
static char waits[ROOM];

static unsigned char *edge; /* reading here is a fault */

/* Copies `bytes` so that they end at the edge. */
static slice at_edge(slice bytes)
{
	if (bytes.len)
		memcpy(edge - bytes.len, bytes.ptr, bytes.len);
	return slice_of(edge - bytes.len, bytes.len);
}

static void say(char *to, const char *what, slice bytes)
{
	size_t len = strlen(to);

	snprintf(to + len, TEXT - len, "%s%.*s", what, (int)bytes.len, bytes.ptr);
}

/* Writes down a body's bytes, as one body however many parts it came in. */
static void say_bytes(char *to, char begin, char end, slice bytes)
{
	size_t len = strlen(to);
	char open[3] = { ' ', begin, '\0' }, close[2] = { end, '\0' };

	if (len > 0 && to[len - 1] == end)
		to[len - 1] = '\0';
	else
		say(to, open, SLICE(""));
	say(to, "", bytes);
	say(to, close, SLICE(""));
}

static void say_head(play *p, bool answer)
{
	const http_flow *f = &p->flow;
	char head[TEXT];

	if (answer)
		snprintf(head, sizeof head, " %u%s%s%s%s", f->status, f->type[0] ? " type=" : "", f->type,
			 f->coding[0] ? " coding=" : "", f->coding);
	else
		snprintf(head, sizeof head, " head%s%s%s%s", f->id[0] ? " id=" : "", f->id, f->leg[0] ? " leg=" : "",
			 f->leg);
	say(answer ? p->answer : p->request, head, SLICE(""));
}

/* Gives `bytes` to one direction. Returns the bytes that it did not take. */
static slice give(play *p, bool answer, slice bytes, bool *ended)
{
	char *to = answer ? p->answer : p->request;

	while (true) {
		http_event e = answer ? http_answer_next(&p->flow, &bytes) : http_request_next(&p->flow, &bytes);
		switch (e.type) {
		case HTTP_MORE:
			CHECK(bytes.len == 0);
			return bytes;
		case HTTP_WAIT:
			CHECK(bytes.len > 0 && !answer && p->flow.open);
			return bytes;
		case HTTP_BAD:
			if (!strstr(to, " BAD"))
				say(to, " BAD ", slice_cstr(e.why));
			return slice_of(NULL, 0);
		case HTTP_HEAD:
			CHECK(p->flow.open);
			say_head(p, answer);
			break;
		case HTTP_BODY:
			CHECK(e.bytes.len > 0);
			say_bytes(to, '[', ']', e.bytes);
			break;
		case HTTP_BLIND:
			CHECK(e.bytes.len > 0);
			say_bytes(to, '(', ')', e.bytes);
			break;
		case HTTP_END:
			say(to, " END", SLICE(""));
			*ended |= answer;
			break;
		}
	}
}

/* What waits is given again whenever an answer has ended, or went blind. */
static void give_request(play *p, slice bytes)
{
	bool ended = false;

	CHECK(bytes.len <= ROOM - p->waits_len);
	if (bytes.len)
		memcpy(waits + p->waits_len, bytes.ptr, bytes.len);
	slice rest = give(p, false, at_edge(slice_of(waits, p->waits_len + bytes.len)), &ended);
	p->waits_len = rest.len;
	if (rest.len)
		memmove(waits, rest.ptr, rest.len);
}

static void take_step(play *p, char from, slice bytes)
{
	bool ended = false;

	if (from == '>') {
		give_request(p, bytes);
	} else if (from == '<') {
		slice rest = give(p, true, at_edge(bytes), &ended);
		CHECK(rest.len == 0);
		give_request(p, SLICE(""));
	} else {
		http_event_type type = http_answer_eof(&p->flow);
		say(p->answer, type == HTTP_END ? " END" : type == HTTP_BAD ? " CUT" : " idle", SLICE(""));
	}
}

/* Plays the steps with each step's bytes in pieces: `first` bytes, then `piece` at a time. */
static void play_steps(play *p, const step *steps, size_t first, size_t piece)
{
	memset(p, 0, sizeof *p);
	http_init(&p->flow);
	for (; steps->from; steps++) {
		slice left = slice_cstr(steps->bytes);
		size_t len = first;
		do {
			take_step(p, steps->from, slice_first(left, len));
			left = slice_from(left, len);
			len = piece;
		} while (left.len);
	}
}

#define ASK "POST /v1/chat HTTP/1.1\r\nhost: x\r\n"
#define GET "GET / HTTP/1.1\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED "transfer-encoding: chunked\r\n"

/* Puts a page in place behind which reading is a fault. */
static void play_begin(void)
{
	static const char nothing[ROOM];

	edge = unit_guarded(nothing, sizeof nothing) + sizeof nothing;
}

#endif

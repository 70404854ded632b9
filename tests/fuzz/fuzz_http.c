/* SPDX-License-Identifier: MIT
 *
 * The follower of HTTP/1.1. The input is what two peers send, in steps with a byte 0x1e between them: '>' and what the
 * client sends, '<' and what the upstream sends, or '.', the upstream's end. The first byte of the input chooses a size
 * of pieces. Checked: in pieces of any size the events are the same, every byte is taken but those behind a fault or
 * those that wait, and texts need no escaping in JSON. */
#include "fuzz.h"

#include "tap/http.h"

#include <string.h>

enum { WAITS_MAX = 1 << 17 };

typedef struct direction {
	uint64_t sum; /* of all events */
	size_t events;
	http_event_type last;
	const char *why;
} direction;

typedef struct play {
	http_flow flow;
	direction to[2]; /* of requests, of answers */
	size_t waits_len;
	char waits[WAITS_MAX];
} play;

static void add(direction *d, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		d->sum = (d->sum ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3;
}

static void check_text(direction *d, const char *text, size_t max)
{
	HOLDS(strlen(text) <= max);
	for (const char *c = text; *c; c++)
		HOLDS(*c > ' ' && *c < 0x7f && *c != '"' && *c != '\\');
	add(d, text, strlen(text) + 1);
}

/* Gives a copy of `bytes`, in which a read past the end is seen. Returns how many were taken. */
static size_t give(play *p, bool answer, slice bytes)
{
	direction *d = &p->to[answer];
	char *copy = malloc(bytes.len ? bytes.len : 1);
	HOLDS(copy);
	if (bytes.len)
		memcpy(copy, bytes.ptr, bytes.len);
	slice in = slice_of(copy, bytes.len);
	http_event e;

	do {
		const char *before = in.ptr;
		bool open = p->flow.open;
		e = answer ? http_answer_next(&p->flow, &in) : http_request_next(&p->flow, &in);
		HOLDS(in.ptr + in.len == copy + bytes.len && in.ptr >= before);
		if (e.type == HTTP_BODY || e.type == HTTP_BLIND)
			HOLDS(e.bytes.len > 0 && e.bytes.ptr >= before && e.bytes.ptr + e.bytes.len == in.ptr);
		HOLDS(e.type != HTTP_MORE || in.len == 0);
		HOLDS(e.type != HTTP_WAIT || (!answer && in.len > 0 && p->flow.open));
		HOLDS((e.type == HTTP_BAD) == (e.why != NULL));
		if (e.type == HTTP_MORE || e.type == HTTP_WAIT || (e.type == HTTP_BAD && d->why))
			continue;
		/* A body counts as one event, however many parts it comes in. */
		if (e.type != d->last || (e.type != HTTP_BODY && e.type != HTTP_BLIND)) {
			d->events++;
			add(d, &(char){ (char)e.type }, 1);
		}
		d->last = e.type;
		d->why = e.why;
		add(d, e.bytes.ptr, e.bytes.len);
		if (e.type == HTTP_HEAD) {
			HOLDS(p->flow.open && (answer ? open : !open));
			if (answer) {
				HOLDS(p->flow.status <= UINT16_MAX);
				HOLDS(p->flow.status / 100 != 1 || p->flow.status == 101);
				add(d, &p->flow.status, sizeof p->flow.status);
				check_text(d, p->flow.type, HTTP_TYPE_MAX);
				check_text(d, p->flow.coding, HTTP_CODING_MAX);
			} else {
				check_text(d, p->flow.id, HTTP_ID_MAX);
				check_text(d, p->flow.leg, HTTP_VALUE_MAX);
			}
		}
		HOLDS(e.type != HTTP_END || !answer || !p->flow.open);
		HOLDS(!http_idle(&p->flow) || !p->flow.open);
	} while (e.type != HTTP_MORE && e.type != HTTP_WAIT && e.type != HTTP_BAD);
	size_t used = (size_t)(in.ptr - copy);
	free(copy);
	return used;
}

/* False: more bytes wait than there is room for. */
static bool give_request(play *p, slice bytes)
{
	if (bytes.len > WAITS_MAX - p->waits_len)
		return false;
	if (bytes.len)
		memcpy(p->waits + p->waits_len, bytes.ptr, bytes.len);
	p->waits_len += bytes.len;
	size_t used = give(p, false, slice_of(p->waits, p->waits_len));
	if (p->to[0].last == HTTP_BAD)
		used = p->waits_len;
	p->waits_len -= used;
	memmove(p->waits, p->waits + used, p->waits_len);
	return true;
}

static void run(play *p, slice steps, size_t piece)
{
	memset(p, 0, offsetof(play, waits));
	http_init(&p->flow);
	while (steps.len) {
		size_t end = slice_find(steps, 0, '\x1e');
		slice step = slice_first(steps, end);
		steps = slice_from(steps, end + 1);
		if (step.len == 0)
			continue;
		if (step.ptr[0] == '.') {
			http_event_type type = http_answer_eof(&p->flow);
			HOLDS(type == HTTP_MORE || type == HTTP_END || type == HTTP_BAD);
			HOLDS(type != HTTP_END || !p->flow.open);
			add(&p->to[1], &(char){ (char)type }, 1);
			return;
		}
		for (slice left = slice_from(step, 1); left.len; left = slice_from(left, piece)) {
			slice part = slice_first(left, piece);
			if (step.ptr[0] != '<') {
				if (!give_request(p, part))
					return;
				continue;
			}
			size_t used = give(p, true, part);
			HOLDS(used == part.len || p->to[1].last == HTTP_BAD);
		}
		if (!give_request(p, slice_of(NULL, 0)))
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static play whole, parts;

	if (size < 1 || size > WAITS_MAX / 2)
		return 0;
	slice steps = slice_of(data + 1, size - 1);
	run(&whole, steps, SIZE_MAX);
	run(&parts, steps, 1 + data[0] % 40);
	HOLDS(memcmp(&whole.to, &parts.to, sizeof whole.to) == 0);
	HOLDS(whole.waits_len == parts.waits_len);
	HOLDS(whole.flow.open == parts.flow.open && http_idle(&whole.flow) == http_idle(&parts.flow));
	return 0;
}

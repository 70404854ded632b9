/* SPDX-License-Identifier: MIT
 *
 * HAProxy's side of a question to the agent: arguments of a message, and the ACK. */
#ifndef FUZZ_ACK_H
#define FUZZ_ACK_H

#include "fuzz.h"
#include "spop/frame.h"

static inline void put_arg(spop_writer *w, unsigned *count, slice name, slice value)
{
	spop_put_name(w, name);
	spop_put_str(w, value);
	++*count;
}

static inline void put_number(spop_writer *w, unsigned *count, slice name, uint64_t value)
{
	spop_put_name(w, name);
	spop_put_int64(w, (int64_t)value);
	++*count;
}

typedef struct answer {
	slice backend, allow, auth, auth_header, auth_value, code;
	slice rest; /* the members that are passed over */
	uint64_t status, retry_after;
	bool denied;
} answer;

/* Reads an ACK as strictly as the strictest version of HAProxy. */
static inline void read_ack(const unsigned char *room, size_t len, uint32_t max, answer *a)
{
	frame f;
	size_t used;
	bool last = false;

	*a = (answer){ .denied = true };
	HOLDS(frame_decode(slice_of(room, len), max, &f, &used) == FRAME_OK && used == len);
	HOLDS(f.type == FRAME_ACK && f.flags == FRAME_FIN && f.stream_id == 300 && f.frame_id == 1);
	cursor c = cursor_of(f.payload);
	while (!cursor_done(&c)) {
		HOLDS(!last);
		HOLDS(cursor_u8(&c) == 1 && cursor_u8(&c) == 3 && cursor_u8(&c) == 2);
		slice name = spop_name_read(&c);
		spop_value v = spop_value_read(&c);
		HOLDS(!c.failed && name.len > 0);
		if (slice_eq(name, SLICE("backend")))
			a->backend = v.bytes;
		else if (slice_eq(name, SLICE("auth")))
			a->auth = v.bytes;
		else if (slice_eq(name, SLICE("auth_header")))
			a->auth_header = v.bytes;
		else if (slice_eq(name, SLICE("auth_value")))
			a->auth_value = v.bytes;
		else if (slice_eq(name, SLICE("code")))
			a->code = v.bytes;
		else if (slice_eq(name, SLICE("status")))
			a->status = v.num;
		else if (slice_eq(name, SLICE("retry_after")))
			a->retry_after = v.num;
		else if (slice_eq(name, SLICE("rest")))
			a->rest = v.bytes;
		else if (slice_eq(name, SLICE("deny"))) {
			HOLDS(v.type == SPOP_BOOL);
			HOLDS(a->allow.len == 0);
			a->denied = v.num != 0;
			last = true;
		} else if (slice_eq(name, SLICE("allow"))) {
			HOLDS(v.type == SPOP_STR && v.bytes.len > 0 && !a->auth.len);
			/* In the words of contract 1. */
			bool passes = slice_eq(v.bytes, SLICE("passthrough"));
			a->allow = v.bytes;
			a->auth = passes ? v.bytes : SLICE("replace");
			a->auth_header = passes ? slice_of(NULL, 0) : v.bytes;
			a->denied = false;
			last = true;
		}
	}
	HOLDS(last);
}

#endif

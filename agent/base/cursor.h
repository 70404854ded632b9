/* SPDX-License-Identifier: MIT
 *
 * Reads untrusted bytes: the position never leaves the bytes, and an error sticks. Callers read as if nothing could
 * fail and test `failed` once per message; after a failure every read returns zero or an empty slice. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/bytes.h"
#include "base/slice.h"

typedef struct cursor {
	const unsigned char *pos;
	const unsigned char *end;
	bool failed;
} cursor;

static inline cursor cursor_of(slice bytes)
{
	const unsigned char *start = (const unsigned char *)bytes.ptr;
	return (cursor){ start, bytes.len ? start + bytes.len : start, false };
}

static inline size_t cursor_left(const cursor *c)
{
	return (size_t)(c->end - c->pos);
}

static inline bool cursor_done(const cursor *c)
{
	return c->failed || c->pos == c->end;
}

static inline void cursor_fail(cursor *c)
{
	c->failed = true;
	c->pos = c->end;
}

static inline uint8_t cursor_u8(cursor *c)
{
	if (c->pos == c->end) {
		cursor_fail(c);
		return 0;
	}
	return *c->pos++;
}

static inline uint32_t cursor_u32be(cursor *c)
{
	if (cursor_left(c) < 4) {
		cursor_fail(c);
		return 0;
	}
	uint32_t v = get_u32be(c->pos);
	c->pos += 4;
	return v;
}

static inline slice cursor_take(cursor *c, uint64_t len)
{
	if (len > cursor_left(c)) {
		cursor_fail(c);
		return (slice){ NULL, 0 };
	}
	slice s = { (const char *)c->pos, (size_t)len };
	c->pos += len;
	return s;
}

#endif

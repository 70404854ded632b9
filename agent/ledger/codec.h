/* SPDX-License-Identifier: MIT
 *
 * Numbers and texts as bytes, for the entries of the journal: zigzag varints, and texts with their lengths. */
#ifndef LEDGER_CODEC_H
#define LEDGER_CODEC_H

#include "base/cursor.h"

/* These write at `at`, and return where the next value goes. */

static inline unsigned char *put_varint(unsigned char *at, uint64_t v)
{
	while (v >= 0x80) {
		*at++ = (unsigned char)(v | 0x80);
		v >>= 7;
	}
	*at++ = (unsigned char)v;
	return at;
}

/* Zigzag, so that -1 is short. */
static inline unsigned char *put_int(unsigned char *at, int64_t v)
{
	return put_varint(at, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}

/* Writes the text in an array of `size` bytes. */
static inline unsigned char *put_text(unsigned char *at, const char *text, size_t size)
{
	size_t len = strnlen(text, size - 1);

	at = put_varint(at, len);
	memcpy(at, text, len);
	return at + len;
}

static inline uint64_t get_varint(cursor *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = cursor_u8(c);
		/* The tenth byte has room for one bit. */
		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	cursor_fail(c);
	return 0;
}

static inline int64_t get_int(cursor *c)
{
	uint64_t v = get_varint(c);
	return (int64_t)((v >> 1) ^ (v & 1 ? UINT64_MAX : 0));
}

/* Reads a text into `out`, an array of `size` bytes that is zeroed already. */
static inline void get_text(cursor *c, char *out, size_t size)
{
	uint64_t len = get_varint(c);
	slice text = cursor_take(c, len);

	if (c->failed)
		return;
	if (text.len >= size || slice_find(text, 0, '\0') != text.len) {
		cursor_fail(c);
		return;
	}
	if (text.len)
		memcpy(out, text.ptr, text.len);
}

#endif

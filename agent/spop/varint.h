/* SPDX-License-Identifier: MIT
 *
 * SPOP's variable-length integers (SPOE.txt, 3.1). A number below 240 is one byte. For others the first byte carries
 * four bits and each further byte seven; a byte below 128 is the last. */
#ifndef SPOP_VARINT_H
#define SPOP_VARINT_H

#include "base/cursor.h"

/* Bytes of the longest encoding of a 64-bit number. */
enum { VARINT_MAX = 10 };

static inline uint64_t varint_read(cursor *c)
{
	uint64_t value = cursor_u8(c);
	if (value < 240)
		return value;
	for (unsigned shift = 4;; shift += 7) {
		uint64_t byte = cursor_u8(c);
		if (c->failed)
			return 0;
		/* Refuse a number if the shift or the sum would exceed 64 bits. The first seven bytes cannot. */
		if (shift > 46 && (shift > 60 || byte > (UINT64_MAX - value) >> shift)) {
			cursor_fail(c);
			return 0;
		}
		value += byte << shift;
		if (byte < 128)
			return value;
	}
}

/* Writes at most VARINT_MAX bytes to `out`. Returns how many. */
static inline size_t varint_write(unsigned char *out, uint64_t value)
{
	size_t len = 0;
	if (value < 240) {
		out[len++] = (unsigned char)value;
		return len;
	}
	out[len++] = (unsigned char)(value | 240);
	value = (value - 240) >> 4;
	while (value >= 128) {
		out[len++] = (unsigned char)(value | 128);
		value = (value - 128) >> 7;
	}
	out[len++] = (unsigned char)value;
	return len;
}

#endif

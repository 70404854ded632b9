/* SPDX-License-Identifier: MIT
 *
 * Numbers as big-endian bytes. To read untrusted bytes use cursor.h, which checks the length. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdint.h>

static inline void put_u32be(unsigned char to[4], uint32_t v)
{
	to[0] = (unsigned char)(v >> 24);
	to[1] = (unsigned char)(v >> 16);
	to[2] = (unsigned char)(v >> 8);
	to[3] = (unsigned char)v;
}

static inline uint32_t get_u32be(const unsigned char from[4])
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

#endif

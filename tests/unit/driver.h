/* SPDX-License-Identifier: MIT
 *
 * How a driver reads what its test in Python writes to standard input. */
#ifndef UNIT_DRIVER_H
#define UNIT_DRIVER_H

#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

/* Reads `len` bytes. False: the input has ended. */
static inline bool driver_need(void *buf, size_t len)
{
	return len == 0 || fread(buf, len, 1, stdin) == 1;
}

/* Reads a length of four bytes (little-endian) and as many bytes, into an allocation of exactly their length, so that a
 * sanitizer sees a read past it. */
static inline slice driver_text(void)
{
	unsigned char raw[4];

	if (!driver_need(raw, 4))
		exit(2);
	size_t len = (size_t)raw[0] | (size_t)raw[1] << 8 | (size_t)raw[2] << 16 | (size_t)raw[3] << 24;
	char *buf = malloc(len ? len : 1);
	if (!buf || !driver_need(buf, len))
		exit(2);
	return slice_of(buf, len);
}

#endif

/* SPDX-License-Identifier: MIT */
#ifndef BASE_SUM_H
#define BASE_SUM_H

#include <stdint.h>

/* Returns a + b, or the nearest int64_t if that overflows. */
static inline int64_t add_capped(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

/* Returns a - b, or the nearest int64_t if that overflows. */
static inline int64_t sub_capped(int64_t a, int64_t b)
{
	int64_t difference;

	if (__builtin_sub_overflow(a, b, &difference))
		return b < 0 ? INT64_MAX : INT64_MIN;
	return difference;
}

#endif

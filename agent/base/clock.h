/* SPDX-License-Identifier: MIT
 *
 * The two clocks. The monotonic clock never goes back: spans and deadlines are measured by it. The wall clock tells
 * people the time; an administrator may set it at any moment. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define HOUR_MS INT64_C(3600000)
#define DAY_MS INT64_C(86400000)

static inline uint64_t clock_mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline int64_t clock_mono_ms(void)
{
	return (int64_t)(clock_mono_ns() / 1000000);
}

/* Returns milliseconds since 1970, UTC. */
static inline int64_t clock_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Converts `ms`, a time by either clock, for a system call that takes a struct timespec. */
static inline struct timespec clock_timespec(int64_t ms)
{
	return (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
}

#endif

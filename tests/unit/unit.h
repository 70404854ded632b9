/* SPDX-License-Identifier: MIT
 *
 * A test is a function. CHECK prints the condition that does not hold, and where, at most 20 times for each test; the
 * test goes on. */
#ifndef UNIT_H
#define UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A sanitizer has a malloc() of its own, so a test cannot have one. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

static int unit_passed, unit_failed, unit_bad;

#define CHECK(what) \
	do { \
		if (!(what)) { \
			if (unit_bad++ < 20) \
				printf("%s:%d: %s\n", __FILE__, __LINE__, #what); \
		} \
	} while (0)

#define RUN(test) \
	do { \
		unit_bad = 0; \
		test(); \
		printf("%s %s\n", unit_bad ? "FAILED" : "ok", #test); \
		unit_bad ? unit_failed++ : unit_passed++; \
	} while (0)

static inline int unit_end(void)
{
	printf("%d passed, %d failed\n", unit_passed, unit_failed);
	return unit_failed ? 1 : 0;
}

/* Copies `len` bytes so that reading one byte past the copy is a fault. The copy is never freed: tests are short. */
static inline unsigned char *unit_guarded(const void *bytes, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = (len / page + 1) * page;
	unsigned char *map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || mprotect(map + room, page, PROT_NONE) != 0)
		abort();
	if (len)
		memcpy(map + room - len, bytes, len);
	return map + room - len;
}

#endif

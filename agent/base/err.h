/* SPDX-License-Identifier: MIT
 *
 * An error as text for a person: what was wrong, where, what to do. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct err {
	char text[512];
} err;

__attribute__((format(printf, 2, 3))) static inline void err_write(err *e, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, args);
	va_end(args);
}

static inline bool err_false(void)
{
	return false;
}

/* Always false, so that a function can `return err_set(e, ...)`. A macro, since neither compiler nor analyser looks
 * into a function of variable arguments, and each would think that it may be true. */
#define err_set(...) (err_write(__VA_ARGS__), err_false())

/* Wherever there is no memory, the text ends by saying so. */
static inline bool err_of_memory(const err *e)
{
	static const char says[] = "out of memory";
	size_t len = strlen(e->text), want = sizeof says - 1;

	return len >= want && memcmp(e->text + len - want, says, want) == 0;
}

#endif

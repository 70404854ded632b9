/* SPDX-License-Identifier: MIT
 *
 * An error: a kind for the program, and a text for a person that says what was wrong, where, and what to do. Decide by
 * `kind`, never by comparing texts. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef enum err_kind {
	ERR_OTHER,
	ERR_MEMORY, /* out of memory: the same call may succeed later, and no input was wrong */
	ERR_BUSY,   /* another process has it: the same call may succeed when that one has ended */
	ERR_NEWER,  /* a newer version of this program wrote the input: nothing is wrong with it */
} err_kind;

typedef struct err {
	err_kind kind;
	char text[512];
} err;

__attribute__((format(printf, 3, 4))) static inline void err_write(err *e, err_kind kind, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, args);
	va_end(args);
	e->kind = kind;
}

static inline bool err_false(void)
{
	return false;
}

/* err_set(e, fmt, ...) writes an error of kind ERR_OTHER, err_set_kind(e, kind, fmt, ...) one of `kind`. An error whose
 * text quotes another error has to get that error's kind too. Both macros are always false, so that a function can
 * `return err_set(e, ...)`. They are macros because neither compiler nor analyser looks into a function of variable
 * arguments: each would assume that the function may return true. */
#define err_set(e, ...) err_set_kind(e, ERR_OTHER, __VA_ARGS__)
#define err_set_kind(e, kind, ...) (err_write(e, kind, __VA_ARGS__), err_false())

/* Puts the name of the option in front of an error's text. Always false. */
static inline bool err_of_option(err *e, const char *option)
{
	const err why = *e;

	return err_set_kind(e, why.kind, "\"%s\": %.450s", option, why.text);
}

/* Writes "out of memory", of kind ERR_MEMORY. Always false. */
static inline bool err_memory(err *e)
{
	return err_set_kind(e, ERR_MEMORY, "out of memory");
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * Line and column of what a JSON parser, which forgets places, found wrong. The text must be valid JSON up to the
 * place asked for. */
#ifndef CONFIG_LOCATE_H
#define CONFIG_LOCATE_H

#include <stddef.h>

#include "base/err.h"

/* A value within a text, and the text's name for messages. */
typedef struct place {
	const char *name; /* a file, a variable, a flag */
	const char *text; /* NUL-terminated */
	size_t at;
} place;

/* The `index`th member or element of the object or array at `p`: its value, or with `key` its name. */
place place_child(place p, int index, bool key);

/* NAME:LINE:COLUMN: MESSAGE in `e`; always false. Columns count characters. */
__attribute__((format(printf, 3, 4))) bool place_error(err *e, place p, const char *fmt, ...);

#endif

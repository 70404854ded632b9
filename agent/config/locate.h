/* SPDX-License-Identifier: MIT
 *
 * Places in a JSON text, for messages: cJSON does not keep where its values stood. A text must be valid JSON up to the
 * place asked for. */
#ifndef CONFIG_LOCATE_H
#define CONFIG_LOCATE_H

#include <stddef.h>

#include "config/err_list.h"

/* Where a value begins in a text. */
typedef struct place {
	const char *name; /* of the text: a file, a variable or a flag */
	const char *text; /* NUL-terminated */
	size_t at;
	const char *lines; /* a text of the same length, by which lines and columns are counted; NULL: `text` itself */
} place;

/* True if the text was not JSON, and was mended so that checking could go on (mend.h): a value may be taken for a name
 * then. Do not repeat such a name, because it may be a credential. */
static inline bool place_mended(place p)
{
	return p.lines;
}

/* Finds the `index`th member or element of the object or array at `p`: its value, or its name if `key`.
 * Returns `p` if there is none. */
place place_child(place p, int index, bool key);

/* Writes NAME:LINE:COLUMN: MESSAGE to `e`; always false. Columns count characters. */
__attribute__((format(printf, 3, 4))) bool place_error(err *e, place p, const char *fmt, ...);

/* What becomes of problems. Strict: each is an error. Lenient: each is a warning. */
typedef struct problems {
	bool strict;
	err_list *all; /* strict: the errors so far */
	err *e;        /* set if memory runs out, which ends the checks */
} problems;

/* Reports a problem at `p`. Strict: adds it to the errors. Lenient: writes it to the log, with what is done `instead`.
 * True: checking goes on, as if `instead` had been written. False: there are ERRORS_MAX errors, which is enough. */
__attribute__((format(printf, 4, 5))) bool problem(const problems *to, place p, const char *instead, const char *fmt,
						   ...);

#endif

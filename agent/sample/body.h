/* SPDX-License-Identifier: MIT
 *
 * The parts of a body that are at hand, and the readers for each kind of body. */
#ifndef SAMPLE_BODY_H
#define SAMPLE_BODY_H

#include "sample/name.h"

/* A body is its head alone, or its head, unseen bytes, and its tail. */
typedef struct body_view {
	slice head; /* from the first byte on */
	slice tail; /* the last bytes; only set where it is KNOWN that they are the last, and bytes are missing before
		       them */
	bool gap;   /* bytes between head and tail, or behind the head, are missing */
	bool ended; /* the body is known to end where the head (without a gap) or the tail does. When neither `gap` nor
		     * `ended` is set, more may or may not follow */
} body_view;

/* What a reader says. Mentions of a model are in `named`; these tell how much can be built on that. */
typedef enum body_end {
	BODY_ALL,  /* all that could name a model was looked at */
	BODY_PART, /* bytes that could name one are missing */
	BODY_BAD,  /* not well-formed; *detail says how */
} body_end;

/* `must`: the body says it is JSON; a body that says nothing of the kind is only read as JSON when it begins with '{'.
 */
body_end body_json(const body_view *view, bool must, named *n, const char **detail);

/* multipart/form-data and application/x-www-form-urlencoded: fields `model` and `stream`. */
body_end body_multipart(const body_view *view, slice ctype, named *n, const char **detail);
body_end body_urlencoded(const body_view *view, named *n, const char **detail);

#endif

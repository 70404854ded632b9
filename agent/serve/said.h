/* SPDX-License-Identifier: MIT
 *
 * What another process of this host says in a datagram: one JSON object of numbers and short texts. */
#ifndef SERVE_SAID_H
#define SERVE_SAID_H

#include "base/json.h"

typedef struct said_number {
	slice name;
	int64_t *to;
} said_number;

typedef struct said_text {
	slice name;
	char *to;
	size_t room;
} said_text;

/* Copies a string into `out` (`room` bytes), its escapes as they are; what is not printable becomes "?". Another value
 * is "". */
void said_copy(char *out, size_t room, const json_member *m);

/* Sets those members that `datagram` has, and leaves the others as they are. False: it is no object, or one of the
 * numbers is none, or below 0. */
bool said_read(slice datagram, const said_number *numbers, size_t numbers_count, const said_text *texts,
	       size_t texts_count);

#endif

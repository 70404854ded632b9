/* SPDX-License-Identifier: MIT
 *
 * The bytes of a body that HAProxy sent, and the readers for each kind of body. */
#ifndef SAMPLE_BODY_H
#define SAMPLE_BODY_H

#include "base/json.h"
#include "sample/name.h"

/* A body is seen as its head alone; or as its head and its tail, with bytes missing between them. */
typedef struct body_view {
	slice head; /* starts at the first byte of the body */
	slice tail; /* the last bytes; set only if they are KNOWN to be the last, and bytes before them are missing */
	bool gap;   /* bytes are missing between head and tail, or behind the head */
	bool ended; /* the body is known to end with the tail; without a gap, with the head. If neither `gap` nor
		       `ended` is set, nobody knows whether more bytes follow */
} body_view;

/* How much of a body a reader read. The models that the body names are in `mentions`. */
typedef enum body_result {
	BODY_ALL,  /* everything that could name a model was read */
	BODY_PART, /* bytes that could name one are missing */
	BODY_CUT,  /* the value of a member or field that names the model is cut, whatever others name */
	BODY_BAD,  /* not well-formed; *detail says how */
} body_result;

/* True if `s` is empty, or holds only white space (the same four bytes in JSON and in a form). */
static inline bool body_blank(slice s)
{
	return json_skip_space(s, 0) == s.len;
}

/* True for an object that some upstreams can read but these readers cannot: it is in UTF-16 or UTF-32, or behind blanks
 * and invisible characters that are no white space of JSON, which some servers trim. */
bool body_hidden(slice head);
#define BODY_HIDDEN "the body is not in UTF-8, or begins with a character that is no white space of JSON"

/* Reads a JSON body. `must`: its content-type says JSON; without that, a body is read as JSON only if it begins with
 * '{'. */
body_result body_json(const body_view *view, bool must, mentions *found, const char **detail);

/* Compares the decoded name of a form's field with `name`. True: some parser takes the field for `name`, because that
 * parser ignores case, or blanks or a question mark in front, ends the name at a NUL, or makes a list of "name[]";
 * *same: it is exactly `name`. */
bool field_like(slice field, slice name, bool *same);

/* Read the fields `model` and `stream` of multipart/form-data and application/x-www-form-urlencoded. */
body_result body_multipart(const body_view *view, slice ctype, mentions *found, const char **detail);
body_result body_urlencoded(const body_view *view, mentions *found, const char **detail);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Reads one JSON document that arrives in pieces, each byte once. The outermost value is an object or an array. Nothing
 * is allocated, nothing recurses, and where the pieces begin and end makes no difference.
 *
 * What is checked. Of all that tokens are made of, the whole grammar, but not that strings are UTF-8; NaN, Infinity and
 * -Infinity are taken, as json.h does. Of objects and arrays that are skipped, only that strings end and brackets
 * balance, and that no control character stands in a string. */
#ifndef BASE_JSON_PUSH_H
#define BASE_JSON_PUSH_H

#include "base/json.h"

enum {
	JSON_PUSH_TEXT_MAX = 64,  /* bytes of a name, string or number that a token has at most */
	JSON_PUSH_DEPTH_MAX = 64, /* brackets open at one time; inside a skipped value JSON_DEPTH_MAX more */
};

typedef enum json_push_token {
	JSON_PUSH_MORE,  /* the piece is used up */
	JSON_PUSH_KEY,   /* a member's name: `text`, as written, without its quotes */
	JSON_PUSH_OPEN,  /* an object or array (`type`) begins */
	JSON_PUSH_CLOSE, /* the innermost object or array ends; json_push_done(): the outermost one */
	JSON_PUSH_VALUE, /* a string, number or literal (`type`): `text`, as written, without quotes */
	JSON_PUSH_PART,  /* `text`: the next part of what json_push_take() asked for; with `whole`, the last part */
	JSON_PUSH_BAD,   /* not JSON; all that follows gives JSON_PUSH_BAD, too */
} json_push_token;

typedef struct json_push {
	slice text; /* valid until the next call */
	json_type type;
	bool cut;     /* `text` has only the first JSON_PUSH_TEXT_MAX bytes */
	bool escaped; /* `text` has escapes */
	bool whole;
	/* What follows is for json_push.c alone. */
	unsigned char state, mode, hex, depth, base, kept;
	bool key, begun;
	char closing;
	unsigned short nested;
	const char *word;
	uint64_t arrays;               /* a bit for each open bracket: it is an array's */
	char room[JSON_PUSH_TEXT_MAX]; /* what earlier pieces had of `text` */
} json_push;

void json_push_init(json_push *j);

/* Reads the next token from `*piece`, and takes what was read off its beginning. */
json_push_token json_push_next(json_push *j, slice *piece);

/* After a KEY: no token comes for the value that follows. After an OPEN: none for what is inside, CLOSE included. */
void json_push_skip(json_push *j);

/* After a KEY: the value that follows comes in PARTs, as written, quotes and brackets included. */
void json_push_take(json_push *j);

/* True if the document is complete. Behind it only white space may stand. */
bool json_push_done(const json_push *j);

#endif

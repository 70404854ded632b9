/* SPDX-License-Identifier: MIT
 *
 * The places at which an answer tells of its usage, in one table for all that read answers. Only what stands at its own
 * place counts. What an answer echoes elsewhere (tools, metadata, a tool's input) does not, whatever it looks like.
 * ledger/usage_shape.h says what the counts mean. */
#ifndef ANSWER_PLACE_H
#define ANSWER_PLACE_H

#include "base/slice.h"

/* Where an object comes from; each has a table of its own. */
typedef enum place_in {
	IN_ANSWER,  /* it is all of an answer */
	IN_EVENT,   /* of an event stream */
	IN_LINE,    /* of NDJSON */
	IN_ELEMENT, /* of an array that grows: Gemini without alt=sse */
	IN_MESSAGE, /* of Bedrock's event stream: Converse, or what wraps a chunk */
	IN_CHUNK,   /* of Bedrock's event stream: what a model's own API calls an event */
} place_in;

typedef enum place_what {
	PLACE_PATH,    /* nothing by itself: what counts is inside */
	PLACE_USAGE,   /* a usage object, or null */
	PLACE_META,    /* an object that is usage if it has billed_units or tokens */
	PLACE_METRICS, /* Bedrock's own counts */
	PLACE_OLLAMA_IN,
	PLACE_OLLAMA_OUT,
	PLACE_LLAMA_IN,
	PLACE_LLAMA_OUT,
	PLACE_TITAN_IN,
	PLACE_TITAN_OUT,
	PLACE_VERTEX,
	PLACE_PICTURE,
	PLACE_TEXT,
	PLACE_SECONDS,
	PLACE_TIER,
	/* Of streams only: */
	PLACE_TYPE,    /* a name of the event */
	PLACE_CONTENT, /* text, reasoning, a tool's arguments, unless it is empty */
	PLACE_CHOICE,  /* a part of the answer that ends by itself */
	PLACE_INDEX,   /* its number: not 0 if the answer has several such parts */
	PLACE_FINISH,  /* not null where that part ends */
	PLACE_STOP,    /* the same, but some of Gemini's models write it into every event */
	PLACE_STOPPED, /* why the whole answer has ended; null before that */
	PLACE_DONE,    /* true in the last line */
	PLACE_ERROR,
	PLACE_BASE64, /* an event, in base64 */
} place_what;

typedef struct place {
	slice name;
	place_what what;
	unsigned char rank; /* of two usages in one object, the one of the higher rank counts */
	bool list;          /* the value is an array, and `inside` is of the objects in it */
	const struct places *inside;
} place;

typedef struct places {
	uint64_t marks; /* a bit for each name; most other names have no such bit */
	size_t count;
	const place *rows;
} places;

#define PLACE_MARK(letter, len) (UINT64_C(1) << (((unsigned)(unsigned char)(letter)*5u + (unsigned)(len)*11u) % 64u))

/* Returns the places in the outermost object. */
const places *place_outermost(place_in in);

const place *place_search(const places *table, slice key, bool escaped);

/* Returns the place that a member's name means; NULL: none. `key` is the name as written; `escaped`: it may have
 * escapes. */
static inline const place *place_find(const places *table, slice key, bool escaped)
{
	if (key.len == 0 || (!escaped && !(table->marks & PLACE_MARK(key.ptr[0], key.len))))
		return NULL;
	return place_search(table, key, escaped);
}

#endif

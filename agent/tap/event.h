/* SPDX-License-Identifier: MIT
 *
 * Follows one JSON object of an answer, an event, while it arrives in pieces, and notes what it tells of the answer's
 * usage. Everything else is read once and forgotten. */
#ifndef TAP_EVENT_H
#define TAP_EVENT_H

#include "answer/counts.h"
#include "answer/place.h"
#include "base/json_push.h"

enum {
	EVENT_DEPTH_MAX = 8, /* more than the table of places has */
	EVENT_TIER_MAX = 16,
};

/* A text that grows to at most ANSWER_USAGE_MAX bytes. */
typedef struct event_text {
	char *ptr;
	unsigned short len, room;
} event_text;

typedef struct event_level {
	const places *inside; /* of the object that is open; NULL: it is a list */
	const place *list;    /* of the list that is open */
} event_level;

typedef struct event {
	event_text usage; /* after event_end(): what was told; empty: nothing */
	bool lost;        /* no JSON; or a usage object that is too large, is not UTF-8, or found no memory */
	bool content;     /* it carries text, reasoning or a tool's arguments */
	bool choices;     /* it has a list of choices or candidates, which is empty if `filled` is false */
	bool filled;
	bool several; /* it has a choice that is not the only one of the answer */
	bool finish;  /* a choice ends */
	bool stop;    /* a candidate of Gemini's may end */
	bool typed;   /* its type is named */
	bool last;    /* its type, or another sign, says that its usage is that of the whole answer */
	bool sums;    /* its type says that its usage is that of the answer so far */
	bool stopped; /* it says why the answer has ended */
	bool ends;    /* its type says that the answer has ended */
	bool error;
	unsigned char tier_len;
	char tier[EVENT_TIER_MAX];
	struct event *inner; /* the event that came in it, in base64; NULL: none has come yet */
	bool wraps;          /* this event has an inner one */
	/* What follows is for event.c alone. */
	place_in in;
	const place *at; /* of the member whose value comes next; NULL: it is of no account */
	unsigned char rank, spoiled, depth;
	place_what what; /* of the usage at hand */
	bool begins, taking, comparing, counting;
	unsigned short compared;
	unsigned char digits;
	uint32_t bits; /* of base64 */
	event_level path[EVENT_DEPTH_MAX];
	answer_counts counts;
	json_push json;
} event;

/* Begins an event; `in` says where its object comes from. The memory of `usage` and `inner` is used again, so `*e` has
 * to be zero before the first event. */
void event_begin(event *e, place_in in);

/* Reads on, until the piece is used up or the object is complete; takes what was read off the piece. */
void event_feed(event *e, slice *piece);

/* True if the object is complete. */
bool event_whole(const event *e);

/* Ends the event, whole or not. */
void event_end(event *e);

/* Returns the bytes that were allocated for the event, its own size not among them. */
size_t event_memory(const event *e);

/* Frees what was allocated for the event. */
void event_free(event *e);

/* Appends bytes, which do not have to be valid then. False: no memory, or the text would be too long. */
bool event_text_add(event_text *t, slice bytes);

#endif

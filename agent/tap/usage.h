/* SPDX-License-Identifier: MIT
 *
 * Reads the body of an answer while it passes, in pieces of any size, and keeps nothing of it but the usage that it
 * tells. The result does not depend on where the pieces begin and end. Only what stands at its own place counts; what a
 * model writes, or what an answer echoes, does not, whatever it looks like. answer/place.h has the places.
 *
 *   content type                              how the body is divided
 *   ----------------------------------------  ------------------------------------------------------------------------
 *   text/event-stream                         events: lines `data: {...}`, which end with CR, LF or both
 *   application/x-ndjson and its other names  an object in each line
 *   application/json                          one object of any size; or an array that grows, an object for each event
 *   application/vnd.amazon.eventstream        Bedrock's messages: JSON, or JSON with an event in base64
 *   any other                                 nothing is read, and nothing is told
 */
#ifndef TAP_USAGE_H
#define TAP_USAGE_H

#include "base/slice.h"

/* Bytes that a reader allocates at most, whatever the answer is. The usual one is at 1 to 2 KB. */
#define TAP_USAGE_MEMORY_MAX 6144

typedef struct tap_usage {
	struct tap_usage_state *state; /* allocated with the first byte */
	unsigned char framing;
	bool lost;
	bool unframed; /* nothing but the end of its connection ends the body; set by the caller before tap_usage_end()
			*/
} tap_usage;

/* What an answer told. The slices point into the reader: they are valid until it is freed. */
typedef struct tap_usage_told {
	slice first, last; /* the first and the last usage object, each valid JSON of at most ANSWER_USAGE_MAX bytes;
			      the same object if there is one only; empty: none */
	slice tier;        /* a service tier that was told beside the usage, [A-Za-z0-9_.-]{1,16}; empty: not told */
	uint64_t events;   /* events, lines or messages; 1 for an answer that is one object */
	uint64_t content;  /* events that carry text, reasoning or arguments of tools: about a token each */
	bool final;        /* `last` has the sums of the whole answer: the figures are exact */
	bool lost; /* the reader gave up: the body is coded, malformed, or has a usage object that is too large. What
		      was told before is there; `final` still means what it says. */
} tap_usage_told;

/* Begins to read an answer with these headers. Allocates nothing. */
void tap_usage_begin(tap_usage *u, slice content_type, slice content_encoding);

/* Reads the next bytes of the body (without transfer coding). Never fails: what cannot be read is lost. */
void tap_usage_feed(tap_usage *u, slice bytes);

/* Ends the answer and sets `*told`. `whole`: the body is complete, as its framing says; false: it was cut. */
void tap_usage_end(tap_usage *u, bool whole, tap_usage_told *told);

/* Returns the bytes that are allocated now. */
size_t tap_usage_memory(const tap_usage *u);

/* Frees what was allocated. tap_usage_begin() may follow. */
void tap_usage_free(tap_usage *u);

#endif

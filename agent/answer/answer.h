/* SPDX-License-Identifier: MIT
 *
 * Finds what an answer tells of its usage in a text that is there as a whole, for the answers that haproxy.cfg.example
 * does not read by itself. answer/place.h has the places that count; answer/counts.h makes usage objects of answers
 * that have none; tap/usage.h reads answers that pass. */
#ifndef ANSWER_ANSWER_H
#define ANSWER_ANSWER_H

#include "base/slice.h"

enum {
	ANSWER_USAGE_MAX = 1280, /* bytes of a usage object; real ones have a few hundred */
	ANSWER_TIER_MAX = 16,
};

typedef enum answer_kind {
	ANSWER_JSON,  /* one object; or an array of them, whose last one tells all */
	ANSWER_LINES, /* an object in each line; the last one tells all */
	ANSWER_FIRST, /* the beginning of an event stream, or of an array of JSON that grows */
} answer_kind;

typedef struct answer_told {
	char usage[ANSWER_USAGE_MAX];
	size_t usage_len; /* 0: nothing was told, or two different things */
	slice tier;       /* service_tier beside the usage; points into the text; empty: not told */
	bool settled; /* of ANSWER_FIRST: the first event is there, so that waiting for more of it tells nothing new */
} answer_told;

/* Reads `text`, which may be cut. A usage object that is longer than ANSWER_USAGE_MAX is cut; that of an answer that is
 * cut lacks its end. */
void answer_read(slice text, answer_kind kind, answer_told *told);

/* True if a Content-Type header says that a body has an object in each line. */
bool answer_is_lines(slice content_type);

#endif

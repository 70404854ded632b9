/* SPDX-License-Identifier: MIT
 *
 * One ended request: the row of the ledger. Made from HAProxy's log line, completed by usage.h and price.h, written to
 * the journal, stored in SQLite.
 *
 * Money is integer nano-dollars, time is milliseconds since 1970 (UTC). A count that is not known is -1. */
#ifndef LEDGER_RECORD_H
#define LEDGER_RECORD_H

#include "base/slice.h"

enum {
	RECORD_ID_MAX = 64,    /* bytes of a unique-id */
	RECORD_LABEL_MAX = 64, /* bytes of a project, a client, a route, a refusal code */
	RECORD_MODEL_MAX = 256,
	RECORD_BACKEND_MAX = 128,
	RECORD_LINE_MAX = 8192, /* bytes of a log line: what the example's ring and log targets take */
};

/* Where the token counts come from. */
typedef enum usage_from {
	USAGE_NONE,      /* no usage, and none expected: refused, no answer, an endpoint without tokens */
	USAGE_REPORTED,  /* by the upstream, all of it */
	USAGE_PARTIAL,   /* by the upstream, input and cache only; output is a lower bound */
	USAGE_ESTIMATED, /* output (or all) derived from bytes */
} usage_from;

/* Where the price comes from. */
typedef enum price_from {
	PRICE_NONE,     /* nothing to price: no tokens */
	PRICE_TABLE,    /* the operator's price file or the one that ships with the project */
	PRICE_UNPRICED, /* tokens without a price: counted, and no dollars invented */
} price_from;

typedef struct record {
	char id[RECORD_ID_MAX + 1];
	int64_t time_ms; /* when the request arrived */
	char route[RECORD_LABEL_MAX + 1];
	char backend[RECORD_BACKEND_MAX + 1];
	char protocol[16]; /* openai, anthropic, gemini: the shape of the endpoint */
	char model[RECORD_MODEL_MAX + 1];
	char project[RECORD_LABEL_MAX + 1];
	char client[RECORD_LABEL_MAX + 1];
	char code[RECORD_LABEL_MAX + 1]; /* why it was refused; "" when it was not */
	char termination[8];             /* HAProxy's termination state */
	int32_t status;
	bool stream;
	int64_t bytes_in, bytes_out; /* of the bodies and heads, as HAProxy counts them */
	int64_t ttfb_ms, total_ms;   /* to the response's head; to the end */

	int64_t input, output, cache_read, cache_write; /* tokens; input is what was not cached */
	int64_t saved; /* tokens a Headroom upstream took out; negative: it added some. 0 when it says nothing */
	usage_from usage;

	int64_t cost;                                          /* nano-dollars */
	int64_t saved_compression, saved_cache, saved_routing; /* nano-dollars; may be negative */
	price_from price;
} record;

const char *usage_from_name(usage_from from); /* none, reported, partial, estimated */
const char *price_from_name(price_from from); /* none, table, unpriced */

#endif

/* SPDX-License-Identifier: MIT
 *
 * A record: what the ledger keeps of one ended request. logline.h makes it from HAProxy's log line, usage.h and price.h
 * complete it, the journal and then SQLite store it.
 *
 * Money is in integer nano-dollars, time in milliseconds since 1970 (UTC). A count that is not known is -1. */
#ifndef LEDGER_RECORD_H
#define LEDGER_RECORD_H

#include "base/traceparent.h"

enum {
	RECORD_ID_MAX = 64,    /* bytes of a unique-id */
	RECORD_LABEL_MAX = 64, /* bytes of a project, a client, a route, a refusal code */
	RECORD_MODEL_MAX = 256,
	RECORD_BACKEND_MAX = 128,
	RECORD_LINE_MAX = 8192,    /* bytes of a log line, as in haproxy.cfg.example */
	RECORD_OPERATION_MAX = 24, /* bytes of an operation */
	RECORD_MEMBER_MAX = 32,    /* bytes of the name of a pool's member */
	RECORD_WHY_MAX = 11,       /* bytes of the reason why a member did not serve: "unreachable" is the longest */
	RECORD_ATTEMPTS_MAX = 16,
	RECORD_TRIED_MAX = (RECORD_ATTEMPTS_MAX - 1) * (RECORD_MEMBER_MAX + RECORD_WHY_MAX + 2) - 1, /* bytes */
};

/* A larger count of tokens for one request is nonsense. */
#define USAGE_TOKENS_MAX INT64_C(1000000000000)

/* Where the token counts come from. */
typedef enum usage_from {
	USAGE_NONE,      /* no usage, and none expected: refused, no answer, an endpoint without tokens */
	USAGE_REPORTED,  /* the upstream reported all of them, in what HAProxy saw of the answer */
	USAGE_PARTIAL,   /* the upstream reported some; output is a lower bound */
	USAGE_ESTIMATED, /* output, or all of them, are estimated from bytes */
	USAGE_UNKNOWN,   /* a model ran, or may have run, and nothing tells how many: the counts are -1 */
	USAGE_STREAM,    /* the upstream reported all of them, at the end of an answer that the tap has read */
} usage_from;

/* What is known of an answer by the tap (tap_report.h). */
typedef enum tap_state {
	TAP_NOT,     /* the answer did not go through the tap */
	TAP_TOLD,    /* the tap has read a usage, or a part of one */
	TAP_UNTOLD,  /* the tap has read the whole answer: it has content, and tells no usage */
	TAP_MISSING, /* the answer went through the tap, whose report has not come */
	TAP_NOTHING, /* the tap has read no usage: the answer broke off, could not be read, or has no content */
} tap_state;

/* Where the price comes from. */
typedef enum price_from {
	PRICE_NONE,     /* no tokens, or it is not known how many, so nothing to price */
	PRICE_TABLE,    /* the operator's price file, the one that ships, or what the provider says it asks for */
	PRICE_UNPRICED, /* the table has no price for these tokens: cost and savings are 0 */
	PRICE_PARTIAL,  /* the table prices a part of them: `price_missing` names the rest; cost is rough */
} price_from;

/* How a request is paid for. OTHER: neither at the standard price, nor at one that a price file has. */
typedef enum service_tier { TIER_STANDARD, TIER_BATCH, TIER_FLEX, TIER_PRIORITY, TIER_OTHER } service_tier;

/* What some models price apart, as the upstream told it; -1: it told nothing of it. usage.h sets the members and
 * price.h reads them; they are not kept in the ledger. */
typedef struct usage_parts {
	int64_t audio_input, image_input, video_input; /* tokens, counted in `input` of the record too */
	int64_t audio_read;                            /* tokens, counted in `cache_read` too */
	int64_t audio_output, image_output, reasoning; /* tokens, counted in `output` too */
	int64_t write_1h;   /* tokens, counted in `cache_write` too: those kept for an hour */
	int64_t images;     /* pictures that were made */
	int64_t characters; /* of a text that was spoken */
	int64_t audio_ms;   /* milliseconds of audio that were heard */
	int64_t searches;   /* search units of a rerank, searches of the web */
	int64_t cost;       /* nano-dollars that the provider says it asks for */
	service_tier tier;
} usage_parts;

static inline usage_parts usage_parts_untold(void)
{
	return (usage_parts){ -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, TIER_STANDARD };
}

typedef struct record {
	char id[RECORD_ID_MAX + 1];
	int64_t time_ms; /* when the request arrived */
	char route[RECORD_LABEL_MAX + 1];
	char backend[RECORD_BACKEND_MAX + 1];
	char protocol[16]; /* of the endpoint: openai, anthropic or gemini */
	char model[RECORD_MODEL_MAX + 1];
	char project[RECORD_LABEL_MAX + 1];
	char client[RECORD_LABEL_MAX + 1];
	char code[RECORD_LABEL_MAX + 1]; /* why the request was refused; "": it was not */
	char termination[8];             /* HAProxy's termination state */
	int32_t status;
	bool stream;
	int64_t bytes_in, bytes_out; /* of request and response with their heads, as HAProxy counts them */
	int64_t ttfb_ms, total_ms;   /* from the request's arrival to the response's head, and to the end */

	int64_t input, output, cache_read, cache_write; /* tokens; `input` without the cached ones */
	int64_t saved; /* tokens that a Headroom upstream took out; negative: it added some; 0: it says nothing */
	usage_from usage;

	int64_t cost;                                          /* nano-dollars */
	int64_t saved_compression, saved_cache, saved_routing; /* nano-dollars; may be negative */
	price_from price;
	/* For PRICE_PARTIAL the kinds without a price, as "audio_input,write_1h"; else "". */
	char price_missing[RECORD_LABEL_MAX + 1];
	tap_state tap;

	/* Of a request that went to a pool; else empty and 0. See tried.h. */
	char member[RECORD_MEMBER_MAX + 1]; /* whose answer the client got; if there was no answer: the first one */
	int64_t attempts;                   /* how many members were tried, at most RECORD_ATTEMPTS_MAX */
	char tried[RECORD_TRIED_MAX + 1];   /* those before `member`, and why they did not serve */

	/* What the model was asked for, as OpenTelemetry names it: chat, generate_content, text_completion, embeddings,
	 * or a name of ours where it has none. "": the endpoint runs no model, or it was not told. */
	char operation[RECORD_OPERATION_MAX + 1];
	char traceparent[TRACEPARENT_LEN + 1]; /* the client's, if HAProxy passed it on (LLM_TRACE); else "" */

	bool keyed;       /* project and client are those of the key that the request had */
	int64_t charged;  /* nano-dollars of the budget that it took beside `cost` while record_is_settled() is false.
			     Set by the store when the row is added; not in the journal */
	int64_t sequence; /* number of the last change of its row, as store_changes() and store_export() read it; not in
			     the journal */
} record;

/* Whether the counts of `r` are all that will be known of what it used. They are not if its usage is unknown; if its
 * answer broke off before the upstream told the input, which is 0 then; and if they are estimates until the tap's
 * report comes. */
bool record_is_settled(const record *r);
const char *usage_from_name(usage_from from); /* none, reported, partial, estimated, unknown, stream */
const char *price_from_name(price_from from); /* none, table, unpriced, partial */
const char *tap_state_name(tap_state state);  /* no, told, untold, missing, nothing */

#endif

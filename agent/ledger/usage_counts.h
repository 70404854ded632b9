/* SPDX-License-Identifier: MIT
 *
 * Reads the members of a usage object, by the names that providers give them. usage_shape.h has the table of providers,
 * and says what the counts mean. */
#ifndef LEDGER_USAGE_COUNTS_H
#define LEDGER_USAGE_COUNTS_H

#include "base/must_check.h"
#include "ledger/record.h"

/* The counts that a usage object may hold, by the names that providers give them. */
typedef enum count_kind {
	PROMPT,
	COMPLETION,
	TOTAL,
	CACHED,       /* part of the prompt */
	CACHED_WRITE, /* part of the prompt */
	INPUT,
	OUTPUT,
	READ, /* Anthropic's are beside the input */
	WRITE,
	WRITE_5M,
	WRITE_1H,
	GEMINI_PROMPT,
	GEMINI_OUTPUT,
	GEMINI_THOUGHTS,
	GEMINI_TOOL,
	GEMINI_TOTAL,
	GEMINI_CACHED,
	BEDROCK_INPUT,
	BEDROCK_OUTPUT,
	BEDROCK_READ,
	BEDROCK_WRITE,
	PLAIN_INPUT, /* these two: shapes that tell nothing else, such as Ollama's */
	PLAIN_OUTPUT,
	BILLED_INPUT, /* Cohere */
	BILLED_OUTPUT,
	COHERE_INPUT,
	COHERE_OUTPUT,
	REASONING,
	THINKING, /* Anthropic */
	AUDIO_INPUT,
	IMAGE_INPUT,
	VIDEO_INPUT,
	AUDIO_READ,
	AUDIO_OUTPUT,
	IMAGE_OUTPUT,
	IMAGES,
	SEARCHES,
	COUNTS,
} count_kind;

enum { COUNTS_NOTES = 32 };

/* The numbers that counts_read() has read of an object. */
typedef struct counts_notes {
	unsigned count;
	bool depends;   /* a count depends on more than one number */
	uint64_t kinds; /* a bit for each that was told */
	struct {
		slice number;
		count_kind kind; /* COUNTS: it means nothing here */
	} each[COUNTS_NOTES];
} counts_notes;

typedef struct counts {
	int64_t n[COUNTS];  /* -1: absent, or invalid */
	int64_t cost, byok; /* nano-dollars; -1: absent */
	int64_t audio_ms;   /* -1: absent */
	service_tier tier;
	bool details;        /* Responses: input_tokens_details, or reasoning inside output_tokens_details */
	bool anthropic;      /* a member named cache_*_input_tokens or cache_creation */
	bool own_key;        /* OpenRouter: the provider asks its own price, beside `cost` */
	bool bad;            /* a count is invalid */
	counts_notes *notes; /* of counts_read() */
} counts;

/* Reads `object`, which may be cut. `notes`: also gets each number that alone decides its count; NULL: none. A count
 * that is negative, above USAGE_TOKENS_MAX, no whole number or no number at all is invalid; 1000.0 and 1e3 are whole.
 * False: it is no JSON. */
MUST_CHECK bool counts_read(counts *c, slice object, counts_notes *notes);

/* Adds to `last` what `first` told, an earlier usage object of the same stream. Anthropic tells input at the beginning,
 * and output at the end; its other counts only grow. Of other shapes the last object has everything: `last` stays as it
 * is.
 */
void counts_merge(counts *last, const counts *first);

/* Returns the tier of this name, in any provider's spelling. */
service_tier usage_tier(slice name);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Token counts out of what an upstream reported. HAProxy hands over the bytes that follow the last `"usage"` or
 * `"usageMetadata"` of what it holds of a response: ` : {object} and whatever comes after, or a cut object`.
 *
 * Understood are OpenAI's chat completions and what follows them (cached tokens also as DeepSeek, Moonshot, OpenRouter
 * and LiteLLM name them; reasoning tokens that x.ai counts beside the completion), OpenAI's Responses and audio,
 * Anthropic's messages (also of Bedrock and Vertex), Bedrock's Converse and Gemini. Which it is, is told by the members
 * that are there; only `input_tokens` without any that tells is decided by r->protocol (and then nothing is cached, so
 * that it counts the same).
 *
 * What becomes of the record:
 *
 *   response                      reported                                 usage      input             output
 *   refused or no success         -                                        NONE       0                 0
 *   not a stream                  whole object                             REPORTED   as reported       as reported
 *                                 whole object, a count missing or invalid PARTIAL    0 if missing      0 if missing
 *                                 cut object                               PARTIAL    what is complete  what is
 * complete nothing                                  NONE       0                 0 stream, its end seen (1)      whole
 * object                             REPORTED   as reported       as reported stream                        input
 * ESTIMATED  as reported       estimated (2) input, and bytes_out is not known        PARTIAL    as reported       what
 * was seen nothing                                  ESTIMATED  estimated         estimated
 *
 * (1) The fragment goes on to `data: [DONE]`, `event: message_stop` or the end of Gemini's array, or is of Responses,
 * which tell usage at the end only. A line begins with a raw line feed, which no JSON string can hold, so text cannot
 * fake it. (2) Never below what the beginning of the stream has reported already.
 *
 * Counts are never negative and never unknown (-1): a missing one is 0, and `usage` says so. A count that is negative,
 * beyond USAGE_TOKENS_MAX, a fraction or a string is missing. Cached tokens beyond the whole prompt are cut to it,
 * reads first.
 *
 * How output is estimated: bytes of the response, less those of its head and its fixed events, by the bytes that carry
 * one token, by provider (constants with their measurements in usage.c). Real streams lie within a factor of two.
 * Reasoning that is not streamed is not seen. Input: what Headroom said it sent (`after`), else the request's bytes by
 * four; images count too high. */
#ifndef LEDGER_USAGE_H
#define LEDGER_USAGE_H

#include "ledger/record.h"

/* More tokens than this in one request is nonsense. */
#define USAGE_TOKENS_MAX INT64_C(1000000000000)

typedef struct usage_hints {
	bool stream;       /* the response was an event stream, of which only the beginning was seen */
	bool ok;           /* the status was a success, so that tokens were used */
	int64_t bytes_out; /* of the response; -1 not known */
	int64_t bytes_in;  /* of the request; -1 not known */
	slice headroom_before, headroom_after, headroom_saved; /* x-headroom-tokens-* as text; empty: absent */
} usage_hints;

/* Sets input, output, cache_read, cache_write, saved and usage of `r` from `fragment` (may be empty) and the hints;
 * r->protocol, r->model and r->stream are set already. Normalised for every provider: input is uncached input, cache
 * reads and writes apart. A fragment that is no object, or has no count in it, is no usage. `saved` is headroom_saved,
 * else before less after (negative when the prompt grew), else 0. */
void usage_apply(record *r, slice fragment, const usage_hints *hints);

#endif

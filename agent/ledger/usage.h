/* SPDX-License-Identifier: MIT
 *
 * Makes a record's tokens from what an upstream told. HAProxy hands over the usage object that stands where its
 * provider puts it in the answer, or what the agent made of other shapes (answer/answer.h). In lines of version 1, what
 * followed the object in the answer may follow it. usage_shape.h has the table of providers.
 *
 * What becomes of the record:
 *
 *   response                   reported                                   usage      input             output
 *   refused or no success      -                                          NONE       0                 0
 *   not a stream               whole object                               REPORTED   as reported       as reported
 *                              whole object, a count missing or invalid   PARTIAL    0 if missing      0 if missing
 *                              whole object, counts that contradict (3)   PARTIAL    as reported       as reported
 *                              cut object                                 PARTIAL    what is complete  what is complete
 *                              nothing                                    NONE       0                 0
 *   stream, its end seen (1)   whole object                               REPORTED   as reported       as reported
 *   stream                     input                                      ESTIMATED  as reported       estimated (2)
 *                              input, and bytes do not tell the output     PARTIAL   as reported       what was seen
 *                              nothing                                    ESTIMATED  estimated         estimated
 *                              nothing, and bytes do not tell             NONE       0                 0
 *
 * (1) The bytes go on to `data: [DONE]`, `event: message_stop` or the end of Gemini's array; or the object is in the
 *     shape of Responses, which report usage at the end only. A line of a stream begins with a raw line feed,
 *     which no JSON string can hold, so the text of an answer cannot fake an end.
 *
 * (2) But at least what the beginning of the stream has reported already.
 *
 * (3) The total is larger than input and output, so there are tokens that no count has; more tokens are cached than the
 *     prompt has; or two names of one count have two values.
 *
 * Counts are never negative and never unknown (-1) here: a missing or invalid one is 0, and `usage` tells that it was
 * missing. If more tokens are cached than the prompt has, cache_read is cut to the prompt, and cache_write to what is
 * then left of it.
 *
 * How output is estimated: the bytes of the response without its head and its fixed events, divided by the bytes that
 * carry one token at this provider (usage.c has the constants and how they were measured). Real streams lie within a
 * factor of two. Reasoning that is not streamed is not seen. Input is what Headroom said it sent (`headroom_after`),
 * else a quarter of the body's bytes.
 *
 * An estimate is no more than the model takes or gives. Bytes tell nothing where they are not text: output is not
 * estimated from a compressed response, nor for a model that answers with audio or pictures; input is not if the body
 * holds base64 (pictures, audio, files), is compressed, or was not seen whole. If nothing was reported, and one of the
 * two cannot be estimated, the usage is NONE, and unknown.h decides what that means. */
#ifndef LEDGER_USAGE_H
#define LEDGER_USAGE_H

#include "ledger/price.h"
#include "ledger/tap_report.h"

typedef struct usage_hints {
	bool stream;       /* the response was a stream, and no more than its beginning was seen */
	bool all;          /* all of the response was seen; false: no, or it is not known */
	bool first;        /* the first event was seen, and no more: its counts are not the last ones */
	bool coded;        /* the response was compressed, so its bytes tell nothing of its length */
	bool ok;           /* the status was a success, so tokens were used */
	int64_t bytes_out; /* of the response; -1: not known */
	int64_t bytes_in;  /* of the request; -1: not known */
	int64_t text;      /* bytes of its body if all that was seen is text; -1: some is not, or nobody looked */
	price_limits most; /* what the model takes and gives at most */
	slice headroom_before, headroom_after, headroom_saved; /* the headers x-headroom-tokens-*; empty: absent */
	slice tier;                  /* the service tier, if it was told beside the usage object; empty: it was not */
	const struct counts *counts; /* what the object tells, instead of a fragment; NULL: see the fragment */
} usage_hints;

/* Whether usage_apply() looks at hints->most. */
bool usage_needs_limits(const record *r, const usage_hints *hints);

/* Sets input, output, cache_read, cache_write, saved and usage of `r` from `fragment`, which may be empty, and from the
 * hints; r->protocol, r->model and r->stream are set already. The counts mean the same for every provider: `input` is
 * the input that was not cached, cache reads and writes are apart. A fragment without an object, or without a count in
 * it, is no usage. `saved` is headroom_saved, else headroom_before less headroom_after (negative: the prompt grew),
 * else 0. Sets `parts` to what the fragment tells of kinds that some models price apart. */
void usage_apply(record *r, slice fragment, const usage_hints *hints, usage_parts *parts);

/* Changes `r`, for which usage_apply() and unknown_apply() were called, by what the tap has read of its answer:
 *
 *   the tap has read                              usage      input                        output
 *   usage, the last one of the answer             STREAM     as reported                  as reported
 *   usage before the answer broke off             PARTIAL    as reported                  as reported, or events
 *   the same, and it does not tell the input      ESTIMATED  as before                    the same
 *   no usage, but content                         ESTIMATED  as before                    events
 *   the same, and the input is unknown            PARTIAL    0                            events
 *   anything else                                 as before
 *
 * "events" is the number of events with content: about a token each at OpenAI and what speaks its protocol. Counts that
 * are REPORTED stay, unless the tap's are STREAM. A second report of an answer changes nothing, unless it alone is
 * STREAM; after that none does. So it makes no difference how often, and in which order, log line and report come.
 *
 * Returns false if the counts stay as they are; r->tap may be another one. True: price_apply() has to follow, with
 * `parts`. */
MUST_CHECK bool usage_apply_report(record *r, const tap_report *report, usage_parts *parts);

#endif

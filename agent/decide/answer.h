/* SPDX-License-Identifier: MIT
 *
 * Finds what an answer tells of its usage, for the answers that haproxy.cfg.example does not read by itself. Only what
 * stands at its own place counts: a member of the outermost object, or of `message` in an event. What an answer echoes
 * elsewhere (tools, metadata, a tool's input) does not, whatever it looks like. ledger/usage_shape.h says what the
 * counts mean. */
/* clang-format off */
/*
 *   in the outermost object                                of                           becomes
 *   -----------------------------------------------------  ---------------------------  -------------------------------
 *   usage, usageMetadata; in an event message.usage too    most                         that object, as it is
 *   meta, with billed_units or tokens                      Cohere v1, embed, rerank     that object, as it is
 *   prompt_eval_count, eval_count                          Ollama                       {the two}
 *   prompt_token_count, generation_token_count             Llama on Bedrock             {the two}
 *   inputTextTokenCount, results[].tokenCount              Titan on Bedrock             {inputTextTokenCount,
 *                                                                                        outputTextTokenCount}
 *   predictions[].embeddings.statistics.token_count        Vertex AI's embeddings       {prompt_tokens, total_tokens}
 *   predictions[].bytesBase64Encoded                       Vertex AI's images           {images}
 *   data[].b64_json, data[].url                            images without usage         {images}
 *   text and duration                                      transcriptions without usage {type, seconds}
 */
/* clang-format on */
#ifndef DECIDE_ANSWER_H
#define DECIDE_ANSWER_H

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

#endif

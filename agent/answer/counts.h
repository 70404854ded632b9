/* SPDX-License-Identifier: MIT
 *
 * Makes a usage object of an answer that has none: of counts that stand by themselves, or of what the answer gives.
 *
 *   in the outermost object                                of                           becomes
 *   -----------------------------------------------------  ---------------------------  -------------------------------
 *   prompt_eval_count, eval_count                          Ollama                       {the two}
 *   prompt_token_count, generation_token_count             Llama on Bedrock             {the two}
 *   inputTextTokenCount, results[].tokenCount              Titan on Bedrock             {inputTextTokenCount,
 *                                                                                        outputTextTokenCount}
 *   predictions[].embeddings.statistics.token_count        Vertex AI's embeddings       {prompt_tokens, total_tokens}
 *   predictions[].bytesBase64Encoded                       Vertex AI's images           {images}
 *   data[].b64_json, data[].url                            images without usage         {images}
 *   text and duration                                      transcriptions without usage {type, seconds}
 *   amazon-bedrock-invocationMetrics                       Bedrock's event stream       {inputTokens, ...}
 */
#ifndef ANSWER_COUNTS_H
#define ANSWER_COUNTS_H

#include "answer/place.h"
#include "base/json.h"

enum {
	COUNTS_TEXT_MAX = 256, /* bytes of an object that is made here */
};

typedef struct answer_counts {
	int64_t ollama_in, ollama_out, llama_in, llama_out, titan_in, titan_out, vertex, images; /* -1: not told */
	unsigned elements, counted; /* of a list in which each element has a count */
	bool picture;               /* the element at hand is counted as a picture */
	bool text;
	unsigned char seconds_len;
	char seconds[JSON_NUMBER_MAX];
} answer_counts;

void counts_init(answer_counts *c);

/* The next element of a list begins. */
void counts_element(answer_counts *c);

/* Takes the value of a place. `value` is a number as written; of other types it does not matter. */
void counts_take(answer_counts *c, place_what what, json_type type, slice value);

/* Writes the usage object; returns its length; 0: nothing was told. */
size_t counts_write(const answer_counts *c, char room[COUNTS_TEXT_MAX]);

/* Writes the usage object that Bedrock's metrics (an object) mean, in Converse's names; returns its length; 0: they
 * have no counts. */
size_t counts_of_metrics(slice metrics, char room[COUNTS_TEXT_MAX]);

/* True if Cohere's `meta` (an object) tells of usage. */
bool counts_meta_tells(slice meta);

#endif

/* SPDX-License-Identifier: MIT
 *
 * How long an answer may become, as the request's body says it. */
#ifndef SAMPLE_MOST_H
#define SAMPLE_MOST_H

#include "sample/model.h"

typedef struct answer_most {
	int64_t output;  /* tokens of one answer; -1: the body does not say, or it was not seen */
	int64_t answers; /* how many are asked for, at least 1 */
} answer_most;

/* Looks in a JSON body that is not compressed for max_tokens, max_completion_tokens, max_output_tokens,
 * generationConfig.maxOutputTokens and options.num_predict, and for n and generationConfig.candidateCount. Of several
 * the largest counts, because upstreams differ in which of them they obey. */
answer_most most_find(const model_sample *s);

#endif

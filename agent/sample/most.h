/* SPDX-License-Identifier: MIT
 *
 * How long an answer may become, as the request's body says it. */
#ifndef SAMPLE_MOST_H
#define SAMPLE_MOST_H

#include "sample/model.h"

typedef struct answer_most {
	int64_t output;  /* tokens of one answer; -1: the body does not say, or it was not seen */
	int64_t answers; /* how many are asked for, at least 1 */
	bool sure;       /* `output` is known, and no server can read a larger one out of the body */
	bool newer;      /* the only limit is max_completion_tokens, which some servers of OpenAI's API do not know */
} answer_most;

/* Looks in a JSON body that is not compressed for the limit that the API of the path obeys (max_tokens,
 * max_completion_tokens, max_output_tokens, generationConfig.maxOutputTokens, options.num_predict, ...), and for how
 * many answers are asked for (n, best_of, candidateCount, several prompts). Of several numbers the largest counts,
 * because servers differ in which of them they obey. What another API obeys does not count, because a server that does
 * not know a limit ignores it. */
answer_most most_find(const model_sample *s);

#endif

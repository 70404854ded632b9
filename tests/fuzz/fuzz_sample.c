/* SPDX-License-Identifier: MIT
 *
 * What the agent reads of a body beside the model: how long the answer may become, and whether there may be base64. The
 * first byte chooses a path, the second where to cut; the rest is the body. Checked: no other reader finds a larger
 * limit than one that is sure; a part of a body that is sure says what the whole one says; no run that may be base64 is
 * overlooked, compared with a look at each byte. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "sample/most.h"
#include "sample/plain.h"

#define MOST 4611686018427387904. /* 2^62 */

static const struct {
	const char *path, *within; /* the object that has the limits; NULL: the body itself */
	const char *limits[3];
} apis[] = {
	{ "/v1/chat/completions", NULL, { "max_tokens", "max_completion_tokens" } },
	{ "/v1/completions", NULL, { "max_tokens" } },
	{ "/v1/responses/", NULL, { "max_output_tokens" } },
	{ "/v1/messages", NULL, { "max_tokens" } },
	{ "/v1/complete", NULL, { "max_tokens_to_sample" } },
	{ "/v1beta/models/g:generateContent", "generationConfig", { "maxOutputTokens", "max_output_tokens" } },
	{ "/v1/models/g:predict", "parameters", { "maxOutputTokens" } },
	{ "/api/chat", "options", { "num_predict" } },
	{ "/generate", "parameters", { "max_new_tokens" } },
	{ "/model/m/converse", "inferenceConfig", { "maxTokens" } },
	{ "/model/m/invoke", NULL, { "max_tokens", "max_gen_len", "max_tokens_to_sample" } },
	{ "/v1/embeddings", NULL, { NULL } },
};

/* Looks at all members of these names, because servers differ in which of two they obey. */
static void check_limits(const cJSON *object, const char *const limits[3], const answer_most *most)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, object) for (int i = 0; i < 3 && limits[i];
					     i++) if (strcmp(one->string, limits[i]) == 0 && cJSON_IsNumber(one) &&
						      one->valuedouble < MOST)
		HOLDS((double)most->output >= one->valuedouble);
}

static void check_sure(slice body, size_t api, const answer_most *most)
{
	const char *end;
	cJSON *json = cJSON_ParseWithLengthOpts(body.ptr, body.len, &end, false);
	const cJSON *one;

	HOLDS(most->output > 0);
	if (cJSON_IsObject(json) && slice_trim(slice_of(end, (size_t)(body.ptr + body.len - end))).len == 0) {
		cJSON_ArrayForEach(one, json)
		{
			if (strcmp(one->string, "n") == 0 && cJSON_IsNumber(one) && one->valuedouble < MOST)
				HOLDS((double)most->answers >= one->valuedouble);
			if (apis[api].within && strcmp(one->string, apis[api].within) == 0)
				check_limits(one, apis[api].limits, most);
		}
		if (!apis[api].within)
			check_limits(json, apis[api].limits, most);
	}
	cJSON_Delete(json);
}

static bool has_run(slice s)
{
	size_t run = 0;

	for (size_t i = 0; i < s.len && run < PLAIN_RUN; i++) {
		char c = s.ptr[i];
		run = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
				      (c && strchr("+/-_\\", c)) ?
			      run + 1 :
			      0;
	}
	return run >= PLAIN_RUN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	size_t api = data[0] % (sizeof apis / sizeof apis[0]), len = size - 2;
	/* Blocks of just these lengths, so that a look behind their ends is noticed. */
	size_t head = len * data[1] / 255, tail = len - head / 2;
	char *whole = malloc(len ? len : 1), *first = malloc(head ? head : 1), *last = malloc(tail ? tail : 1);
	HOLDS(whole && first && last);
	memcpy(whole, data + 2, len);
	memcpy(first, whole, head);
	memcpy(last, whole + len - tail, tail);

	slice body = slice_of(whole, len), beginning = slice_of(first, head), ending = slice_of(last, tail);
	model_sample s = {
		.path = slice_cstr(apis[api].path), .body = body, .buffered = len, .length = len, .sized = true
	};
	answer_most all = most_find(&s);
	HOLDS(all.output >= -1 && all.answers >= 1);
	if (all.sure)
		check_sure(body, api, &all);
	s.body = beginning;
	s.tail = ending;
	answer_most part = most_find(&s);
	HOLDS(part.output >= -1 && part.answers >= 1);
	if (part.sure && all.sure)
		HOLDS(part.output == all.output);

	HOLDS(plain_text(body, slice_of(NULL, 0), len) == !has_run(body));
	/* HAProxy looks through what neither end has, and through a part of each. */
	if (head < len && head + tail >= len && plain_text(beginning, ending, len))
		HOLDS(!has_run(beginning) && !has_run(ending));
	free(whole);
	free(first);
	free(last);
	return 0;
}

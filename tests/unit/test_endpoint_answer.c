/* SPDX-License-Identifier: MIT
 *
 * What an endpoint's answer is like: long, a stream, a stream that tells its usage if asked. */
#include "unit.h"

#include "decide/endpoint.h"

static void answers_that_are_long_or_stream(void)
{
	static const struct {
		const char *path, *model;
		bool is_long, streams;
	} rows[] = {
		{ "/v1/embeddings", "gpt-5.5", true, false },
		{ "/v1/embeddings/", "gpt-5.5", true, false },
		{ "/openai/deployments/d/embeddings", "gpt-5.5", true, false },
		{ "/openai/deployments/d/images/generations", "gpt-5.5", true, false },
		{ "/openai/deployments/d/chat/completions", "gpt-5.5", false, false },
		{ "/v1/images/edits", "gpt-5.5", true, false },
		{ "/api/embed", "gpt-5.5", true, false },
		{ "/v1beta/models/m:embedContent", "gpt-5.5", true, false },
		{ "/v1beta/models/m:batchEmbedContents", "gpt-5.5", true, false },
		{ "/v1beta/models/m:generateContent", "gpt-5.5", false, false },
		{ "/v1beta/models/embedContent:countTokens", "gpt-5.5", false, false },
		{ "/v1/chat/completions", "gpt-5.5", false, false },
		{ "/v1/messages", "gpt-5.5", false, false },
		{ "/api/chat", "gpt-5.5", false, true },
		{ "/api/generate/", "gpt-5.5", false, true },
		{ "/v2/chat", "gpt-5.5", false, false },
		{ "/generate", "gpt-5.5", false, false },
		/* Pictures, sound and vectors where others answer with text: the model's name tells. */
		{ "/v1/projects/p/locations/l/publishers/google/models/m:predict", "m", true, false },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict", "m", false, false },
		{ "/v1beta/models/m:generateContent", "gemini-2.5-flash-image", true, false },
		{ "/v1beta/models/m:generateContent", "Nano-Banana-Pro-preview", true, false },
		{ "/v1beta/models/m:generateContent", "gemini-2.5-pro-preview-tts", true, false },
		{ "/v1beta/models/m:generateContent", "gemini-2.5-pro", false, false },
		{ "/v1beta/models/m:generateContent", "", false, false },
		{ "/v1/chat/completions", "google/gemini-3-pro-IMAGE-preview", true, false },
		{ "/v1/chat/completions", "gpt-4o-audio-preview", true, false },
		{ "/v1/chat/completions", "imag", false, false },
		{ "/model/m/invoke", "amazon.nova-canvas-v1:0", true, false },
		{ "/model/m/invoke", "cohere.embed-v4:0", true, false },
		{ "/v1/audio/speech", "gpt-4o-mini-tts", false, false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t len = strlen(rows[i].path);
		slice path = slice_of(unit_guarded(rows[i].path, len), len);
		CHECK(endpoint_find(SLICE("POST"), path, false) == ENDPOINT_RUNS);
		CHECK(endpoint_long(path, slice_cstr(rows[i].model)) == rows[i].is_long ||
		      !printf("  %s\n", rows[i].path));
		CHECK(endpoint_streams(path) == rows[i].streams || !printf("  %s\n", rows[i].path));
	}
}

static void a_stream_that_tells_its_usage_if_asked(void)
{
	static const char *const takes[] = {
		"/v1/chat/completions",
		"/v1/completions",
		"/chat/completions/",
		"/openai/deployments/gpt-9/chat/completions",
		"/api/paas/v4/chat/completions",
		"/v1/engines/gpt-9/completions",
	};
	static const char *const does_not[] = {
		"/v1/responses",
		"/v1/messages",
		"/v1/fim/completions",
		"/v1/chat",
		"/v1/embeddings",
		"/openai/deployments/gpt-9/embeddings",
		"/v1beta/models/m:streamGenerateContent",
		"/v1/chat/completions/id",
		"/x/chat/completions",
	};
	for (size_t i = 0; i < sizeof takes / sizeof takes[0]; i++)
		CHECK(endpoint_takes_stream_options(ENDPOINT_RUNS, slice_cstr(takes[i])) ||
		      (printf("  %s\n", takes[i]), 0));
	for (size_t i = 0; i < sizeof does_not / sizeof does_not[0]; i++)
		CHECK(!endpoint_takes_stream_options(ENDPOINT_RUNS, slice_cstr(does_not[i])) ||
		      (printf("  %s\n", does_not[i]), 0));
	CHECK(!endpoint_takes_stream_options(ENDPOINT_OTHER, SLICE("/v1/chat/completions")));
}

int main(void)
{
	RUN(answers_that_are_long_or_stream);
	RUN(a_stream_that_tells_its_usage_if_asked);
	return unit_end();
}

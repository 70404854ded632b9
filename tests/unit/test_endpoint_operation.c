/* SPDX-License-Identifier: MIT */
#include "decide/endpoint.h"

#include "unit.h"

static void what_a_model_is_asked_for(void)
{
	static const struct {
		const char *path, *operation;
	} rows[] = {
		{ "/v1/chat/completions", "" },
		{ "/v1/chat/completions/", "" },
		{ "/v1/responses", "" },
		{ "/v1/messages", "" },
		{ "/v1beta/models/gemini-2.5-pro:generateContent", "" },
		{ "/model/anthropic.claude/converse", "" },
		{ "/api/chat", "" },
		{ "/v1/realtime", "" },
		{ "/v1/completions", "text_completion" },
		{ "/v1/completions/", "text_completion" },
		{ "/chat", "" },
		{ "/completions", "text_completion" },
		{ "/v1/fim/completions", "text_completion" },
		{ "/openai/deployments/chat/completions", "" }, /* is not told from chat of a deployment */
		{ "/v1/complete", "text_completion" },
		{ "/api/generate", "text_completion" },
		{ "/v1/embeddings", "embeddings" },
		{ "/openai/deployments/m/embeddings", "embeddings" },
		{ "/api/embed", "embeddings" },
		{ "/v1beta/models/m:embedContent", "embeddings" },
		{ "/v1beta/models/m:batchEmbedContents", "embeddings" },
		{ "/v1/images/generations", "image_generation" },
		{ "/v1/audio/speech", "speech" },
		{ "/v1/audio/transcriptions", "transcription" },
		{ "/v1/rerank", "rerank" },
		{ "/v1/moderations", "classification" },
		{ "", "" },
		{ "/", "" },
		{ "completions", "text_completion" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t len = strlen(rows[i].path);
		slice path = slice_of(unit_guarded(rows[i].path, len), len);
		CHECK(slice_eq(endpoint_operation(path), slice_cstr(rows[i].operation)) ||
		      !printf("  %s\n", rows[i].path));
	}
}

int main(void)
{
	RUN(what_a_model_is_asked_for);
	return unit_end();
}

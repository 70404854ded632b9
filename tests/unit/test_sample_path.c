/* SPDX-License-Identifier: MIT
 *
 * Models in paths. */
#include "sample_rig.h"

static void paths(void)
{
	static const struct {
		const char *path, *says;
	} rows[] = {
		{ "/v1beta/models/gemini-2.0-flash:generateContent", "gemini-2.0-flash from path" },
		{ "/v1/models/gemini-2.0-flash:streamGenerateContent", "gemini-2.0-flash from path stream" },
		{ "/v1beta/tunedModels/mine:generateContent", "tunedModels/mine from path" },
		{ "/v1/projects/p/locations/l/publishers/google/models/gemini-x:predict", "gemini-x from path" },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/claude-3@20240229:streamRawPredict",
		  "claude-3@20240229 from path stream" },
		{ "/p/team/v1beta/models/g%65mini:countTokens", "gemini from path" },
		{ "/openai/deployments/my-gpt/chat/completions", "my-gpt from path" },
		{ "/OpenAI/Deployments/my%20gpt/embeddings", "my gpt from path" },
		{ "/model/anthropic.claude-v2%3A1/invoke", "anthropic.claude-v2:1 from path" },
		{ "/model/anthropic.claude-v2:1/converse-stream", "anthropic.claude-v2:1 from path stream" },
		{ "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2Fclaude/invoke-with-response-stream",
		  "arn:aws:bedrock:us-east-1::foundation-model/claude from path stream" },
		{ "/v1/models/gpt-4o", "none" },
		{ "/v1/models", "none" },
		{ "/v1/models/", "none" },
		{ "/v1/chat/completions", "none" },
		{ "/v1//chat/completions", "none" },
		{ "/openai/deployments/my-gpt", "none" },
		{ "/openai/deployments/my-gpt/", "none" },
		{ "/v1/engines/my-gpt", "none" },
		{ "/v1/embeddings", "none" },
		{ "/model/x/other", "none" },
		{ "/model/info", "none" },
		{ "/v1/messages", "none" },
		{ "", "none" },
		{ "*", "none" },
		/* Azure's AI Inference, and Vertex's endpoint for all of Anthropic's models. */
		{ "/models/chat/completions", "none" },
		{ "/models/embeddings", "none" },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", "none" },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens%3ArawPredict", "none" },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens-1:rawPredict",
		  "count-tokens-1 from path" },
		/* Decoded once, in any case, with a slash behind. */
		{ "/v1beta/models/gpt-9%3AgenerateContent", "gpt-9 from path" },
		{ "/v1beta/models/gpt-9%3a%73treamGenerateContent", "gpt-9 from path stream" },
		{ "/v1beta/%6dodels/gpt-9:generateContent", "gpt-9 from path" },
		{ "/v1beta/MODELS/gpt-9:generateContent", "gpt-9 from path" },
		{ "/v1beta/models/gpt-9:generateContent/", "gpt-9 from path" },
		{ "/v1beta/models/models/gpt-9:generateContent", "gpt-9 from path" },
		{ "/v1beta/TunedModels/mine:generateContent", "tunedModels/mine from path" },
		{ "/deployments/x/y", "x from path" },
		{ "/azure/deployments/gpt-9/chat/completions", "gpt-9 from path" },
		{ "/azure/deployments/gpt-9/chat/completions/", "gpt-9 from path" },
		{ "/v1/engines/gpt-9/chat/completions", "gpt-9 from path" },
		{ "/v1/Engines/gpt-9/embeddings", "gpt-9 from path" },
		{ "/MODEL/gpt-9/Invoke", "gpt-9 from path" },
		{ "/model/gpt-9/conver%73e", "gpt-9 from path" },
		{ "/model/gpt-9/converse-stream/", "gpt-9 from path stream" },
		{ "/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.claude/converse",
		  "arn:aws:bedrock:us-east-1:1:inference-profile/us.claude from path" },
		{ "/model/arn:aws:bedrock:us-east-1:1:inference-profile%2Fus.claude/converse-stream/",
		  "arn:aws:bedrock:us-east-1:1:inference-profile/us.claude from path stream" },
		{ "/v1/models/:generateContent", "invalid" },
		{ "/v1/models/a%zz:generateContent", "invalid" },
		{ "/v1/models/a%2Fb:generateContent", "invalid" },
		{ "/v1/models/a%0a:generateContent", "invalid" },
		{ "/v1/models/%20a:generateContent", "invalid" },
		{ "/v1/models/a%E2%80%8B:generateContent", "invalid" },
		{ "/v1/models/%2e%2e:generateContent", "invalid" },
		{ "/openai/deployments/a%2fb/chat", "invalid" },
		/* Paths of which servers may read another model. */
		{ "/v1/models/gpt-9/chat/completions", "ambiguous" },
		{ "/v1/models/gpt-9/predict", "ambiguous" },
		{ "/v1/models/gpt-9:generateContent/x", "ambiguous" },
		{ "/v1/models/a:b:generateContent", "ambiguous" },
		{ "/v1/models/llama3:8b", "ambiguous" },
		{ "/v1/models/x:", "ambiguous" },
		{ "/v1/models/gpt-9:generate%20", "ambiguous" },
		{ "/openai/deployments/org/gpt-9/chat/completions", "ambiguous" },
		{ "/v1/engines/org/gpt-9/completions", "ambiguous" },
		{ "/model/org/gpt-9/converse", "ambiguous" },
		{ "/model/org%2Fgpt-9/converse", "invalid" },
		{ "/openai/deployments/../chat/completions", "ambiguous" },
		{ "/openai//deployments/x/chat", "ambiguous" },
		{ "/x/../openai/deployments/x/chat", "ambiguous" },
		{ "/v1/./models/x:generateContent", "ambiguous" },
		{ "/v1/%2e/models/x:generateContent", "ambiguous" },
		{ "/v1%2fmodels/x:generateContent", "ambiguous" },
		{ "/v1/models%2fx:generateContent", "ambiguous" },
		{ "/v1/engines%2fx/completions", "ambiguous" },
		{ "/model/x//invoke", "ambiguous" },
		{ "/v1/models;v=1/x:generateContent", "ambiguous" },
		{ "/v1/models%20/x:generateContent", "ambiguous" },
		{ "/v1/%256dodels/x:generateContent", "ambiguous" },
		{ "/v1/models/gpt-9%253AgenerateContent", "ambiguous" },
		{ "/openai/deployments/gpt-9;x/chat/completions", "ambiguous" },
		{ "/openai/deployments/a/models/b:generateContent", "ambiguous" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t len = strlen(rows[i].path);
		model_sample s = { .path = slice_of(unit_guarded(rows[i].path, len), len) };
		const char *said = say(&s);
		CHECK(strcmp(said, rows[i].says) == 0 ||
		      (printf("  %s: %s, not %s\n", rows[i].path, said, rows[i].says), 0));
	}
}

/* The quick check of a path looks at eight bytes at a time: it must find a word at every offset, with any number of
 * bytes behind it. */
static void paths_at_every_offset(void)
{
	static const struct {
		const char *names, *says;
	} ends[] = {
		{ "/models/a:generateContent", "a from path" },
		{ "/%6Dodels/a:generateContent", "a from path" },
		{ "/tunedModels/a:predict", "tunedModels/a from path" },
		{ "/model/a/invoke", "a from path" },
		{ "/openai/Deployments/a/c", "a from path" },
		{ "/Engines/a/c", "a from path" },
		{ "x%2fmodels/a:predict", "ambiguous" },
		{ "/m", "none" },
		{ "/chat/completions", "none" },
		{ "x%2fmodel", "ambiguous" },
	};
	char path[200];

	for (int before = 1; before <= 24; before++) {
		for (int behind = 0; behind <= 24; behind++) {
			for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
				/* More text behind a method or an operation makes another method or operation of it. */
				int more = i < 4 || i == 6 || i == 9 ? 0 : behind;
				int len = snprintf(path, sizeof path, "/%.*s%s%.*s", before, "xxxxxxxxxxxxxxxxxxxxxxxx",
						   ends[i].names, more, "yyyyyyyyyyyyyyyyyyyyyyyy");
				model_sample s = { .path = slice_of(unit_guarded(path, (size_t)len), (size_t)len) };
				const char *said = say(&s);
				CHECK(strcmp(said, ends[i].says) == 0 ||
				      (printf("  %s: %s, not %s\n", path, said, ends[i].says), 0));
			}
		}
	}
}

/* What a path says with one method, it may not say with another one. */
static void methods(void)
{
	static const struct {
		const char *method, *path, *says;
	} rows[] = {
		{ "GET", "/v1/models/gpt-4o", "gpt-4o from path" },
		{ "GET", "/v1/models/gpt-4o/", "gpt-4o from path" },
		{ "GET", "/v1/models/llama3:latest", "llama3:latest from path" },
		{ "GET", "/v1/models/models/a", "a from path" },
		{ "GET", "/v1/models/a%2Fb", "none" },
		{ "GET", "/v1/models/a/b", "none" },
		{ "GET", "/v1/models", "none" },
		{ "GET", "/v1/models/", "none" },
		{ "GET", "/v1/models/%20a", "invalid" },
		{ "GET", "/v1beta/tunedModels/a", "none" },
		{ "HEAD", "/v1/models/gpt-4o", "none" },
		{ "DELETE", "/v1/models/ft:gpt-4o:acme::x", "none" },
		{ "OPTIONS", "/v1/models/a/chat/completions", "none" },
		{ "POST", "/v1/models/gpt-4o", "none" },
		{ "POST", "/v1/models/a/chat/completions", "ambiguous" },
		{ "get", "/v1/models/a/chat/completions", "ambiguous" },
		{ "GET", "/openai/deployments/a/chat/completions", "a from path" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		model_sample s = { .path = slice_cstr(rows[i].path), .method = slice_cstr(rows[i].method) };
		const char *said = say(&s);
		CHECK(strcmp(said, rows[i].says) == 0 ||
		      (printf("  %s %s: %s, not %s\n", rows[i].method, rows[i].path, said, rows[i].says), 0));
	}
	model_sample s = { .path = SLICE("/v1/models/a:bidi"), .method = SLICE("GET"), .upgrade = true };
	SAYS(&s, "a from path");
}

int main(void)
{
	RUN(paths);
	RUN(paths_at_every_offset);
	RUN(methods);
	return unit_end();
}

/* SPDX-License-Identifier: MIT
 *
 * Which requests run a model, by method and path; and which paths have one reading. */
#include "unit.h"

#include "decide/endpoint.h"
#include "sample/path.h"

static void check(const char *method, const char *path, bool websocket, endpoint expected)
{
	size_t len = strlen(path);
	slice guarded = slice_of(unit_guarded(path, len), len);
	endpoint found = endpoint_find(slice_cstr(method), guarded, websocket);

	CHECK(found == expected);
	if (found != expected)
		printf("  %s %s%s: %d, not %d\n", method, path, websocket ? " (WebSocket)" : "", (int)found,
		       (int)expected);
	if (endpoint_frequent(slice_cstr(method), guarded) && !websocket) {
		mentions named;
		mentions_init(&named);
		path_model(guarded, slice_cstr(method), false, &named);
		CHECK(found == ENDPOINT_RUNS && path_clear(guarded));
		CHECK(!named.any && !named.stream && !named.differ);
	}
}

static void a_post_that_runs_a_model(void)
{
	static const char *const paths[] = {
		"/v1/chat/completions",
		"/v1/completions",
		"/v1/responses",
		"/v1/responses/compact",
		"/v1/responses/input_tokens",
		"/v1/embeddings",
		"/v1/images/generations",
		"/v1/images/edits",
		"/v1/images/variations",
		"/v1/audio/speech",
		"/v1/audio/transcriptions",
		"/v1/audio/translations",
		"/v1/moderations",
		"/v1/rerank",
		"/v2/rerank",
		"/rerank",
		"/v1/engines/gpt-9/completions",
		"/v1/engines/gpt-9/chat/completions",
		"/v1/engines/gpt-9/embeddings",
		"/v1/messages",
		"/v1/messages/count_tokens",
		"/v1/complete",
		"/v1beta/models/gemini-2.5-pro:generateContent",
		"/v1beta/models/gemini-2.5-pro:streamGenerateContent",
		"/v1/models/gemini-2.5-pro:countTokens",
		"/v1beta/models/embed:embedContent",
		"/v1beta/models/embed:batchEmbedContents",
		"/v1beta/models/imagen:predict",
		"/v1beta/tunedModels/mine:generateContent",
		"/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
		"/v1beta1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict",
		"/v1/projects/p/locations/l/publishers/anthropic/models/m@20250929:streamRawPredict",
		"/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict",
		"/v1/projects/p/locations/l/endpoints/openapi/chat/completions",
		"/v1/projects/p/locations/l/endpoints/123:predict",
		"/v1/publishers/google/models/m:generateContent",
		"/model/m/invoke",
		"/model/m/invoke-with-response-stream",
		"/model/m/invoke-with-bidirectional-stream",
		"/model/anthropic.claude-v1%3A0/converse",
		"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fabc/converse-stream",
		"/model/m/count-tokens",
		"/api/chat",
		"/api/generate",
		"/api/embed",
		"/api/embeddings",
		"/v2/chat",
		"/v2/embed",
		"/v1/generate",
		"/openai/deployments/gpt/chat/completions",
		"/openai/deployments/gpt/completions",
		"/openai/deployments/gpt/embeddings",
		"/openai/deployments/gpt/images/generations",
		"/openai/deployments/gpt/audio/transcriptions",
		"/openai/responses",
		"/openai/v1/responses",
		"/deployments/gpt/chat/completions",
		"/azure/deployments/gpt/chat/completions",
		"/models/chat/completions",
		"/inference/chat/completions",
		"/inference/v1/chat/completions",
		"/v1/openai/chat/completions",
		"/v1beta/openai/chat/completions",
		"/api/paas/v4/chat/completions",
		"/api/coding/paas/v4/chat/completions",
		"/compatible-mode/v1/chat/completions",
		"/api/v3/chat/completions",
		"/api/v1/chat/completions",
		"/api/anthropic/v1/messages",
		"/a/b/c/d/v1/chat/completions",
		"/openai/v1/chat/completions",
		"/chat/completions",
		"/embeddings",
		"/beta/completions",
		"/v1/fim/completions",
		"/v1/score",
		"/v1/ocr",
		"/v1/chat/moderations",
		"/v1/classifications",
		"/v1/chat/classifications",
		"/v1beta/interactions",
		"/v1/chat/completions/",
		"/model/m/converse/",
		"/v1beta/models/m:generateContent/",
	};
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		check("POST", paths[i], false, ENDPOINT_RUNS);
		check("DELETE", paths[i], false, ENDPOINT_OTHER);
		check("PUT", paths[i], false, ENDPOINT_OTHER);
		check("PATCH", paths[i], false, ENDPOINT_OTHER);
		check("HEAD", paths[i], false, ENDPOINT_OTHER);
		check("OPTIONS", paths[i], false, ENDPOINT_OTHER);
		check("GET", paths[i], false, ENDPOINT_OTHER);
		check("post", paths[i], false, ENDPOINT_OTHER);
		check("", paths[i], false, ENDPOINT_OTHER);
		check("POST", paths[i], true, ENDPOINT_OTHER);
	}
}

static void a_post_that_runs_none(void)
{
	static const char *const paths[] = {
		"",
		"/",
		"//",
		"/v1",
		"/v1/",
		"*",
		"v1/chat/completions",
		"/v1/files",
		"/v1/files/file-1/content",
		"/v1/filesystem",
		"/v1/batches",
		"/v1/batches/b/cancel",
		"/v1/messages/batches",
		"/v1/messages/batches/b/cancel",
		"/v1/messages/m",
		"/v1/responses/resp_1",
		"/v1/responses/resp_1/cancel",
		"/v1/responses/resp_1/input_items",
		"/v1/chat/completions/id",
		"/v1/chat/completions/id/messages",
		"/v1/threads",
		"/v1/threads/t/messages",
		"/v1/threads/t/runs",
		"/v1/assistants",
		"/v1/fine_tuning/jobs",
		"/v1/uploads",
		"/v1/vector_stores",
		"/v1/conversations",
		"/v1/containers",
		"/v1/evals",
		"/v1/videos",
		"/v1/realtime",
		"/v1/realtime/sessions",
		"/v1/realtime/client_secrets",
		"/v1/realtime/calls",
		"/v1/models",
		"/v1/models/gpt-9",
		"/v1/organization/admin_api_keys",
		"/api/v1/keys",
		"/v1/keys",
		"/v1/files/chat/completions",
		"/v1/files/v1/chat/completions",
		"/v1/v1/chat/completions",
		"/a/b/c/d/e/v1/chat/completions",
		"/a%2Fb/v1/chat/completions",
		"/a;b/v1/chat/completions",
		"/a:b/v1/chat/completions",
		"/../v1/chat/completions",
		"/./v1/chat/completions",
		"/v1/./chat/completions",
		"//v1/chat/completions",
		"/v1//chat/completions",
		"/v1/chat//completions",
		"/v1/chat/completions//",
		"/v1/%63hat/completions",
		"/v1/chat%2Fcompletions",
		"/v1/chat/completions;x",
		"/v1/Chat/Completions",
		"/V1/chat/completions",
		"/v/chat/completions",
		"/v1gamma/chat/completions",
		"/v1beta1x/chat/completions",
		"/v1/chat/completion",
		"/v1/chat/completionsx",
		"/v1/xchat/completions",
		"/files/chat/completions",
		"/openai/files",
		"/openai/deployments",
		"/openai/deployments/gpt",
		"/openai/deployments/gpt/files",
		"/openai/deployments/gpt/responses/r",
		"/openai/deployments//chat/completions",
		"/openai/openai/chat/completions",
		"/v1/engines/gpt-9",
		"/v1/engines/gpt-9/files",
		"/v1beta/models/m:batchGenerateContent",
		"/v1beta/models/m:asyncBatchEmbedContent",
		"/v1beta/models/m:predictLongRunning",
		"/v1beta/models/m:fetchPredictOperation",
		"/v1beta/models/m:delete",
		"/v1beta/models/m:cancel",
		"/v1beta/models/m:copy",
		"/v1beta/models/m:upload",
		"/v1beta/models/m:GenerateContent",
		"/v1beta/models/m:",
		"/v1beta/models/:generateContent",
		"/v1beta/models/m%3AgenerateContent",
		"/v1beta/models/a/b:generateContent",
		"/v1beta/models/m:generateContent:x",
		"/v1beta/models/m:generateContent/x",
		"/v1beta/tunedModels/m:transferOwnership",
		"/v1beta/cachedContents",
		"/v1beta/files",
		"/upload/v1beta/files",
		"/v1beta/corpora/c:query",
		"/v1beta/batches/b:cancel",
		"/v1/projects/p/locations/l/batchPredictionJobs",
		"/v1/projects/p/locations/l/cachedContents",
		"/v1/projects/p/locations/l/models/m:copy",
		"/v1/projects/p/locations/l/endpoints/e:undeployModel",
		"/v1/projects/p/locations/l/endpoints/openapi/files",
		"/model/m",
		"/model/m/",
		"/model/m/delete",
		"/model/m/n/invoke",
		"/model//invoke",
		"/model/arn:aws:bedrock:us-east-1:1:inference-profile/abc/converse",
		"/async-invoke",
		"/model-invocation-job",
		"/guardrail/g/version/1/apply",
		"/api/pull",
		"/api/push",
		"/api/create",
		"/api/copy",
		"/api/delete",
		"/api/show",
		"/api/blobs/sha256:1",
		"/api/tags",
		"/s1/s2/s3/s4/v1/s6/s7/s8/s9/s10/s11/s12/s13/s14/s15/chat/completions",
	};
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		check("POST", paths[i], false, ENDPOINT_OTHER);
}

static void an_upload_names_no_model(void)
{
	static const char *const uploads[] = {
		"/v1/files",
		"/v1/files/",
		"/openai/v1/files",
		"/openai/files",
		"/files",
		"/upload/v1beta/files",
		"/v1beta/files",
		"/v1/files/upload",
		"/v1/uploads",
		"/v1/uploads/u/parts",
		"/v1/containers/c/files",
		"/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
		"/v1/skills",
		"/v1/skills/s/versions",
		"/v1/messages/batches",
		"/anthropic/v1/messages/batches",
	};
	static const char *const others[] = {
		"",
		"/v1/file",
		"/v1/files/f",
		"/v1/files/f/content",
		"/v1/x/files",
		"/v1//files",
		"/v1/files//",
		"/v1/files;x",
		"/v1/files%2f",
		"/v1/%66iles",
		"/v1/uploads/../parts",
		"/v1/uploads/..%2f..%2fchat%2fcompletions/parts",
		"/v1/uploads/%2e%2e/parts",
		"/v1/uploads/u/complete",
		"/v1/../v1/files",
		"/v1/chat/completions",
		"/v1/images/edits",
		"/v1/videos",
		"/v1/batches",
		"/v1/messages",
		"/v1/messages/batches/b",
		"/v1beta/models/m:batchGenerateContent",
		"/v1beta/cachedContents",
	};

	for (size_t i = 0; i < sizeof uploads / sizeof uploads[0]; i++) {
		slice path = slice_cstr(uploads[i]);
		CHECK(endpoint_takes_files(SLICE("POST"), path) && endpoint_takes_files(SLICE("PUT"), path));
		CHECK(!endpoint_takes_files(SLICE("GET"), path) && !endpoint_takes_query(path));
		check("POST", uploads[i], false, ENDPOINT_OTHER);
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		CHECK(!endpoint_takes_files(SLICE("POST"), slice_cstr(others[i])) || !printf("  %s\n", others[i]));
	CHECK(endpoint_takes_query(SLICE("/v1/listen")) && endpoint_takes_query(SLICE("/v1/speak")));
	CHECK(!endpoint_takes_query(SLICE("/v1/chat/completions")) && !endpoint_takes_query(SLICE("/v1/audio/speech")));
	CHECK(!endpoint_takes_query(SLICE("/v1/x/listen")));
	check("POST", "/v1/listen", false, ENDPOINT_RUNS);
	check("GET", "/v1/listen", true, ENDPOINT_RUNS);
}

static void a_question_about_models(void)
{
	static const struct {
		const char *path;
		endpoint found;
	} rows[] = {
		{ "/v1/models/gpt-5", ENDPOINT_MODEL },
		{ "/v1/models/gpt-5/", ENDPOINT_MODEL },
		{ "/v1beta/models/gemini-2.5-pro", ENDPOINT_MODEL },
		{ "/api/v1/models/x", ENDPOINT_MODEL },
		{ "/v1beta/openai/models/x", ENDPOINT_MODEL },
		{ "/v1/models/ft:gpt-4o:org::id", ENDPOINT_MODEL },
		{ "/v1/models/llama3:8b", ENDPOINT_MODEL },
		{ "/v1/models", ENDPOINT_MODELS },
		{ "/v1/models/", ENDPOINT_MODELS },
		{ "/v1/models/a/b", ENDPOINT_OTHER },
		{ "/v1/models/a/permissions", ENDPOINT_OTHER },
		{ "/v1/files/models/x", ENDPOINT_OTHER },
		{ "/v1//models/x", ENDPOINT_OTHER },
		{ "/v1/models//x", ENDPOINT_OTHER },
		{ "/v1/models/m:generateContent", ENDPOINT_OTHER },
		{ "/v1/%6dodels/x", ENDPOINT_OTHER },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		check("GET", rows[i].path, false, rows[i].found);
		check("GET", rows[i].path, true, i == 14 ? ENDPOINT_HTTP : ENDPOINT_OTHER);
		check("DELETE", rows[i].path, false, ENDPOINT_OTHER);
		check("HEAD", rows[i].path, false, ENDPOINT_OTHER);
	}
}

static void an_answer_that_costs_tokens(void)
{
	static const struct {
		const char *method, *path;
		bool websocket, metered;
	} rows[] = {
		{ "POST", "/v1/chat/completions", false, true },
		{ "POST", "/v1/chat/completions/", false, true },
		{ "POST", "/v1/moderations", false, true },
		{ "POST", "/v1beta/models/gemini-2.5-pro:generateContent", false, true },
		{ "POST", "/v1beta/models/count_tokens:generateContent", false, false },
		{ "POST", "/model/anthropic.claude/converse", false, true },
		{ "POST", "/api/generate", false, true },
		{ "GET", "/v1/realtime", true, true },
		{ "GET", "/v1/responses", true, true },
		{ "GET", "/v1/chat/completions", true, true },
		/* what counts the tokens of a prompt, which is free */
		{ "POST", "/v1/messages/count_tokens", false, false },
		{ "POST", "/v1/messages/count_tokens/", false, false },
		{ "POST", "/v1/responses/input_tokens", false, false },
		{ "POST", "/model/anthropic.claude/count-tokens", false, false },
		{ "POST", "/v1beta/models/gemini-2.5-pro:countTokens", false, false },
		{ "POST", "/v1/projects/p/locations/l/publishers/google/models/m:computeTokens", false, false },
		{ "POST", "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", false,
		  false },
		/* what runs no model */
		{ "GET", "/v1/models/gpt-9", false, false },
		{ "GET", "/v1/models", false, false },
		{ "GET", "/v1/chat/completions", false, false },
		{ "POST", "/v1/files", false, false },
		{ "POST", "/", false, false },
		{ "POST", "", false, false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t len = strlen(rows[i].path);
		slice path = slice_of(unit_guarded(rows[i].path, len), len);
		endpoint e = endpoint_find(slice_cstr(rows[i].method), path, rows[i].websocket);
		CHECK(endpoint_metered(e, path) == rows[i].metered || !printf("  %s\n", rows[i].path));
		if (endpoint_frequent(slice_cstr(rows[i].method), path))
			CHECK(endpoint_metered(e, path));
	}
}

static void a_websocket(void)
{
	static const struct {
		const char *path;
		endpoint expected;
	} rows[] = {
		{ "/v1/realtime", ENDPOINT_RUNS },
		{ "/v1/realtime/", ENDPOINT_RUNS },
		{ "/openai/realtime", ENDPOINT_RUNS },
		{ "/openai/v1/realtime", ENDPOINT_RUNS },
		{ "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", ENDPOINT_RUNS },
		{ "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent", ENDPOINT_RUNS },
		{ "/v1/responses", ENDPOINT_HTTP_TOO },
		{ "/openai/v1/responses", ENDPOINT_HTTP_TOO },
		{ "/v1/chat/completions", ENDPOINT_HTTP },
		{ "/v1/messages", ENDPOINT_HTTP },
		{ "/v1beta/models/m:generateContent", ENDPOINT_HTTP },
		{ "/backend-api/codex/responses", ENDPOINT_HTTP },
		{ "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/v1/responses", ENDPOINT_HTTP },
		{ "/V1/Responses", ENDPOINT_HTTP },
		{ "/v1/%72esponse%73", ENDPOINT_HTTP },
		{ "/v1%2fresponses", ENDPOINT_HTTP },
		{ "//v1/responses", ENDPOINT_HTTP },
		{ "/v1/responses//", ENDPOINT_HTTP },
		{ "/v1/responses;a=b", ENDPOINT_HTTP },
		{ "/v1/responses%3fa", ENDPOINT_HTTP },
		{ "/v1/responses%20/", ENDPOINT_HTTP },
		{ "/v1/xresponses", ENDPOINT_OTHER },
		{ "/v1/responses2", ENDPOINT_OTHER },
		{ "/v1/response", ENDPOINT_OTHER },
		{ "/v1/responses%", ENDPOINT_HTTP },
		{ "/v1/responses/resp_1", ENDPOINT_OTHER },
		{ "/v1/responses;a/resp_1", ENDPOINT_HTTP },
		{ "/v1/responses/.", ENDPOINT_HTTP },
		{ "/v1/responses/resp_1/..", ENDPOINT_HTTP },
		{ "/v1/Responses/%2E", ENDPOINT_HTTP },
		{ "/v1/responses%2fx/%2e%2e", ENDPOINT_HTTP },
		{ "/v1/xresponses/..", ENDPOINT_OTHER },
		{ "/v1/responses2/..", ENDPOINT_OTHER },
		{ "/v1/realtime/sessions", ENDPOINT_OTHER },
		{ "/v1/files", ENDPOINT_OTHER },
		{ "/v1/x/realtime", ENDPOINT_OTHER },
		{ "/ws", ENDPOINT_OTHER },
		{ "/", ENDPOINT_OTHER },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		check("GET", rows[i].path, true, rows[i].expected);
		check("GET", rows[i].path, false, ENDPOINT_OTHER);
		check("POST", rows[i].path, true, ENDPOINT_OTHER);
	}
}

static void a_path_with_one_reading(void)
{
	static const char *const clear[] = {
		"/",
		"/v1/files",
		"/v1/files/",
		"/v1/files/file-abc.jsonl",
		"/v1/files/a%20b",
		"/v1/x/%E2%82%AC",
		"/v1/x/%ed%9f%bf%f4%8f%bf%bf%F0%90%80%80%e0%A0%80\xc3\xa9",
		"/v1/a%20b/.%20x",
		"/v1/x/.a/a.b/..c",
		"/v1/m:x@y,z=1&a!b'(c)*+$",
		"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fabc/converse",
		"/model/arn:aws:bedrock:us-east-1:1:inference-profile%2fabc%2fd/invoke",
	};
	static const char *const unclear[] = {
		"",
		"v1",
		"*",
		"//",
		"/v1//files",
		"/v1/files//",
		"/.",
		"/..",
		"/v1/./files",
		"/v1/../files",
		"/v1/files/..",
		"/v1/.../files",
		"/v1/%2e%2e/files",
		"/v1/.%2E/files",
		"/v1/%2e/files",
		"/v1/%c0%ae%c0%ae/files",
		"/v1/a%C1%9Cb",
		"/v1/%e0%80%ae%e0%80%ae/files",
		"/v1/\xe0\x80\xae/files",
		"/v1/%F0%80%80%AE/files",
		"/v1/%f0%8f%bf%bf/files",
		"/v1/%f8%80%80%80%ae/files",
		"/v1/%ed%a0%80/files",
		"/v1/%f4%90%80%80/files",
		"/v1/x%ff",
		"/v1/x%80",
		"/v1/x%e2%82",
		"/v1/x%e2%82/%ac",
		"/v1/x%e2A",
		"/v1/..%20/files",
		"/v1/.%20./files",
		"/v1/%20/files",
		"/v1/a%2eb",
		"/v1/files%2Fx",
		"/v1/files%2fx",
		"/v1/files%5cx",
		"/v1/files%5Cx",
		"/v1/files\\x",
		"/v1/files;x",
		"/v1/files%3Bx",
		"/v1/files%3bx",
		"/v1/files%00",
		"/v1/files%0a",
		"/v1/files%7f",
		"/v1/files\x01",
		"/v1/files\x7f",
		"/v1/%252e%252e/x",
		"/v1/a%252fb",
		"/v1/%",
		"/v1/%2",
		"/v1/%zz",
		"/model/arn%3Aaws%2F/converse",
		"/model/arn%3Aaws%2F%2Fx/converse",
		"/model/arn%3Aaws%2F..%2Fx/converse",
		"/model/arn%3Aaws%2F%2e%2e%2Fx/converse",
		"/model/arn%3Aaws%5Cx/converse",
		"/model/arn%3Aaws%2Fx",
		"/model/xarn%3Aaws%2Fx/converse",
		"/models/arn%3Aaws%2Fx/converse",
		"/model/arn%252Faws/converse",
	};
	for (size_t i = 0; i < sizeof clear / sizeof clear[0]; i++) {
		size_t len = strlen(clear[i]);
		CHECK(path_clear(slice_of(unit_guarded(clear[i], len), len)));
	}
	for (size_t i = 0; i < sizeof unclear / sizeof unclear[0]; i++) {
		size_t len = strlen(unclear[i]);
		bool found = path_clear(slice_of(unit_guarded(unclear[i], len), len));
		CHECK(!found);
		if (found)
			printf("  %s\n", unclear[i]);
	}
	CHECK(!path_clear(slice_of("/v1/a\0b", 7)));
}

static void a_prefix_matches_whole_segments(void)
{
	static const struct {
		const char *path, *prefix;
		bool under;
	} rows[] = {
		{ "/v1/files", "/v1/files", true },
		{ "/v1/files/", "/v1/files", true },
		{ "/v1/files/f/content", "/v1/files", true },
		{ "/v1/filesystem", "/v1/files", false },
		{ "/v1/file", "/v1/files", false },
		{ "/v1", "/v1/files", false },
		{ "/V1/files", "/v1/files", false },
		{ "/x/v1/files", "/v1/files", false },
		{ "/v1/files%2Fx", "/v1/files", false },
		{ "/v1/files;x", "/v1/files", false },
		{ "/", "", true },
		{ "/v1/files", "", true },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK(path_under(slice_cstr(rows[i].path), rows[i].prefix) == rows[i].under);
}

int main(void)
{
	RUN(a_post_that_runs_a_model);
	RUN(a_post_that_runs_none);
	RUN(a_question_about_models);
	RUN(an_answer_that_costs_tokens);
	RUN(an_upload_names_no_model);
	RUN(a_websocket);
	RUN(a_path_with_one_reading);
	RUN(a_prefix_matches_whole_segments);
	return unit_end();
}

/* SPDX-License-Identifier: MIT */
#include "ledger/client.h"

typedef struct family {
	slice prefix; /* of the User-Agent, in any case */
	const char *name;
} family;

/* clang-format off */
static const family families[] = {
	{ SLICE_INIT("claude-cli/"), "claude-code" },
	{ SLICE_INIT("claude-code/"), "claude-code" },
	{ SLICE_INIT("codex_"), "codex" },
	{ SLICE_INIT("codex/"), "codex" },
	{ SLICE_INIT("opencode"), "opencode" },
	{ SLICE_INIT("qwencode"), "qwen-code" },
	{ SLICE_INIT("geminicli"), "gemini-cli" },
	{ SLICE_INIT("aider"), "aider" },
	{ SLICE_INIT("cursor"), "cursor" },
	{ SLICE_INIT("google-genai-sdk"), "google-genai" },
	{ SLICE_INIT("ai-sdk/"), "vercel-ai" },
	{ SLICE_INIT("ai/"), "vercel-ai" },
	{ SLICE_INIT("mistral-client-"), "mistral" },
	{ SLICE_INIT("cohere-ai"), "cohere" },
	{ SLICE_INIT("cohere/"), "cohere" },
	{ SLICE_INIT("ollama-"), "ollama" },
	{ SLICE_INIT("ollama/"), "ollama" },
	{ SLICE_INIT("litellm"), "litellm" },
	{ SLICE_INIT("langchain"), "langchain" },
	{ SLICE_INIT("python"), "python" },
	{ SLICE_INIT("aiohttp"), "python" },
	{ SLICE_INIT("curl/"), "curl" },
	{ SLICE_INIT("mozilla/"), "browser" },
	{ SLICE_INIT("go-http-client"), "go" },
	{ SLICE_INIT("bun/"), "bun" },
	{ SLICE_INIT("deno/"), "deno" },
	{ SLICE_INIT("node"), "node" },
	{ SLICE_INIT("undici"), "node" },
	{ SLICE_INIT("axios/"), "node" },
};

/* OpenAI's and Anthropic's SDKs begin with the name of the class that the program uses and the language:
 * OpenAI/JS, AsyncAzureOpenAI/Python, AnthropicBedrock/JS. */
static const struct {
	slice language;
	const char *openai, *anthropic;
} sdks[] = {
	{ SLICE_INIT("js"), "openai-node", "anthropic-node" },
	{ SLICE_INIT("python"), "openai-python", "anthropic-python" },
	{ SLICE_INIT("go"), "openai-go", "anthropic-go" },
	{ SLICE_INIT("java"), "openai-java", "anthropic-java" },
	{ SLICE_INIT("ruby"), "openai-ruby", "anthropic-ruby" },
};
/* clang-format on */

/* Returns the family of an SDK of OpenAI's or Anthropic's; NULL: it is something else. */
static const char *sdk_family(slice ua)
{
	size_t slash = slice_find(ua, 0, '/'), end = slice_find(ua, 0, ' ');
	slice class = slice_first(ua, slash), language = slice_from(slice_first(ua, end), slash + 1);
	bool openai = slice_icontains(class, SLICE("openai"));

	for (size_t i = 0; i < sizeof sdks / sizeof sdks[0]; i++) {
		if (!slice_ieq(language, sdks[i].language))
			continue;
		if (openai)
			return sdks[i].openai;
		return slice_icontains(class, SLICE("anthropic")) ? sdks[i].anthropic : NULL;
	}
	return NULL;
}

const char *client_family(slice ua)
{
	if (ua.len == 0)
		return "";
	const char *sdk = sdk_family(ua);
	if (sdk)
		return sdk;
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
		if (slice_istarts(ua, families[i].prefix))
			return families[i].name;
	return "other";
}

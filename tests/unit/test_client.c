/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "ledger/client.h"

/* As the clients sent them. */
static const struct {
	const char *user_agent, *family;
} rows[] = {
	{ "", "" },
	{ "claude-cli/2.0.1 (external, cli)", "claude-code" },
	{ "claude-code/1.0", "claude-code" },
	{ "codex_exec/0.1", "codex" },
	{ "codex_cli_rs/0.50.0 (Debian 12; x86_64)", "codex" },
	{ "opencode/0.15", "opencode" },
	{ "QwenCode/0.0.14 (linux; x64)", "qwen-code" },
	{ "GeminiCLI/0.8.1/gemini-2.5-pro (linux; x64)", "gemini-cli" },
	{ "OpenAI/JS 7.57.0", "openai-node" },
	{ "AzureOpenAI/JS 7.57.0", "openai-node" },
	{ "OpenAI/Python 1.99.0", "openai-python" },
	{ "AsyncOpenAI/Python 1.99.0", "openai-python" },
	{ "AsyncAzureOpenAI/Python 1.99.0", "openai-python" },
	{ "OpenAI/Go 3.1.0", "openai-go" },
	{ "Anthropic/JS 1.12.0", "anthropic-node" },
	{ "AnthropicVertex/JS 1.12.0", "anthropic-node" },
	{ "AnthropicBedrock/Python 0.60", "anthropic-python" },
	{ "AsyncAnthropic/Python 0.60", "anthropic-python" },
	{ "google-genai-sdk/3.1.0 gl-node/v22.23.3", "google-genai" },
	{ "ai-sdk/openai/2.0.30 ai-sdk/provider-utils/3.0.9 runtime/node.js/22", "vercel-ai" },
	{ "ai/5.0.52 ai-sdk/provider-utils/3.0.9 runtime/node.js/22", "vercel-ai" },
	{ "mistral-client-typescript/1.10.0", "mistral" },
	{ "mistral-client-python/1.9.0", "mistral" },
	{ "cohere-ai/7.19.0", "cohere" },
	{ "cohere/5.18.0", "cohere" },
	{ "ollama-js/0.6.0 (x64 linux Node.js/v22)", "ollama" },
	{ "ollama-python/0.5.3 (x86_64 linux) Python/3.11", "ollama" },
	{ "langchainjs-openai/1.0.0 (node/22)", "langchain" },
	{ "litellm/1.80", "litellm" },
	{ "python-requests/2.32", "python" },
	{ "Python/3.11 aiohttp/3.12", "python" },
	{ "aiohttp/3.12", "python" },
	{ "curl/7.88.1", "curl" },
	{ "Mozilla/5.0 (X11)", "browser" },
	{ "Go-http-client/1.1", "go" },
	{ "Bun/1.2.19", "bun" },
	{ "node", "node" },
	{ "node-fetch/1.0", "node" },
	{ "my-openai/9 JS", "other" },
	{ "openai/js-like 1", "other" },
	{ "openai", "other" },
	{ "/", "other" },
	{ "x", "other" },
};

static void each_client_has_its_family(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		slice whole = slice_cstr(rows[i].user_agent);
		const char *found = client_family(slice_of((char *)unit_guarded(whole.ptr, whole.len), whole.len));
		if (strcmp(found, rows[i].family) != 0)
			printf("%s: %s\n", rows[i].user_agent, found);
		CHECK(strcmp(found, rows[i].family) == 0);
	}
}

int main(void)
{
	RUN(each_client_has_its_family);
	return unit_end();
}

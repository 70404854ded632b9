/* SPDX-License-Identifier: MIT */
#include "ledger/provider.h"

#include "base/slice.h"

const char *model_provider(const char *model)
{
	static const struct {
		slice prefix;
		const char *provider;
	} providers[] = {
		{ SLICE_INIT("claude"), "anthropic" }, { SLICE_INIT("gpt"), "openai" },
		{ SLICE_INIT("chatgpt"), "openai" },   { SLICE_INIT("o1"), "openai" },
		{ SLICE_INIT("o3"), "openai" },        { SLICE_INIT("o4"), "openai" },
		{ SLICE_INIT("codex"), "openai" },     { SLICE_INIT("gemini"), "gemini" },
	};
	for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++)
		if (slice_istarts(slice_cstr(model), providers[i].prefix))
			return providers[i].provider;
	return "unknown";
}

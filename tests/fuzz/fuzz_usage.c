/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a usage fragment. The first byte chooses the protocol and the hints. A fragment cut anywhere says no
 * more than the whole one: a figure that is REPORTED of the beginning is REPORTED, and the same, of the whole. */
#include "ledger/usage.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

static record apply(unsigned choice, slice fragment)
{
	static const char *const protocols[] = { "openai", "anthropic", "gemini", "" };
	static const char *const models[] = { "gpt-5", "claude-opus-5" };
	record r = { .stream = (choice & 4) != 0 };
	usage_hints hints = { .stream = r.stream,
			      .ok = (choice & 8) == 0,
			      .bytes_out = choice & 16 ? 30000 : -1,
			      .bytes_in = choice & 32 ? 30000 : -1 };

	memcpy(r.protocol, protocols[choice & 3], strlen(protocols[choice & 3]));
	memcpy(r.model, models[choice >> 6 & 1], strlen(models[choice >> 6 & 1]));
	if (choice & 128)
		hints.headroom_saved = hints.headroom_after = hints.headroom_before = slice_first(fragment, 20);
	/* Of exactly its length, so that a read past it is seen. */
	char *copy = malloc(fragment.len ? fragment.len : 1);
	check(copy != NULL);
	if (fragment.len)
		memcpy(copy, fragment.ptr, fragment.len);
	usage_parts parts;
	usage_apply(&r, slice_of(copy, fragment.len), &hints, &parts);
	free(copy);

	check(r.input >= 0 && r.output >= 0 && r.cache_read >= 0 && r.cache_write >= 0);
	check(r.input <= 3 * USAGE_TOKENS_MAX && r.output <= 2 * USAGE_TOKENS_MAX);
	check(r.cache_read <= USAGE_TOKENS_MAX && r.cache_write <= 2 * USAGE_TOKENS_MAX);
	check(r.saved >= -USAGE_TOKENS_MAX && r.saved <= USAGE_TOKENS_MAX);
	check(r.usage != USAGE_NONE || r.input + r.output + r.cache_read + r.cache_write == 0);
	check(r.usage == USAGE_NONE || hints.ok);
	check(r.usage != USAGE_ESTIMATED || r.stream);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	unsigned choice = data[0];
	slice fragment = slice_of(data + 1, size - 1);
	record all = apply(choice, fragment);
	size_t step = fragment.len > 600 ? fragment.len / 100 : 1;

	for (size_t cut = 0; cut < fragment.len; cut += step) {
		record part = apply(choice & ~128u, slice_first(fragment, cut));
		if (part.usage == USAGE_REPORTED)
			check(all.usage == USAGE_REPORTED && part.input == all.input && part.output == all.output &&
			      part.cache_read == all.cache_read && part.cache_write == all.cache_write);
	}
	return 0;
}

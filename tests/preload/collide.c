/* SPDX-License-Identifier: MIT
 *
 * collide HASH COUNT NUMBER: prints COUNT different names of 16 letters and signs that fall into one slot of a hash
 * table. NUMBER is what the table hashes in front of a name: hour * KIND_COUNT + kind, for the ledger's sums.
 *
 * HASH plain: a multiplying hash without a key, the ledger's own until SipHash took its place. The second half of a
 * name undoes what the first did to the state, so the hashes are equal in all their bits. HASH known: the one in
 * agent/base/hash.c, if its key were known (all zero), and a table of SLOTS; by trial. */
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>

enum { HALF = 8, SLOTS = 8192 };

/* Eight letters by lot. */
static void letters(char *to, uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	uint64_t bits = *state * UINT64_C(0x9e3779b97f4a7c15);
	for (size_t i = 0; i < HALF; i++)
		to[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[bits >> (16 + 6 * i) & 63];
}

static uint64_t step(uint64_t h)
{
	h *= UINT64_C(0xff51afd7ed558ccd);
	return h ^ h >> 32;
}

static bool printable(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
			return false;
	return true;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 64;
	bool known = strcmp(argv[1], "known") == 0;
	uint64_t number = strtoull(argv[3], NULL, 10), state = UINT64_C(88172645463325252) + number;
	const uint64_t wanted = UINT64_C(0x5a17c3e9b4d2f061);
	const hash_key zero = { { 0, 0 } };

	for (long left = atol(argv[2]); left > 0;) {
		char name[2 * HALF + 1] = { 0 };
		letters(name, &state);
		if (known) {
			letters(name + HALF, &state);
			if (hash_of(&zero, number, slice_of(name, 2 * HALF)) % SLOTS != wanted % SLOTS)
				continue;
		} else {
			uint64_t first, second;
			memcpy(&first, name, HALF);
			second = wanted ^ step(number * UINT64_C(0x9e3779b97f4a7c15) ^ first);
			memcpy(name + HALF, &second, HALF);
			if (!printable(name + HALF, HALF))
				continue;
		}
		puts(name);
		left--;
	}
	return 0;
}

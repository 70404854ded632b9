/* SPDX-License-Identifier: MIT */
#include "sample/plain.h"

/* True for what base64 in JSON is made of: letters, digits, + and /, - and _ of the URL-safe kind, and the backslash of
 * escaped slashes and line ends. `bits` has a bit for each byte. */
static bool dense(char c)
{
	static const uint64_t bits[4] = { UINT64_C(0x3ffa80000000000), UINT64_C(0x7fffffe97fffffe) };
	unsigned char at = (unsigned char)c;

	return bits[at >> 6] >> (at & 63) & 1;
}

/* Returns where the run of such bytes that ends in front of `at` begins, at `start` or later. */
static size_t run_start(slice s, size_t start, size_t at)
{
	while (at > start && dense(s.ptr[at - 1]))
		at--;
	return at;
}

/* True if one of the eight bytes is below '+', as blanks and quotes are, or not ASCII: such a byte is in no run. */
static bool broken(const char *at)
{
	static const uint64_t each = UINT64_MAX / 0xff;
	uint64_t word;

	memcpy(&word, at, sizeof word);
	return ((word | ~((word | each << 7) - each * '+')) & each << 7) != 0;
}

/* Looks at LOOK bytes every STRIDE bytes only: a run of PLAIN_RUN bytes holds all bytes of one look, and text has a
 * blank in nearly each. Where a look begins does not depend on the one before, so the processor can begin several at a
 * time. */
static bool has_run(slice s)
{
	enum { LOOK = 16, STRIDE = PLAIN_RUN - LOOK };

	for (size_t at = 0; at < s.len && LOOK <= s.len - at; at += STRIDE) {
		if (broken(s.ptr + at + 8) || broken(s.ptr + at))
			continue;
		size_t from = run_start(s, 0, at + LOOK), to = at + LOOK;
		if (from > at)
			continue;
		while (to < s.len && to - from < PLAIN_RUN && dense(s.ptr[to]))
			to++;
		if (to - from >= PLAIN_RUN)
			return true;
	}
	return false;
}

bool plain_text(slice head, slice tail, uint64_t whole)
{
	size_t seam = 0; /* how long the run is with which the tail begins */

	if (has_run(head) || has_run(tail))
		return false;
	if (head.len == whole)
		return true;
	while (seam < tail.len && dense(tail.ptr[seam]))
		seam++;
	return seam <= PLAIN_SEAM && head.len - run_start(head, 0, head.len) <= PLAIN_SEAM;
}

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

/* Looks back from the end of the next PLAIN_RUN bytes to the last one that is in no run, and goes on behind that one,
 * so that most bytes of a text are never looked at. */
static bool has_run(slice s)
{
	for (size_t at = 0; at + PLAIN_RUN <= s.len;) {
		size_t from = run_start(s, at, at + PLAIN_RUN);
		if (from == at)
			return true;
		at = from;
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

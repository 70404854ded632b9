/* SPDX-License-Identifier: MIT */
#include "sample/plain.h"

/* Base64, also URL-safe and with escaped slashes and lines: letters, digits, and + / - _ and the backslash. A bit for
 * each of the first 128 characters. */
static bool dense(char c)
{
	static const uint64_t bits[4] = { UINT64_C(0x3ffa80000000000), UINT64_C(0x7fffffe97fffffe) };
	unsigned char at = (unsigned char)c;

	return bits[at >> 6] >> (at & 63) & 1;
}

/* Where the run in front of `at` begins; `start` at least. */
static size_t run_start(slice s, size_t start, size_t at)
{
	while (at > start && dense(s.ptr[at - 1]))
		at--;
	return at;
}

/* Goes on from the last other byte of PLAIN_RUN to the next, and so looks at few. */
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
	size_t seam = 0; /* of the tail */

	if (has_run(head) || has_run(tail))
		return false;
	if (head.len == whole)
		return true;
	while (seam < tail.len && dense(tail.ptr[seam]))
		seam++;
	return seam <= PLAIN_SEAM && head.len - run_start(head, 0, head.len) <= PLAIN_SEAM;
}

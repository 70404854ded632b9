/* SPDX-License-Identifier: MIT
 *
 * Reads bodies of answers that come on stdin, and says what they tell, one line each on stdout, for
 * tests/blackbox/test_tap_usage.py.
 *
 * A body is: one byte, 1 if it is whole; the content type, how the body is divided, and the body, each with four bytes
 * of length (little-endian) in front. A body is divided into pieces of the lengths that stand there, one byte each,
 * over and over; it is read at once if there are none. A line is: final and lost (0 or 1), events, content, and in hex
 * (or "-") tier, first and last. */
#include "tap/usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "driver.h"

static void say(slice s, char end)
{
	for (size_t i = 0; i < s.len; i++)
		printf("%02x", (unsigned char)s.ptr[i]);
	printf("%s%c", s.len ? "" : "-", end);
}

/* Feeds a copy of exactly the piece's length, so that a sanitizer sees a read past it. */
static void feed(tap_usage *u, slice piece)
{
	char *copy = malloc(piece.len ? piece.len : 1);

	if (!copy)
		exit(2);
	memcpy(copy, piece.ptr, piece.len);
	tap_usage_feed(u, slice_of(copy, piece.len));
	free(copy);
}

int main(void)
{
	unsigned char whole;

	while (driver_need(&whole, 1)) {
		slice type = driver_text(), steps = driver_text(), body = driver_text();
		tap_usage u;
		tap_usage_told t;
		size_t at = 0, i = 0;

		tap_usage_begin(&u, type, slice_cstr(""));
		while (at < body.len) {
			size_t step = steps.len ? (unsigned char)steps.ptr[i++ % steps.len] : body.len;
			slice piece = slice_first(slice_from(body, at), step);
			feed(&u, piece);
			at += piece.len;
		}
		tap_usage_end(&u, whole == 1, &t);
		printf("%d %d %" PRIu64 " %" PRIu64 " ", t.final, t.lost, t.events, t.content);
		say(t.tier, ' ');
		say(t.first, ' ');
		say(t.last, '\n');
		tap_usage_free(&u);
		free((void *)(uintptr_t)type.ptr);
		free((void *)(uintptr_t)steps.ptr);
		free((void *)(uintptr_t)body.ptr);
	}
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * The buffers that an SPOP thread keeps for large frames. Sanitizers see a buffer that is lost, or freed twice. */
#include "net/kept.h"

#include "unit.h"

#include <malloc.h>

enum { LIMIT = 1000 };

static int trims;

/* In place of the C library's. */
int malloc_trim(size_t pad)
{
	CHECK(pad == 0);
	return ++trims;
}

/* Gives `k` a buffer of just `cap` bytes. Returns where it lies. */
static unsigned char *given(kept *k, size_t cap)
{
	buf b = { .data = malloc(cap), .cap = cap };
	unsigned char *at = b.data;

	kept_give(k, &b);
	CHECK(!b.data && b.cap == 0 && buf_len(&b) == 0);
	return at;
}

static void the_smallest_that_is_large_enough(void)
{
	kept k;
	buf b = { .limit = 500 };

	kept_init(&k, LIMIT);
	CHECK(!kept_take(&k, &b, 1) && !b.data);
	unsigned char *large = given(&k, 300), *small = given(&k, 100), *again = given(&k, 100);
	CHECK(!kept_take(&k, &b, 301) && !b.data);
	CHECK(kept_take(&k, &b, 100) && b.data == again && b.cap == 100 && b.limit == 500);
	kept_give(&k, &b);
	CHECK(kept_take(&k, &b, 101) && b.data == large);
	free(b.data);
	b = (buf){ .limit = 500 };
	CHECK(kept_take(&k, &b, 1) && b.data == again);
	free(b.data);
	b = (buf){ .limit = 500 };
	CHECK(kept_take(&k, &b, 1) && b.data == small);
	free(b.data);
	b = (buf){ .limit = 500 };
	CHECK(!kept_take(&k, &b, 1) && k.bytes == 0);
	kept_deinit(&k);
}

static void what_was_there_moves_along(void)
{
	kept k;
	buf b = { .limit = 500 };

	kept_init(&k, LIMIT);
	given(&k, 200);
	CHECK(buf_append(&b, "..begun", 7));
	buf_consume(&b, 2, 0);
	CHECK(!kept_take(&k, &b, 196) && !kept_take(&k, &b, 496) && !kept_take(&k, &b, SIZE_MAX));
	CHECK(kept_take(&k, &b, 195) && b.cap == 200 && buf_len(&b) == 5 && memcmp(b.data + b.start, "begun", 5) == 0);
	kept_give(&k, &b);
	kept_deinit(&k);
}

/* A connection with a small max-frame-size never has more than its limit, which is all that a handover takes. */
static void none_beyond_the_limit_of_the_taker(void)
{
	kept k;
	buf b = { .limit = 299 };

	kept_init(&k, LIMIT);
	unsigned char *large = given(&k, 300);
	CHECK(!kept_take(&k, &b, 100) && !b.data && k.count == 1);
	b.limit = 300;
	CHECK(kept_take(&k, &b, 100) && b.data == large);
	kept_give(&k, &b);
	kept_deinit(&k);
}

static void no_more_than_the_limit(void)
{
	kept k;

	kept_init(&k, LIMIT);
	given(&k, 600);
	given(&k, 401);
	CHECK(k.count == 1 && k.bytes == 600);
	given(&k, 400);
	CHECK(k.count == 2 && k.bytes == LIMIT);
	kept_deinit(&k);
	CHECK(k.count == 0 && k.bytes == 0);
	for (int i = 0; i < KEPT_MAX + 1; i++)
		given(&k, 1);
	CHECK(k.count == KEPT_MAX);
	kept_deinit(&k);
}

static void what_nobody_needs_is_freed(void)
{
	kept k;
	buf b[2] = { { .limit = LIMIT }, { .limit = LIMIT } };

	kept_init(&k, LIMIT);
	given(&k, 100);
	unsigned char *second = given(&k, 100), *third = given(&k, 100);
	kept_rest(&k);
	CHECK(k.count == 3); /* they are new */
	for (int i = 0; i < 3; i++) {
		CHECK(kept_take(&k, &b[0], 1) && kept_take(&k, &b[1], 1));
		CHECK(b[0].data == (i == 1 ? second : third) && b[1].data == (i == 1 ? third : second));
		kept_give(&k, &b[0]);
		kept_give(&k, &b[1]);
	}
	kept_rest(&k);
	CHECK(k.count == 2 && k.bytes == 200);
	kept_rest(&k);
	CHECK(k.count == 0 && k.bytes == 0);
	kept_deinit(&k);
}

/* When no large frame has come for a while: once, whoever had the buffers. */
static void free_memory_goes_back(void)
{
	kept k;
	buf b = { .limit = LIMIT };

	kept_init(&k, LIMIT);
	trims = 0;
	kept_rest(&k);
	CHECK(trims == 0);
	for (int closed = 0; closed < 2; closed++) {
		given(&k, 100);
		if (closed) {
			CHECK(kept_take(&k, &b, 1));
			buf_deinit(&b);
		}
		trims = 0;
		kept_rest(&k);
		CHECK(trims == 0);
		kept_rest(&k);
		CHECK(trims == 1 && k.count == 0);
		kept_rest(&k);
		CHECK(trims == 1);
	}
	kept_deinit(&k);
}

int main(void)
{
	RUN(the_smallest_that_is_large_enough);
	RUN(what_was_there_moves_along);
	RUN(none_beyond_the_limit_of_the_taker);
	RUN(no_more_than_the_limit);
	RUN(what_nobody_needs_is_freed);
	RUN(free_memory_goes_back);
	return unit_end();
}

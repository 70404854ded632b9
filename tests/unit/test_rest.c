/* SPDX-License-Identifier: MIT
 *
 * How long a member rests. The test passes its own times to the functions. */
#include <pthread.h>

#include "decide/rest.h"

#include "unit.h"

#define WALL INT64_C(784111777000) /* Sun, 06 Nov 1994 08:49:37 GMT */

static member_rest *fresh(void)
{
	static int number;
	char name[32];

	snprintf(name, sizeof name, "leg.%d", number++);
	return rest_named(name);
}

static void a_name_is_one_rest(void)
{
	member_rest *a = rest_named("leg.a"), *b = rest_named("leg.b");

	CHECK(a && b && a != b);
	CHECK(rest_named("leg.a") == a && rest_named("leg.b") == b);
	CHECK(rest_left(a, 0) == 0 && rest_left(NULL, 0) == 0);
}

static void it_lasts_as_long_as_the_upstream_says(void)
{
	static const struct {
		const char *retry_after;
		int64_t ms;
	} rows[] = {
		{ "7", 7000 },
		{ " 7\t", 7000 },
		{ "0", 1000 },
		{ "300", 300000 },
		{ "301", 300000 },
		{ "99999999999999999999999999", 300000 },
		{ "Sun, 06 Nov 1994 08:49:47 GMT", 10000 },
		{ "Sunday, 06-Nov-94 08:49:47 GMT", 10000 },
		{ "Wednesday, 09-Nov-94 08:49:47 GMT", 300000 },
		{ "Sun Nov  6 08:49:47 1994", 10000 },
		{ "Sun Nov 6 08:49:47 1994", 10000 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 1000 },
		{ "Sun, 06 Nov 1990 08:49:37 GMT", 1000 },
		{ "Sun, 06 Nov 2094 08:49:37 GMT", 300000 },
		/* None of these is a retry-after, so the length is guessed. */
		{ "", 1000 },
		{ "soon", 1000 },
		{ "-7", 1000 },
		{ "7.5", 1000 },
		{ "7 s", 1000 },
		{ "Sun, 06 Nov 1994 08:49:47 GMT and more", 1000 },
		{ "Sun, 06 Nov 1994 08:49:47", 1000 },
		{ "1994-11-06T08:49:47Z, which is longer than any date of HTTP", 1000 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		member_rest *r = fresh();
		size_t len = strlen(rows[i].retry_after);
		slice text = slice_of(unit_guarded(rows[i].retry_after, len), len);
		CHECK(rest_declined(r, 429, text, 5000, WALL));
		if (rest_left(r, 5000) != rows[i].ms)
			printf("%s: %lld\n", rows[i].retry_after, (long long)rest_left(r, 5000));
		CHECK(rest_left(r, 5000) == rows[i].ms);
		CHECK(rest_left(r, 5000 + rows[i].ms - 1) == 1 && rest_left(r, 5000 + rows[i].ms) == 0);
	}
}

static void guesses_double_and_are_forgotten(void)
{
	static const int64_t expected[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };
	member_rest *r = fresh();
	int64_t now = 1000000;

	for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
		CHECK(rest_declined(r, 503, SLICE(""), now, WALL));
		CHECK(rest_left(r, now) == expected[i]);
		/* The answer to a request that was under way when the rest began does not make the rest longer. */
		CHECK(!rest_declined(r, 503, SLICE(""), now + 500, WALL));
		CHECK(rest_left(r, now) == expected[i]);
		now += expected[i] + 10;
	}
	/* A retry-after makes a rest longer, but never shorter. */
	CHECK(rest_declined(r, 429, SLICE("20"), now, WALL) && rest_left(r, now) == 20000);
	CHECK(!rest_declined(r, 429, SLICE("10"), now, WALL) && rest_left(r, now) == 20000);
	CHECK(!rest_declined(r, 429, SLICE("50"), now, WALL) && rest_left(r, now) == 50000);
	/* Guesses begin anew after an answer with retry-after, and after more than a minute without a rest. */
	now += 50000;
	CHECK(rest_declined(r, 503, SLICE(""), now, WALL) && rest_left(r, now) == 1000);
	now += 1000 + REST_FORGET_MS;
	CHECK(rest_declined(r, 503, SLICE(""), now, WALL) && rest_left(r, now) == 2000);
	now += 2000 + REST_FORGET_MS + 1;
	CHECK(rest_declined(r, 503, SLICE(""), now, WALL) && rest_left(r, now) == 1000);
}

static void the_status_is_one_that_says_later(void)
{
	static const int statuses[][2] = { { 429, 429 }, { 529, 529 }, { 503, 503 },
					   { 500, 503 }, { 502, 503 }, { 0, 503 } };

	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
		member_rest *r = fresh();
		CHECK(rest_status(r) == 503);
		CHECK(rest_declined(r, statuses[i][0], SLICE("5"), 0, WALL) && rest_status(r) == statuses[i][1]);
	}
}

static member_rest *shared;
static atomic_int begun;

static void *decline(void *ignored)
{
	for (int64_t now = 1; now < 20000; now++)
		if (rest_declined(shared, 429, SLICE("1"), now, WALL))
			atomic_fetch_add(&begun, 1);
	return ignored;
}

/* However many threads learn of a rest at the same moment, only one of them is told that the rest began. */
static void threads_agree(void)
{
	pthread_t threads[4];

	shared = fresh();
	for (size_t i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, decline, NULL) != 0)
			abort();
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(atomic_load(&begun) >= 1 && atomic_load(&begun) <= 20);
	CHECK(rest_left(shared, 19999) == 1000);
}

static void its_end_is_told_once(void)
{
	member_rest *r = fresh();

	CHECK(!rest_ended(r, 0));
	CHECK(rest_declined(r, 429, SLICE("2"), 1000, WALL));
	CHECK(!rest_ended(r, 1000) && !rest_ended(r, 2999));
	/* A rest that became longer ends later. */
	CHECK(!rest_declined(r, 429, SLICE("5"), 2000, WALL));
	CHECK(!rest_ended(r, 3000) && !rest_ended(r, 6999));
	CHECK(rest_ended(r, 7000) && !rest_ended(r, 7000));
	CHECK(rest_declined(r, 503, SLICE(""), 8000, WALL) && rest_ended(r, 99000) && !rest_ended(r, 99000));
}

int main(void)
{
	RUN(a_name_is_one_rest);
	RUN(it_lasts_as_long_as_the_upstream_says);
	RUN(guesses_double_and_are_forgotten);
	RUN(the_status_is_one_that_says_later);
	RUN(threads_agree);
	RUN(its_end_is_told_once);
	return unit_end();
}

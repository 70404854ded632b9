/* SPDX-License-Identifier: MIT */
#include "decide/rest.h"

#include <stdlib.h>
#include <time.h>

member_rest *rest_named(const char *name)
{
	static member_rest *all;
	member_rest *r = all;

	while (r && strcmp(r->name, name) != 0)
		r = r->next;
	if (r)
		return r;
	r = calloc(1, sizeof *r + strlen(name) + 1);
	if (!r)
		return NULL;
	memcpy(r->name, name, strlen(name) + 1);
	r->next = all;
	all = r;
	return r;
}

int64_t rest_left(const member_rest *r, int64_t now_ms)
{
	int64_t until = r ? atomic_load_explicit(&r->until_ms, memory_order_relaxed) : 0;

	return until > now_ms ? until - now_ms : 0;
}

int rest_status(const member_rest *r)
{
	int status = atomic_load_explicit(&r->status, memory_order_relaxed);

	return status == 429 || status == 529 ? status : 503;
}

/* Reads one of the three forms of a date in HTTP. False: `text` is no such date. */
static bool read_date(slice text, struct tm *tm)
{
	static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT", "%a, %d-%b-%y %H:%M:%S GMT",
					     "%a %b %e %H:%M:%S %Y" };
	char date[40];

	if (text.len >= sizeof date)
		return false;
	memcpy(date, text.ptr, text.len);
	date[text.len] = '\0';
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		*tm = (struct tm){ .tm_isdst = 0 };
		const char *end = strptime(date, forms[i], tm);
		if (end && !*end)
			return true;
	}
	return false;
}

/* Returns the milliseconds from `wall_ms` on that `text`, a retry-after header, means; below 0: it means none. */
static int64_t told(slice text, int64_t wall_ms)
{
	struct tm tm;
	int64_t seconds = 0;

	text = slice_trim(text);
	for (size_t i = 0; i < text.len && seconds >= 0; i++)
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			seconds = -1;
		else if (seconds <= REST_TOLD_MAX_MS) /* more digits make it no longer */
			seconds = seconds * 10 + (text.ptr[i] - '0');
	if (text.len == 0 || seconds >= 0)
		return text.len ? seconds * 1000 : -1;
	if (!read_date(text, &tm))
		return -1;
	int64_t until = (int64_t)timegm(&tm) * 1000;
	return until > wall_ms ? until - wall_ms : 0;
}

static int64_t within(int64_t ms, int64_t most)
{
	return ms < REST_MIN_MS ? REST_MIN_MS : ms > most ? most : ms;
}

bool rest_declined(member_rest *r, int status, slice retry_after, int64_t now_ms, int64_t wall_ms)
{
	int64_t until = atomic_load_explicit(&r->until_ms, memory_order_relaxed), ms = told(retry_after, wall_ms);
	bool rested = until > now_ms;

	if (ms < 0 && rested)
		return false; /* the answer to a request that was under way when the rest began */
	unsigned guesses = 0;
	if (ms < 0) {
		if (now_ms - until <= REST_FORGET_MS)
			guesses = atomic_load_explicit(&r->guesses, memory_order_relaxed);
		ms = within(guesses < 16 ? (int64_t)REST_MIN_MS << guesses : REST_GUESS_MAX_MS, REST_GUESS_MAX_MS);
		guesses++;
	} else {
		ms = within(ms, REST_TOLD_MAX_MS);
	}
	/* If two threads begin a rest at the same moment, only one returns true. */
	if (now_ms + ms <= until || !atomic_compare_exchange_strong(&r->until_ms, &until, now_ms + ms))
		return false;
	atomic_store_explicit(&r->guesses, guesses, memory_order_relaxed);
	atomic_store_explicit(&r->status, status, memory_order_relaxed);
	atomic_store(&r->began, true);
	return !rested;
}

bool rest_ended(member_rest *r, int64_t now_ms)
{
	return !rest_left(r, now_ms) && atomic_exchange(&r->began, false);
}

/* SPDX-License-Identifier: MIT */
#include "ledger/store_times.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/sum.h"
#include "ledger/codec.h"

void times_deinit(store_times *t)
{
	free(t->bins);
	*t = (store_times){ NULL, 0, 0 };
}

static int bin_of(int64_t ms)
{
	int bin = TIMES_EXACT;

	if (ms < TIMES_EXACT)
		return (int)ms;
	/* Here `ms` is at least 10 units. Rounded to units it has two digits, or is 100 and belongs to the next decade.
	 */
	for (int decade = 0; decade < TIMES_DECADES; decade++, bin += 90) {
		int64_t unit = 10;
		for (int i = 0; i < decade; i++)
			unit *= 10;
		int64_t digits = ms / unit + (ms % unit >= unit / 2);
		if (digits < 100)
			return bin + (int)digits - 10;
	}
	return TIMES_BINS - 1;
}

static int64_t ms_of(int64_t bin)
{
	if (bin < TIMES_EXACT)
		return bin;
	int64_t ms = (bin - TIMES_EXACT) % 90 + 10;
	for (int64_t i = 0; i <= (bin - TIMES_EXACT) / 90; i++)
		ms *= 10;
	return ms;
}

/* Adds to a bin; `*at` is where to look first, and becomes the place after the bin. */
static bool add(store_times *t, size_t *at, int64_t bin, int64_t count)
{
	while (*at < t->count && t->bins[*at].bin < bin)
		++*at;
	if (*at < t->count && t->bins[*at].bin == bin) {
		t->bins[*at].count = add_capped(t->bins[*at].count, count);
		++*at;
		return true;
	}
	times_bin *bins = list_grow(t->bins, &t->room, t->count, sizeof *bins);
	if (!bins)
		return false;
	t->bins = bins;
	memmove(t->bins + *at + 1, t->bins + *at, (t->count - *at) * sizeof *t->bins);
	t->bins[(*at)++] = (times_bin){ bin, count };
	t->count++;
	return true;
}

bool times_add(store_times *t, const record *r)
{
	size_t at = 0;

	if (r->code[0])
		return true;
	return (r->ttfb_ms < 0 || add(t, &at, bin_of(r->ttfb_ms), 1)) &&
	       (r->total_ms < 0 || add(t, &at, TIMES_BINS + bin_of(r->total_ms), 1));
}

bool times_merge(store_times *to, const store_times *from)
{
	size_t at = 0;

	for (size_t i = 0; i < from->count; i++)
		if (!add(to, &at, from->bins[i].bin, from->bins[i].count))
			return false;
	return true;
}

int64_t times_count(const store_times *t, time_which which)
{
	int64_t count = 0;

	for (size_t i = 0; i < t->count; i++)
		if (t->bins[i].bin / TIMES_BINS == (int)which)
			count = add_capped(count, t->bins[i].count);
	return count;
}

int64_t times_percentile(const store_times *t, time_which which, unsigned p)
{
	int64_t all = times_count(t, which), seen = 0;
	/* The smallest rank that is not below p/100 of all, without a product that overflows. */
	int64_t rank = all / 100 * p + (all % 100 * p + 99) / 100;

	for (size_t i = 0; i < t->count; i++) {
		if (t->bins[i].bin / TIMES_BINS != (int)which)
			continue;
		seen = add_capped(seen, t->bins[i].count);
		if (seen >= rank)
			return ms_of(t->bins[i].bin % TIMES_BINS);
	}
	return -1;
}

/* ---- as bytes: for each bin how far it is from the one before, and its count */

size_t times_encode(const store_times *t, unsigned char out[TIMES_ENCODED_MAX])
{
	unsigned char *at = out;
	int64_t last = -1;

	for (size_t i = 0; i < t->count; i++) {
		at = put_varint(at, (uint64_t)(t->bins[i].bin - last));
		at = put_varint(at, (uint64_t)t->bins[i].count);
		last = t->bins[i].bin;
	}
	return (size_t)(at - out);
}

bool times_decode(store_times *t, slice bytes)
{
	cursor c = cursor_of(bytes);
	int64_t bin = -1;
	size_t at = 0;

	while (c.pos < c.end) {
		uint64_t step = get_varint(&c), count = get_varint(&c);
		if (c.failed || step < 1 || step > TIME_KINDS * TIMES_BINS || count < 1 || count > INT64_MAX)
			return false;
		bin += (int64_t)step;
		if (bin >= TIME_KINDS * TIMES_BINS || !add(t, &at, bin, (int64_t)count))
			return false;
	}
	return true;
}

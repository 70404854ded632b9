/* SPDX-License-Identifier: MIT
 *
 * Histograms of the times of answers (ledger/store_times.h): what they keep of a time, and that bytes of a file that
 * are damaged are refused. */
#include "ledger/store_times.h"

#include "store_rig.h"

static void times_of(store_times *t, int64_t first_byte, int64_t whole)
{
	record r = { .ttfb_ms = first_byte, .total_ms = whole };
	CHECK(times_add(t, &r));
}

static void a_time_keeps_two_digits(void)
{
	static const struct {
		int64_t ms, shown;
	} cases[] = { { 0, 0 },
		      { 99, 99 },
		      { 100, 100 },
		      { 104, 100 },
		      { 105, 110 },
		      { 994, 990 },
		      { 995, 1000 },
		      { 1049, 1000 },
		      { 1050, 1100 },
		      { 99499, 99000 },
		      { 99500, 100000 },
		      { 12345678, 12000000 },
		      { 9949999999, 9900000000 },
		      { 9950000000, 9900000000 },
		      { INT64_MAX, 9900000000 } };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		store_times t = { NULL, 0, 0 };
		times_of(&t, cases[i].ms, -1);
		CHECK(times_percentile(&t, TIME_FIRST_BYTE, 50) == cases[i].shown);
		CHECK(times_percentile(&t, TIME_WHOLE, 50) == -1 && times_count(&t, TIME_WHOLE) == 0);
		times_deinit(&t);
	}
	store_times t = { NULL, 0, 0 };
	record refused = { .code = "no_route", .ttfb_ms = 5, .total_ms = 5 };
	CHECK(times_add(&t, &refused) && t.count == 0);
	times_deinit(&t);
}

static void times_come_back_from_bytes(void)
{
	static unsigned char bytes[TIMES_ENCODED_MAX];
	store_times t = { NULL, 0, 0 }, back = { NULL, 0, 0 };

	for (int i = 0; i < 5000; i++)
		times_of(&t, roll(2) ? roll(1000) : roll(1000000), roll(100000));
	size_t len = times_encode(&t, bytes);
	CHECK(times_decode(&back, slice_of((const char *)bytes, len)) && back.count == t.count);
	CHECK(memcmp(back.bins, t.bins, t.count * sizeof *t.bins) == 0);
	/* Twice the same is twice as much. */
	CHECK(times_decode(&back, slice_of((const char *)bytes, len)) && times_merge(&t, &t));
	CHECK(back.count == t.count && memcmp(back.bins, t.bins, t.count * sizeof *t.bins) == 0);
	for (size_t cut = 1; cut < len; cut++) {
		store_times part = { NULL, 0, 0 };
		(void)!times_decode(&part, slice_of((const char *)bytes, cut));
		CHECK(part.count <= t.count);
		times_deinit(&part);
	}
	CHECK(!times_decode(&back, SLICE("\xff\xff\xff\x7f\x01")) && !times_decode(&back, SLICE("\x01")));
	times_deinit(&t);
	times_deinit(&back);
}

int main(void)
{
	RUN(a_time_keeps_two_digits);
	RUN(times_come_back_from_bytes);
	return unit_end();
}

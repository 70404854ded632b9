/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a row of the ledger's table `facet_log`, and as a histogram of times. Checked: nothing is read beyond
 * the bytes; a histogram that is read has its bins in order, percentiles that grow, and comes back from its own bytes.
 */
#include "fuzz.h"

#include "ledger/store_impl.h"

static void histogram(slice bytes)
{
	static unsigned char again[TIMES_ENCODED_MAX];
	store_times t = { NULL, 0, 0 }, back = { NULL, 0, 0 };

	if (times_decode(&t, bytes)) {
		for (size_t i = 1; i < t.count; i++)
			HOLDS(t.bins[i - 1].bin < t.bins[i].bin && t.bins[i].count > 0);
		for (int which = 0; which < TIME_KINDS; which++)
			HOLDS(times_percentile(&t, (time_which)which, 1) <=
				      times_percentile(&t, (time_which)which, 50) &&
			      times_percentile(&t, (time_which)which, 50) <=
				      times_percentile(&t, (time_which)which, 100));
		size_t len = times_encode(&t, again);
		HOLDS(times_decode(&back, slice_of((const char *)again, len)) && back.count == t.count);
	}
	times_deinit(&t);
	times_deinit(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice bytes = slice_of((const char *)data, size);
	rollup cells = { .cells = NULL };

	histogram(bytes);
	if (facets_log_read(&cells, bytes))
		for (size_t i = 0; i < cells.count; i++)
			HOLDS(cells.cells[i].label.len <= FACET_LABEL_MAX && cells.cells[i].kind == KIND_FACET);
	rollup_free(&cells);
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * Histograms of how long requests took: to the first byte of the answer, and as a whole. A time goes to the bin of its
 * two leading decimal digits, rounded half up, so that a percentile that is read from the bins has the same two digits
 * as one that is read from the times themselves. Times below 100 ms stay exact. */
#ifndef LEDGER_STORE_TIMES_H
#define LEDGER_STORE_TIMES_H

#include "base/must_check.h"
#include "base/slice.h"
#include "ledger/record.h"

typedef enum time_which { TIME_FIRST_BYTE, TIME_WHOLE, TIME_KINDS } time_which;

enum {
	TIMES_EXACT = 100, /* bins of one millisecond: 0 to 99 */
	TIMES_DECADES = 8, /* of 90 bins each: 100 to 990, 1000 to 9900 and so on; longer times go to the last bin */
	TIMES_BINS = TIMES_EXACT + 90 * TIMES_DECADES,    /* of each of the two */
	TIMES_ENCODED_MAX = TIME_KINDS * TIMES_BINS * 12, /* bytes: two for the bin, ten for the count */
};

typedef struct times_bin {
	int64_t bin; /* those of TIME_WHOLE follow those of TIME_FIRST_BYTE */
	int64_t count;
} times_bin;

/* The bins that have a count, in their order. All zero: none. */
typedef struct store_times {
	times_bin *bins;
	size_t count, room;
} store_times;

void times_deinit(store_times *t);
/* Adds the times of `r`, if they count: those of a refused request say nothing of an upstream, and -1 is not known.
 * False: out of memory. */
MUST_CHECK bool times_add(store_times *t, const record *r);
MUST_CHECK bool times_merge(store_times *to, const store_times *from);
/* Returns how many times there are. */
int64_t times_count(const store_times *t, time_which which);
/* Returns the `p`th percentile (1 to 100) by nearest rank, in milliseconds; -1: there are no times. */
int64_t times_percentile(const store_times *t, time_which which, unsigned p);

/* Writes `t` as bytes, and returns their number. */
size_t times_encode(const store_times *t, unsigned char out[TIMES_ENCODED_MAX]);
/* Adds what times_encode() wrote to `t`. False: these bytes are damaged, or out of memory; `t` may have a part of
 * them. */
MUST_CHECK bool times_decode(store_times *t, slice bytes);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The ids of the last so many records, to know a second copy by. A set of 64-bit hashes: two different ids among N are taken
 * for one with a chance of N / 2^64. */
#ifndef LEDGER_RECENT_H
#define LEDGER_RECENT_H

#include "base/slice.h"

typedef struct recent {
	uint64_t *slots; /* open addressing; 0 is empty */
	uint64_t *order; /* the hashes by age: a ring */
	size_t capacity, mask, next, count;
} recent;

/* `capacity`: a power of two. False: no memory. */
bool recent_init(recent *r, size_t capacity);
void recent_deinit(recent *r);
/* Whether the id is there already; if not it is put in, and the oldest forgotten. */
bool recent_seen(recent *r, slice id);

#endif

/* SPDX-License-Identifier: MIT
 *
 * A set of the last texts that were added (ids of records), by which second copies are recognised. It holds 64-bit
 * hashes: a new text is mistaken for one of N others with a probability of N / 2^64. */
#ifndef LEDGER_RECENT_H
#define LEDGER_RECENT_H

#include "base/must_check.h"
#include "base/slice.h"

typedef struct recent {
	uint64_t *slots; /* open addressing; 0 is empty */
	uint64_t *order; /* the hashes by age: a ring */
	size_t capacity, mask, next, count;
} recent;

/* Makes a set of the last `capacity` texts; a power of two. False: no memory. */
MUST_CHECK bool recent_init(recent *r, size_t capacity);
void recent_deinit(recent *r);
/* Returns the hash of `text` for every set of this process; never 0. */
uint64_t recent_hash(slice text);
bool recent_has(const recent *r, uint64_t hash);
/* Adds the hash of a text that is not in the set. A full set forgets its oldest text. */
void recent_add(recent *r, uint64_t hash);
/* Whether `text` is in the set already; adds it if not. */
bool recent_seen(recent *r, slice text);

#endif

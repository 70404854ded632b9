/* SPDX-License-Identifier: MIT
 *
 * The last so many texts (ids of records, or their lines), to know a second copy by. A set of 64-bit hashes: two
 * different texts among N are taken for one with a chance of N / 2^64. */
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
/* What a text is known by in every set of this process; never 0. */
uint64_t recent_hash(slice text);
bool recent_has(const recent *r, uint64_t hash);
/* Of a text that is not there. The oldest is forgotten. */
void recent_add(recent *r, uint64_t hash);
/* Whether the text is there already; if not it is put in. */
bool recent_seen(recent *r, slice text);

#endif

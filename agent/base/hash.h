/* SPDX-License-Identifier: MIT
 *
 * The hash of every table whose keys others choose: SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input
 * PRF") by a key that each process draws for itself. Nobody outside can make names that collide in it. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/slice.h"

typedef struct hash_key {
	uint64_t half[2];
} hash_key;

/* The process' own key, the same at each call, from any thread. Does not fail. */
const hash_key *hash_own_key(void);
/* Of the text with a number in front, as eight bytes. */
uint64_t hash_of(const hash_key *key, uint64_t number, slice text);

#endif

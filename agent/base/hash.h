/* SPDX-License-Identifier: MIT
 *
 * The hash for every table whose keys come from outside: SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast
 * short-input PRF") with a random key for each process, so that nobody outside can choose keys that collide. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/slice.h"

typedef struct hash_key {
	uint64_t half[2];
} hash_key;

/* Returns this process' own key, the same at each call. From any thread; cannot fail. */
const hash_key *hash_own_key(void);
/* Hashes `number`, as eight bytes, followed by `text`. */
uint64_t hash_of(const hash_key *key, uint64_t number, slice text);

#endif

/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <endian.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/random.h>

static hash_key own;
static pthread_once_t drawn = PTHREAD_ONCE_INIT;

/* Early in a machine's start, or by a filter of system calls, there may be nothing to draw yet: the kernel has left 16
 * random bytes with each program it started, too. */
static void draw(void)
{
	if (getrandom(&own, sizeof own, GRND_NONBLOCK) == (ssize_t)sizeof own)
		return;
	const void *left = (const void *)getauxval(AT_RANDOM);
	if (left)
		memcpy(&own, left, sizeof own);
}

const hash_key *hash_own_key(void)
{
	pthread_once(&drawn, draw);
	return &own;
}

static inline uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static inline void turn(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static inline void take(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	turn(v);
	v[0] ^= word;
}

/* Up to eight bytes, the first the lowest, whatever the machine's order. */
static inline uint64_t word_of(const char *at, size_t len)
{
	uint64_t word = 0;

	memcpy(&word, at, len);
	return le64toh(word);
}

uint64_t hash_of(const hash_key *key, uint64_t number, slice text)
{
	uint64_t v[4] = { key->half[0] ^ UINT64_C(0x736f6d6570736575), key->half[1] ^ UINT64_C(0x646f72616e646f6d),
			  key->half[0] ^ UINT64_C(0x6c7967656e657261), key->half[1] ^ UINT64_C(0x7465646279746573) };
	size_t at = 0;

	take(v, number);
	for (; text.len - at >= 8; at += 8)
		take(v, word_of(text.ptr + at, 8));
	uint64_t last = (uint64_t)(text.len + 8) << 56;
	if (at < text.len)
		last |= word_of(text.ptr + at, text.len - at);
	take(v, last);
	v[2] ^= 0xff;
	turn(v);
	turn(v);
	turn(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

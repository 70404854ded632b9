/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <endian.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/random.h>

static hash_key own;
static pthread_once_t key_drawn = PTHREAD_ONCE_INIT;

/* Shortly after boot, or under a system call filter, getrandom() may fail. Then the key is the 16 random bytes that the
 * kernel gives every program (AT_RANDOM). */
static void draw_key(void)
{
	if (getrandom(&own, sizeof own, GRND_NONBLOCK) == (ssize_t)sizeof own)
		return;
	const void *random16 = (const void *)getauxval(AT_RANDOM);
	if (random16)
		memcpy(&own, random16, sizeof own);
}

const hash_key *hash_own_key(void)
{
	pthread_once(&key_drawn, draw_key);
	return &own;
}

static inline uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
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

static inline void sip_absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

/* Reads up to eight bytes as a little-endian number. */
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

	sip_absorb(v, number);
	for (; text.len - at >= 8; at += 8)
		sip_absorb(v, word_of(text.ptr + at, 8));
	uint64_t last = (uint64_t)(text.len + 8) << 56;
	if (at < text.len)
		last |= word_of(text.ptr + at, text.len - at);
	sip_absorb(v, last);
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

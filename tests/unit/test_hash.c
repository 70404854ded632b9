/* SPDX-License-Identifier: MIT
 *
 * The hash is SipHash-1-3: its results are those of another implementation (CPython's for bytes, whose key is set by
 * PYTHONHASHSEED). Each process has another key. */
#include "base/hash.h"
#include "base/sha256.h"

#include "unit.h"

#define COUNTING UINT64_C(0x0706050403020100) /* the first eight of the bytes 0, 1, 2 ... */

static void hashes_are_those_of_cpython(void)
{
	static const struct {
		hash_key key;
		size_t len; /* of the number (8 bytes) and the text */
		uint64_t hash;
	} known[] = {
		{ { { 0, 0 } }, 8, 0xead411e67ebe2eea },
		{ { { 0, 0 } }, 9, 0x75927f9d95124362 },
		{ { { 0, 0 } }, 15, 0xf30eb725bb91c9ea },
		{ { { 0, 0 } }, 16, 0x8972188433a5c5b7 },
		{ { { 0, 0 } }, 17, 0x4883c49a2c009c1d },
		{ { { 0, 0 } }, 71, 0xbc682db144a5bf0e },
		{ { { 0x12c874a1806f0e3d, 0x470a89d2f9d2784f } }, 8, 0x8450991e34fe08de },
		{ { { 0x12c874a1806f0e3d, 0x470a89d2f9d2784f } }, 9, 0xa0a0a12bd6c44f35 },
		{ { { 0x12c874a1806f0e3d, 0x470a89d2f9d2784f } }, 15, 0x1517e7dc54a43f5b },
		{ { { 0x12c874a1806f0e3d, 0x470a89d2f9d2784f } }, 16, 0x642bba6a6c24ebf5 },
		{ { { 0x12c874a1806f0e3d, 0x470a89d2f9d2784f } }, 24, 0x1055dd823ef41a84 },
		{ { { 0x12c874a1806f0e3d, 0x470a89d2f9d2784f } }, 71, 0xd9d69ac7f6095456 },
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		unsigned char bytes[64];
		for (size_t n = 0; n < sizeof bytes; n++)
			bytes[n] = (unsigned char)(n + 8);
		size_t len = known[i].len - 8;
		CHECK(hash_of(&known[i].key, COUNTING, slice_of(unit_guarded(bytes, len), len)) == known[i].hash);
	}
	CHECK(hash_of(&known[0].key, COUNTING, slice_of(NULL, 0)) == known[0].hash);
}

/* Runs this program once more, which then prints its key. */
static hash_key another(const char *self)
{
	char command[4200];
	hash_key key = { { 0, 0 } };
	unsigned long long a = 0, b = 0;

	snprintf(command, sizeof command, "'%s' key", self);
	FILE *f = popen(command, "r");
	if (!f || fscanf(f, "%llx %llx", &a, &b) != 2)
		abort();
	pclose(f);
	key.half[0] = a;
	key.half[1] = b;
	return key;
}

static const char *self;

static void each_process_has_a_key_of_its_own(void)
{
	hash_key own = *hash_own_key(), one = another(self), two = another(self);

	CHECK(memcmp(&own, hash_own_key(), sizeof own) == 0);
	for (int i = 0; i < 2; i++) {
		CHECK(own.half[i] && one.half[i] && two.half[i]);
		CHECK(own.half[i] != one.half[i] && own.half[i] != two.half[i] && one.half[i] != two.half[i]);
	}
	CHECK(hash_of(&one, 1, SLICE("glm-4.6")) != hash_of(&two, 1, SLICE("glm-4.6")));
}

/* The hash of the hashes of 0 to 199 bytes, by Python's hashlib. */
static void sha256_is_that_of_python(void)
{
	static const unsigned char expected[SHA256_LEN] = { 0xba, 0x7b, 0x0f, 0xce, 0xa7, 0xd1, 0x0c, 0x06,
							    0xb8, 0x55, 0xb4, 0x3d, 0x2b, 0x4d, 0xce, 0x1e,
							    0x3e, 0x84, 0x2f, 0xff, 0x6b, 0xe0, 0xac, 0xef,
							    0xb0, 0xfa, 0xf4, 0xf2, 0xdd, 0x05, 0xbb, 0x47 };
	unsigned char bytes[200], hashes[200 * SHA256_LEN], all[SHA256_LEN];

	for (size_t n = 0; n < sizeof bytes; n++) {
		bytes[n] = (unsigned char)n;
		sha256(slice_of(unit_guarded(bytes, n), n), hashes + n * SHA256_LEN);
	}
	sha256(slice_of(hashes, sizeof hashes), all);
	CHECK(memcmp(all, expected, sizeof all) == 0);
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc > 1) {
		printf("%llx %llx\n", (unsigned long long)hash_own_key()->half[0],
		       (unsigned long long)hash_own_key()->half[1]);
		return 0;
	}
	RUN(hashes_are_those_of_cpython);
	RUN(sha256_is_that_of_python);
	RUN(each_process_has_a_key_of_its_own);
	return unit_end();
}

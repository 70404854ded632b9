/* SPDX-License-Identifier: MIT
 *
 * Each level turns 64 bytes into one 64-bit mask for each kind of byte that matters; json_kernel.h does the rest with
 * those masks, in the same way for all levels. The idea is simdjson's (Langdale and Lemire, "Parsing Gigabytes of JSON
 * per Second"), which also makes an index; here only the ends of strings and values are looked for. */
#include "base/json_simd.h"

#include <stdatomic.h>

#define BLOCK 64

#define INLINE static inline __attribute__((always_inline))

#define LIKELY(x) __builtin_expect(!!(x), 1)

INLINE json_hit hit(size_t at, json_stop stop)
{
	return (json_hit){ at, stop };
}

INLINE size_t lowest(uint64_t mask)
{
	return (size_t)__builtin_ctzll(mask);
}

INLINE size_t highest(uint64_t mask)
{
	return 63 - (size_t)__builtin_clzll(mask);
}

INLINE size_t count(uint64_t mask)
{
	return (size_t)__builtin_popcountll(mask);
}

/* State between the blocks of a nested value. */
typedef struct nested_state {
	size_t depth;
	uint64_t in;    /* all ones: the block before this one (backward: behind it) ended inside a string */
	uint64_t carry; /* 1: the first byte of the next block is escaped */
} nested_state;

/* Returns the bytes of a block that a backslash escapes. *carry: in, the first byte is escaped; out, the first byte of
 * the next block is. A run of backslashes escapes every second byte, from its second byte on: subtracting the starts of
 * the runs from the odd bits makes a borrow ripple through each run, which marks those bytes without a loop (simdjson's
 * json_escape_scanner). The carry depends only on the run at the end of the block, so that no block waits for the
 * arithmetic of the one before. */
INLINE uint64_t escaped(uint64_t slash, uint64_t *carry)
{
	const uint64_t odd = 0xAAAAAAAAAAAAAAAAu;
	uint64_t in = *carry;
	uint64_t starts = slash & ~in;
	uint64_t codes = (((starts << 1) | odd) - starts) ^ odd;

	*carry = 0;
	if (slash >> 63) /* a block of backslashes only passes on what it got */
		*carry = ~slash ? (uint64_t)__builtin_clzll(~slash) & 1 : in;
	return codes ^ (slash | in);
}

/* Returns the quotes of a block that no backslash escapes. */
INLINE uint64_t unescaped(uint64_t quote, uint64_t slash, uint64_t *carry)
{
	return LIKELY(!(slash | *carry)) ? quote : quote & ~escaped(slash, carry);
}

/* Returns the length, modulo 2, of the run of backslashes that ends before p[at]. *run remembers where the last run
 * seen begins, so that a long run is not counted again for every block. */
INLINE uint64_t run_length(const unsigned char *p, size_t at, size_t *run)
{
	if (*run >= at) {
		size_t begin = at;
		while (begin > 0 && p[begin - 1] == '\\')
			begin--;
		*run = begin;
	}
	return (at - *run) & 1;
}

/* run_length() with its most frequent case inlined; `at` is not 0. */
INLINE uint64_t odd_run(const unsigned char *p, size_t at, size_t *run)
{
	if (LIKELY(p[at - 1] != '\\'))
		return 0;
	return run_length(p, at, run);
}

/* ------------------------------------------------------------------------------------------------ portable */

/* Eight bytes at a time in ordinary registers. */
typedef struct block_portable {
	uint64_t word[8]; /* the first byte is the lowest */
} block_portable;

#define EACH_BYTE(x) (0x0101010101010101u * (uint64_t)(x))

INLINE block_portable load_portable(const unsigned char *p)
{
	block_portable b;
	memcpy(b.word, p, BLOCK);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	for (int i = 0; i < 8; i++)
		b.word[i] = __builtin_bswap64(b.word[i]);
#endif
	return b;
}

/* Returns a mask of the bytes that equal `c` after their bits outside of `keep` are cleared and those of `set` are set.
 * The addition carries into the highest bit of a byte unless the seven bits below are 0, and never beyond; the product
 * gathers the eight highest bits. */
INLINE uint64_t equal_portable(block_portable b, unsigned keep, unsigned set, unsigned c)
{
	const uint64_t low = EACH_BYTE(0x7f);
	uint64_t mask = 0;

	for (unsigned i = 0; i < 8; i++) {
		uint64_t x = ((b.word[i] & EACH_BYTE(keep)) | EACH_BYTE(set)) ^ EACH_BYTE(c);
		uint64_t equal = ~(((x & low) + low) | x | low);
		mask |= ((equal >> 7) * 0x0102040810204080u) >> 56 << (8 * i);
	}
	return mask;
}

/* 1: the byte may stand outside of strings: white space, brackets, the quote, ',', ':', and the bytes of numbers, true,
 * false, null, NaN and Infinity. */
static const unsigned char token_bytes[256] = {
	['\t'] = 1, ['\n'] = 1, ['\r'] = 1, [' '] = 1, ['"'] = 1, ['+'] = 1, [','] = 1, ['-'] = 1, ['.'] = 1, ['0'] = 1,
	['1'] = 1,  ['2'] = 1,  ['3'] = 1,  ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, [':'] = 1,
	['['] = 1,  [']'] = 1,  ['{'] = 1,  ['}'] = 1, ['E'] = 1, ['I'] = 1, ['N'] = 1, ['a'] = 1, ['e'] = 1, ['f'] = 1,
	['i'] = 1,  ['l'] = 1,  ['n'] = 1,  ['r'] = 1, ['s'] = 1, ['t'] = 1, ['u'] = 1, ['y'] = 1,
};

INLINE uint64_t strays_portable(block_portable b)
{
	uint64_t mask = 0;
	for (unsigned i = 0; i < BLOCK; i++)
		mask |= (uint64_t)!token_bytes[b.word[i / 8] >> (i % 8 * 8) & 0xff] << i;
	return mask;
}

#define quotes_portable(b) equal_portable(b, 0xff, 0, '"')
#define slashes_portable(b) equal_portable(b, 0xff, 0, '\\')
/* Bit 0x20 is all that tells '[' from '{' and ']' from '}'. */
#define opens_portable(b) equal_portable(b, 0xff, 0x20, '{')
#define closes_portable(b) equal_portable(b, 0xff, 0x20, '}')
#define ctrls_portable(b) equal_portable(b, 0xe0, 0, 0)
#define stops_portable(b) (quotes_portable(b) | slashes_portable(b) | ctrls_portable(b))

INLINE uint64_t prefix_xor_portable(uint64_t m)
{
	for (unsigned shift = 1; shift < 64; shift <<= 1)
		m ^= m << shift;
	return m;
}

#define K(name) name##_portable
#define KERNEL_NAME "portable"
#define TARGET
#include "base/json_kernel.h"
#undef K
#undef KERNEL_NAME
#undef TARGET

#if defined(__x86_64__)
#include <immintrin.h>

/* token_bytes, as tables for pshufb. Each high nibble that occurs in a token byte has a bit of its own; a byte is a
 * token byte if the entries of both its nibbles share a bit. A byte >= 0x80 finds 0 in the low table (pshufb's rule),
 * so it is none. */
#define NIBBLE_LOW 0x06, 0x24, 0x46, 0x44, 0x44, 0x6c, 0x24, 0x04, 0x04, 0x6d, 0x05, 0x52, 0x22, 0x53, 0x2a, 0x00
#define NIBBLE_HIGH 0x01, 0x00, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0, 0, 0, 0, 0, 0, 0, 0

/* Multiplies by all ones without carries: bit i of the product is the parity of the bits 0 to i. */
static inline __attribute__((always_inline, target("sse2,pclmul"))) uint64_t prefix_xor_pclmul(uint64_t m)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)m), _mm_set1_epi8((char)0xff), 0);
	return (uint64_t)_mm_cvtsi128_si64(product);
}

/* ------------------------------------------------------------------------------------------------ SSE4.2 */

#define TARGET __attribute__((target("sse4.2,pclmul,popcnt")))
#define INLINE_TARGET static inline __attribute__((always_inline, target("sse4.2,pclmul,popcnt")))

typedef struct block_sse4 {
	__m128i v[4];
} block_sse4;

INLINE_TARGET block_sse4 load_sse4(const unsigned char *p)
{
	const __m128i *v = (const __m128i *)(const void *)p;
	return (block_sse4){ { _mm_loadu_si128(v), _mm_loadu_si128(v + 1), _mm_loadu_si128(v + 2),
			       _mm_loadu_si128(v + 3) } };
}

INLINE_TARGET uint64_t mask_sse4(__m128i a, __m128i b, __m128i c, __m128i d)
{
	uint64_t m0 = (uint32_t)_mm_movemask_epi8(a), m1 = (uint32_t)_mm_movemask_epi8(b);
	uint64_t m2 = (uint32_t)_mm_movemask_epi8(c), m3 = (uint32_t)_mm_movemask_epi8(d);
	return m0 | m1 << 16 | m2 << 32 | m3 << 48;
}

INLINE_TARGET uint64_t equal_sse4(block_sse4 b, char c)
{
	__m128i x = _mm_set1_epi8(c);
	return mask_sse4(_mm_cmpeq_epi8(b.v[0], x), _mm_cmpeq_epi8(b.v[1], x), _mm_cmpeq_epi8(b.v[2], x),
			 _mm_cmpeq_epi8(b.v[3], x));
}

INLINE_TARGET block_sse4 fold_sse4(block_sse4 b)
{
	for (int i = 0; i < 4; i++)
		b.v[i] = _mm_or_si128(b.v[i], _mm_set1_epi8(0x20));
	return b;
}

INLINE_TARGET uint64_t ctrls_sse4(block_sse4 b)
{
	__m128i x = _mm_set1_epi8(0x1f);
	for (int i = 0; i < 4; i++)
		b.v[i] = _mm_max_epu8(b.v[i], x);
	return equal_sse4(b, 0x1f);
}

INLINE_TARGET uint64_t strays_sse4(block_sse4 b)
{
	const __m128i low = _mm_setr_epi8(NIBBLE_LOW), high = _mm_setr_epi8(NIBBLE_HIGH);
	for (int i = 0; i < 4; i++) {
		__m128i upper = _mm_and_si128(_mm_srli_epi16(b.v[i], 4), _mm_set1_epi8(0x0f));
		b.v[i] = _mm_and_si128(_mm_shuffle_epi8(low, b.v[i]), _mm_shuffle_epi8(high, upper));
	}
	return equal_sse4(b, 0);
}

INLINE_TARGET bool stops_sse4(block_sse4 b)
{
	__m128i low = _mm_or_si128(json_stops(b.v[0]), json_stops(b.v[1]));
	__m128i high = _mm_or_si128(json_stops(b.v[2]), json_stops(b.v[3]));
	return _mm_movemask_epi8(_mm_or_si128(low, high)) != 0;
}

#define quotes_sse4(b) equal_sse4(b, '"')
#define slashes_sse4(b) equal_sse4(b, '\\')
#define opens_sse4(b) equal_sse4(fold_sse4(b), '{')
#define closes_sse4(b) equal_sse4(fold_sse4(b), '}')
#define prefix_xor_sse4(m) prefix_xor_pclmul(m)

#define K(name) name##_sse4
#define KERNEL_NAME "sse4"
#include "base/json_kernel.h"
#undef K
#undef KERNEL_NAME
#undef TARGET
#undef INLINE_TARGET

/* ------------------------------------------------------------------------------------------------ AVX2 */

#define TARGET __attribute__((target("avx2,pclmul,popcnt,bmi,bmi2")))
#define INLINE_TARGET static inline __attribute__((always_inline, target("avx2,pclmul,popcnt,bmi,bmi2")))

typedef struct block_avx2 {
	__m256i a, b;
} block_avx2;

INLINE_TARGET block_avx2 load_avx2(const unsigned char *p)
{
	return (block_avx2){ _mm256_loadu_si256((const __m256i *)(const void *)p),
			     _mm256_loadu_si256((const __m256i *)(const void *)(p + 32)) };
}

INLINE_TARGET uint64_t equal_avx2(block_avx2 v, char c)
{
	__m256i x = _mm256_set1_epi8(c);
	uint64_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v.a, x));
	uint64_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v.b, x));
	return low | high << 32;
}

INLINE_TARGET block_avx2 fold_avx2(block_avx2 v)
{
	__m256i x = _mm256_set1_epi8(0x20);
	return (block_avx2){ _mm256_or_si256(v.a, x), _mm256_or_si256(v.b, x) };
}

INLINE_TARGET uint64_t ctrls_avx2(block_avx2 v)
{
	__m256i x = _mm256_set1_epi8(0x1f);
	return equal_avx2((block_avx2){ _mm256_max_epu8(v.a, x), _mm256_max_epu8(v.b, x) }, 0x1f);
}

INLINE_TARGET __m256i nibbles_avx2(__m256i v)
{
	const __m256i low = _mm256_setr_epi8(NIBBLE_LOW, NIBBLE_LOW);
	const __m256i high = _mm256_setr_epi8(NIBBLE_HIGH, NIBBLE_HIGH);
	__m256i upper = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0f));
	return _mm256_and_si256(_mm256_shuffle_epi8(low, v), _mm256_shuffle_epi8(high, upper));
}

INLINE_TARGET uint64_t strays_avx2(block_avx2 v)
{
	return equal_avx2((block_avx2){ nibbles_avx2(v.a), nibbles_avx2(v.b) }, 0);
}

INLINE_TARGET __m256i stop_avx2(__m256i v)
{
	__m256i text = _mm256_or_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('"')),
				       _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\')));
	return _mm256_or_si256(text, _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v));
}

INLINE_TARGET bool stops_avx2(block_avx2 v)
{
	return _mm256_movemask_epi8(_mm256_or_si256(stop_avx2(v.a), stop_avx2(v.b))) != 0;
}

#define quotes_avx2(b) equal_avx2(b, '"')
#define slashes_avx2(b) equal_avx2(b, '\\')
#define opens_avx2(b) equal_avx2(fold_avx2(b), '{')
#define closes_avx2(b) equal_avx2(fold_avx2(b), '}')
#define prefix_xor_avx2(m) prefix_xor_pclmul(m)

#define K(name) name##_avx2
#define KERNEL_NAME "avx2"
#include "base/json_kernel.h"
#undef K
#undef KERNEL_NAME
#undef TARGET
#undef INLINE_TARGET

/* ------------------------------------------------------------------------------------------------ AVX-512 */

#define TARGET __attribute__((target("avx512f,avx512bw,avx2,pclmul,popcnt,bmi,bmi2")))
#define INLINE_TARGET \
	static inline __attribute__((always_inline, target("avx512f,avx512bw,avx2,pclmul,popcnt,bmi,bmi2")))

typedef struct block_avx512 {
	__m512i v;
} block_avx512;

INLINE_TARGET block_avx512 load_avx512(const unsigned char *p)
{
	return (block_avx512){ _mm512_loadu_si512(p) };
}

INLINE_TARGET uint64_t equal_avx512(__m512i v, char c)
{
	return _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(c));
}

INLINE_TARGET __m512i fold_avx512(__m512i v)
{
	return _mm512_or_si512(v, _mm512_set1_epi8(0x20));
}

INLINE_TARGET uint64_t strays_avx512(block_avx512 b)
{
	const __m512i low = _mm512_broadcast_i32x4(_mm_setr_epi8(NIBBLE_LOW));
	const __m512i high = _mm512_broadcast_i32x4(_mm_setr_epi8(NIBBLE_HIGH));
	__m512i upper = _mm512_and_si512(_mm512_srli_epi16(b.v, 4), _mm512_set1_epi8(0x0f));
	return _mm512_testn_epi8_mask(_mm512_shuffle_epi8(low, b.v), _mm512_shuffle_epi8(high, upper));
}

#define quotes_avx512(b) equal_avx512((b).v, '"')
#define slashes_avx512(b) equal_avx512((b).v, '\\')
#define opens_avx512(b) equal_avx512(fold_avx512((b).v), '{')
#define closes_avx512(b) equal_avx512(fold_avx512((b).v), '}')
#define prefix_xor_avx512(m) prefix_xor_pclmul(m)
#define ctrls_avx512(b) _mm512_cmplt_epu8_mask((b).v, _mm512_set1_epi8(0x20))
#define stops_avx512(b) (quotes_avx512(b) | slashes_avx512(b) | ctrls_avx512(b))

#define K(name) name##_avx512
#define KERNEL_NAME "avx512"
#include "base/json_kernel.h"
#undef K
#undef KERNEL_NAME
#undef TARGET
#undef INLINE_TARGET

#endif /* __x86_64__ */

/* ------------------------------------------------------------------------------------------------ choice */

static const json_kernel *kernel_for(json_level level)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	bool sse4 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") &&
		    __builtin_cpu_supports("popcnt");
	bool avx2 = sse4 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
		    __builtin_cpu_supports("bmi2");
	/* VBMI2 is not used: it marks Ice Lake and later, where 512-bit code does not slow the clock of the core. */
	bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		      __builtin_cpu_supports("avx512vbmi2");

	if (level == JSON_SSE4)
		return sse4 ? &kernel_sse4 : NULL;
	if (level == JSON_AVX2)
		return avx2 ? &kernel_avx2 : NULL;
	if (level == JSON_AVX512)
		return avx512 ? &kernel_avx512 : NULL;
#endif
	return level == JSON_PORTABLE ? &kernel_portable : NULL;
}

static _Atomic(const json_kernel *) chosen;

static const json_kernel *json_kernel_now(void)
{
	const json_kernel *kernel = atomic_load_explicit(&chosen, memory_order_relaxed);
	if (kernel)
		return kernel;
	for (int level = JSON_LEVELS - 1; !kernel; level--) /* ends, because the portable kernel is always there */
		kernel = kernel_for((json_level)level);
	atomic_store_explicit(&chosen, kernel, memory_order_relaxed);
	return kernel;
}

bool json_force_level(json_level level)
{
	const json_kernel *kernel = kernel_for(level);
	if (!kernel)
		return false;
	atomic_store_explicit(&chosen, kernel, memory_order_relaxed);
	return true;
}

const char *json_level_name(void)
{
	return json_kernel_now()->name;
}

/* Skips in fewer bytes than a block: copies them and pads them with spaces, which change nothing inside or outside of
 * strings. */
static __attribute__((noinline)) json_hit skip_short(json_skip skip, const unsigned char *p, size_t n, size_t at)
{
	unsigned char pad[BLOCK];

	memset(pad, ' ', BLOCK);
	memcpy(pad, p, n);
	json_hit h = skip(pad, BLOCK, at);
	if (h.at > n) /* CUT */
		h.at = n;
	return h;
}

json_hit json_skip_string(const unsigned char *p, size_t n, size_t at)
{
	json_skip skip = json_kernel_now()->string;
	return n < BLOCK ? skip_short(skip, p, n, at) : skip(p, n, at);
}

json_hit json_skip_nested(const unsigned char *p, size_t n, size_t at)
{
	json_skip skip = json_kernel_now()->nested;
	return n < BLOCK ? skip_short(skip, p, n, at) : skip(p, n, at);
}

json_hit json_back_string(const unsigned char *p, size_t n, size_t at)
{
	json_skip skip = json_kernel_now()->back_string;
	return n < BLOCK ? skip_short(skip, p, n, at) : skip(p, n, at);
}

json_hit json_back_nested(const unsigned char *p, size_t n, size_t at)
{
	json_skip skip = json_kernel_now()->back_nested;
	return n < BLOCK ? skip_short(skip, p, n, at) : skip(p, n, at);
}

const char *json_stop_why(json_stop stop)
{
	switch (stop) {
	case JSON_STOP_CTRL:
		return "a control character inside a string";
	case JSON_STOP_STRAY:
		return "a character that JSON does not have outside of strings";
	case JSON_STOP_DEEP:
		return "nested too deep";
	case JSON_STOP_END:
	case JSON_STOP_CUT:
		break;
	}
	return NULL;
}

/* SPDX-License-Identifier: MIT
 *
 * Skips strings and nested values 64 bytes at a time. Only the JSON reader (json*.c) includes this header. */
#ifndef BASE_JSON_SIMD_H
#define BASE_JSON_SIMD_H

#include "base/json.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef enum json_stop {
	JSON_STOP_END,   /* the quote or bracket that was looked for, at `at` */
	JSON_STOP_CUT,   /* the bytes end before that quote or bracket */
	JSON_STOP_CTRL,  /* a control character inside a string, at `at` */
	JSON_STOP_STRAY, /* a byte that no JSON token holds, outside of strings, at `at` */
	JSON_STOP_DEEP,  /* more than JSON_DEPTH_MAX brackets are open, at `at` */
} json_stop;

typedef struct json_hit {
	size_t at;
	json_stop stop;
} json_hit;

/* Both skip forward over p[at..n). json_skip_string(): `at` is behind the opening quote; END gives the closing quote.
 * json_skip_nested(): `at` is behind an opening bracket; END gives the bracket that closes it. */
json_hit json_skip_string(const unsigned char *p, size_t n, size_t at);
json_hit json_skip_nested(const unsigned char *p, size_t n, size_t at);

#if defined(__SSE2__)
/* Returns 0xff for each byte at which skipping a string may have to stop: quote, backslash, control character. */
static inline __attribute__((always_inline)) __m128i json_stops(__m128i v)
{
	__m128i ctrl = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
	__m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"')), slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
	return _mm_or_si128(_mm_or_si128(ctrl, quote), slash);
}
#endif

/* json_skip_string() for strings that are probably short, such as names: looks at the first 16 bytes without a call.
 * *ascii is true if the string ended within these 16 bytes and is plain ASCII without escapes. */
static inline __attribute__((always_inline)) json_hit json_skip_name(const unsigned char *p, size_t n, size_t at,
								     bool *ascii)
{
	*ascii = false;
#if defined(__SSE2__)
	if (n >= 16) {
		size_t from = at <= n - 16 ? at : n - 16; /* near the end, some bytes in front of `at`, too */
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + from));
		unsigned stop = (unsigned)_mm_movemask_epi8(json_stops(v)) >> (at - from);
		size_t end = at + (stop ? (size_t)__builtin_ctz(stop) : 0);
		if (stop && p[end] == '"') {
			*ascii = ((unsigned)_mm_movemask_epi8(v) >> (at - from) & (stop - 1) & ~stop) == 0;
			return (json_hit){ end, JSON_STOP_END };
		}
	}
#endif
	return json_skip_string(p, n, at);
}

/* Both skip backward over p[0..at), and may read p[0..n). json_back_string(): `at` is the closing quote; END gives the
 * opening quote. json_back_nested(): `at` is a closing bracket; END gives the bracket that opens it. The caller makes
 * sure that no backslash before p[0] escapes p[0]. */
json_hit json_back_string(const unsigned char *p, size_t n, size_t at);
json_hit json_back_nested(const unsigned char *p, size_t n, size_t at);

/* The four functions of one level. Each needs at least 64 bytes. */
typedef json_hit (*json_skip)(const unsigned char *p, size_t n, size_t at);
typedef struct json_kernel {
	const char *name;
	json_skip string, nested, back_string, back_nested;
} json_kernel;

/* A number or literal. MEMBER: it ends in front of `end`; CUT: it touches the end of the bytes, complete (`whole`) or
 * not; BAD: it is none. */
typedef struct json_scalar_hit {
	size_t end;
	uint8_t step; /* a json_step */
	uint8_t type; /* a json_type */
	bool whole;
} json_scalar_hit;

/* In json.c: reads one number or literal at p[at..n). */
json_scalar_hit json_scalar(const char *p, size_t n, size_t at);
/* Returns what is wrong, as static text; NULL for END and CUT. */
const char *json_stop_why(json_stop stop);

#endif

/* SPDX-License-Identifier: MIT
 *
 * A read-only view of bytes somebody else owns. Never NUL-terminated, may hold NUL bytes;
 * an empty slice may have a null pointer. Comparison with ASCII case folding ignores the locale. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct slice {
	const char *ptr;
	size_t len;
} slice;

/* A string literal as a slice, without its NUL. */
#define SLICE(literal) ((slice){ "" literal, sizeof(literal) - 1 })
/* The same where C wants a constant initializer. */
#define SLICE_INIT(literal) \
	{ \
		"" literal, sizeof(literal) - 1 \
	}

static inline slice slice_of(const void *ptr, size_t len)
{
	return (slice){ ptr, len };
}

/* NULL gives the empty slice. */
static inline slice slice_cstr(const char *s)
{
	return (slice){ s, s ? strlen(s) : 0 };
}

/* With a literal as `b` its length is a constant, and the comparison a few instructions. */
static inline bool slice_eq(slice a, slice b)
{
	return a.len == b.len && (b.len == 0 || memcmp(a.ptr, b.ptr, b.len) == 0);
}

static inline bool slice_starts(slice s, slice prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline bool slice_ends(slice s, slice suffix)
{
	return s.len >= suffix.len &&
	       (suffix.len == 0 || memcmp(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len) == 0);
}

/* The bytes from `from` on; empty when `from` is past the end. */
static inline slice slice_from(slice s, size_t from)
{
	if (from >= s.len)
		return (slice){ s.len ? s.ptr + s.len : s.ptr, 0 };
	return (slice){ s.ptr + from, s.len - from };
}

/* The first `len` bytes, or all when there are fewer. */
static inline slice slice_first(slice s, size_t len)
{
	return (slice){ s.ptr, len < s.len ? len : s.len };
}

static inline char ascii_lower(char c)
{
	return (c >= 'A' && c <= 'Z') ? (char)(c + ('a' - 'A')) : c;
}

static inline bool slice_ieq(slice a, slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
			return false;
	return true;
}

static inline bool slice_istarts(slice s, slice prefix)
{
	return s.len >= prefix.len && slice_ieq(slice_first(s, prefix.len), prefix);
}

/* Index of the first `c` at or after `from`; s.len when there is none. */
static inline size_t slice_find(slice s, size_t from, char c)
{
	if (from >= s.len)
		return s.len;
	const char *hit = memchr(s.ptr + from, c, s.len - from);
	return hit ? (size_t)(hit - s.ptr) : s.len;
}

/* Without the spaces and tabs at both ends. */
static inline slice slice_trim(slice s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
		s.ptr++;
		s.len--;
	}
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

#endif

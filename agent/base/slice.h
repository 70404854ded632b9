/* SPDX-License-Identifier: MIT
 *
 * A read-only view of bytes that somebody else owns. It is not NUL-terminated, and may hold NUL bytes; an empty slice
 * may have a null pointer. Functions named slice_i... ignore the case of ASCII letters, whatever the locale. */
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
/* The same for initializers of static variables. */
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

/* If `b` is a literal, its length is known to the compiler and the comparison takes a few instructions. */
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

/* Returns the bytes from `from` on; empty if `from` is past the end. */
static inline slice slice_from(slice s, size_t from)
{
	if (from >= s.len)
		return (slice){ s.len ? s.ptr + s.len : s.ptr, 0 };
	return (slice){ s.ptr + from, s.len - from };
}

/* Returns the first `len` bytes, or all if there are fewer. */
static inline slice slice_first(slice s, size_t len)
{
	return (slice){ s.ptr, len < s.len ? len : s.len };
}

static inline char ascii_lower(char c)
{
	return (c >= 'A' && c <= 'Z') ? (char)(c + ('a' - 'A')) : c;
}

static inline bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* True for a letter or a digit. */
static inline bool ascii_is_alnum(char c)
{
	return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || ascii_is_digit(c);
}

/* Returns the value of a hexadecimal digit; -1: `c` is none. */
static inline int ascii_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
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

/* Returns the index of the first `c` at or after `from`; s.len if there is none. */
static inline size_t slice_find(slice s, size_t from, char c)
{
	if (from >= s.len)
		return s.len;
	const char *hit = memchr(s.ptr + from, c, s.len - from);
	return hit ? (size_t)(hit - s.ptr) : s.len;
}

static inline bool slice_has(slice s, char c)
{
	return slice_find(s, 0, c) < s.len;
}

static inline bool slice_contains(slice s, slice what)
{
	return what.len == 0 || (s.len >= what.len && memmem(s.ptr, s.len, what.ptr, what.len));
}

static inline bool slice_icontains(slice s, slice what)
{
	for (size_t at = 0; at + what.len <= s.len; at++)
		if (slice_ieq(slice_of(s.ptr + at, what.len), what))
			return true;
	return false;
}

/* Returns `s` without the spaces and tabs at both ends. */
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

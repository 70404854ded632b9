/* SPDX-License-Identifier: MIT
 *
 * Reads JSON in place: iterators over the members of one object (or the elements of one array), forward from the
 * beginning or backward from the end, and decoders for keys and values. Nothing is built, copied or allocated; nothing
 * recurses; no byte outside the slice is read.
 *
 * What is checked. At the level that is iterated the grammar is checked strictly: key, colon, value, comma, closing
 * bracket, white space, every number and literal (with Python's NaN, Infinity and -Infinity). Values below that level
 * are skipped 64 bytes at a time. In them it is checked that strings end, that brackets balance, that no control
 * character stands inside a string, and that outside of strings there are only bytes that occur in JSON tokens (so a
 * comment, a quote ' or a stray backslash is noticed); not checked are the order of tokens, the kind of each bracket,
 * and the escapes inside a string. A more lenient reader can therefore not see other strings or other levels than this
 * one saw.
 *
 * A slice may be cut anywhere. JSON_CUT means: all of it was a valid beginning (backward: a valid end), and more bytes
 * are needed. Only the caller knows whether more bytes exist. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/must_check.h"
#include "base/slice.h"

/* True for the white space of JSON. */
static inline bool json_space(char c)
{
	/* The first comparison settles nearly every byte that is not white space. */
	return (unsigned char)c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t');
}

/* Returns the offset of the first byte from `at` on that is not white space; s.len: there is none. */
static inline __attribute__((always_inline)) size_t json_skip_space(slice s, size_t at)
{
	while (at < s.len && json_space(s.ptr[at]))
		at++;
	return at;
}

/* Brackets open at one time below the level that is iterated. Python's own parser gives up near 1000. */
#define JSON_DEPTH_MAX 1024

typedef enum json_type {
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_STRING,
	JSON_NUMBER, /* NaN and the infinities too */
	JSON_TRUE,
	JSON_FALSE,
	JSON_NULL,
} json_type;

typedef enum json_step {
	JSON_MEMBER, /* *member is set */
	JSON_DONE,   /* the closing (backward: opening) bracket was reached; beyond it is only white space */
	JSON_CUT,    /* valid up to the end of the slice (backward: its beginning), where the document goes on */
	JSON_BAD,    /* not JSON: `why` and `at` of the iterator say what is wrong and where */
} json_step;

typedef struct json_member {
	slice key;   /* as written, without its quotes, escapes and all; empty in an array */
	slice value; /* as written, with its quotes or brackets */
	json_type type;
	bool ascii; /* true: the key is plain ASCII without escapes; false: not known */
} json_member;

typedef struct json_iter {
	slice doc;
	size_t at;       /* offset in `doc` of the next byte to look at, or of the first wrong one */
	const char *why; /* static text, set with JSON_BAD */
	unsigned char state;
	bool array;
} json_iter;

/* Iterate over the object or array that `doc` begins with, after white space. Every result but JSON_MEMBER is final. */
void json_iter_init(json_iter *it, slice doc);
json_step json_next(json_iter *it, json_member *member);

/* Skips one value of any kind at offset `*at` of `doc`, after white space. JSON_MEMBER: *value and *type are set, and
 * *at is behind the value. A number or literal that touches the end of `doc` counts as complete. JSON_CUT, JSON_BAD:
 * *at is the offset where that was noticed. */
json_step json_value(slice doc, size_t *at, slice *value, json_type *type);

/* Iterates backward over the object that `window` ends with (white space may follow): the last member comes first.
 * `window` is the end of a document, or with `whole` all of it. The caller must KNOW that it is the end: if bytes were
 * missing behind it, a nested object could not be told from the outermost one.
 *
 * Why this is sound for every valid document, wherever the window begins. Claim: at each position from which the scan
 * looks left, it knows whether that position is inside a string and how many brackets are open. The claim holds at the
 * end of the document (outside, none open), and going left over a byte keeps it true if quotes are told from escaped
 * quotes:
 *  - A quote inside a string has an odd run of backslashes before it, an opening quote has none (no backslash stands
 *    outside of strings), a closing quote an even run. So "even run" is exactly "not escaped", whatever the state.
 *  - A run that touches the beginning of the window has an unknown length. json_back_init() drops such a run and the
 *    byte behind it, so every run that is left is whole. If there is no such run, it drops the first byte alone,
 * because a backslash before the window may escape that byte. A member is yielded when its key's opening quote was
 * reached that way, so all of it lies inside the window. For a document that is not valid the scan checks what the
 * forward scan checks, as far as the window reaches. */
typedef struct json_back {
	slice window;
	size_t at; /* bytes of the window not looked at yet; or the offset of the wrong byte */
	const char *why;
	unsigned char state;
	bool whole;
} json_back;

void json_back_init(json_back *it, slice window, bool whole);
json_step json_back_next(json_back *it, json_member *member);

typedef enum json_text_status {
	JSON_TEXT_OK,
	JSON_TEXT_LONG,      /* more than `cap` bytes; `buf` has the first ones */
	JSON_TEXT_ESCAPE,    /* an escape that JSON does not have */
	JSON_TEXT_SURROGATE, /* half of a surrogate pair, which is no character */
	JSON_TEXT_UTF8,      /* not UTF-8 */
} json_text_status;

/* Decodes a string (a key, or a value with its quotes) into `buf`: *len bytes, without a NUL at the end. The text may
 * hold any character, NUL and control characters included. */
MUST_CHECK json_text_status json_text(slice raw, char *buf, size_t cap, size_t *len);

/* True if a key, as written, means exactly `name` (plain ASCII, not empty). */
bool json_key_is(slice key, slice name);

/* How a key compares with `name` (plain lower-case ASCII, 1 to 16 bytes) in different parsers: those of Go, .NET and
 * others ignore case, and C strings end at a NUL. */
typedef enum json_key_match {
	JSON_KEY_OTHER,
	JSON_KEY_SAME,
	JSON_KEY_ALIKE, /* another key by the standard, but some parsers take it for `name` */
	JSON_KEY_BAD,   /* not UTF-8; or a key that could be `name` has an escape that JSON does not have */
} json_key_match;
json_key_match json_key_like(slice key, slice name);

/* Reads a whole number without fraction or exponent. False: not such a number, or it does not fit; *out is untouched.
 */
MUST_CHECK bool json_int64(slice value, int64_t *out);

/* Reads a number that is whole, however it is written: 1000, 1000.0, 1e3. False: not such a number, or it does not fit;
 * *out is untouched. */
MUST_CHECK bool json_whole(slice value, int64_t *out);

/* Reads a finite JSON number of at most JSON_NUMBER_MAX bytes. Needs the "C" locale. False: *out is untouched. */
#define JSON_NUMBER_MAX 64
MUST_CHECK bool json_double(slice value, double *out);

/* True for strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_valid(const char *s, size_t len);

/* The vector code that skips values. The first use chooses the best level that the CPU has; tests and benchmarks force
 * another level. */
typedef enum json_level {
	JSON_PORTABLE,
	JSON_SSE4,
	JSON_AVX2,
	JSON_AVX512,
	JSON_LEVELS,
} json_level;

bool json_force_level(json_level level); /* False: this CPU or build does not have `level`. */
const char *json_level_name(void);       /* of the level in use */

#endif

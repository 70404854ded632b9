/* SPDX-License-Identifier: MIT */
#include "base/json_simd.h"

/* What the forward iterator expects next. */
enum { AT_OPEN, AT_FIRST, AT_COMMA, AT_END };

/* Reads `word` at p[at..n). CUT: the word touches the end of the slice, complete (*whole) or not. */
static json_step literal(const char *p, size_t n, size_t at, slice word, size_t *end, bool *whole)
{
	size_t len = n - at < word.len ? n - at : word.len;
	if (memcmp(p + at, word.ptr, len) != 0)
		return JSON_BAD;
	*end = at + len;
	*whole = len == word.len;
	return *end == n ? JSON_CUT : JSON_MEMBER;
}

/* Skips [0-9]+ at *at. False: the byte there is not a digit. True at the end of the slice, where a digit may follow. */
static bool digits(const char *p, size_t n, size_t *at)
{
	if (*at < n && !ascii_is_digit(p[*at]))
		return false;
	while (*at < n && ascii_is_digit(p[*at]))
		++*at;
	return true;
}

/* Reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? ; *whole: the bytes so far are a number. */
static json_step number(const char *p, size_t n, size_t at, size_t *end, bool *whole)
{
	*whole = false;
	*end = n;
	if (p[at] == '-')
		at++;
	if (at == n)
		return JSON_CUT;
	if (p[at] == '0')
		at++;
	else if (!digits(p, n, &at))
		return JSON_BAD;
	if (at < n && p[at] == '.') {
		at++;
		if (at == n)
			return JSON_CUT;
		if (!digits(p, n, &at))
			return JSON_BAD;
	}
	if (at < n && (p[at] == 'e' || p[at] == 'E')) {
		at++;
		if (at < n && (p[at] == '+' || p[at] == '-'))
			at++;
		if (at == n)
			return JSON_CUT;
		if (!digits(p, n, &at))
			return JSON_BAD;
	}
	*whole = true;
	*end = at;
	return at == n ? JSON_CUT : JSON_MEMBER;
}

json_step json_scalar(const char *p, size_t n, size_t at, size_t *end, json_type *type, bool *whole)
{
	switch (p[at]) {
	case 't':
		*type = JSON_TRUE;
		return literal(p, n, at, SLICE("true"), end, whole);
	case 'f':
		*type = JSON_FALSE;
		return literal(p, n, at, SLICE("false"), end, whole);
	case 'n':
		*type = JSON_NULL;
		return literal(p, n, at, SLICE("null"), end, whole);
	case 'N':
		*type = JSON_NUMBER;
		return literal(p, n, at, SLICE("NaN"), end, whole);
	case 'I':
		*type = JSON_NUMBER;
		return literal(p, n, at, SLICE("Infinity"), end, whole);
	case '-':
		*type = JSON_NUMBER;
		if (n - at > 1 && p[at + 1] == 'I')
			return literal(p, n, at, SLICE("-Infinity"), end, whole);
		return number(p, n, at, end, whole);
	default:
		*type = JSON_NUMBER;
		if (ascii_is_digit(p[at]))
			return number(p, n, at, end, whole);
		return JSON_BAD;
	}
}

/* Sets *why and *at for a string, object or array that does not end at its closing quote or bracket. */
static json_step value_fault(json_hit h, const char **why, size_t *at)
{
	*at = h.at;
	if (h.stop == JSON_STOP_CUT)
		return JSON_CUT;
	*why = h.stop == JSON_STOP_END ? "a bracket is closed by one of the other kind" : json_stop_why(h.stop);
	return JSON_BAD;
}

/* Reads the value at `*at`, which is inside the slice. JSON_CUT with *whole: a complete number or literal that touches
 * the end of the slice. */
static inline __attribute__((always_inline)) json_step value_at(slice doc, size_t *at, slice *value, json_type *type,
								bool *whole, const char **why)
{
	const unsigned char *p = (const unsigned char *)doc.ptr;
	size_t begin = *at, end = begin;
	json_step step = JSON_MEMBER;

	*whole = false;
	if (p[begin] == '"') {
		bool ascii;
		json_hit h = json_skip_name(p, doc.len, begin + 1, &ascii);
		*type = JSON_STRING;
		if (h.stop != JSON_STOP_END)
			return value_fault(h, why, at);
		end = h.at + 1;
	} else if (p[begin] == '{' || p[begin] == '[') {
		unsigned char closing = p[begin] + 2; /* '{' + 2 is '}', '[' + 2 is ']' */
		json_hit h = { begin + 1, JSON_STOP_END };
		*type = p[begin] == '{' ? JSON_OBJECT : JSON_ARRAY;
		if (doc.len - begin < 2 || p[begin + 1] != closing) /* {} and [] are frequent */
			h = json_skip_nested(p, doc.len, begin + 1);
		if (h.stop != JSON_STOP_END || p[h.at] != closing)
			return value_fault(h, why, at);
		end = h.at + 1;
	} else {
		step = json_scalar(doc.ptr, doc.len, begin, &end, type, whole);
		if (step == JSON_BAD) {
			*why = "a value is expected";
			return JSON_BAD;
		}
		if (step == JSON_CUT && !*whole) {
			*at = doc.len;
			return JSON_CUT;
		}
	}
	*value = slice_of(doc.ptr + begin, end - begin);
	*at = end;
	return step;
}

json_step json_value(slice doc, size_t *at, slice *value, json_type *type)
{
	const char *why = NULL;
	bool whole = false;

	*at = json_skip_space(doc, *at);
	if (*at >= doc.len)
		return JSON_CUT;
	json_step step = value_at(doc, at, value, type, &whole, &why);
	return step == JSON_CUT && whole ? JSON_MEMBER : step;
}

void json_iter_init(json_iter *it, slice doc)
{
	*it = (json_iter){ .doc = doc, .state = AT_OPEN };
}

static json_step bad(json_iter *it, size_t at, const char *why)
{
	it->at = at;
	it->why = why;
	it->state = AT_END;
	return JSON_BAD;
}

static json_step cut(json_iter *it)
{
	it->at = it->doc.len;
	it->state = AT_END;
	return JSON_CUT;
}

/* Ends the iteration at the closing bracket p[at], behind which only white space may stand. */
static json_step closed(json_iter *it, size_t at)
{
	at = json_skip_space(it->doc, at + 1);
	if (at < it->doc.len)
		return bad(it, at, "more after the end of the document");
	it->at = at;
	it->state = AT_END;
	return JSON_DONE;
}

json_step json_next(json_iter *it, json_member *m)
{
	slice doc = it->doc;
	const char *p = doc.ptr;
	size_t n = doc.len;
	size_t at = json_skip_space(doc, it->at);
	const char *why = NULL;
	bool whole = false;

	if (it->state == AT_OPEN) {
		if (at == n)
			return cut(it);
		if (p[at] != '{' && p[at] != '[')
			return bad(it, at, "not an object");
		it->array = p[at] == '[';
		it->state = AT_FIRST;
		at = json_skip_space(doc, at + 1);
	}
	if (at >= n)
		return cut(it);
	if (it->state == AT_END)
		return bad(it, at, it->why ? it->why : "read past the end");
	if (p[at] == (it->array ? ']' : '}')) {
		return closed(it, at);
	}
	if (it->state == AT_COMMA) {
		if (p[at] != ',')
			return bad(it, at, "a comma or the closing bracket is expected");
		at = json_skip_space(doc, at + 1);
		if (at == n)
			return cut(it);
	}
	m->key = slice_of(NULL, 0);
	m->ascii = false;
	if (!it->array) {
		if (p[at] != '"')
			return bad(it, at, "a member's name in double quotes is expected");
		json_hit h = json_skip_name((const unsigned char *)p, n, at + 1, &m->ascii);
		if (h.stop == JSON_STOP_CUT)
			return cut(it);
		if (h.stop != JSON_STOP_END)
			return bad(it, h.at, json_stop_why(h.stop));
		m->key = slice_of(p + at + 1, h.at - at - 1);
		at = json_skip_space(doc, h.at + 1);
		if (at == n)
			return cut(it);
		if (p[at] != ':')
			return bad(it, at, "a colon is expected");
		at = json_skip_space(doc, at + 1);
		if (at == n)
			return cut(it);
	}
	json_step step = value_at(doc, &at, &m->value, &m->type, &whole, &why);
	if (step == JSON_CUT)
		return cut(it); /* a number that touches the end may go on */
	if (step == JSON_BAD)
		return bad(it, at, why);
	it->at = at;
	it->state = AT_COMMA;
	return JSON_MEMBER;
}

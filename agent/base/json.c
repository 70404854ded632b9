/* SPDX-License-Identifier: MIT */
#include "base/json_simd.h"

/* What the forward iterator expects next. */
enum { AT_OPEN, AT_COMMA, AT_END };

static const json_scalar_hit no_scalar = { 0, JSON_BAD, JSON_NUMBER, false };

/* Reads `word` at p[at..n). */
static inline __attribute__((always_inline)) json_scalar_hit literal(const char *p, size_t n, size_t at, slice word,
								     uint8_t type)
{
	if (n - at > word.len) /* nearly always */
		return memcmp(p + at, word.ptr, word.len) == 0 ?
			       (json_scalar_hit){ at + word.len, JSON_MEMBER, type, true } :
			       no_scalar;
	if (memcmp(p + at, word.ptr, n - at) != 0)
		return no_scalar;
	return (json_scalar_hit){ n, JSON_CUT, type, n - at == word.len };
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

/* Reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? */
static json_scalar_hit number(const char *p, size_t n, size_t at)
{
	const json_scalar_hit cut = { n, JSON_CUT, JSON_NUMBER, false };

	if (p[at] == '-')
		at++;
	if (at == n)
		return cut;
	if (p[at] == '0')
		at++;
	else if (!digits(p, n, &at))
		return no_scalar;
	if (at < n && p[at] == '.') {
		at++;
		if (at == n)
			return cut;
		if (!digits(p, n, &at))
			return no_scalar;
	}
	if (at < n && (p[at] == 'e' || p[at] == 'E')) {
		at++;
		if (at < n && (p[at] == '+' || p[at] == '-'))
			at++;
		if (at == n)
			return cut;
		if (!digits(p, n, &at))
			return no_scalar;
	}
	return (json_scalar_hit){ at, at == n ? JSON_CUT : JSON_MEMBER, JSON_NUMBER, true };
}

json_scalar_hit json_scalar(const char *p, size_t n, size_t at)
{
	switch (p[at]) {
	case 't':
		return literal(p, n, at, SLICE("true"), JSON_TRUE);
	case 'f':
		return literal(p, n, at, SLICE("false"), JSON_FALSE);
	case 'n':
		return literal(p, n, at, SLICE("null"), JSON_NULL);
	case 'N':
		return literal(p, n, at, SLICE("NaN"), JSON_NUMBER);
	case 'I':
		return literal(p, n, at, SLICE("Infinity"), JSON_NUMBER);
	case '-':
		if (n - at > 1 && p[at + 1] == 'I')
			return literal(p, n, at, SLICE("-Infinity"), JSON_NUMBER);
		return number(p, n, at);
	default:
		return ascii_is_digit(p[at]) ? number(p, n, at) : no_scalar;
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
	size_t begin = *at, end;
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
		json_scalar_hit h = json_scalar(doc.ptr, doc.len, begin);
		step = h.step;
		*type = h.type;
		if (step == JSON_BAD) {
			*why = "a value is expected";
			return JSON_BAD;
		}
		*whole = h.whole;
		end = h.end;
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

	if (it->state == AT_COMMA && at < n && p[at] == ',') { /* in front of each member but the first */
		at = json_skip_space(doc, at + 1);
		if (at == n)
			return cut(it);
	} else {
		if (it->state == AT_OPEN) {
			if (at == n)
				return cut(it);
			if (p[at] != '{' && p[at] != '[')
				return bad(it, at, "not an object");
			it->array = p[at] == '[';
			at = json_skip_space(doc, at + 1);
		}
		if (at >= n)
			return cut(it);
		if (it->state == AT_END)
			return bad(it, at, it->why ? it->why : "read past the end");
		if (p[at] == (it->array ? ']' : '}'))
			return closed(it, at);
		if (it->state == AT_COMMA)
			return bad(it, at, "a comma or the closing bracket is expected");
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

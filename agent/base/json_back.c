/* SPDX-License-Identifier: MIT
 *
 * The backward scan. json.h says why it is sound. */
#include "base/json_simd.h"

/* What the iterator expects to its left. */
enum { AT_CLOSE, AT_VALUE, AT_COMMA, AT_END };

void json_back_init(json_back *it, slice window, bool whole)
{
	if (!whole) {
		size_t drop = 0;
		while (drop < window.len && window.ptr[drop] == '\\')
			drop++;
		window = slice_from(window, drop + 1);
	}
	*it = (json_back){ .window = window, .at = window.len, .state = AT_CLOSE, .whole = whole };
}

static json_step bad(json_back *it, size_t at, const char *why)
{
	it->at = at;
	it->why = why;
	it->state = AT_END;
	return JSON_BAD;
}

/* The scan reached the beginning of the window too early. If the window is the whole document, that is an error. */
static json_step cut(json_back *it)
{
	if (it->whole)
		return bad(it, 0, "the document has no beginning");
	it->at = 0;
	it->state = AT_END;
	return JSON_CUT;
}

/* Returns the length of p[0..at) without the white space at its end. */
static size_t skip_space(const char *p, size_t at)
{
	while (at > 0 && json_space(p[at - 1]))
		at--;
	return at;
}

static bool scalar_byte(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '-' ||
	       c == '.';
}

/* Reads the value whose last byte is p[*at - 1]; *at becomes the offset of its first byte. */
static json_step value_back(json_back *it, size_t *at, json_member *m)
{
	const char *p = it->window.ptr;
	const unsigned char *u = (const unsigned char *)p;
	size_t n = it->window.len, end = *at, begin = end - 1;
	char last = p[begin];

	if (last == '"' || last == '}' || last == ']') {
		json_hit h = last == '"' ? json_back_string(u, n, begin) : json_back_nested(u, n, begin);
		if (h.stop == JSON_STOP_CUT)
			return cut(it);
		if (h.stop != JSON_STOP_END)
			return bad(it, h.at, json_stop_why(h.stop));
		begin = h.at;
		if (last != '"' && u[begin] + 2 != u[end - 1])
			return bad(it, begin, "a bracket is closed by one of the other kind");
		m->type = last == '"' ? JSON_STRING : last == '}' ? JSON_OBJECT : JSON_ARRAY;
	} else {
		while (begin > 0 && scalar_byte(p[begin - 1]))
			begin--;
		if (!scalar_byte(last))
			return bad(it, end - 1, "a value is expected");
		if (begin == 0)
			return cut(it);
		json_scalar_hit h = json_scalar(p, end, begin);
		if (!h.whole || h.end != end)
			return bad(it, begin, "a value is expected");
		m->type = h.type;
	}
	m->value = slice_of(p + begin, end - begin);
	m->ascii = false;
	*at = begin;
	return JSON_MEMBER;
}

/* Ends the iteration at the opening bracket p[at], before which only white space may stand. */
static json_step opened(json_back *it, size_t at)
{
	at = skip_space(it->window.ptr, at);
	if (at > 0)
		return bad(it, at - 1, "more before the beginning of the document");
	it->at = 0;
	it->state = AT_END;
	return JSON_DONE;
}

json_step json_back_next(json_back *it, json_member *m)
{
	const char *p = it->window.ptr;
	size_t at = skip_space(p, it->at);

	if (it->state == AT_END)
		return it->why ? JSON_BAD : JSON_DONE;
	if (at == 0)
		return cut(it);
	if (it->state == AT_CLOSE) {
		if (p[at - 1] != '}')
			return bad(it, at - 1, "the document does not end with an object's closing bracket");
		at = skip_space(p, at - 1);
		if (at == 0)
			return cut(it);
		if (p[at - 1] == '{')
			return opened(it, at - 1);
		it->state = AT_VALUE;
	}
	if (it->state == AT_COMMA) { /* to the left of a member */
		if (p[at - 1] == '{')
			return opened(it, at - 1);
		if (p[at - 1] != ',')
			return bad(it, at - 1, "a comma or the opening bracket is expected");
		at = skip_space(p, at - 1);
		if (at == 0)
			return cut(it);
	}
	json_step step = value_back(it, &at, m);
	if (step != JSON_MEMBER)
		return step;
	at = skip_space(p, at);
	if (at == 0)
		return cut(it);
	if (p[at - 1] != ':')
		return bad(it, at - 1, "a colon is expected");
	at = skip_space(p, at - 1);
	if (at == 0)
		return cut(it);
	if (p[at - 1] != '"')
		return bad(it, at - 1, "a member's name in double quotes is expected");
	json_hit h = json_back_string((const unsigned char *)p, it->window.len, at - 1);
	if (h.stop == JSON_STOP_CUT)
		return cut(it);
	if (h.stop != JSON_STOP_END)
		return bad(it, h.at, json_stop_why(h.stop));
	m->key = slice_of(p + h.at + 1, at - 1 - (h.at + 1));
	it->at = h.at;
	it->state = AT_COMMA;
	return JSON_MEMBER;
}

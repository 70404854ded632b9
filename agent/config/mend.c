/* SPDX-License-Identifier: MIT */
#include "config/mend.h"

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

enum { DEPTH_MAX = 100 };

/* Stands in `lines` for what was inserted into `json`. It is a byte that continues a character, and place_error() does
 * not count those. */
static const char inserted = '\x80';

typedef struct mender {
	place where;
	const char *text;
	size_t len, at;
	size_t line_end; /* of the line that was asked for last */
	char *json, *lines;
	size_t out;
	err_list *all;
	struct {
		char kind; /* { or [ */
		size_t at;
	} open[DEPTH_MAX];
	size_t depth;
	bool lost; /* nothing more can be read */
} mender;

/* ---- writing */

static void put(mender *m, char json, char line)
{
	m->json[m->out] = json;
	m->lines[m->out++] = line;
}

static void insert(mender *m, char c)
{
	put(m, c, inserted);
}

/* Takes `n` bytes as they are. */
static void keep(mender *m, size_t n)
{
	for (; n && m->at < m->len; n--, m->at++)
		put(m, m->text[m->at], m->text[m->at]);
}

/* Takes `n` bytes, and writes blanks for them. */
static void blank(mender *m, size_t n)
{
	for (; n && m->at < m->len; n--, m->at++)
		put(m, m->text[m->at] == '\n' ? '\n' : ' ', m->text[m->at]);
}

/* Takes `n` bytes, and writes `instead` for them, in as many bytes or fewer. */
static void replace(mender *m, size_t n, const char *instead)
{
	for (size_t i = 0; i < n && m->at < m->len; i++, m->at++)
		put(m, *instead ? *instead++ : ' ', m->text[m->at]);
}

#define wrong(m, at_, ...) wrong_at(m, (place){ (m)->where.name, (m)->text, (at_), NULL }, __VA_ARGS__)
#define wrong_at(m, p, ...) \
	do { \
		err wrong_e_; \
		place_error(&wrong_e_, p, __VA_ARGS__); \
		err_list_add((m)->all, &wrong_e_); \
		(m)->lost |= (m)->all->count == ERRORS_MAX; \
	} while (0)

static void wrong_lost(mender *m, const char *what)
{
	wrong(m, m->at, "%s", what);
	m->lost = true;
}

static size_t line_of(const mender *m, size_t at)
{
	size_t line = 1;

	for (size_t i = 0; i < at; i++)
		line += m->text[i] == '\n';
	return line;
}

/* ---- reading */

static char peek(const mender *m)
{
	return m->at < m->len ? m->text[m->at] : '\0';
}

static bool looking_at(const mender *m, const char *word)
{
	return slice_starts(slice_of(m->text + m->at, m->len - m->at), slice_cstr(word));
}

static size_t until(const mender *m, const char *stop)
{
	const char *end = strstr(m->text + m->at, stop);

	return end ? (size_t)(end - m->text) - m->at : m->len - m->at;
}

/* Passes over blanks and comments. */
static void skip(mender *m)
{
	for (;;) {
		char c = peek(m);
		if (c && strchr(" \t\r\n", c)) {
			keep(m, 1);
		} else if (c == '#' || looking_at(m, "//") || looking_at(m, "/*")) {
			bool block = looking_at(m, "/*");
			wrong(m, m->at, "JSON has no comments: take it out");
			blank(m, block ? until(m, "*/") + 2 : until(m, "\n"));
		} else {
			return;
		}
	}
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("_-.+:/@*", c));
}

/* Returns the length of the quotation mark here that people, or word processors, write in place of JSON's. 0: none. */
static size_t odd_quote(const mender *m)
{
	static const char *const odd[] = {
		"'", "`", "\xe2\x80\x9c", "\xe2\x80\x9d", "\xe2\x80\x9e", "\xe2\x80\x98", "\xe2\x80\x99"
	};

	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
		if (looking_at(m, odd[i]))
			return strlen(odd[i]);
	return 0;
}

/* Returns the number of the escape \uXXXX at `text`; -1: there is none. */
static long unit_at(const char *text)
{
	char digits[5];

	if (text[0] != '\\' || text[1] != 'u' || strspn(text + 2, "0123456789abcdefABCDEF") < 4)
		return -1;
	snprintf(digits, sizeof digits, "%s", text + 2);
	return strtol(digits, NULL, 16);
}

static void escape(mender *m)
{
	char c = m->at + 1 < m->len ? m->text[m->at + 1] : '\0';
	long unit = unit_at(m->text + m->at), next = unit >= 0 ? unit_at(m->text + m->at + 6) : -1;

	if (c && strchr("\"\\/bfnrt", c)) {
		keep(m, 2);
	} else if (unit >= 0 && (unit < 0xd800 || unit > 0xdfff)) {
		keep(m, 6);
	} else if (unit >= 0 && unit < 0xdc00 && next >= 0xdc00 && next <= 0xdfff) {
		keep(m, 12);
	} else if (unit >= 0) {
		wrong(m, m->at,
		      "this is half of a character: \\ud800 to \\udbff need one of \\udc00 to \\udfff behind");
		replace(m, 6, "?");
	} else {
		wrong(m, m->at,
		      c == 'u' ?
			      "four hexadecimal digits are expected after \\u" :
			      "a backslash is written \\\\ in JSON; after a single one, one of \" \\ / b f n r t u is expected");
		replace(m, 1, "?");
	}
}

/* Returns where a text ends whose closing quote is missing: in front of the commas and brackets at the end of its line.
 */
static size_t line_end(mender *m)
{
	if (m->at >= m->line_end || !m->line_end)
		m->line_end = m->at + until(m, "\n");
	size_t end = m->line_end;

	while (end > m->at && strchr(" \t\r,]}", m->text[end - 1]))
		end--;
	return end;
}

/* Takes a text in quotes, of whatever kind. */
static void take_string(mender *m)
{
	size_t begin = m->at, odd = odd_quote(m);

	if (odd) {
		wrong(m, begin, "a text stands in double quotes: \"");
		blank(m, odd - 1);
		replace(m, 1, "\"");
	} else {
		keep(m, 1);
	}
	size_t stop = line_end(m);
	for (;;) {
		char c = peek(m);
		if (c == '\n' || m->at >= m->len) {
			/* Go back to what would have closed the line, and read it again. */
			wrong(m, begin, "the text that begins here has no closing quote in its line");
			m->out -= m->at - stop;
			m->at = stop;
			insert(m, '"');
			return;
		}
		if (!odd && c == '"') {
			keep(m, 1);
			return;
		}
		if (odd && (odd_quote(m) || c == '"')) {
			size_t n = c == '"' ? 1 : odd_quote(m);
			replace(m, n, "\"");
			return;
		}
		if (c == '\\')
			escape(m);
		else
			keep(m, 1);
	}
}

static bool is_number(slice s)
{
	size_t at = 0, from;

	at += s.len && s.ptr[0] == '-';
	from = at;
	while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9')
		at++;
	if (at == from || (s.ptr[from] == '0' && at > from + 1))
		return false;
	if (at < s.len && s.ptr[at] == '.') {
		from = ++at;
		while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9')
			at++;
		if (at == from)
			return false;
	}
	if (at < s.len && (s.ptr[at] | 0x20) == 'e') {
		at++;
		at += at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+');
		from = at;
		while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9')
			at++;
		if (at == from)
			return false;
	}
	return at == s.len;
}

/* Takes a word without quotes: `key`: as a member's name. */
static void take_word(mender *m, bool key)
{
	static const struct {
		const char *word, *meant;
	} words[] = { { "true", "true" }, { "false", "false" }, { "null", "null" }, { "none", "null" } };
	size_t n = 0;

	while (m->at + n < m->len && is_word(m->text[m->at + n]) && !(key && m->text[m->at + n] == ':'))
		n++;
	slice word = slice_of(m->text + m->at, n);
	for (size_t i = 0; !key && i < sizeof words / sizeof words[0]; i++) {
		if (!slice_ieq(word, slice_cstr(words[i].word)))
			continue;
		if (!slice_eq(word, slice_cstr(words[i].meant)))
			wrong(m, m->at, "this is written %s in JSON", words[i].meant);
		replace(m, n, words[i].meant);
		return;
	}
	if (!key && is_number(word)) {
		keep(m, n);
	} else if (!key && ((word.ptr[0] >= '0' && word.ptr[0] <= '9') || strchr("-+.", word.ptr[0]))) {
		wrong(m, m->at, "this is no number of JSON: digits are expected, without 0 or + in front");
		replace(m, n, "0");
	} else {
		wrong(m, m->at,
		      key ? "the name of a member stands in double quotes" : "a text stands in double quotes");
		insert(m, '"');
		keep(m, n);
		insert(m, '"');
	}
}

static bool begins_value(const mender *m)
{
	char c = peek(m);

	return c == '"' || c == '{' || c == '[' || odd_quote(m) || is_word(c);
}

/* ---- objects and arrays */

static void close_one(mender *m)
{
	insert(m, m->open[--m->depth].kind == '{' ? '}' : ']');
}

static void value(mender *m);

/* True if an object or array ends here; takes what closes it. */
static bool take_close(mender *m)
{
	char kind = m->open[m->depth - 1].kind, right = kind == '{' ? '}' : ']', c = peek(m);

	if (c == right) {
		keep(m, 1);
		m->depth--;
		return true;
	}
	if (!c) {
		wrong(m, m->len, "the text ends too early: a %c is missing for the %c in line %zu", right, kind,
		      line_of(m, m->open[m->depth - 1].at));
		close_one(m);
		return true;
	}
	if (c != '}' && c != ']')
		return false;
	if (m->depth > 1 && m->open[m->depth - 2].kind != kind) {
		wrong(m, m->at, "a %c is missing before this %c: it closes the %c in line %zu", right, c, kind,
		      line_of(m, m->open[m->depth - 1].at));
		close_one(m);
	} else {
		wrong(m, m->at, "a %c is expected in place of this %c: it closes the %c in line %zu", right, c, kind,
		      line_of(m, m->open[m->depth - 1].at));
		char text[2] = { right, '\0' };
		replace(m, 1, text);
		m->depth--;
	}
	return true;
}

static void take_member_name(mender *m)
{
	if (peek(m) == '"' || odd_quote(m))
		take_string(m);
	else
		take_word(m, true);
	skip(m);
	if (peek(m) == ':') {
		keep(m, 1);
	} else {
		wrong(m, m->at, "a colon is expected between the name of a member and its value");
		if (peek(m) == '=')
			replace(m, 1, ":");
		else
			insert(m, ':');
	}
	skip(m);
	if (!begins_value(m)) {
		wrong(m, m->at, "a value is missing here");
		insert(m, '0');
	} else {
		value(m);
	}
}

/* Takes commas up to the next element. `first`: there is none before. */
static void take_commas(mender *m, bool first)
{
	bool have = first;

	while (peek(m) == ',' && !m->lost) {
		size_t here = m->at;
		if (have) {
			wrong(m, here, "this comma is one too many");
			blank(m, 1);
			skip(m);
			continue;
		}
		/* What stands behind the comma shows whether it is the last one. */
		size_t out = m->out;
		keep(m, 1);
		skip(m);
		have = true;
		if (peek(m) == '}' || peek(m) == ']' || !peek(m)) {
			wrong(m, here, "no comma may follow the last %s",
			      m->open[m->depth - 1].kind == '{' ? "member" : "element");
			m->json[out] = ' ';
			return;
		}
	}
	if (!have && begins_value(m)) {
		wrong(m, m->at, "a comma is missing before this");
		insert(m, ',');
	}
}

static void take_elements(mender *m)
{
	bool object = m->open[m->depth - 1].kind == '{', first = true;

	while (!m->lost) {
		skip(m);
		take_commas(m, first);
		if (m->lost || take_close(m))
			return;
		if (!begins_value(m)) {
			wrong_lost(m, object ? "the name of a member, or } is expected here" :
					       "a value, or ] is expected here");
			return;
		}
		if (object)
			take_member_name(m);
		else
			value(m);
		first = false;
	}
}

static void value(mender *m)
{
	char c = peek(m);

	if (c == '"' || odd_quote(m)) {
		take_string(m);
	} else if (c == '{' || c == '[') {
		if (m->depth == DEPTH_MAX) {
			wrong_lost(m, "objects and arrays stand too deep in one another");
			return;
		}
		m->open[m->depth].kind = c;
		m->open[m->depth++].at = m->at;
		keep(m, 1);
		take_elements(m);
	} else {
		take_word(m, false);
	}
}

bool json_mend(place where, err_list *all, char **json, char **lines)
{
	mender m = { .where = where, .text = where.text, .len = strlen(where.text), .all = all };
	/* Nothing is inserted more than three times for one byte of the text, or for one open bracket. */
	size_t room = 4 * m.len + DEPTH_MAX + 8;

	*json = m.json = malloc(room);
	*lines = m.lines = malloc(room);
	if (m.json && m.lines) {
		if (looking_at(&m, "\xef\xbb\xbf"))
			blank(&m, 3);
		skip(&m);
		if (begins_value(&m))
			value(&m);
		else
			wrong_lost(&m, "a value is expected here");
		skip(&m);
		if (!m.lost && m.at < m.len) {
			wrong(&m, m.at, "nothing may follow the end of the configuration");
			blank(&m, m.len - m.at);
		}
		m.json[m.out] = m.lines[m.out] = '\0';
		if (!m.lost)
			return true;
	}
	all->failed |= !m.json || !m.lines;
	free(m.json);
	free(m.lines);
	*json = *lines = NULL;
	return false;
}

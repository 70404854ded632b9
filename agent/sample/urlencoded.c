/* SPDX-License-Identifier: MIT
 *
 * application/x-www-form-urlencoded. */
#include "sample/body.h"
#include "sample/path.h"

static bool visible(char c)
{
	return c > ' ' && c < 0x7f;
}

/* Brackets, and what nobody sees, may stand around a name: Rack and Node's qs read [model] as model, fetch drops a BOM.
 */
bool field_like(slice field, slice name, bool *same)
{
	size_t len = 0;

	*same = slice_eq(field, name);
	while (field.len > 0 && field.ptr[0] != '\0' && (!visible(field.ptr[0]) || strchr("?[]", field.ptr[0])))
		field = slice_from(field, 1);
	while (len < field.len && visible(field.ptr[len]) && !strchr("[]", field.ptr[len]))
		len++;
	return slice_ieq(slice_first(field, len), name);
}

/* Returns what stands before the first '%' that begins no escape. Most parsers take such a '%' as it is. */
static slice decodable(slice raw)
{
	char buf[1];
	size_t len = 0;
	bool longer = false;

	for (size_t i = slice_find(raw, 0, '%'); i < raw.len; i = slice_find(raw, i + 1, '%'))
		if (!percent_decode(slice_first(slice_from(raw, i), 3), false, buf, sizeof buf, &len, &longer))
			return slice_first(raw, i);
	return raw;
}

/* As field_like(), for a name that is still encoded. */
static bool key_like(slice raw, slice name, bool *same)
{
	char buf[32];
	size_t len = 0;
	bool longer = false;

	*same = false;
	for (slice space = SLICE("%20"); raw.len > sizeof buf;) { /* however many blanks stand in front */
		if (raw.ptr[0] != '+' && raw.ptr[0] != ' ' && !slice_starts(raw, space))
			break;
		raw = slice_from(raw, raw.ptr[0] == '%' ? space.len : 1);
	}
	slice clean = decodable(raw);
	if (!percent_decode(clean, true, buf, sizeof buf, &len, &longer))
		return false;
	bool like = field_like(slice_of(buf, len), name, same);
	*same = *same && !longer && clean.len == raw.len;
	return like;
}

static slice key_of(slice pair)
{
	return slice_first(pair, slice_find(pair, 0, '='));
}

/* True if `pair` is a `model` for parsers that begin a new field at a ';', as older ones do, or for those that do not.
 */
static bool names_model(slice pair)
{
	bool same = false;

	if (key_like(key_of(pair), SLICE("model"), &same))
		return true;
	for (size_t at = 0; at < pair.len; at++) {
		size_t semicolon = slice_find(pair, at, ';');
		if (key_like(key_of(slice_of(pair.ptr + at, semicolon - at)), SLICE("model"), &same))
			return true;
		at = semicolon;
	}
	return false;
}

static bool ascii(slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x80)
			return false;
	return true;
}

static const char *take_pair(slice pair, mentions *found)
{
	char buf[MODEL_MAX];
	size_t len = 0;
	bool same = false, longer = false;
	slice key = key_of(pair);
	slice raw = slice_from(pair, key.len + 1);

	if (key_like(key, SLICE("model"), &same)) {
		const char *why = NULL;
		if (!percent_decode(raw, true, buf, sizeof buf, &len, &longer))
			why = "bad percent-encoding in the model's name";
		else if (longer)
			why = "the model's name is too long";
		else if (slice_find(raw, 0, ';') < raw.len)
			why = "a semicolon in the model's name";
		else if (!ascii(raw)) /* Latin-1 for some parsers, UTF-8 for others */
			why = "bytes beyond ASCII in the model's name that are not percent-encoded";
		else if (!same)
			why = "the field must be spelled \"model\"";
		mentions_add(found, same, slice_of(buf, len), why);
		return NULL;
	}
	if (key_like(key, SLICE("stream"), &same)) {
		bool odd = !percent_decode(raw, true, buf, sizeof buf, &len, &longer) || longer;
		mentions_stream(found, same, odd ? STREAM_ODD : stream_of(slice_of(buf, len)));
	}
	if (key_like(key, SLICE("_charset_"), &same) && !slice_ieq(raw, SLICE("utf-8")))
		return "a field \"_charset_\" that is not UTF-8";
	return names_model(pair) ? "a field \"model\" stands behind a semicolon" : NULL;
}

/* Takes the fields in `s`. `open`: the last one may go on behind `s`, so it is only looked at. */
static const char *take_pairs(slice s, bool open, mentions *found)
{
	for (size_t at = 0; at < s.len;) {
		size_t end = slice_find(s, at, '&');
		if (end == s.len && open) {
			found->open = names_model(slice_from(s, at));
			break;
		}
		const char *why = take_pair(slice_of(s.ptr + at, end - at), found);
		if (why)
			return why;
		at = end + 1;
	}
	return NULL;
}

body_result body_urlencoded(const body_view *view, mentions *found, const char **detail)
{
	bool whole = view->ended && !view->gap;

	*detail = "a NUL in a form"; /* where parsers in C end it */
	if (slice_find(view->head, 0, '\0') < view->head.len || slice_find(view->tail, 0, '\0') < view->tail.len)
		return BODY_BAD;
	*detail = take_pairs(view->head, !whole, found);
	if (!*detail && view->tail.len > 0) /* the first field of the tail begins before the tail: skip it */
		*detail = take_pairs(slice_from(view->tail, slice_find(view->tail, 0, '&') + 1), false, found);
	if (*detail)
		return BODY_BAD;
	return whole ? BODY_ALL : BODY_PART;
}

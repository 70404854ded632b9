/* SPDX-License-Identifier: MIT
 *
 * application/x-www-form-urlencoded. */
#include "sample/body.h"
#include "sample/path.h"

bool field_like(slice field, slice name, bool *same)
{
	*same = slice_eq(field, name);
	while (field.len > 0 && (unsigned char)field.ptr[0] <= ' ' && field.ptr[0] != '\0')
		field = slice_from(field, 1);
	field = slice_first(field, slice_find(field, 0, '\0'));
	field = slice_first(field, slice_find(field, 0, '['));
	return slice_ieq(slice_trim(field), name);
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
	if (!percent_decode(raw, true, buf, sizeof buf, &len, &longer))
		return false;
	bool like = field_like(slice_of(buf, len), name, same);
	*same = *same && !longer;
	return like;
}

static slice key_of(slice pair)
{
	return slice_first(pair, slice_find(pair, 0, '='));
}

/* True if a `model` stands behind a ';', where older parsers begin a new field and newer ones do not. */
static bool hidden_model(slice pair)
{
	bool same = false;
	size_t semicolon = slice_find(pair, 0, ';');

	while (semicolon < pair.len) {
		pair = slice_from(pair, semicolon + 1);
		semicolon = slice_find(pair, 0, ';');
		if (key_like(key_of(slice_first(pair, semicolon)), SLICE("model"), &same))
			return true;
	}
	return false;
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
		mentions_add(found, same, slice_of(buf, len), why);
		return NULL;
	}
	if (key_like(key, SLICE("stream"), &same)) {
		bool odd = !percent_decode(raw, true, buf, sizeof buf, &len, &longer) || longer;
		mentions_stream(found, same, odd ? STREAM_ODD : stream_of(slice_of(buf, len)));
	}
	if (key_like(key, SLICE("_charset_"), &same) && !slice_ieq(raw, SLICE("utf-8")))
		return "a field \"_charset_\" that is not UTF-8";
	return hidden_model(pair) ? "a field \"model\" stands behind a semicolon" : NULL;
}

/* Takes the fields in `s`. `open`: the last one may go on behind `s`, so it is left out. */
static const char *take_pairs(slice s, bool open, mentions *found)
{
	for (size_t at = 0; at < s.len;) {
		size_t end = slice_find(s, at, '&');
		if (end == s.len && open)
			break;
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

	*detail = take_pairs(view->head, !whole, found);
	if (!*detail && view->tail.len > 0) /* the first field of the tail begins before the tail: skip it */
		*detail = take_pairs(slice_from(view->tail, slice_find(view->tail, 0, '&') + 1), false, found);
	if (*detail)
		return BODY_BAD;
	return whole ? BODY_ALL : BODY_PART;
}

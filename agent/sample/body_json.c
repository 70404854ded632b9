/* SPDX-License-Identifier: MIT */
#include "sample/body.h"

#include "base/text.h"

#define BOM "\xef\xbb\xbf"

static const char *text_fault(json_text_status status)
{
	switch (status) {
	case JSON_TEXT_LONG:
		return "the model's name is too long";
	case JSON_TEXT_ESCAPE:
		return "a bad escape in the model's name";
	case JSON_TEXT_SURROGATE:
		return "half of a surrogate pair in the model's name";
	case JSON_TEXT_UTF8:
		return "the model's name is not UTF-8";
	case JSON_TEXT_OK:
		break;
	}
	return NULL;
}

/* A function of its own, so that take_model() needs no buffer on the stack. */
static __attribute__((noinline)) void take_escaped(slice value, bool exact, mentions *found)
{
	char buf[MODEL_MAX];
	size_t len = 0;
	const char *why = text_fault(json_text(value, buf, sizeof buf, &len));

	mentions_add(found, exact, slice_of(buf, len), why);
}

static void take_model(const json_member *m, bool exact, mentions *found)
{
	if (m->type == JSON_NULL) {
		found->null = true;
		return;
	}
	if (m->type != JSON_STRING) {
		mentions_add(found, exact, slice_of(NULL, 0), "the model is not a string");
		return;
	}
	slice raw = slice_of(m->value.ptr + 1, m->value.len - 2);
	if (slice_find(raw, 0, '\\') < raw.len)
		take_escaped(m->value, exact, found);
	else
		mentions_add(found, exact, raw, NULL);
}

static inline bool ascii(slice key)
{
	uint64_t all = 0, word;
	size_t i = 0;

	for (; i + sizeof word <= key.len; i += sizeof word) {
		memcpy(&word, key.ptr + i, sizeof word);
		all |= word;
	}
	for (; i < key.len; i++)
		all |= (unsigned char)key.ptr[i];
	return (all & 0x8080808080808080u) == 0;
}

/* A quick check, true for most keys: they cannot mean "model" or "stream", because they are plain ASCII without an
 * escape in front and their first two letters differ. */
static inline bool neither(const json_member *m)
{
	slice key = m->key;

	if (key.len >= 2) {
		uint16_t both, mo, st;
		memcpy(&both, key.ptr, sizeof both);
		memcpy(&mo, "mo", sizeof mo);
		memcpy(&st, "st", sizeof st);
		both |= 0x2020; /* letters in lower case */
		if (key.ptr[1] == '\\' || both == mo || both == st)
			return false;
	}
	return (key.len == 0 || key.ptr[0] != '\\') && (m->ascii || ascii(key));
}

static void take_stream(const json_member *m, bool exact, mentions *found)
{
	slice text = m->value;
	stream_said said = m->type == JSON_TRUE ? STREAM_YES : STREAM_NO;

	if (m->type == JSON_STRING) /* some servers take the text for what it says */
		said = stream_of(slice_of(text.ptr + 1, text.len - 2));
	else if (m->type != JSON_TRUE && m->type != JSON_FALSE && m->type != JSON_NULL)
		said = stream_of(text);
	mentions_stream(found, exact, said);
}

/* True if a member `stream_options` asks for the usage at the end of the stream. */
static bool asks_for_usage(const json_member *options)
{
	json_iter it;
	json_member m;
	bool asks = false;

	if (options->type != JSON_OBJECT)
		return false;
	json_iter_init(&it, options->value);
	while (json_next(&it, &m) == JSON_MEMBER)
		if (json_key_is(m.key, SLICE("include_usage")))
			asks = m.type == JSON_TRUE;
	return asks;
}

/* True for "stream" written with the long s, U+017F, whose upper case is S: Go takes it for "stream". */
static bool long_s_stream(slice key)
{
	char buf[sizeof "\xc5\xbftream" - 1];
	size_t len = 0;

	return json_text(key, buf, sizeof buf, &len) == JSON_TEXT_OK && len == sizeof buf &&
	       slice_starts(slice_of(buf, len), SLICE("\xc5\xbf")) &&
	       slice_ieq(slice_from(slice_of(buf, len), 2), SLICE("tream"));
}

static __attribute__((noinline)) const char *take_either(const json_member *m, mentions *found)
{
	json_key_match match = json_key_like(m->key, SLICE("model"));

	if (match == JSON_KEY_SAME || match == JSON_KEY_ALIKE) {
		take_model(m, match == JSON_KEY_SAME, found);
		return NULL;
	}
	if (json_key_is(m->key, SLICE("stream_options"))) {
		mentions_usage(found, asks_for_usage(m));
		return NULL;
	}
	if (match == JSON_KEY_OTHER)
		match = json_key_like(m->key, SLICE("stream"));
	if (match == JSON_KEY_BAD)
		return "a member's name is not valid text";
	if (match != JSON_KEY_OTHER || long_s_stream(m->key))
		take_stream(m, match == JSON_KEY_SAME, found);
	return NULL;
}

/* Takes what a top-level member says. NULL, or what is wrong with the key. */
static inline const char *take(const json_member *m, mentions *found)
{
	if (neither(m))
		return NULL;
	/* Nearly all bodies spell both like this. */
	if (slice_eq(m->key, SLICE("model")))
		take_model(m, true, found);
	else if (slice_eq(m->key, SLICE("stream")))
		take_stream(m, true, found);
	else
		return take_either(m, found);
	return NULL;
}

/* Reads the tail backward. `fresh`: the head was blank, so that the object may begin in the tail. */
static body_result tail_json(slice tail, bool fresh, mentions *found, const char **detail)
{
	json_back it;
	json_member m;
	json_step step;

	json_back_init(&it, tail, false);
	while ((step = json_back_next(&it, &m)) == JSON_MEMBER) {
		if ((*detail = take(&m, found)))
			return BODY_BAD;
	}
	*detail = it.why;
	if (step == JSON_BAD)
		return BODY_BAD;
	if (step == JSON_DONE && !fresh) {
		*detail = "more than one document";
		return BODY_BAD;
	}
	return step == JSON_DONE ? BODY_ALL : BODY_PART;
}

static body_result object_json(const body_view *view, slice head, mentions *found, const char **detail)
{
	json_iter it;
	json_member m = { .key = { NULL, 0 } };
	json_step step;

	json_iter_init(&it, head);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		if ((*detail = take(&m, found)))
			return BODY_BAD;
		m.key = slice_of(NULL, 0);
	}
	if (step == JSON_BAD) {
		*detail = it.why;
		return BODY_BAD;
	}
	if (step == JSON_DONE) {
		if (body_blank(view->tail))
			return BODY_ALL;
		*detail = "more after the end of the document";
		return BODY_BAD;
	}
	if (view->ended && !view->gap) {
		*detail = "the document ends too early";
		return BODY_BAD;
	}
	body_result end = view->tail.len > 0 ? tail_json(view->tail, false, found, detail) : BODY_PART;
	/* The head ends inside a member, whose name is m.key if it is whole. */
	json_key_match match = json_key_like(m.key, SLICE("model"));
	return end != BODY_BAD && (match == JSON_KEY_SAME || match == JSON_KEY_ALIKE) ? BODY_CUT : end;
}

/* Reads a body that says it is JSON, but is not an object: if it is valid JSON, it names no model. */
static body_result other_json(const body_view *view, slice head, const char **detail)
{
	slice value;
	json_type type;
	size_t at = 0;
	json_step step = json_value(head, &at, &value, &type);

	*detail = "the body is not JSON";
	if (step == JSON_BAD)
		return BODY_BAD;
	if (step == JSON_CUT)
		return view->ended && !view->gap ? BODY_BAD : BODY_ALL;
	*detail = "more after the end of the document";
	return body_blank(slice_from(head, at)) ? BODY_ALL : BODY_BAD;
}

bool body_hidden(slice head)
{
	bool blank = false, wide = false;

	while (head.len > 0) {
		char c = head.ptr[0];
		size_t len = c == '\0' || c == '\xfe' || c == '\xff' ? 1 : text_unseen_start(head);
		if (len == 0)
			break;
		/* Bytes that servers trim: vertical tab, form feed, the separators, and blanks beyond ASCII. */
		bool trimmed = len > 1 || c == '\v' || c == '\f' || (c >= 0x1c && c < ' ');
		blank |= trimmed;
		wide |= !trimmed && !json_space(c);
		head = slice_from(head, len);
	}
	if (head.len > 0)
		return (blank || wide) && head.ptr[0] == '{';
	return blank &&
	       !wide; /* what follows the blanks is not in the head; sound of a low level has other bytes, too */
}

body_result body_json(const body_view *view, bool must, mentions *found, const char **detail)
{
	slice head = view->head;

	if (slice_starts(head, SLICE(BOM)) || slice_starts(SLICE(BOM), head)) /* or a cut BOM */
		head = slice_from(head, sizeof BOM - 1);
	size_t at = json_skip_space(head, 0);
	if (at == head.len) {
		if (view->tail.len > 0)
			return tail_json(view->tail, true, found, detail);
		*detail = "the body is empty";
		return view->gap || !view->ended ? BODY_PART : must ? BODY_BAD : BODY_ALL;
	}
	if (head.ptr[at] == '{')
		return object_json(view, slice_from(head, at), found, detail);
	*detail = BODY_HIDDEN;
	if (body_hidden(head))
		return BODY_BAD;
	return must ? other_json(view, slice_from(head, at), detail) : BODY_ALL;
}

/* SPDX-License-Identifier: MIT */
#include "sample/path.h"

/* Longest decoded segment that can matter: the name of a model, its prefix and a method. */
#define SEGMENT_MAX (MODEL_MAX + 64)

bool percent_decode(slice s, bool plus, char *buf, size_t cap, size_t *len, bool *longer)
{
	size_t out = 0;

	*longer = false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if (c == '%') {
			int high = s.len - i > 2 ? ascii_hex_digit(s.ptr[i + 1]) : -1;
			int low = s.len - i > 2 ? ascii_hex_digit(s.ptr[i + 2]) : -1;
			if (high < 0 || low < 0)
				return false;
			c = (char)(unsigned char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		if (out == cap) {
			*longer = true;
			break;
		}
		buf[out++] = c;
	}
	*len = out;
	return true;
}

typedef struct segment {
	slice raw;
	size_t len; /* of `text` */
	bool fault; /* bad percent-encoding */
	bool longer;
	char text[SEGMENT_MAX];
} segment;

static slice text_of(const segment *s)
{
	return slice_of(s->text, s->len);
}

/* Reads the segment that begins at path[at]. */
static void segment_read(slice path, size_t at, segment *s)
{
	s->raw = slice_first(slice_from(path, at), slice_find(path, at, '/') - at);
	s->len = 0;
	s->longer = false;
	s->fault = !percent_decode(s->raw, false, s->text, sizeof s->text, &s->len, &s->longer);
	if (s->fault)
		s->len = 0;
}

static bool has_slash(slice text)
{
	return slice_find(text, 0, '/') < text.len || slice_find(text, 0, '\\') < text.len;
}

static void add(mentions *found, const segment *s, slice name, slice prefix, bool slash_ok)
{
	char full[SEGMENT_MAX + 16];
	const char *why = NULL;

	if (s->fault)
		why = "bad percent-encoding in the path's model";
	else if (s->longer)
		why = "the model's name is too long";
	else if (!slash_ok && has_slash(name))
		why = "an encoded slash in the path's model";
	else if (slice_eq(name, SLICE(".")) || slice_eq(name, SLICE("..")))
		why = "a dot segment where the path names the model";
	if (!why && prefix.len > 0 && name.len > 0) {
		memcpy(full, prefix.ptr, prefix.len);
		memcpy(full + prefix.len, name.ptr, name.len);
		name = slice_of(full, prefix.len + name.len);
	}
	mentions_add(found, true, name, why ? why : name_fault(name));
}

/* Splits "M:method"; the colon is never encoded. A method has letters only, which tells it from the tags of models that
 * a request only asks about, such as `llama3:8b`. */
static bool gemini_method(const segment *s, slice *model, slice *method)
{
	size_t colon = slice_find(s->raw, 0, ':');
	size_t at = slice_find(text_of(s), 0, ':');

	if (colon == s->raw.len)
		return false;
	*method = slice_from(s->raw, colon + 1);
	if (method->len == 0)
		return false;
	for (size_t i = 0; i < method->len; i++)
		if (ascii_lower(method->ptr[i]) < 'a' || ascii_lower(method->ptr[i]) > 'z')
			return false;
	*model = slice_first(text_of(s), at);
	return true;
}

static bool bedrock_operation(slice raw, bool *stream)
{
	static const struct {
		slice name;
		bool stream;
	} operations[] = {
		{ { "invoke", 6 }, false },
		{ { "invoke-with-response-stream", 27 }, true },
		{ { "invoke-with-bidirectional-stream", 32 }, true },
		{ { "converse", 8 }, false },
		{ { "converse-stream", 15 }, true },
		{ { "count-tokens", 12 }, false },
	};

	for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
		if (slice_eq(raw, operations[i].name)) {
			*stream = operations[i].stream;
			return true;
		}
	}
	return false;
}

static bool marker(slice text)
{
	return slice_ieq(text, SLICE("models")) || slice_ieq(text, SLICE("tunedmodels")) ||
	       slice_ieq(text, SLICE("deployments")) || slice_ieq(text, SLICE("model"));
}

/* Adds the model that the segment at `at` and the two behind it name, if they do; `before` is the segment to the left.
 * Returns where Bedrock's ID begins, the one segment that may hold an encoded slash; 0: there is none. */
static size_t look_at(slice path, slice before, size_t at, mentions *found)
{
	segment this, next;
	bool stream = false;
	slice model, method;

	segment_read(path, at, &this);
	size_t next_at = at + this.raw.len + 1;
	if (!marker(text_of(&this)) || next_at >= path.len)
		return 0;
	segment_read(path, next_at, &next);

	bool tuned = slice_eq(text_of(&this), SLICE("tunedModels"));
	if ((tuned || slice_eq(text_of(&this), SLICE("models"))) && gemini_method(&next, &model, &method)) {
		add(found, &next, model, tuned ? SLICE("tunedModels/") : slice_of(NULL, 0), false);
		found->stream = found->stream || slice_starts(method, SLICE("stream")) ||
				slice_starts(method, SLICE("serverStreaming"));
		return 0;
	}
	size_t after_at = next_at + next.raw.len + 1;
	if (after_at >= path.len)
		return 0;
	if (slice_ieq(text_of(&this), SLICE("deployments")) && slice_ieq(before, SLICE("openai")))
		add(found, &next, text_of(&next), slice_of(NULL, 0), false);
	if (slice_eq(text_of(&this), SLICE("model")) && bedrock_operation(slice_from(path, after_at), &stream)) {
		add(found, &next, text_of(&next), slice_of(NULL, 0), true);
		found->stream = found->stream || stream;
		return next_at;
	}
	return 0;
}

/* True if the path may name a model, and has empty segments, dot segments or encoded slashes, which servers read
 * differently. */
static bool unclear(slice path, size_t id_at)
{
	bool odd = false, names = false;

	for (size_t at = 1; at <= path.len;) {
		segment s;
		segment_read(path, at, &s);
		bool last = at + s.raw.len >= path.len;
		slice text = text_of(&s);
		if ((s.raw.len == 0 && !last) || slice_eq(text, SLICE(".")) || slice_eq(text, SLICE("..")))
			odd = true;
		if (marker(text) && !last)
			names = true;
		if (at != id_at && has_slash(text) &&
		    (slice_icontains(text, SLICE("model")) || slice_icontains(text, SLICE("deployment"))))
			odd = names = true;
		at += s.raw.len + 1;
	}
	return odd && names;
}

/* SWAR: sets the top bit of each byte that equals c. The byte after a match may be a false positive. */
static inline uint64_t maybe_equal(uint64_t word, unsigned char c)
{
	const uint64_t each = 0x0101010101010101u;
	uint64_t x = word ^ each * c;

	return (x - each) & ~x & each * 0x80;
}

/* Looks at eight overlapping pairs of bytes, from s on. True: a pair may begin a segment that names a model, or is
 * percent-encoded. */
static inline bool pairs_may_name(const char *s)
{
	uint64_t here, next;

	memcpy(&here, s, sizeof here);
	memcpy(&next, s + 1, sizeof next);
	next |= 0x2020202020202020u; /* lower case */
	uint64_t letter = maybe_equal(next, 'm') | maybe_equal(next, 't') | maybe_equal(next, 'd');
	return ((maybe_equal(here, '/') & letter) | maybe_equal(here, '%')) != 0;
}

/* A quick check, false for most paths: no segment begins like a word that names a model, and nothing is
 * percent-encoded. */
static bool may_name(slice path)
{
	size_t at = 0;

	if (path.len > 8) {
		for (; at + 9 < path.len; at += 8)
			if (pairs_may_name(path.ptr + at))
				return true;
		return pairs_may_name(path.ptr + path.len - 9);
	}
	for (; at + 1 < path.len; at++) {
		char c = path.ptr[at] == '/' ? ascii_lower(path.ptr[at + 1]) : '\0';
		if (c == 'm' || c == 't' || c == 'd' || path.ptr[at] == '%')
			return true;
	}
	return false;
}

void path_model(slice path, mentions *found)
{
	slice before = slice_of(NULL, 0);
	size_t id_at = 0;

	if (path.len == 0 || path.ptr[0] != '/' || !may_name(path))
		return;
	for (size_t at = 1; at < path.len;) {
		slice raw = slice_first(slice_from(path, at), slice_find(path, at, '/') - at);
		size_t id = look_at(path, before, at, found);
		id_at = id ? id : id_at;
		before = raw;
		at += raw.len + 1;
	}
	if (unclear(path, id_at)) {
		mentions_init(found);
		mentions_add(found, true, slice_of(NULL, 0), "the path can be read in more than one way");
	}
}

bool path_body_matters(slice path)
{
	return slice_icontains(path, SLICE("deployments"));
}

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

/* A path on its way through path_model(). */
typedef struct walk {
	slice path;
	bool get;      /* GET, and no WebSocket handshake */
	bool asks;     /* a method that runs no model: GET, HEAD, DELETE, OPTIONS */
	size_t id;     /* where Bedrock's ID begins if it is an ARN, which alone may hold slashes; 0: there is none */
	size_t id_end; /* the first byte behind the ID and its slash */
	mentions *found;
} walk;

static void add(walk *w, const segment *s, slice name, slice prefix)
{
	char full[SEGMENT_MAX + 16];
	const char *why = NULL;

	if (s->fault)
		why = "bad percent-encoding in the path's model";
	else if (s->longer)
		why = "the model's name is too long";
	else if (has_slash(name) && w->id == 0)
		why = "an encoded slash in the path's model";
	else if (slice_eq(name, SLICE(".")) || slice_eq(name, SLICE("..")))
		why = "a dot segment where the path names the model";
	if (!why && prefix.len > 0 && name.len > 0) {
		memcpy(full, prefix.ptr, prefix.len);
		memcpy(full + prefix.len, name.ptr, name.len);
		name = slice_of(full, prefix.len + name.len);
	}
	mentions_add(w->found, true, name, why);
}

static void unsure(walk *w)
{
	w->found->any = true;
	w->found->differ = "the path can be read in more than one way";
}

/* Splits "M:method", decoded. A method has letters only. */
static bool gemini_method(slice text, slice *model, slice *method)
{
	size_t colon = slice_find(text, 0, ':');

	*model = slice_first(text, colon);
	*method = slice_from(text, colon + 1);
	for (size_t i = 0; i < method->len; i++)
		if (ascii_lower(method->ptr[i]) < 'a' || ascii_lower(method->ptr[i]) > 'z')
			return false;
	return method->len > 0;
}

static bool bedrock_operation(slice text, bool *stream)
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
		if (slice_ieq(text, operations[i].name)) {
			*stream = operations[i].stream;
			return true;
		}
	}
	return false;
}

/* True for the first word of an endpoint, as in "chat/completions": behind "models" it is no model, and behind a
 * model's name it ends that name. */
static bool endpoint_word(slice text)
{
	static const slice words[] = {
		SLICE_INIT("chat"),   SLICE_INIT("completions"), SLICE_INIT("embeddings"), SLICE_INIT("responses"),
		SLICE_INIT("images"), SLICE_INIT("audio"),       SLICE_INIT("videos"),     SLICE_INIT("moderations"),
		SLICE_INIT("rerank"), SLICE_INIT("messages"),    SLICE_INIT("realtime"),   SLICE_INIT("extensions"),
		SLICE_INIT("search"), SLICE_INIT("edits"),       SLICE_INIT("generate"),
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (slice_ieq(text, words[i]))
			return true;
	return false;
}

typedef enum marker {
	MARKS_NOTHING,
	MARKS_MODELS,
	MARKS_TUNED,
	MARKS_DEPLOYMENTS,
	MARKS_ENGINES,
	MARKS_BEDROCK
} marker;

/* Which of the words that stand in front of a model is this segment? */
static marker marker_of(slice text)
{
	static const slice words[] = {
		[MARKS_MODELS] = SLICE_INIT("models"),           [MARKS_TUNED] = SLICE_INIT("tunedmodels"),
		[MARKS_DEPLOYMENTS] = SLICE_INIT("deployments"), [MARKS_ENGINES] = SLICE_INIT("engines"),
		[MARKS_BEDROCK] = SLICE_INIT("model"),
	};

	for (unsigned i = MARKS_MODELS; i <= MARKS_BEDROCK; i++)
		if (slice_ieq(text, words[i]))
			return (marker)i;
	return MARKS_NOTHING;
}

/* True if nothing is behind `at`, or one slash. */
static bool at_end(slice path, size_t at)
{
	return at >= path.len || (at + 1 == path.len && path.ptr[at] == '/');
}

/* .../models/M:method, .../tunedModels/M:method, GET .../models/M */
static void google(walk *w, bool tuned, const segment *next, size_t after_at)
{
	slice model, method;
	bool last = at_end(w->path, after_at);

	if (w->asks) {
		/* Names of models may hold colons, as `llama3:8b` does. */
		if (w->get && last && !tuned && !has_slash(text_of(next)))
			add(w, next, text_of(next), slice_of(NULL, 0));
		return;
	}
	if (slice_find(text_of(next), 0, ':') == next->len) {
		bool named = !last && !tuned && !endpoint_word(text_of(next)) &&
			     marker_of(text_of(next)) == MARKS_NOTHING;
		if (named) /* .../models/M/chat/completions: who knows how much of it is the name? */
			unsure(w);
		return;
	}
	if (!gemini_method(text_of(next), &model, &method) || !last) {
		unsure(w);
		return;
	}
	if (slice_ieq(model, SLICE("count-tokens")) && slice_ieq(method, SLICE("rawPredict")))
		return; /* Vertex: an endpoint for all of Anthropic's models; the body names the model */
	add(w, next, model, tuned ? SLICE("tunedModels/") : slice_of(NULL, 0));
	w->found->stream = w->found->stream || slice_istarts(method, SLICE("stream")) ||
			   slice_istarts(method, SLICE("serverStreaming"));
}

/* .../deployments/NAME/OPERATION, .../engines/NAME/OPERATION */
static void azure(walk *w, const segment *next, size_t after_at)
{
	segment operation;

	segment_read(w->path, after_at, &operation);
	if (endpoint_word(text_of(&operation)) || at_end(w->path, after_at + operation.raw.len))
		add(w, next, text_of(next), slice_of(NULL, 0));
	else if (!w->asks) /* servers that allow a slash in the name end it elsewhere */
		unsure(w);
}

/* /model/ID/OPERATION; `at` is where the ID begins. Only an ARN may hold slashes, encoded or not. */
static void bedrock(walk *w, size_t at)
{
	segment id, operation;
	bool stream = false;
	slice path = w->path;
	size_t end = path.len - (path.ptr[path.len - 1] == '/'), last = end;

	while (last > at && path.ptr[last - 1] != '/')
		last--;
	if (last <= at)
		return;
	segment_read(slice_first(path, end), last, &operation);
	if (!bedrock_operation(text_of(&operation), &stream))
		return;
	id.raw = slice_of(path.ptr + at, last - 1 - at);
	id.longer = false;
	id.len = 0;
	id.fault = !percent_decode(id.raw, false, id.text, sizeof id.text, &id.len, &id.longer);
	if (slice_istarts(text_of(&id), SLICE("arn:"))) {
		w->id = at;
		w->id_end = last;
	} else if (slice_find(id.raw, 0, '/') < id.raw.len) {
		unsure(w);
		return;
	}
	add(w, &id, text_of(&id), slice_of(NULL, 0));
	w->found->stream = w->found->stream || stream;
}

/* Adds the model that the segment at `at` and those behind it name, if they do. */
static void look_at(walk *w, size_t at)
{
	segment this, next;

	segment_read(w->path, at, &this);
	marker what = marker_of(text_of(&this));
	size_t next_at = at + this.raw.len + 1;
	if (what == MARKS_NOTHING || at_end(w->path, next_at - 1))
		return;
	segment_read(w->path, next_at, &next);
	size_t after_at = next_at + next.raw.len + 1;
	if (next.fault)
		add(w, &next, text_of(&next), slice_of(NULL, 0));
	else if (what == MARKS_MODELS || what == MARKS_TUNED)
		google(w, what == MARKS_TUNED, &next, after_at - 1);
	else if (what == MARKS_BEDROCK && w->id == 0)
		bedrock(w, next_at);
	else if (what != MARKS_BEDROCK && after_at < w->path.len)
		azure(w, &next, after_at);
}

/* Returns `text` up to the first byte that a server may cut it at. */
static slice cut_short(slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == ';' || (unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f)
			return slice_first(text, i);
	return text;
}

/* True if servers read the segment differently, in a path that may name a model; *names: its text is a word that stands
 * in front of a model, for some server. */
static bool segment_odd(const segment *s, bool in_id, bool *names)
{
	char twice[SEGMENT_MAX];
	size_t len = 0;
	bool longer = false;
	slice text = text_of(s), cut = cut_short(text);

	*names = marker_of(cut) != MARKS_NOTHING;
	if (slice_eq(text, SLICE(".")) || slice_eq(text, SLICE("..")) || slice_find(text, 0, ';') < text.len ||
	    (*names && cut.len < text.len))
		return true;
	if (slice_find(text, 0, '%') < text.len) { /* some servers decode twice */
		if (percent_decode(text, false, twice, sizeof twice, &len, &longer) &&
		    marker_of(cut_short(slice_of(twice, len))) != MARKS_NOTHING)
			*names = true;
		return true;
	}
	if (!in_id && has_slash(text) &&
	    (slice_icontains(text, SLICE("model")) || slice_icontains(text, SLICE("deployment")) ||
	     slice_icontains(text, SLICE("engine"))))
		return *names = true;
	return false;
}

/* True if the path may name a model, and has segments that servers read differently. */
static bool unclear(const walk *w)
{
	bool odd = false, names = false, marks = false;

	for (size_t at = 1; at <= w->path.len;) {
		segment s;
		segment_read(w->path, at, &s);
		bool last = at + s.raw.len >= w->path.len;
		if (s.raw.len == 0 && !last)
			odd = true;
		odd = segment_odd(&s, at >= w->id && at < w->id_end, &marks) || odd;
		names = names || (marks && (!last || has_slash(text_of(&s))));
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
	/* Lower case; without the lowest bit, which is all that d and e differ in. */
	next = (next | 0x2020202020202020u) & 0xfefefefefefefefeu;
	uint64_t letter = maybe_equal(next, 'm' & 0xfe) | maybe_equal(next, 't' & 0xfe) | maybe_equal(next, 'd' & 0xfe);
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
		if (c == 'm' || c == 't' || c == 'd' || c == 'e' || path.ptr[at] == '%')
			return true;
	}
	return false;
}

void path_model(slice path, slice method, bool upgrade, mentions *found)
{
	if (path.len == 0 || path.ptr[0] != '/' || !may_name(path))
		return;
	bool get = slice_eq(method, SLICE("GET")) && !upgrade;
	walk w = { .path = path,
		   .get = get,
		   .asks = get || slice_eq(method, SLICE("HEAD")) || slice_eq(method, SLICE("DELETE")) ||
			   slice_eq(method, SLICE("OPTIONS")),
		   .found = found };
	for (size_t at = 1; at < path.len && at != w.id;) {
		look_at(&w, at);
		at = slice_find(path, at, '/') + 1;
	}
	if (unclear(&w))
		unsure(&w);
}

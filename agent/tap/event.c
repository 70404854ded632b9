/* SPDX-License-Identifier: MIT */
#include "tap/event.h"

#include <assert.h>
#include <stdlib.h>

#include "answer/answer.h"

/* What the name of an event says. */
enum {
	LAST = 1, /* its usage is that of the whole answer */
	CONTENT = 2,
	SUMS = 4, /* its usage is that of the answer so far */
	ENDS = 8,
};

/* Other names that end with .delta or -delta are of content, too. */
static const struct {
	slice name;
	unsigned says;
} types[] = {
	{ SLICE_INIT("content_block_delta"), CONTENT },
	{ SLICE_INIT("message_delta"), SUMS }, /* Anthropic */
	{ SLICE_INIT("message_stop"), ENDS },
	{ SLICE_INIT("response.completed"), LAST }, /* OpenAI responses */
	{ SLICE_INIT("response.incomplete"), LAST },
	{ SLICE_INIT("response.failed"), LAST },
	{ SLICE_INIT("speech.audio.done"), LAST },
	{ SLICE_INIT("transcript.text.done"), LAST },
	{ SLICE_INIT("image_generation.completed"), LAST },
	{ SLICE_INIT("image_edit.completed"), LAST },
	{ SLICE_INIT("conversation.response.done"), LAST }, /* Mistral */
	{ SLICE_INIT("interaction.complete"), LAST },       /* Gemini */
	{ SLICE_INIT("interaction.completed"), LAST },
	{ SLICE_INIT("message-end"), LAST }, /* Cohere v2 */
	{ SLICE_INIT("stream-end"), LAST },  /* Cohere v1 */
	{ SLICE_INIT("text-generation"), CONTENT },
	{ SLICE_INIT("tool-calls-chunk"), CONTENT },
};

bool event_text_add(event_text *t, slice bytes)
{
	if (bytes.len == 0)
		return true;
	if (bytes.len > ANSWER_USAGE_MAX - (size_t)t->len)
		return false;
	size_t len = t->len + bytes.len;
	if (len > t->room) {
		size_t room = len <= 256 ? 256 : len <= 512 ? 512 : ANSWER_USAGE_MAX;
		char *ptr = realloc(t->ptr, room);
		if (!ptr)
			return false;
		t->ptr = ptr;
		t->room = (unsigned short)room;
	}
	memcpy(t->ptr + t->len, bytes.ptr, bytes.len);
	t->len = (unsigned short)len;
	return true;
}

void event_begin(event *e, place_in in)
{
	e->usage.len = 0;
	e->lost = e->content = e->choices = e->filled = e->several = e->finish = e->stop = e->typed = e->last =
		e->sums = e->stopped = e->ends = e->error = e->wraps = false;
	e->taking = e->counting = false;
	e->tier_len = e->rank = e->spoiled = e->depth = 0;
	e->in = in;
	e->at = NULL;
	json_push_init(&e->json);
}

bool event_whole(const event *e)
{
	return json_push_done(&e->json);
}

static answer_counts *counts_of(event *e)
{
	if (!e->counting)
		counts_init(&e->counts);
	e->counting = true;
	return &e->counts;
}

static void enter(event *e, const places *inside, const place *list)
{
	assert(e->depth < EVENT_DEPTH_MAX);
	e->path[e->depth++] = (event_level){ inside, list };
}

static void take_type(event *e, slice name)
{
	e->typed = true;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (slice_eq(name, types[i].name)) {
			e->last |= (types[i].says & LAST) != 0;
			e->content |= (types[i].says & CONTENT) != 0;
			e->sums |= (types[i].says & SUMS) != 0;
			e->ends |= (types[i].says & ENDS) != 0;
			return;
		}
	e->content |= slice_ends(name, SLICE(".delta")) || slice_ends(name, SLICE("-delta"));
}

static void take_tier(event *e, slice name)
{
	if (name.len > EVENT_TIER_MAX)
		return;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i], lower = ascii_lower(c);
		if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '.')
			return;
	}
	memcpy(e->tier, name.ptr, name.len);
	e->tier_len = (unsigned char)name.len;
}

/* Takes the name of a member. */
static void take_key(event *e)
{
	const json_push *j = &e->json;
	const event_level *level = &e->path[e->depth - 1];
	const place *p = j->cut ? NULL : place_find(level->inside, j->text, j->escaped);

	e->at = p;
	e->begins = true;
	if (!p) {
		json_push_skip(&e->json);
	} else if (p->what == PLACE_USAGE || p->what == PLACE_META || p->what == PLACE_METRICS) {
		e->last |= p->what == PLACE_METRICS;
		if (p->rank < e->rank)
			json_push_skip(&e->json);
		else
			json_push_take(&e->json);
	} else if (p->what == PLACE_BASE64) {
		json_push_take(&e->json);
	} else if (p->what == PLACE_CHOICE) {
		e->choices = true;
	}
}

/* Takes what opens: the value of a member, or an element of a list. */
static void take_open(event *e)
{
	const place *p = e->at;
	bool list = e->json.type == JSON_ARRAY, element = false;

	e->at = NULL;
	if (e->depth == 0) {
		if (!list) {
			enter(e, place_outermost(e->in), NULL);
			return;
		}
		json_push_skip(&e->json);
		return;
	}
	if (!p) {
		p = e->path[e->depth - 1].list;
		element = true;
	}
	if (list && !element && (p->list || p->what == PLACE_CONTENT)) {
		enter(e, NULL, p);
		return;
	}
	if (!list && p->inside && p->list == element) {
		e->filled |= element && p->what == PLACE_CHOICE;
		if (element && p->what == PLACE_PATH)
			counts_element(counts_of(e));
		enter(e, p->inside, NULL);
		return;
	}
	json_push_skip(&e->json);
	if (p->what == PLACE_CONTENT)
		e->content = true;
	else if (p->what == PLACE_ERROR)
		e->error = true;
	else if (p->what == PLACE_PICTURE)
		counts_take(counts_of(e), p->what, e->json.type, (slice){ NULL, 0 });
}

static void take_value(event *e)
{
	const json_push *j = &e->json;
	const place *p = e->at;
	bool text = j->type == JSON_STRING && j->text.len;

	e->at = NULL;
	if (!p) { /* an element of a list */
		e->content |= text && e->path[e->depth - 1].list->what == PLACE_CONTENT;
		return;
	}
	switch ((int)p->what) {
	case PLACE_CONTENT:
		e->content |= text;
		break;
	case PLACE_INDEX:
		e->several |= j->type == JSON_NUMBER && !slice_eq(j->text, SLICE("0"));
		break;
	case PLACE_FINISH:
		e->finish |= text;
		break;
	case PLACE_STOP:
		e->stop |= text;
		break;
	case PLACE_STOPPED:
		e->stopped |= text;
		break;
	case PLACE_ERROR:
		e->error |= text;
		break;
	case PLACE_DONE:
		e->last |= j->type == JSON_TRUE;
		break;
	case PLACE_TYPE:
		if (text)
			take_type(e, j->text);
		break;
	case PLACE_TIER:
		if (text && !j->cut)
			take_tier(e, j->text);
		break;
	default:
		if (!j->cut || j->type == JSON_STRING)
			counts_take(counts_of(e), p->what, j->type, j->text);
		break;
	}
}

/* Takes a part of a usage object. Two of the same rank must not differ. */
static void take_usage(event *e, slice part, bool whole)
{
	unsigned char bit = (unsigned char)(1u << e->at->rank);

	if (e->begins && part.ptr[0] != '{') {
		e->spoiled |= bit;
		e->at = NULL;
		return;
	}
	if (e->begins) {
		e->comparing = e->rank == e->at->rank;
		e->compared = 0;
	}
	if (e->comparing) {
		bool same = part.len <= (size_t)(e->usage.len - e->compared) &&
			    memcmp(e->usage.ptr + e->compared, part.ptr, part.len) == 0;
		e->compared = (unsigned short)(e->compared + (same ? part.len : 0));
		if (!same || (whole && e->compared != e->usage.len)) {
			e->spoiled |= bit;
			e->at = NULL;
		}
		return;
	}
	if (e->begins) {
		e->usage.len = 0;
		e->rank = e->at->rank;
		e->what = e->at->what;
	}
	e->taking = !whole;
	if (!event_text_add(&e->usage, part)) {
		e->lost = true;
		e->at = NULL;
	}
}

/* Returns the six bits that a digit of base64 stands for; -1: it is none. */
static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Takes a part of a string of base64, quotes and all, for the inner event. */
static void take_base64(event *e, slice part)
{
	char room[192];
	size_t n = 0;

	if (e->begins) {
		if (!e->inner)
			e->inner = calloc(1, sizeof *e->inner);
		if (!e->inner || e->wraps || part.ptr[0] != '"') {
			e->lost = true;
			e->at = NULL;
			return;
		}
		event_begin(e->inner, IN_CHUNK);
		e->wraps = true;
		e->digits = 0;
	}
	for (size_t i = 0; i < part.len; i++) {
		int digit = base64_digit(part.ptr[i]);
		if (digit >= 0) {
			e->bits = e->bits << 6 | (uint32_t)digit;
			if (e->digits)
				room[n++] = (char)(e->bits >> (6 - 2 * e->digits) & 0xff);
			e->digits = (e->digits + 1u) % 4;
		} else if (!strchr("\"=\\", part.ptr[i])) { /* a slash may be escaped */
			e->lost = true;
		}
		if (n == sizeof room || i + 1 == part.len) {
			slice decoded = slice_of(room, n);
			event_feed(e->inner, &decoded);
			e->lost |= json_skip_space(decoded, 0) < decoded.len;
			n = 0;
		}
	}
}

static void take_part(event *e)
{
	slice part = e->json.text;

	if (!e->at)
		return;
	if (e->at->what == PLACE_BASE64)
		take_base64(e, part);
	else
		take_usage(e, part, e->json.whole);
	e->begins = false;
	if (e->json.whole)
		e->at = NULL;
}

void event_feed(event *e, slice *piece)
{
	while (!json_push_done(&e->json)) {
		switch (json_push_next(&e->json, piece)) {
		case JSON_PUSH_MORE:
			return;
		case JSON_PUSH_KEY:
			take_key(e);
			break;
		case JSON_PUSH_OPEN:
			take_open(e);
			break;
		case JSON_PUSH_CLOSE:
			e->depth--;
			break;
		case JSON_PUSH_VALUE:
			take_value(e);
			break;
		case JSON_PUSH_PART:
			take_part(e);
			break;
		case JSON_PUSH_BAD:
			e->lost = true;
			return;
		}
	}
}

/* Puts a usage object that was made here into the place of what was taken. */
static void replace_usage(event *e, const char *text, size_t len)
{
	e->usage.len = 0;
	e->lost |= !event_text_add(&e->usage, slice_of(text, len));
}

static void conclude(event *e)
{
	char room[COUNTS_TEXT_MAX];

	if (e->taking || (e->rank && e->what == PLACE_META && !counts_meta_tells(slice_of(e->usage.ptr, e->usage.len))))
		e->rank = 0;
	if (e->rank == 0)
		replace_usage(e, room, e->counting && event_whole(e) ? counts_write(&e->counts, room) : 0);
	else if (e->what == PLACE_METRICS)
		replace_usage(e, room, counts_of_metrics(slice_of(e->usage.ptr, e->usage.len), room));
	else
		e->lost |= !utf8_valid(e->usage.ptr, e->usage.len);
}

void event_end(event *e)
{
	if (!e->lost)
		conclude(e);
	if (e->lost || (e->rank && e->spoiled >> e->rank & 1))
		e->usage.len = 0;
}

size_t event_memory(const event *e)
{
	return e->usage.room + (e->inner ? sizeof *e->inner + event_memory(e->inner) : 0);
}

void event_free(event *e)
{
	free(e->usage.ptr);
	if (e->inner)
		event_free(e->inner);
	free(e->inner);
}

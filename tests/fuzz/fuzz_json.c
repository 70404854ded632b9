/* SPDX-License-Identifier: MIT
 *
 * JSON bodies. The first two bytes say where to cut; the rest is the body. Compared with each other: the scanner and a
 * reading byte by byte, forward and backward, all vector levels, and the whole body and parts of it, in every way that
 * HAProxy may cut: a part may be refused, but never gives another model than the whole. */
#include "fuzz.h"

#include "base/json.h"
#include "sample/model.h"

#define MEMBERS 64

typedef struct seen {
	size_t count, key[MEMBERS], value[MEMBERS], end[MEMBERS];
	json_step step;
} seen;

static void check_ascii(const json_member *m)
{
	for (size_t i = 0; m->ascii && i < m->key.len; i++)
		HOLDS((unsigned char)m->key.ptr[i] < 0x80 && m->key.ptr[i] != '\\');
}

static void forward(slice doc, seen *s)
{
	json_iter it;
	json_member m;

	s->count = 0;
	json_iter_init(&it, doc);
	while ((s->step = json_next(&it, &m)) == JSON_MEMBER && s->count < MEMBERS) {
		check_ascii(&m);
		s->key[s->count] = (size_t)(m.key.ptr - doc.ptr);
		s->value[s->count] = (size_t)(m.value.ptr - doc.ptr);
		s->end[s->count++] = (size_t)(m.value.ptr - doc.ptr) + m.value.len;
	}
}

static void backward(slice doc, bool whole, seen *s)
{
	json_back it;
	json_member m;

	s->count = 0;
	json_back_init(&it, doc, whole);
	while ((s->step = json_back_next(&it, &m)) == JSON_MEMBER && s->count < MEMBERS) {
		check_ascii(&m);
		s->key[s->count] = (size_t)(m.key.ptr - doc.ptr);
		s->value[s->count] = (size_t)(m.value.ptr - doc.ptr);
		s->end[s->count++] = (size_t)(m.value.ptr - doc.ptr) + m.value.len;
	}
}

/* Finds the members of a valid document by looking at strings and brackets alone. */
static void plainly(slice doc, seen *s)
{
	size_t depth = 0;
	bool key = true;

	s->count = 0;
	for (size_t i = 0; i < doc.len && s->count <= MEMBERS; i++) {
		char c = doc.ptr[i];
		if (depth == 1 && !key && c != ':' && c != ' ' && c != '\t' && c != '\r' && c != '\n' &&
		    s->value[s->count] == SIZE_MAX)
			s->value[s->count] = i;
		if (c == '"') {
			size_t begin = i++;
			while (i < doc.len && doc.ptr[i] != '"')
				i += doc.ptr[i] == '\\' ? 2 : 1;
			if (depth == 1 && key && s->count < MEMBERS) {
				s->key[s->count] = begin + 1;
				s->value[s->count] = SIZE_MAX;
			}
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			if (depth-- == 1 && !key)
				s->count++;
		} else if (c == ':' && depth == 1) {
			key = false;
		} else if (c == ',' && depth == 1) {
			s->count++;
			key = true;
		}
		if (s->count == MEMBERS)
			return;
	}
}

static model_result find(slice body, size_t head, size_t tail, size_t buffered, size_t length, bool sized)
{
	/* Copies of the exact size, so that a read past them is seen. */
	char *first = malloc(head ? head : 1), *last = malloc(tail ? tail : 1);
	model_result r;
	model_sample s = { .ctype = SLICE("application/json"), .buffered = buffered, .length = length, .sized = sized };

	HOLDS(first && last);
	if (head > 0)
		memcpy(first, body.ptr, head);
	if (tail > 0)
		memcpy(last, body.ptr + (buffered - tail), tail);
	s.body = slice_of(first, head);
	s.tail = slice_of(last, tail);
	model_find(&s, &r);
	free(first);
	free(last);
	return r;
}

static bool same(const model_result *a, const model_result *b)
{
	return a->status == b->status &&
	       (a->status != MODEL_FOUND || slice_eq(slice_of(a->name, a->len), slice_of(b->name, b->len)));
}

/* `part` is the result for a part of the body whose whole gave `whole`. */
static void agree(const model_result *whole, const model_result *part)
{
	if (part->status != MODEL_FOUND)
		return;
	HOLDS(whole->status != MODEL_NONE && whole->status != MODEL_INVALID);
	if (whole->status == MODEL_FOUND)
		HOLDS(same(whole, part));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static seen ahead, back, plain;

	if (size < 2)
		return 0;
	slice body = slice_of(data + 2, size - 2);
	size_t a = body.len * data[0] / 255, b = body.len * data[1] / 255;
	model_result truth = { .status = MODEL_NONE };

	for (int level = 0; level < JSON_LEVELS; level++) {
		if (!json_force_level((json_level)level))
			continue;
		model_result r = find(body, body.len, 0, body.len, body.len, true);
		if (level == 0)
			truth = r;
		HOLDS(same(&truth, &r));

		forward(body, &ahead);
		if (ahead.step == JSON_DONE && body.len > 0 && ahead.count < MEMBERS &&
		    memchr("{ \t\r\n", body.ptr[0], 5)) {
			slice doc = body;
			while (doc.ptr[0] != '{' && doc.ptr[0] != '[')
				doc = slice_from(doc, 1);
			if (doc.ptr[0] == '{') {
				size_t shift = (size_t)(doc.ptr - body.ptr);
				plainly(doc, &plain);
				HOLDS(plain.count == ahead.count);
				for (size_t i = 0; i < plain.count; i++)
					HOLDS(plain.key[i] + shift == ahead.key[i] &&
					      plain.value[i] + shift == ahead.value[i]);
				backward(body, true, &back);
				HOLDS(back.step == JSON_DONE && back.count == ahead.count);
				for (size_t i = 0; i < back.count; i++) {
					size_t k = back.count - 1 - i;
					HOLDS(back.key[k] == ahead.key[i] && back.value[k] == ahead.value[i] &&
					      back.end[k] == ahead.end[i]);
				}
				/* Backward from the end to byte `a`: finds the same members, in the same order. */
				backward(slice_from(body, a), false, &back);
				HOLDS(back.step != JSON_BAD && back.count <= ahead.count);
				for (size_t i = 0; i < back.count; i++)
					HOLDS(back.key[i] + a == ahead.key[ahead.count - 1 - i] &&
					      back.value[i] + a == ahead.value[ahead.count - 1 - i]);
			}
		}
		if (ahead.step == JSON_DONE) { /* no beginning of a valid document is malformed */
			forward(slice_first(body, a), &back);
			HOLDS(back.step == JSON_CUT || back.step == JSON_DONE);
		}
		r = find(body, a, 0, a, a, false); /* chunked, cut */
		agree(&truth, &r);
		r = find(body, a, 0, a, body.len + 1, true); /* the buffer is full */
		agree(&truth, &r);
		r = find(body, a, b, body.len, body.len, true); /* both ends */
		agree(&truth, &r);
		r = find(body, a < b ? a : b, a < b ? a : b, b, body.len + 1,
			 true); /* a tail that is not the body's end */
		agree(&truth, &r);
		r = find(body, a < b ? a : b, a < b ? a : b, b, b, false);
		agree(&truth, &r);
	}
	return 0;
}

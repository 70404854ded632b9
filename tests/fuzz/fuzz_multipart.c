/* SPDX-License-Identifier: MIT
 *
 * Forms and paths. The first byte chooses the kind of form, the next two where to cut. For multipart the boundary
 * follows, up to a line feed. The rest is the body, which is also read as a path and as a query. Checked: a part of a
 * body never gives another model than the whole, and a path or a query never another one than the body beside it. */
#include "fuzz.h"

#include "sample/model.h"

static model_result find(slice ctype, slice body, size_t head, size_t tail, size_t length, bool sized)
{
	char *first = malloc(head ? head : 1), *last = malloc(tail ? tail : 1);
	model_result r;
	model_sample s = { .ctype = ctype, .buffered = body.len, .length = length, .sized = sized };

	HOLDS(first && last);
	if (head > 0)
		memcpy(first, body.ptr, head);
	if (tail > 0)
		memcpy(last, body.ptr + (body.len - tail), tail);
	s.body = slice_of(first, head);
	s.tail = slice_of(last, tail);
	model_find(&s, &r);
	free(first);
	free(last);
	return r;
}

static void agree(const model_result *whole, const model_result *part)
{
	if (part->status != MODEL_FOUND)
		return;
	HOLDS(whole->status != MODEL_NONE && whole->status != MODEL_INVALID);
	if (whole->status == MODEL_FOUND)
		HOLDS(slice_eq(slice_of(whole->name, whole->len), slice_of(part->name, part->len)));
}

/* `alone` is the result for what names a model outside of the body, `s` without its body. With a body that names "z",
 * the result is "z" or a refusal. */
static void check_beside_a_body(model_sample s, const model_result *alone)
{
	static const char json[] = "{\"model\":\"z\"}";
	model_result both;

	if (alone->status == MODEL_FOUND) {
		slice name = slice_of(alone->name, alone->len);
		HOLDS(name.len > 0 && name.ptr[0] != ' ' && name.ptr[name.len - 1] != ' ');
	}
	s.ctype = SLICE("application/json");
	s.body = slice_of(json, sizeof json - 1);
	s.buffered = s.length = s.body.len;
	s.sized = true;
	model_find(&s, &both);
	HOLDS(both.status == (alone->status == MODEL_NONE ? MODEL_FOUND : both.status));
	if (both.status == MODEL_FOUND)
		HOLDS(slice_eq(slice_of(both.name, both.len), SLICE("z")) &&
		      (alone->status == MODEL_NONE ||
		       (alone->status == MODEL_FOUND && slice_eq(slice_of(alone->name, alone->len), SLICE("z")))));
}

/* Reads `text` as a path, as parameters of a query, and as a handshake's header. */
static void check_places(slice text)
{
	static const slice methods[] = { SLICE_INIT("POST"), SLICE_INIT("GET"), SLICE_INIT("DELETE") };
	model_result r;
	model_sample s;

	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		s = (model_sample){ .path = text, .method = methods[i] };
		model_find(&s, &r);
		check_beside_a_body(s, &r);
	}
	s = (model_sample){ .model_param = text };
	model_find(&s, &r);
	check_beside_a_body(s, &r);
	s = (model_sample){ .deployment_param = text, .model_param = SLICE("z") };
	model_find(&s, &r);
	HOLDS(r.status != MODEL_FOUND || slice_eq(slice_of(r.name, r.len), SLICE("z")));
	s = (model_sample){ .model_param = text, .model_hint = text, .upgrade = true };
	model_find(&s, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char ctype[200] = "application/x-www-form-urlencoded";

	if (size < 3)
		return 0;
	slice body = slice_of(data + 3, size - 3);
	if (data[0] % 2 == 0) {
		size_t line = slice_find(body, 0, '\n');
		slice boundary = slice_first(body, line < 100 ? line : 100);
		snprintf(ctype, sizeof ctype, "multipart/form-data; boundary=%.*s", (int)boundary.len, boundary.ptr);
		body = slice_from(body, line + 1);
	}
	slice type = slice_cstr(ctype);
	size_t a = body.len * data[1] / 255, b = body.len * data[2] / 255;
	model_result whole = find(type, body, body.len, 0, body.len, true);
	model_result part = find(type, body, a, b, body.len, true);
	agree(&whole, &part);
	part = find(type, slice_first(body, a), a, 0, a, false);
	agree(&whole, &part);
	part = find(type, slice_first(body, a), a, 0, body.len + 1, true);
	agree(&whole, &part);
	part = find(type, slice_first(body, b), a < b ? a : b, a < b ? a : b, body.len + 1, true);
	agree(&whole, &part);

	char *text = malloc(body.len ? body.len : 1);
	HOLDS(text);
	if (body.len)
		memcpy(text, body.ptr, body.len);
	check_places(slice_of(text, body.len));
	free(text);
	return 0;
}

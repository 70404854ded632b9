/* SPDX-License-Identifier: MIT
 *
 * Forms and paths. The first byte chooses the kind of form, the next two where to cut. For multipart the boundary
 * follows, up to a line feed. The rest is the body, which is also read as a path and as a query. Checked: a part of a
 * body never gives another model than the whole. */
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

	char *path = malloc(body.len ? body.len : 1);
	HOLDS(path);
	if (body.len)
		memcpy(path, body.ptr, body.len);
	model_sample s = { .path = slice_of(path, body.len) };
	model_find(&s, &part);
	s = (model_sample){ .model_param = slice_of(path, body.len),
			    .model_hint = slice_of(path, body.len),
			    .upgrade = true };
	model_find(&s, &part);
	free(path);
	return 0;
}

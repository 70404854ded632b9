/* SPDX-License-Identifier: MIT */
#include "sample/name.h"

#include "base/json.h"

/* True for nearly every name. Looks at eight bytes at a time. */
static bool printable_ascii(slice s)
{
	const uint64_t each = 0x0101010101010101u;
	uint64_t word, odd = 0;
	size_t i = 0;

	for (; s.len - i >= sizeof word; i += sizeof word) {
		memcpy(&word, s.ptr + i, sizeof word);
		odd |= word | (word - each * 0x20) |
		       (word + each); /* sets the highest bit of each byte that is beyond ASCII, below 0x20, or 0x7f */
	}
	odd &= each * 0x80;
	for (; i < s.len; i++)
		odd |= (unsigned char)(s.ptr[i] - 0x20) >= 0x7f - 0x20;
	return odd == 0;
}

const char *name_fault(slice name)
{
	if (name.len == 0)
		return "the model is empty";
	if (name.len > MODEL_MAX)
		return "the model's name is too long";
	if (printable_ascii(name))
		return NULL;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		if (c >= 0x20 && c < 0x7f)
			continue;
		/* 0xc2 begins U+0080 to U+009F */
		if (c < 0x80 || (c == 0xc2 && name.len - i > 1 && (unsigned char)name.ptr[i + 1] < 0xa0))
			return "the model's name has control characters";
	}
	if (!utf8_valid(name.ptr, name.len))
		return "the model's name is not UTF-8";
	return NULL;
}

/* Not `= {0}`, which would clear the name's buffer for every request. */
void named_init(named *n)
{
	n->any = n->exact = n->differ = n->stream = false;
	n->why = NULL;
	n->len = 0;
}

void named_add(named *n, bool exact, slice name, const char *why)
{
	if (n->any) {
		if (why || n->why)
			n->differ = n->differ || !why != !n->why;
		else
			n->differ = n->differ || !slice_eq(name, slice_of(n->name, n->len));
	} else if (!why) {
		n->len = (uint16_t)name.len;
		memcpy(n->name, name.ptr, name.len);
	} else {
		n->why = why;
	}
	n->any = true;
	n->exact = n->exact || exact;
}

void named_merge(named *into, const named *from)
{
	if (from->any)
		named_add(into, from->exact, slice_of(from->name, from->len), from->why);
	into->differ = into->differ || from->differ;
	into->stream = into->stream || from->stream;
}

model_status named_status(const named *n, const char **detail)
{
	*detail = NULL;
	if (!n->any)
		return MODEL_NONE;
	if (n->differ) {
		*detail = "two members name different models";
		return MODEL_AMBIGUOUS;
	}
	if (n->why) {
		*detail = n->why;
		return MODEL_INVALID;
	}
	if (!n->exact) {
		*detail = "the member must be spelled \"model\"";
		return MODEL_INVALID;
	}
	return MODEL_FOUND;
}

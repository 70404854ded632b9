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
void mentions_init(mentions *found)
{
	found->any = found->exact = found->differ = found->stream = false;
	found->why = NULL;
	found->len = 0;
}

void mentions_add(mentions *found, bool exact, slice name, const char *why)
{
	if (found->any) {
		if (why || found->why)
			found->differ = found->differ || !why != !found->why;
		else
			found->differ = found->differ || !slice_eq(name, slice_of(found->name, found->len));
	} else if (!why) {
		found->len = (uint16_t)name.len;
		memcpy(found->name, name.ptr, name.len);
	} else {
		found->why = why;
	}
	found->any = true;
	found->exact = found->exact || exact;
}

void mentions_merge(mentions *into, const mentions *from)
{
	if (from->any)
		mentions_add(into, from->exact, slice_of(from->name, from->len), from->why);
	into->differ = into->differ || from->differ;
	into->stream = into->stream || from->stream;
}

model_status mentions_status(const mentions *found, const char **detail)
{
	*detail = NULL;
	if (!found->any)
		return MODEL_NONE;
	if (found->differ) {
		*detail = "two members name different models";
		return MODEL_AMBIGUOUS;
	}
	if (found->why) {
		*detail = found->why;
		return MODEL_INVALID;
	}
	if (!found->exact) {
		*detail = "the member must be spelled \"model\"";
		return MODEL_INVALID;
	}
	return MODEL_FOUND;
}

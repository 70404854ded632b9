/* SPDX-License-Identifier: MIT */
#include "sample/name.h"

#include "base/json.h"
#include "base/text.h"

/* True for nearly every name. Looks at eight bytes at a time. */
static bool printable_ascii(slice s)
{
	const uint64_t each = 0x0101010101010101u;
	uint64_t word, odd = 0;

	if (s.len < sizeof word) {
		for (size_t i = 0; i < s.len; i++)
			odd |= (unsigned char)(s.ptr[i] - 0x20) >= 0x7f - 0x20;
		return odd == 0;
	}
	for (size_t i = 0; i < s.len; i += sizeof word) {
		size_t at = s.len - i >= sizeof word ? i : s.len - sizeof word; /* the last ones, some of them again */
		memcpy(&word, s.ptr + at, sizeof word);
		odd |= word | (word - each * 0x20) |
		       (word + each); /* sets the highest bit of each byte that is beyond ASCII, below 0x20, or 0x7f */
	}
	return (odd & each * 0x80) == 0;
}

/* Returns what is wrong with a model's name, as static text; NULL: it can be used. */
static const char *name_fault(slice name)
{
	static const char ends[] = "the model's name begins or ends with a blank or an invisible character";

	if (name.len == 0)
		return "the model is empty";
	if (name.len > MODEL_MAX)
		return "the model's name is too long";
	if (printable_ascii(name))
		return name.ptr[0] == ' ' || name.ptr[name.len - 1] == ' ' ? ends : NULL;
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
	return text_has_unseen_end(name) ? ends : NULL;
}

/* Not `= {0}`, which would clear the name's buffer for every request. */
void mentions_init(mentions *found)
{
	found->any = found->exact = found->null = found->open = found->stream = false;
	found->said = found->alike = STREAM_UNSAID;
	found->usage = STREAM_USAGE_UNSEEN;
	found->read_all = false;
	found->len = 0;
	found->differ = found->why = NULL;
}

void mentions_add(mentions *found, bool exact, slice name, const char *why)
{
	if (slice_starts(name, SLICE("models/")))
		name = slice_from(name, sizeof "models/" - 1);
	if (!why)
		why = name_fault(name);
	if (found->any) {
		if (!why != !found->why || (!why && !slice_eq(name, slice_of(found->name, found->len))))
			found->differ = "two members name different models";
	} else if (!why) {
		found->len = (uint16_t)name.len;
		memcpy(found->name, name.ptr, name.len);
	} else {
		found->why = why;
	}
	found->any = true;
	found->exact = found->exact || exact;
}

stream_said stream_of(slice text)
{
	if (slice_ieq(text, SLICE("true")) || slice_eq(text, SLICE("1")))
		return STREAM_YES;
	if (text.len == 0 || slice_ieq(text, SLICE("false")) || slice_eq(text, SLICE("0")))
		return STREAM_NO;
	return STREAM_ODD;
}

static const char streams_differ[] = "two members say different things about streaming";

void mentions_stream(mentions *found, bool exact, stream_said said)
{
	uint8_t *place = exact ? &found->said : &found->alike;

	if (*place != STREAM_UNSAID && (*place != said || said == STREAM_ODD))
		found->differ = streams_differ;
	*place = (uint8_t)said;
	if (exact)
		found->stream = said == STREAM_YES;
}

void mentions_usage(mentions *found, bool asks)
{
	if (found->usage != STREAM_USAGE_NOT_ASKED)
		found->usage = asks ? STREAM_USAGE_ASKED : STREAM_USAGE_NOT_ASKED;
}

/* True if a member that only some parsers take for "stream" changes what the request asks for. */
static bool stream_unclear(const mentions *found)
{
	return found->alike != STREAM_UNSAID &&
	       (found->alike == STREAM_ODD || (found->alike == STREAM_YES) != (found->said == STREAM_YES));
}

void mentions_merge(mentions *into, const mentions *from, const char *differ)
{
	const char *unclear = NULL;
	bool stream = into->stream || from->stream;

	if (!into->differ && mentions_status(from, &unclear) == MODEL_AMBIGUOUS)
		into->differ = unclear;
	bool agreed = !into->differ;
	if (from->any)
		mentions_add(into, from->exact, slice_of(from->name, from->len), from->why);
	if (agreed && into->differ)
		into->differ = differ;
	if (from->said != STREAM_UNSAID)
		mentions_stream(into, true, (stream_said)from->said);
	into->stream = stream;
	if (from->usage != STREAM_USAGE_UNSEEN)
		mentions_usage(into, from->usage == STREAM_USAGE_ASKED);
	into->read_all = into->read_all || from->read_all;
	into->open = into->open || from->open;
}

model_status mentions_status(const mentions *found, const char **detail)
{
	*detail = found->differ;
	if (*detail)
		return MODEL_AMBIGUOUS;
	if (stream_unclear(found)) {
		*detail = streams_differ;
		return MODEL_AMBIGUOUS;
	}
	if (!found->any)
		return MODEL_NONE;
	if (found->null) {
		*detail = "one member names a model, and another one is null";
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

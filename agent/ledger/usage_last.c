/* SPDX-License-Identifier: MIT */
#include "ledger/usage_last.h"

#include "base/json.h"

enum { DIGITS = 12 }; /* a number of so many is below USAGE_TOKENS_MAX */

/* Reads the number at `*at` as an object of this form has it. False: only counts_read() can tell. */
static bool number_at(slice raw, size_t *at, uint8_t kind, int64_t *out)
{
	size_t begin = *at, end = begin;
	json_type type;
	slice value;
	int64_t n = 0;

	if (kind == COUNTS)
		return json_value(raw, at, &value, &type) == JSON_MEMBER && type == JSON_NUMBER &&
		       value.ptr == raw.ptr + begin;
	for (; end < raw.len && end - begin <= DIGITS && ascii_is_digit(raw.ptr[end]); end++)
		n = n * 10 + (raw.ptr[end] - '0');
	*at = end;
	*out = n;
	return end > begin && end - begin <= DIGITS && (raw.ptr[begin] != '0' || end - begin == 1);
}

static bool same(const usage_form *f, size_t from, size_t upto, slice raw, size_t at)
{
	return upto - from <= raw.len - at && memcmp(f->bytes + from, raw.ptr + at, upto - from) == 0;
}

static bool has_form(usage_form *f, slice raw)
{
	size_t at = 0, from = 0;

	if (!f->len)
		return false;
	for (unsigned i = 0; i < f->count; i++) {
		int64_t n = -1;
		if (!same(f, from, f->numbers[i].begin, raw, at))
			return false;
		at += f->numbers[i].begin - from;
		from = f->numbers[i].end;
		if (!number_at(raw, &at, f->numbers[i].kind, &n))
			return false;
		if (f->numbers[i].kind != COUNTS)
			f->counts.n[f->numbers[i].kind] = n;
	}
	return f->len - from == raw.len - at && same(f, from, f->len, raw, at);
}

const counts *usage_last_read(usage_last *last, slice raw)
{
	if (raw.len > USAGE_LAST_BYTES)
		return NULL;
	for (unsigned i = 0; i < USAGE_LAST; i++) {
		unsigned which = (last->best + i) % USAGE_LAST;
		if (!has_form(&last->forms[which], raw))
			continue;
		last->best = which;
		return &last->forms[which].counts;
	}
	return NULL;
}

/* Finds in `raw` the numbers that were noted of its text. False: `raw` has an escape of more than two bytes. */
static bool find_numbers(usage_form *f, slice raw, slice text, const counts_notes *notes)
{
	size_t at = 0, behind = 0; /* offsets of the same byte in both */

	f->count = notes->count;
	for (unsigned i = 0; i < notes->count; i++) {
		slice number = notes->each[i].number;
		for (size_t end = (size_t)(number.ptr - text.ptr); behind < end; behind++, at++) {
			at += raw.ptr[at] == '\\';
			if (raw.ptr[at] == 'u' && raw.ptr[at - 1] == '\\')
				return false;
		}
		if (!slice_eq(slice_first(slice_from(raw, at), number.len), number))
			return false;
		f->numbers[i].begin = (uint16_t)at;
		f->numbers[i].end = (uint16_t)(at += number.len);
		f->numbers[i].kind = (uint8_t)notes->each[i].kind;
		behind += number.len;
	}
	return true;
}

const counts *usage_last_keep(usage_last *last, slice raw, slice text)
{
	usage_form *f = &last->forms[last->next];
	counts_notes notes;
	slice object;
	json_type type;
	size_t at = 0;

	f->len = 0;
	if (raw.len > USAGE_LAST_BYTES || json_value(text, &at, &object, &type) != JSON_MEMBER || type != JSON_OBJECT ||
	    object.len != text.len || !counts_read(&f->counts, object, &notes) || f->counts.bad || notes.depends ||
	    !find_numbers(f, raw, text, &notes))
		return NULL;
	memcpy(f->bytes, raw.ptr, raw.len);
	f->len = raw.len;
	last->best = last->next;
	last->next = (last->next + 1) % USAGE_LAST;
	return &f->counts;
}

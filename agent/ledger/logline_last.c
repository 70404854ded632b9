/* SPDX-License-Identifier: MIT
 *
 * Reads a line by the lines before it. Most lines of HAProxy's have the same members as one of the last few, and most
 * members the same value. What is equal to the byte means the same: JSON has no other state at the end of a value than
 * the brackets that are open. So only values that differ are read. */
#include "ledger/logline_impl.h"

#include <stdlib.h>

/* Returns how many bytes are the same at the beginning of both. */
static size_t common(const char *a, const char *b, size_t len)
{
	size_t at = 0;
	uint64_t x, y;

	for (; len - at >= sizeof x; at += sizeof x) {
		memcpy(&x, a + at, sizeof x);
		memcpy(&y, b + at, sizeof y);
		if (x != y)
			break;
	}
	while (at < len && a[at] == b[at])
		at++;
	return at;
}

static size_t common_from(const last_line *was, size_t from, slice object, size_t at)
{
	size_t left = was->len - from, room = object.len - at;

	return common(was->bytes + from, object.ptr + at, left < room ? left : room);
}

/* Compares `object` with `was`, which it does not change. Sets `now` to where the members stand in `object`, and
 * `*differ` to those whose values are others. False: more than values differs. */
static bool compare(const last_line *was, slice object, last_member now[LAST_MEMBERS], uint64_t *differ)
{
	size_t same = common_from(was, 0, object, 0); /* up to there `was` is equal to the object, moved by `shift` */
	size_t shift = 0;                             /* modulo its range: values may get shorter */

	*differ = 0;
	for (unsigned i = 0; i < was->count; i++) {
		const last_member *m = &was->members[i];
		size_t at = m->begin + shift;
		slice value;
		json_type type;
		/* The byte behind a value has to be the same too: a number may go on. */
		if (m->end < same) {
			now[i] = *m;
			now[i].begin = (uint16_t)at;
			now[i].end = (uint16_t)(m->end + shift);
			continue;
		}
		if (same < m->begin || json_value(object, &at, &value, &type) != JSON_MEMBER)
			return false;
		now[i].begin = (uint16_t)(value.ptr - object.ptr);
		now[i].end = (uint16_t)at;
		now[i].field = m->field;
		now[i].type = (uint8_t)type;
		*differ |= UINT64_C(1) << i;
		shift = at - m->end;
		same = m->end + common_from(was, m->end, object, at);
	}
	return same == was->len && object.len - shift == was->len;
}

static last_line *read_by(last_line *was, slice object)
{
	last_member now[LAST_MEMBERS];
	uint64_t differ;

	if (!was->len || object.len > LAST_BYTES || !compare(was, object, now, &differ))
		return NULL;
	for (uint64_t left = differ | was->always; left; left &= left - 1) {
		const last_member *m = &now[__builtin_ctzll(left)];
		const json_member member = { .value = slice_of(object.ptr + m->begin, (size_t)(m->end - m->begin)),
					     .type = (json_type)m->type };
		if (m->field != FIELDS && !logline_take(&was->line, &was->rd, (field)m->field, &member)) {
			was->len = 0;
			return NULL;
		}
	}
	memcpy(was->members, now, was->count * sizeof now[0]);
	last_keep(was, object);
	return was;
}

last_line *last_read(logline_last *last, slice object)
{
	for (unsigned i = 0; i < LOGLINE_LAST; i++) {
		unsigned which = (last->best + i) % LOGLINE_LAST;
		last_line *found = read_by(&last->lines[which], object);
		if (found) {
			last->best = which;
			return found;
		}
	}
	return NULL;
}

last_line *last_begin(logline_last *last)
{
	last_line *to = &last->lines[last->next];

	last->best = last->next;
	last->next = (last->next + 1) % LOGLINE_LAST;
	to->len = 0;
	to->count = 0;
	to->always = 0;
	return to;
}

void last_note(last_line *to, slice object, const json_member *m, field f)
{
	static const uint64_t pointing = 1ull << F_TIER | 1ull << F_HB | 1ull << F_HA | 1ull << F_HS | 1ull << F_USAGE;
	size_t begin = (size_t)(m->value.ptr - object.ptr);

	if (to->count < LAST_MEMBERS && object.len <= LAST_BYTES) {
		if (f != FIELDS && pointing & 1ull << f)
			to->always |= 1ull << to->count;
		to->members[to->count] = (last_member){ (uint16_t)begin, (uint16_t)(begin + m->value.len), (uint8_t)f,
							(uint8_t)m->type };
	}
	to->count++;
}

void last_keep(last_line *to, slice object)
{
	if (to->count > LAST_MEMBERS || object.len > LAST_BYTES)
		return;
	memcpy(to->bytes, object.ptr, object.len);
	to->len = object.len;
}

logline_last *logline_last_new(void)
{
	return calloc(1, sizeof(logline_last));
}

void logline_last_free(logline_last *last)
{
	free(last);
}

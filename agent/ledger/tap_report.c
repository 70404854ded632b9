/* SPDX-License-Identifier: MIT */
#include "ledger/tap_report.h"

#include "base/json.h"
#include "ledger/codec.h"

/* At most: four bytes of codec, end and final, four texts with lengths of two bytes, and three numbers of ten bytes. */
_Static_assert(sizeof(((tap_report *)0)->id) + sizeof(((tap_report *)0)->tier) + sizeof(((tap_report *)0)->first) +
			       sizeof(((tap_report *)0)->last) + 4 + 4 * 2 + 3 * 10 <=
		       TAP_REPORT_ENCODED_MAX,
	       "a report fits its encoding");

typedef enum field {
	F_V,
	F_KIND,
	F_ID,
	F_END,
	F_STATUS,
	F_CONTENT,
	F_FINAL,
	F_FIRST,
	F_LAST,
	F_TIER,
	FIELDS,
} field;

static const slice names[FIELDS] = {
	[F_V] = SLICE_INIT("v"),         [F_KIND] = SLICE_INIT("kind"),     [F_ID] = SLICE_INIT("id"),
	[F_END] = SLICE_INIT("end"),     [F_STATUS] = SLICE_INIT("status"), [F_CONTENT] = SLICE_INIT("content"),
	[F_FINAL] = SLICE_INIT("final"), [F_FIRST] = SLICE_INIT("first"),   [F_LAST] = SLICE_INIT("last"),
	[F_TIER] = SLICE_INIT("tier"),
};

static field find(slice key)
{
	unsigned i = 0;

	while (i < FIELDS && !json_key_is(key, names[i]))
		i++;
	return (field)i;
}

/* Copies a string of visible ASCII without escapes. False: the value is none, or longer than `max`. */
static bool take_word(const json_member *m, char *out, size_t max)
{
	if (m->type != JSON_STRING || m->value.len - 2 > max)
		return false;
	slice text = slice_of(m->value.ptr + 1, m->value.len - 2);
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~' || text.ptr[i] == '\\')
			return false;
	if (text.len)
		memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return true;
}

static bool take_object(const json_member *m, char *out)
{
	if (m->type != JSON_OBJECT || m->value.len > TAP_REPORT_OBJECT_MAX)
		return false;
	memcpy(out, m->value.ptr, m->value.len);
	out[m->value.len] = '\0';
	return true;
}

static bool take_end(const json_member *m, tap_end *out)
{
	static const slice ends[] = {
		[TAP_END_WHOLE] = SLICE_INIT("\"whole\""),
		[TAP_END_CLIENT] = SLICE_INIT("\"client\""),
		[TAP_END_UPSTREAM] = SLICE_INIT("\"upstream\""),
		[TAP_END_LOST] = SLICE_INIT("\"lost\""),
	};

	for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++)
		if (slice_eq(m->value, ends[i])) {
			*out = (tap_end)i;
			return true;
		}
	return false;
}

static bool take_number(const json_member *m, int64_t max, int64_t *out)
{
	return m->type == JSON_NUMBER && json_int64(m->value, out) && *out >= 0 && *out <= max;
}

static bool take(tap_report *r, field f, const json_member *m)
{
	int64_t n = 0;

	switch (f) {
	case F_V:
		return take_number(m, 1, &n) && n == 1;
	case F_KIND:
		return slice_eq(m->value, SLICE("\"stream\""));
	case F_ID:
		return take_word(m, r->id, RECORD_ID_MAX) && r->id[0];
	case F_END:
		return take_end(m, &r->end);
	case F_STATUS:
		if (!take_number(m, 999, &n))
			return false;
		r->status = (int32_t)n;
		return true;
	case F_CONTENT:
		return take_number(m, USAGE_TOKENS_MAX, &r->content);
	case F_FINAL:
		r->final = m->type == JSON_TRUE;
		return r->final || m->type == JSON_FALSE;
	case F_FIRST:
		return take_object(m, r->first);
	case F_LAST:
		return take_object(m, r->last);
	case F_TIER:
		return take_word(m, r->tier, TAP_REPORT_TIER_MAX);
	case FIELDS:
		break;
	}
	return false;
}

static bool bad(tap_report *out, const char **problem, const char *why)
{
	memset(out, 0, sizeof *out);
	*problem = why;
	return false;
}

bool tap_report_parse(slice datagram, int64_t now_ms, tap_report *out, const char **problem)
{
	static const unsigned needed = 1u << F_V | 1u << F_KIND | 1u << F_ID | 1u << F_END | 1u << F_STATUS |
				       1u << F_CONTENT | 1u << F_FINAL;
	unsigned seen = 0;
	json_iter it;
	json_member m;
	json_step step;

	memset(out, 0, sizeof *out);
	*problem = "";
	if (datagram.len > TAP_REPORT_MAX)
		return bad(out, problem, "the datagram is too long");
	json_iter_init(&it, datagram);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		field f = find(m.key);
		if (f == FIELDS)
			continue;
		if (seen & 1u << f)
			return bad(out, problem, "the report has a member twice");
		seen |= 1u << f;
		if (!take(out, f, &m))
			return bad(out, problem, "a member has a value that is not as agreed");
	}
	if (step != JSON_DONE)
		return bad(out, problem, "the datagram has no valid JSON object");
	if ((seen & needed) != needed)
		return bad(out, problem, "a member is missing");
	out->time_ms = now_ms;
	return true;
}

/* ---- as bytes */

#define PUT_TEXT(field) at = put_text(at, r->field, sizeof r->field)
#define GET_TEXT(field) get_text(&c, r->field, sizeof r->field)

size_t tap_report_encode(const tap_report *r, unsigned char out[TAP_REPORT_ENCODED_MAX])
{
	unsigned char *at = out;

	*at++ = TAP_REPORT_CODEC;
	PUT_TEXT(id);
	at = put_int(at, r->time_ms);
	*at++ = (unsigned char)r->end;
	at = put_int(at, r->status);
	*at++ = r->final;
	at = put_int(at, r->content);
	PUT_TEXT(tier);
	PUT_TEXT(first);
	PUT_TEXT(last);
	return (size_t)(at - out);
}

bool tap_report_decode(slice bytes, tap_report *r)
{
	cursor c = cursor_of(bytes);

	memset(r, 0, sizeof *r);
	bool known = cursor_u8(&c) == TAP_REPORT_CODEC;
	GET_TEXT(id);
	r->time_ms = get_int(&c);
	uint8_t end = cursor_u8(&c);
	int64_t status = get_int(&c);
	uint8_t final = cursor_u8(&c);
	r->content = get_int(&c);
	GET_TEXT(tier);
	GET_TEXT(first);
	GET_TEXT(last);
	if (!known || c.failed || end > TAP_END_LOST || status < 0 || status > 999 || final > 1 || r->content < 0 ||
	    r->content > USAGE_TOKENS_MAX) {
		memset(r, 0, sizeof *r);
		return false;
	}
	r->end = (tap_end)end;
	r->status = (int32_t)status;
	r->final = final != 0;
	return true;
}

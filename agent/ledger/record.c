/* SPDX-License-Identifier: MIT */
#include "ledger/record_codec.h"

#include "base/cursor.h"

/* At most: the version, ten texts with lengths of two bytes, 15 numbers of ten bytes, and four of one byte. */
_Static_assert(1 + sizeof(((record *)0)->id) + 3 * (RECORD_LABEL_MAX + 1) + sizeof(((record *)0)->code) +
			       sizeof(((record *)0)->backend) + sizeof(((record *)0)->protocol) +
			       sizeof(((record *)0)->model) + sizeof(((record *)0)->termination) +
			       sizeof(((record *)0)->price_missing) + 10 * 2 + 15 * 10 + 4 <=
		       RECORD_ENCODED_MAX,
	       "a record fits its encoding");

const char *usage_from_name(usage_from from)
{
	switch (from) {
	case USAGE_NONE:
		return "none";
	case USAGE_REPORTED:
		return "reported";
	case USAGE_PARTIAL:
		return "partial";
	case USAGE_ESTIMATED:
		return "estimated";
	case USAGE_UNKNOWN:
		return "unknown";
	case USAGE_STREAM:
		return "stream";
	}
	return "none";
}

const char *price_from_name(price_from from)
{
	switch (from) {
	case PRICE_NONE:
		return "none";
	case PRICE_TABLE:
		return "table";
	case PRICE_UNPRICED:
		return "unpriced";
	case PRICE_PARTIAL:
		return "partial";
	}
	return "none";
}

const char *tap_state_name(tap_state state)
{
	switch (state) {
	case TAP_NOT:
		return "no";
	case TAP_TOLD:
		return "told";
	case TAP_UNTOLD:
		return "untold";
	case TAP_MISSING:
		return "missing";
	case TAP_NOTHING:
		return "nothing";
	}
	return "no";
}

/* ---- writing */

static unsigned char *put_varint(unsigned char *at, uint64_t v)
{
	while (v >= 0x80) {
		*at++ = (unsigned char)(v | 0x80);
		v >>= 7;
	}
	*at++ = (unsigned char)v;
	return at;
}

/* Zigzag, so that -1 is short. */
static unsigned char *put_int(unsigned char *at, int64_t v)
{
	return put_varint(at, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}

static unsigned char *put_text(unsigned char *at, const char *text, size_t size)
{
	size_t len = strnlen(text, size - 1);

	at = put_varint(at, len);
	memcpy(at, text, len);
	return at + len;
}

#define PUT_TEXT(field) at = put_text(at, r->field, sizeof r->field)

size_t record_encode(const record *r, unsigned char out[RECORD_ENCODED_MAX])
{
	unsigned char *at = out;

	*at++ = RECORD_CODEC_VERSION;
	PUT_TEXT(id);
	at = put_int(at, r->time_ms);
	PUT_TEXT(route);
	PUT_TEXT(backend);
	PUT_TEXT(protocol);
	PUT_TEXT(model);
	PUT_TEXT(project);
	PUT_TEXT(client);
	PUT_TEXT(code);
	PUT_TEXT(termination);
	at = put_int(at, r->status);
	*at++ = r->stream;
	at = put_int(at, r->bytes_in);
	at = put_int(at, r->bytes_out);
	at = put_int(at, r->ttfb_ms);
	at = put_int(at, r->total_ms);
	at = put_int(at, r->input);
	at = put_int(at, r->output);
	at = put_int(at, r->cache_read);
	at = put_int(at, r->cache_write);
	at = put_int(at, r->saved);
	*at++ = (unsigned char)r->usage;
	at = put_int(at, r->cost);
	at = put_int(at, r->saved_compression);
	at = put_int(at, r->saved_cache);
	at = put_int(at, r->saved_routing);
	*at++ = (unsigned char)r->price;
	PUT_TEXT(price_missing);
	*at++ = (unsigned char)r->tap;
	return (size_t)(at - out);
}

/* ---- reading */

static uint64_t get_varint(cursor *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = cursor_u8(c);
		/* The tenth byte has room for one bit. */
		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	cursor_fail(c);
	return 0;
}

static int64_t get_int(cursor *c)
{
	uint64_t v = get_varint(c);
	return (int64_t)((v >> 1) ^ (v & 1 ? UINT64_MAX : 0));
}

/* Reads a text into `out`, which is zeroed already. */
static void get_text(cursor *c, char *out, size_t size)
{
	uint64_t len = get_varint(c);
	slice text = cursor_take(c, len);

	if (c->failed)
		return;
	if (text.len >= size || slice_find(text, 0, '\0') != text.len) {
		cursor_fail(c);
		return;
	}
	if (text.len)
		memcpy(out, text.ptr, text.len);
}

#define GET_TEXT(field) get_text(&c, r->field, sizeof r->field)

bool record_decode(slice bytes, record *r)
{
	cursor c = cursor_of(bytes);

	memset(r, 0, sizeof *r);
	uint8_t version = cursor_u8(&c);
	if (version < 1 || version > RECORD_CODEC_VERSION)
		return false;
	GET_TEXT(id);
	r->time_ms = get_int(&c);
	GET_TEXT(route);
	GET_TEXT(backend);
	GET_TEXT(protocol);
	GET_TEXT(model);
	GET_TEXT(project);
	GET_TEXT(client);
	GET_TEXT(code);
	GET_TEXT(termination);
	int64_t status = get_int(&c);
	uint8_t stream = cursor_u8(&c);
	r->bytes_in = get_int(&c);
	r->bytes_out = get_int(&c);
	r->ttfb_ms = get_int(&c);
	r->total_ms = get_int(&c);
	r->input = get_int(&c);
	r->output = get_int(&c);
	r->cache_read = get_int(&c);
	r->cache_write = get_int(&c);
	r->saved = get_int(&c);
	uint8_t usage = cursor_u8(&c);
	r->cost = get_int(&c);
	r->saved_compression = get_int(&c);
	r->saved_cache = get_int(&c);
	r->saved_routing = get_int(&c);
	uint8_t price = cursor_u8(&c);
	if (version > 1)
		GET_TEXT(price_missing);
	uint8_t tap = version > 2 ? cursor_u8(&c) : TAP_NOT;
	if (c.failed || status < INT32_MIN || status > INT32_MAX || stream > 1 || usage > USAGE_STREAM ||
	    price > PRICE_PARTIAL || tap > TAP_NOTHING) {
		memset(r, 0, sizeof *r);
		return false;
	}
	r->status = (int32_t)status;
	r->stream = stream != 0;
	r->usage = (usage_from)usage;
	r->price = (price_from)price;
	r->tap = (tap_state)tap;
	return true;
}

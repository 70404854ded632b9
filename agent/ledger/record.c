/* SPDX-License-Identifier: MIT */
#include "ledger/record_codec.h"

#include "ledger/codec.h"

/* At most: the version, fourteen texts with lengths of two bytes, 16 numbers of ten bytes, and four of one byte. */
_Static_assert(1 + sizeof(((record *)0)->id) + 3 * (RECORD_LABEL_MAX + 1) + sizeof(((record *)0)->code) +
			       sizeof(((record *)0)->backend) + sizeof(((record *)0)->protocol) +
			       sizeof(((record *)0)->model) + sizeof(((record *)0)->termination) +
			       sizeof(((record *)0)->price_missing) + sizeof(((record *)0)->member) +
			       sizeof(((record *)0)->tried) + sizeof(((record *)0)->operation) +
			       sizeof(((record *)0)->traceparent) + 14 * 2 + 16 * 10 + 4 <=
		       RECORD_ENCODED_MAX,
	       "a record fits its encoding");

bool record_is_settled(const record *r)
{
	if (r->tap == TAP_MISSING && (r->usage == USAGE_PARTIAL || r->usage == USAGE_ESTIMATED))
		return false;
	if (r->usage == USAGE_PARTIAL)
		return r->input > 0 || r->cache_read > 0 || r->cache_write > 0;
	return r->usage != USAGE_UNKNOWN;
}

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
	*at++ = (unsigned char)(r->stream | r->keyed << 1);
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
	PUT_TEXT(member);
	at = put_int(at, r->attempts);
	PUT_TEXT(tried);
	PUT_TEXT(operation);
	PUT_TEXT(traceparent);
	return (size_t)(at - out);
}

/* ---- reading */

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
	uint8_t flags = cursor_u8(&c); /* a stream; from version 4 on: with a key */
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
	if (version > 3) {
		GET_TEXT(member);
		r->attempts = get_int(&c);
		GET_TEXT(tried);
	}
	if (version > 4) {
		GET_TEXT(operation);
		GET_TEXT(traceparent);
	}
	if (c.failed || status < INT32_MIN || status > INT32_MAX || flags > (version > 3 ? 3 : 1) ||
	    usage > USAGE_STREAM || price > PRICE_PARTIAL || tap > TAP_NOTHING || r->attempts < 0 ||
	    r->attempts > RECORD_ATTEMPTS_MAX) {
		memset(r, 0, sizeof *r);
		return false;
	}
	r->status = (int32_t)status;
	r->stream = flags & 1;
	r->usage = (usage_from)usage;
	r->price = (price_from)price;
	r->tap = (tap_state)tap;
	r->keyed = flags & 2;
	return true;
}

/* SPDX-License-Identifier: MIT
 *
 * The fast reader of a message is compared with a plain one: both make the same request of the same arguments, in any
 * order and of any type. */
#include "unit.h"

#include <stdlib.h>

#include "decide/request.h"

static const char *const names[] = { "id",
				     "method",
				     "path",
				     "model_param",
				     "ctype",
				     "cenc",
				     "body",
				     "tail",
				     "buffered",
				     "length",
				     "sized",
				     "upgrade",
				     "ua",
				     "x_api_key",
				     "api_key",
				     "x_goog_api_key",
				     "anthropic_version",
				     "bearer_sk_ant",
				     "model_hint",
				     "project",
				     "client",
				     "deployment_param",
				     "query_unclear",
				     "headers_unclear",
				     "between",
				     "contract",
				     "backends",
				     "unknown",
				     "i",
				     "",
				     "anthropic_versiom",
				     "a_name_that_is_longer_than_any_that_there_is" };

enum { NAMES = sizeof names / sizeof names[0], KNOWN = 27 };

static uint32_t seed = 7;

static unsigned below(unsigned n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void put_value(spop_writer *w)
{
	static char text[3000];
	static const unsigned lengths[] = { 0, 1, 2, 30, 238, 239, 240, 241, 500, 2287, 2288, 2999 };

	switch (below(10)) {
	case 0:
	case 1:
		spop_put_u8(w, (uint8_t)(SPOP_NULL | (below(2) ? SPOP_TRUE : 0)));
		break;
	case 2:
		spop_put_bool(w, below(2));
		break;
	case 3:
		spop_put_u8(w, (uint8_t)(SPOP_INT32 + below(4)));
		spop_put_varint(w, below(3) ? below(5000) : UINT64_MAX - below(3));
		break;
	case 4:
		spop_put_u8(w, SPOP_IPV4);
		spop_put_bytes(w, "abcd", 4);
		break;
	case 5:
		spop_put_u8(w, SPOP_IPV6);
		spop_put_bytes(w, "abcdefghijklmnop", 16);
		break;
	default:
		spop_put_u8(w, (uint8_t)(SPOP_STR + below(2)));
		spop_put_name(w, slice_of(text, lengths[below(sizeof lengths / sizeof lengths[0])]));
		break;
	}
}

static bool plain_valid(slice payload)
{
	cursor c = cursor_of(payload);
	spop_message m;
	slice name;
	spop_value v;

	while (spop_message_next(&c, &m))
		while (spop_arg_next(&m, &name, &v))
			;
	return !c.failed;
}

static void plain_read(llm_request *r, spop_message *m)
{
	slice name;
	spop_value v;
	slice *const bytes[KNOWN] = { &r->id,
				      &r->sample.method,
				      &r->sample.path,
				      &r->sample.model_param,
				      &r->sample.ctype,
				      &r->sample.cenc,
				      &r->sample.body,
				      &r->sample.tail,
				      [12] = &r->user_agent,
				      [18] = &r->sample.model_hint,
				      &r->project,
				      &r->client,
				      &r->sample.deployment_param,
				      [26] = &r->backends_hash };
	bool *const truths[KNOWN] = {
		[10] = &r->sample.sized,   &r->sample.upgrade,    [13] = &r->x_api_key, &r->api_key,
		&r->x_goog_api_key,        &r->anthropic_version, &r->bearer_sk_ant,    [22] = &r->sample.query_unclear,
		&r->sample.headers_unclear
	};

	memset(r, 0, sizeof *r);
	while (spop_arg_next(m, &name, &v))
		for (unsigned i = 0; i < KNOWN; i++) {
			if (!slice_eq(name, slice_cstr(names[i])))
				continue;
			if (bytes[i])
				*bytes[i] = spop_value_bytes(&v);
			else if (truths[i])
				*truths[i] = spop_value_true(&v);
			else if (i == 8)
				r->sample.buffered = spop_value_uint(&v);
			else if (i == 9)
				r->sample.length = spop_value_uint(&v);
			else if (i == 24)
				r->sample.between = spop_value_uint(&v);
			else
				r->contract = spop_value_uint(&v);
		}
}

static bool same_bytes(slice a, slice b)
{
	return a.len == b.len && (a.len == 0 || a.ptr == b.ptr);
}

static bool same_request(const llm_request *a, const llm_request *b)
{
	return same_bytes(a->id, b->id) && same_bytes(a->sample.method, b->sample.method) &&
	       same_bytes(a->user_agent, b->user_agent) && same_bytes(a->project, b->project) &&
	       same_bytes(a->client, b->client) && same_bytes(a->sample.path, b->sample.path) &&
	       same_bytes(a->sample.model_param, b->sample.model_param) &&
	       same_bytes(a->sample.model_hint, b->sample.model_hint) && same_bytes(a->sample.ctype, b->sample.ctype) &&
	       same_bytes(a->sample.cenc, b->sample.cenc) && same_bytes(a->sample.body, b->sample.body) &&
	       same_bytes(a->sample.tail, b->sample.tail) && a->sample.buffered == b->sample.buffered &&
	       a->sample.length == b->sample.length && a->sample.sized == b->sample.sized &&
	       a->sample.upgrade == b->sample.upgrade && a->x_api_key == b->x_api_key && a->api_key == b->api_key &&
	       a->x_goog_api_key == b->x_goog_api_key && a->anthropic_version == b->anthropic_version &&
	       a->bearer_sk_ant == b->bearer_sk_ant && a->contract == b->contract &&
	       same_bytes(a->backends_hash, b->backends_hash) &&
	       same_bytes(a->sample.deployment_param, b->sample.deployment_param) &&
	       a->sample.query_unclear == b->sample.query_unclear &&
	       a->sample.headers_unclear == b->sample.headers_unclear && a->sample.between == b->sample.between;
}

/* Allocates a frame to its exact length, so that a sanitizer sees a byte read behind it. */
static spop_event event_of(const unsigned char *payload, size_t len, unsigned char **bytes)
{
	spop_session s;
	unsigned char head[64];
	spop_writer w = frame_begin(head, sizeof head, sizeof head, FRAME_NOTIFY, 70000, 3);
	size_t head_len = frame_end(&w);
	size_t all = head_len - FRAME_PREFIX + len;

	*bytes = malloc(head_len + len);
	for (unsigned i = 0; i < FRAME_PREFIX; i++)
		head[i] = (unsigned char)(all >> (24 - 8 * i));
	memcpy(*bytes, head, head_len);
	memcpy(*bytes + head_len, payload, len);
	spop_session_init(&s, 1048576, true);
	s.state = SPOP_READY;
	slice in = slice_of(*bytes, head_len + len);
	return spop_session_next(&s, &in);
}

static void any_message_is_read_as_the_plain_reader_does(void)
{
	static unsigned char room[200000];

	for (unsigned round = 0; round < 20000; round++) {
		spop_writer w = { room, room, room + sizeof room, false };
		unsigned args = round % 4 == 0 ? KNOWN : below(40);
		bool in_order = round % 2 == 0;
		spop_put_name(&w, SLICE("llm-request"));
		spop_put_u8(&w, (uint8_t)args);
		for (unsigned i = 0; i < args; i++) {
			spop_put_name(&w, slice_cstr(names[in_order && below(10) ? i % KNOWN : below(NAMES)]));
			put_value(&w);
		}
		size_t len = (size_t)(w.pos - room);
		CHECK(!w.overflow);
		if (below(3) == 0)
			len = below((unsigned)len + 1);
		if (below(3) == 0 && len > 0)
			room[below((unsigned)len)] = (unsigned char)below(256);

		unsigned char *bytes;
		spop_event e = event_of(room, len, &bytes);
		bool valid = plain_valid(slice_of(room, len));
		CHECK(e.type == SPOP_NOTIFY);
		llm_request fast, plain;
		spop_message m;
		cursor c = cursor_of(e.messages), again = c;
		bool begun = spop_message_next(&c, &m);
		if (begun)
			request_read(&fast, &m);
		const unsigned char *behind = c.pos;
		CHECK(spop_messages_skip(&c) == valid);
		if (valid && len > 0) {
			CHECK(begun && m.args == 0);
			CHECK(spop_message_next(&again, &m));
			plain_read(&plain, &m);
			CHECK(same_request(&fast, &plain));
			CHECK(behind == again.pos);
		}
		free(bytes);
	}
}

static void a_later_argument_of_a_name_wins(void)
{
	unsigned char room[256];
	llm_request r;
	spop_message m;
	spop_writer w = { room, room, room + sizeof room, false };

	spop_put_name(&w, SLICE("llm-request"));
	spop_put_u8(&w, 4);
	spop_put_name(&w, SLICE("path"));
	spop_put_str(&w, SLICE("/x"));
	spop_put_name(&w, SLICE("x_api_key"));
	spop_put_bool(&w, true);
	spop_put_name(&w, SLICE("path"));
	spop_put_u8(&w, SPOP_NULL);
	spop_put_name(&w, SLICE("x_api_key"));
	spop_put_u8(&w, SPOP_NULL);
	cursor c = cursor_of(slice_of(room, (size_t)(w.pos - room)));
	CHECK(spop_message_next(&c, &m));
	request_read(&r, &m);
	CHECK(r.sample.path.len == 0 && !r.x_api_key);
}

int main(void)
{
	RUN(any_message_is_read_as_the_plain_reader_does);
	RUN(a_later_argument_of_a_name_wins);
	return unit_end();
}

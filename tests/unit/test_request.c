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
				     "headers",
				     "ctype",
				     "cenc",
				     "body",
				     "tail",
				     "buffered",
				     "length",
				     "ua",
				     "flags",
				     "model_param",
				     "deployment_param",
				     "model_hint",
				     "project",
				     "client",
				     "backends",
				     "guard",
				     "key",
				     "keys_differ",
				     "preflight",
				     "between",
				     "sized",
				     "upgrade",
				     "x_api_key",
				     "api_key",
				     "x_goog_api_key",
				     "anthropic_version",
				     "bearer_sk_ant",
				     "query_unclear",
				     "headers_unclear",
				     "contract",
				     "unknown",
				     "i",
				     "",
				     "anthropic_versiom",
				     "a_name_that_is_longer_than_any_that_there_is" };

enum { NAMES = sizeof names / sizeof names[0], ORDERED = 23, KNOWN = 33 };

/* What `headers` may be, beside anything else. */
static const char *const headers[] = {
	"host,content-type,content-length",
	"host,content-type,accept,content-type",
	"x-api-key,anthropic-version,content-encoding,content-encoding,x",
	"content-encoding,x-goog-api-key,,content-length,",
	"x-codex-turn-metadata,x-codex-turn-metadata",
	"",
	",x-api-kex,x-goog-api-kez,anthropic-versiom,content-typf,content-lengti",
};

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

	switch (below(12)) {
	case 10:
	case 11:
		spop_put_str(w, slice_cstr(headers[below(sizeof headers / sizeof headers[0])]));
		break;
	case 0:
	case 1:
		spop_put_u8(w, (uint8_t)(SPOP_NULL | (below(2) ? SPOP_TRUE : 0)));
		break;
	case 2:
		spop_put_bool(w, below(2));
		break;
	case 3:
		spop_put_u8(w, (uint8_t)(SPOP_INT32 + below(4)));
		spop_put_varint(w, below(3) ? below(below(2) ? 5000 : 10) : UINT64_MAX - below(3));
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

/* How often `name` stands among names with commas between them. */
static unsigned times(slice all, const char *name)
{
	unsigned n = 0;

	for (size_t at = 0; at <= all.len; at = slice_find(all, at, ',') + 1)
		n += slice_eq(slice_of(all.ptr + at, slice_find(all, at, ',') - at), slice_cstr(name));
	return all.len ? n : 0;
}

static void plain_read(llm_request *r, spop_message *m)
{
	slice name, message = m->name;
	spop_value v;
	slice *const bytes[KNOWN] = { [0] = &r->id,
				      [1] = &r->sample.method,
				      [2] = &r->sample.path,
				      [3] = &r->headers,
				      [4] = &r->sample.ctype,
				      [5] = &r->sample.cenc,
				      [6] = &r->sample.body,
				      [7] = &r->sample.tail,
				      [10] = &r->user_agent,
				      [12] = &r->sample.model_param,
				      [13] = &r->sample.deployment_param,
				      [14] = &r->sample.model_hint,
				      [15] = &r->project,
				      [16] = &r->client,
				      [17] = &r->backends_hash,
				      [19] = &r->key };
	bool *const truths[KNOWN] = {
		[18] = &r->clients_guarded,      [20] = &r->keys_differ,           [21] = &r->preflight,
		[23] = &r->sample.sized,         [24] = &r->sample.upgrade,        [25] = &r->x_api_key,
		[27] = &r->x_goog_api_key,       [28] = &r->anthropic_version,     [29] = &r->bearer_sk_ant,
		[30] = &r->sample.query_unclear, [31] = &r->sample.headers_unclear
	};
	uint64_t *const numbers[KNOWN] = {
		[8] = &r->sample.buffered, [9] = &r->sample.length, [22] = &r->sample.between, [32] = &r->contract
	};
	bool second = slice_eq(message, SLICE("llm-request-2")), client = slice_eq(message, SLICE("llm-client"));

	memset(r, 0, sizeof *r);
	r->flags = UINT64_MAX;
	while (spop_arg_next(m, &name, &v))
		for (unsigned i = 0; i < KNOWN; i++) {
			if (!slice_eq(name, slice_cstr(names[i])))
				continue;
			if (bytes[i])
				*bytes[i] = spop_value_bytes(&v);
			else if (truths[i])
				*truths[i] = spop_value_true(&v);
			else if (numbers[i])
				*numbers[i] = spop_value_uint(&v);
			else if (strcmp(names[i], "flags") == 0 && v.type == SPOP_NULL)
				r->flags = 0;
			else if (strcmp(names[i], "flags") == 0 && v.type == SPOP_INT64)
				r->flags = v.num;
		}
	if (second)
		r->contract = 2;
	else if (r->contract > 1 || (!client && !slice_eq(message, SLICE("llm-request"))))
		r->contract = client ? r->contract : UINT64_MAX;
	if (!second && !(client && r->headers.ptr))
		return;
	if (!r->headers.ptr || r->flags > 15)
		r->contract = UINT64_MAX;
	r->sample.upgrade = r->flags % 2 == 1;
	r->bearer_sk_ant = r->flags / 2 % 2 == 1;
	r->sample.query_unclear = r->flags / 4 % 2 == 1;
	r->no_records = r->flags / 8 % 2 == 1;
	if (r->headers.len == 0)
		return;
	r->x_api_key = r->x_api_key || times(r->headers, "x-api-key");
	r->x_goog_api_key = r->x_goog_api_key || times(r->headers, "x-goog-api-key");
	r->anthropic_version = r->anthropic_version || times(r->headers, "anthropic-version");
	r->sample.sized = r->sample.sized || times(r->headers, "content-length");
	r->sample.headers_unclear = r->sample.headers_unclear || times(r->headers, "content-type") > 1 ||
				    times(r->headers, "content-encoding") > 1 ||
				    (r->sample.upgrade && times(r->headers, "x-codex-turn-metadata") > 1);
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
	       a->sample.upgrade == b->sample.upgrade && a->x_api_key == b->x_api_key &&
	       a->x_goog_api_key == b->x_goog_api_key && a->anthropic_version == b->anthropic_version &&
	       a->bearer_sk_ant == b->bearer_sk_ant && a->contract == b->contract &&
	       same_bytes(a->backends_hash, b->backends_hash) &&
	       same_bytes(a->sample.deployment_param, b->sample.deployment_param) &&
	       a->sample.query_unclear == b->sample.query_unclear &&
	       a->sample.headers_unclear == b->sample.headers_unclear && a->sample.between == b->sample.between &&
	       same_bytes(a->headers, b->headers) && same_bytes(a->key, b->key) &&
	       a->clients_guarded == b->clients_guarded && a->keys_differ == b->keys_differ &&
	       a->preflight == b->preflight && a->no_records == b->no_records;
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
	static const char *const messages[] = { "llm-request-2", "llm-request", "llm-client", "llm-request-3" };

	for (unsigned round = 0; round < 20000; round++) {
		spop_writer w = { room, room, room + sizeof room, false };
		unsigned args = round % 4 == 0 ? ORDERED : below(40);
		bool in_order = round % 2 == 0;
		spop_put_name(&w, slice_cstr(messages[below(6) % 4]));
		spop_put_u8(&w, (uint8_t)args);
		for (unsigned i = 0; i < args; i++) {
			spop_put_name(&w, slice_cstr(names[in_order && below(10) ? i % ORDERED : below(NAMES)]));
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

static void what_follows_the_last_argument_is_another_message(void)
{
	unsigned char room[256];
	llm_request r;
	spop_message m;
	spop_writer w = { room, room, room + sizeof room, false };

	spop_put_name(&w, SLICE("llm-request"));
	spop_put_u8(&w, 1);
	spop_put_name(&w, SLICE("id"));
	spop_put_str(&w, SLICE("one"));
	const unsigned char *behind = w.pos;
	spop_put_name(&w, SLICE("method"));
	spop_put_u8(&w, 8); /* as an argument: the method, a text of two bytes */
	spop_put_name(&w, SLICE("id"));
	for (unsigned i = 0; i < 8; i++) {
		spop_put_u8(&w, SPOP_NULL);
		spop_put_name(&w, SLICE("x"));
	}
	cursor c = cursor_of(slice_of(room, (size_t)(w.pos - room)));
	CHECK(spop_message_next(&c, &m));
	request_read(&r, &m);
	CHECK(m.args == 0 && c.pos == behind && !c.failed);
	CHECK(slice_eq(r.id, SLICE("one")) && r.sample.method.len == 0);
}

int main(void)
{
	RUN(any_message_is_read_as_the_plain_reader_does);
	RUN(a_later_argument_of_a_name_wins);
	RUN(what_follows_the_last_argument_is_another_message);
	return unit_end();
}

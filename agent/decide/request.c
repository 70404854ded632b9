/* SPDX-License-Identifier: MIT */
#include "decide/request.h"

#include <stddef.h>

/* The arguments in the order of spoe.conf: name, how the value is read, field of llm_request. */
#define ARGUMENTS(X) \
	X("id", BYTES, id) \
	X("method", BYTES, sample.method) \
	X("path", BYTES, sample.path) \
	X("headers", BYTES, headers) \
	X("ctype", BYTES, sample.ctype) \
	X("cenc", BYTES, sample.cenc) \
	X("body", BYTES, sample.body) \
	X("tail", BYTES, sample.tail) \
	X("buffered", UINT, sample.buffered) \
	X("length", UINT, sample.length) \
	X("ua", BYTES, user_agent) \
	X("flags", FLAGS, flags) \
	X("model_param", BYTES, sample.model_param) \
	X("deployment_param", BYTES, sample.deployment_param) \
	X("model_hint", BYTES, sample.model_hint) \
	X("project", BYTES, project) \
	X("client", BYTES, client) \
	X("backends", BYTES, backends_hash) \
	X("guard", TRUTH, clients_guarded) \
	X("key", BYTES, key) \
	X("keys_differ", TRUTH, keys_differ) \
	X("preflight", TRUTH, preflight) \
	X("between", UINT, sample.between)

/* What files of contract 1 send instead of `headers` and `flags`. */
#define OLDER_ARGUMENTS(X) \
	X("sized", TRUTH, sample.sized) \
	X("upgrade", TRUTH, sample.upgrade) \
	X("x_api_key", TRUTH, x_api_key) \
	X("x_goog_api_key", TRUTH, x_goog_api_key) \
	X("anthropic_version", TRUTH, anthropic_version) \
	X("bearer_sk_ant", TRUTH, bearer_sk_ant) \
	X("query_unclear", TRUTH, sample.query_unclear) \
	X("headers_unclear", TRUTH, sample.headers_unclear) \
	X("contract", UINT, contract)

/* A request of which nothing is known. */
static const llm_request none = { .flags = UINT64_MAX };

/* ---- any message */

enum { AS_BYTES, AS_UINT, AS_TRUTH, AS_FLAGS };

#define ARG(name_, as_, field_) { SLICE_INIT(name_), offsetof(llm_request, field_), AS_##as_ },
static const struct {
	slice name;
	uint16_t field;
	uint8_t as;
} args[] = { ARGUMENTS(ARG) OLDER_ARGUMENTS(ARG) };

static void set(llm_request *r, slice name, const spop_value *v)
{
	for (unsigned i = 0; i < sizeof args / sizeof args[0]; i++) {
		void *field = (char *)r + args[i].field;
		if (!slice_eq(name, args[i].name))
			continue;
		if (args[i].as == AS_BYTES)
			*(slice *)field = spop_value_bytes(v);
		else if (args[i].as == AS_UINT)
			*(uint64_t *)field = spop_value_uint(v);
		else if (args[i].as == AS_TRUTH)
			*(bool *)field = spop_value_true(v);
		else if (v->type == SPOP_NULL)
			*(uint64_t *)field = 0;
		else if (v->type == SPOP_INT64)
			*(uint64_t *)field = v->num;
		return;
	}
}

/* ---- a message as our spoe.conf makes it
 *
 * Such a message has known names in a known order, and each of its values is NULL or of one known type. Each take_*()
 * either reads the expected name or value and returns the place behind it, or does nothing and returns NULL. */

typedef const unsigned char *bytes;

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* True if `n` bytes at offset `at` are equal; `n` is at most 8. */
ALWAYS_INLINE bool same(bytes a, const char *b, size_t at, size_t n)
{
	uint64_t x = 0, y = 0;

	memcpy(&x, a + at, n);
	memcpy(&y, b + at, n);
	return x == y;
}

/* memcmp(a, b, len) == 0 for a name of 2 to 16 bytes whose length is known at compile time: compares at most three
 * words, which may overlap, each in two or three instructions. */
ALWAYS_INLINE bool same_name(bytes a, const char *b, size_t len)
{
	if (len >= 12)
		return same(a, b, 0, 8) && same(a, b, len - 8, 8);
	if (len >= 8)
		return same(a, b, 0, 4) && same(a, b, 4, 4) && same(a, b, len - 4, 4);
	if (len >= 4)
		return same(a, b, 0, 4) && same(a, b, len - 4, 4);
	return same(a, b, 0, 2) && same(a, b, len - 2, 2);
}

/* Returns the place behind the name, where at least one byte follows. NULL: another name, or the end. */
ALWAYS_INLINE bytes take_name(bytes p, bytes end, const char *name, size_t len)
{
	if ((size_t)(end - p) < len + 2 || p[0] != len || !same_name(p + 1, name, len))
		return NULL;
	return p + 1 + len;
}

typedef struct number {
	uint64_t value;
	bytes behind; /* NULL: it is malformed */
} number;

static __attribute__((noinline)) number long_number(bytes p, bytes end)
{
	cursor c = { p, end, false };
	uint64_t value = varint_read(&c);

	return (number){ value, c.failed ? NULL : c.pos };
}

ALWAYS_INLINE number take_number(bytes p, bytes end)
{
	if (p == end)
		return (number){ 0, NULL };
	return *p < 240 ? (number){ *p, p + 1 } : long_number(p, end);
}

ALWAYS_INLINE bytes take_BYTES(bytes p, bytes end, slice *field)
{
	if (*p == SPOP_NULL)
		return p + 1;
	if (*p != SPOP_STR && *p != SPOP_BIN)
		return NULL;
	number len = take_number(p + 1, end);
	if (!len.behind || len.value > (size_t)(end - len.behind))
		return NULL;
	*field = slice_of(len.behind, (size_t)len.value);
	return len.behind + len.value;
}

ALWAYS_INLINE bytes take_UINT(bytes p, bytes end, uint64_t *field)
{
	if (*p == SPOP_NULL)
		return p + 1;
	if (*p != SPOP_INT64)
		return NULL;
	number n = take_number(p + 1, end);
	if (!n.behind || n.value > INT64_MAX)
		return NULL;
	*field = n.value;
	return n.behind;
}

ALWAYS_INLINE bytes take_TRUTH(bytes p, bytes end, bool *field)
{
	(void)end;
	if (*p != SPOP_NULL && *p != SPOP_BOOL && *p != (SPOP_BOOL | SPOP_TRUE))
		return NULL;
	*field = *p == (SPOP_BOOL | SPOP_TRUE);
	return p + 1;
}

ALWAYS_INLINE bytes take_FLAGS(bytes p, bytes end, uint64_t *field)
{
	if (*p != SPOP_NULL)
		return take_UINT(p, end, field);
	*field = 0;
	return p + 1;
}

/* Reads the arguments up to the first that is not as expected. `r` must be empty. */
static void read_expected(llm_request *r, cursor *c, unsigned *left)
{
	bytes p = c->pos, end = c->end;
	unsigned taken = 0;

#define TAKE(name_, as_, field_) \
	{ \
		_Static_assert(sizeof(name_) > 2 && sizeof(name_) <= 17, "same_name() compares so many bytes"); \
		bytes at = take_name(p, end, name_, sizeof(name_) - 1); \
		if (!at) \
			goto out; \
		at = take_##as_(at, end, &r->field_); \
		if (!at) \
			goto out; \
		p = at; \
		taken++; \
	}
	ARGUMENTS(TAKE)
out:
	/* Not checked in front of each argument: what follows the last one may look like one more. */
	if (taken > *left) {
		*r = none;
		return;
	}
	c->pos = p;
	*left -= taken;
}

/* ---- what the arguments say */

/* Learns from the names of the request's headers which of them are there, and which twice. */
static void read_headers(llm_request *r)
{
	const char *at = r->headers.ptr, *end = at + r->headers.len;
	unsigned types = 0, codings = 0, hints = 0;

#define IS(name_) (memcmp(at, name_, sizeof(name_) - 1) == 0)
	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t len = (size_t)((comma ? comma : end) - at);
		switch (len) {
		case 9:
			r->x_api_key |= IS("x-api-key");
			break;
		case 12:
			types += IS("content-type");
			break;
		case 14:
			r->sample.sized |= IS("content-length");
			r->x_goog_api_key |= IS("x-goog-api-key");
			break;
		case 16:
			codings += IS("content-encoding");
			break;
		case 17:
			r->anthropic_version |= IS("anthropic-version");
			break;
		case 21:
			hints += IS("x-codex-turn-metadata");
			break;
		}
		at += len + 1;
	}
#undef IS
	/* How an upstream reads the body depends on the first two. A handshake may name its model in the third. */
	r->sample.headers_unclear |= types > 1 || codings > 1 || (r->sample.upgrade && hints > 1);
}

/* Takes `headers` and `flags` apart. */
static void read_facts(llm_request *r)
{
	/* Some requests have no header at all, which is an empty text. Names and flags that are missing, or flags that
	 * mean something else in a later version, must not look like a request about which there is nothing to say. */
	if (!r->headers.ptr || r->flags > FLAGS_KNOWN)
		r->contract = CONTRACT_UNKNOWN;
	r->sample.upgrade = r->flags & FLAG_UPGRADE;
	r->bearer_sk_ant = r->flags & FLAG_BEARER_SK_ANT;
	r->sample.query_unclear = r->flags & FLAG_QUERY_UNCLEAR;
	r->no_records = r->flags & FLAG_NO_RECORDS;
	if (r->headers.ptr)
		read_headers(r);
}

void request_read(llm_request *r, spop_message *m)
{
	cursor c = *m->from;
	slice name;
	spop_value value;

	*r = none; /* a copy, because compilers clear it with a slower instruction */
	read_expected(r, &c, &m->args);
	*m->from = c;
	while (spop_arg_next(m, &name, &value))
		set(r, name, &value);
	if (slice_eq(m->name, SLICE(REQUEST_MESSAGE))) {
		r->contract = CONTRACT;
		read_facts(r);
	} else if (slice_eq(m->name, SLICE("llm-request"))) {
		if (r->contract > 1)
			r->contract = CONTRACT_UNKNOWN;
	} else if (slice_eq(m->name, SLICE("llm-client"))) {
		if (r->headers.ptr)
			read_facts(r);
	} else {
		r->contract = CONTRACT_UNKNOWN;
	}
}

/* SPDX-License-Identifier: MIT */
#include "decide/request.h"

#include <stddef.h>

/* What becomes of an argument's value. */
enum { AS_BYTES, AS_UINT, AS_TRUTH };

typedef struct arg {
	struct { /* as it stands in the message */
		unsigned char len;
		char text[23];
	} name;
	uint16_t field; /* offset in llm_request */
	uint8_t as;
} arg;

#define ARG(text_, field_, as_) { { sizeof(text_) - 1, text_ }, offsetof(llm_request, field_), as_ }

/* In the order of spoe.conf, which makes each the one that is expected next. */
static const arg args[] = {
	ARG("id", id, AS_BYTES),
	ARG("method", method, AS_BYTES),
	ARG("path", sample.path, AS_BYTES),
	ARG("model_param", sample.model_param, AS_BYTES),
	ARG("ctype", sample.ctype, AS_BYTES),
	ARG("cenc", sample.cenc, AS_BYTES),
	ARG("body", sample.body, AS_BYTES),
	ARG("tail", sample.tail, AS_BYTES),
	ARG("buffered", sample.buffered, AS_UINT),
	ARG("length", sample.length, AS_UINT),
	ARG("sized", sample.sized, AS_TRUTH),
	ARG("upgrade", sample.upgrade, AS_TRUTH),
	ARG("ua", user_agent, AS_BYTES),
	ARG("x_api_key", x_api_key, AS_TRUTH),
	ARG("api_key", api_key, AS_TRUTH),
	ARG("x_goog_api_key", x_goog_api_key, AS_TRUTH),
	ARG("anthropic_version", anthropic_version, AS_TRUTH),
	ARG("bearer_sk_ant", bearer_sk_ant, AS_TRUTH),
	ARG("model_hint", sample.model_hint, AS_BYTES),
	ARG("project", project, AS_BYTES),
	ARG("client", client, AS_BYTES),
};

enum { ARGS = sizeof args / sizeof args[0], NAME_ROOM = sizeof args[0].name };

/* The first bytes of a message are those of `a`'s name, with its length. NAME_ROOM of them can be read; those that are
 * not the name's are masked. */
static inline bool begins_with(const unsigned char *p, const arg *a)
{
	static const unsigned char masks[2 * NAME_ROOM] = { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
							    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 };
	uint64_t got[3], want[3], mask[3];

	_Static_assert(sizeof got == NAME_ROOM, "a name is three words");
	memcpy(got, p, sizeof got);
	memcpy(want, &a->name, sizeof want);
	memcpy(mask, masks + NAME_ROOM - 1 - a->name.len, sizeof mask);
	return (((got[0] ^ want[0]) & mask[0]) | ((got[1] ^ want[1]) & mask[1]) | ((got[2] ^ want[2]) & mask[2])) == 0;
}

static void set(llm_request *r, const arg *a, const spop_value *v)
{
	void *field = (char *)r + a->field;

	if (a->as == AS_BYTES)
		*(slice *)field = spop_value_bytes(v);
	else if (a->as == AS_UINT)
		*(uint64_t *)field = spop_value_uint(v);
	else
		*(bool *)field = spop_value_true(v);
}

/* The values that most arguments have, short texts, booleans and nothing, read without further ado: true, and *at is behind it. */
static inline bool set_short(llm_request *r, const arg *a, const unsigned char **at, const unsigned char *end)
{
	const unsigned char *p = *at;
	void *field = (char *)r + a->field;

	if (end - p < 2)
		return false;
	uint8_t head = *p++, type = head & SPOP_TYPE_MASK;
	if (a->as == AS_BYTES) {
		size_t len = type == SPOP_NULL ? 0 : *p;
		if ((type != SPOP_NULL && type != SPOP_STR && type != SPOP_BIN) || len >= 240 || (ptrdiff_t)len >= end - p)
			return false;
		p += type != SPOP_NULL;
		*(slice *)field = slice_of(type == SPOP_NULL ? NULL : p, len);
		p += len;
	} else if (a->as == AS_TRUTH && (type == SPOP_BOOL || type == SPOP_NULL)) {
		*(bool *)field = type == SPOP_BOOL && (head & SPOP_TRUE);
	} else {
		return false;
	}
	*at = p;
	return true;
}

static const arg *arg_find(slice name)
{
	for (unsigned i = 0; i < ARGS; i++)
		if (slice_eq(name, slice_of(args[i].name.text, args[i].name.len)))
			return &args[i];
	return NULL;
}

void request_read(llm_request *r, spop_message *m)
{
	cursor c = *m->from;
	const arg *next = args;
	unsigned left = m->args;

	*r = (llm_request){ .id = { NULL, 0 } };
	for (; left > 0 && !c.failed; left--) {
		const arg *a = next;
		if (c.end - c.pos >= NAME_ROOM && begins_with(c.pos, a))
			c.pos += 1 + a->name.len;
		else
			a = arg_find(spop_name_read(&c));
		if (a)
			next = a + 1 < args + ARGS ? a + 1 : args;
		if (a && set_short(r, a, &c.pos, c.end))
			continue;
		spop_value v = spop_value_read(&c);
		if (a && !c.failed)
			set(r, a, &v);
	}
	*m->from = c;
	m->args = left;
}

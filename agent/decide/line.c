/* SPDX-License-Identifier: MIT */
#include "decide/line.h"

#include "base/json.h"

enum {
	UA_MAX = 128,    /* bytes of a User-Agent; haproxy.cfg.example cuts project and client */
	LABEL_MAX = 64,  /* bytes of a project and of a client */
	NAMES_MAX = 192, /* bytes of all names, numbers and punctuation */
	ESCAPED_MAX = 6, /* bytes that one byte becomes: \uXXXX */
};

/* Sixteen characters, signed: those beyond ASCII are below zero. */
typedef signed char chars __attribute__((vector_size(16)));

/* True if each of the characters stands for itself in a JSON string of ASCII. */
static inline __attribute__((always_inline)) bool plain(chars c)
{
	uint64_t half[2];
	chars odd = (c < ' ') | (c == '"') | (c == '\\') | (c == 0x7f);

	memcpy(half, &odd, sizeof half);
	return (half[0] | half[1]) == 0;
}

/* Copies 16 bytes. False: one of them does not stand for itself. */
static inline __attribute__((always_inline)) bool copy_16(char *out, const char *from)
{
	chars c;

	memcpy(&c, from, sizeof c);
	memcpy(out, &c, sizeof c);
	return plain(c);
}

/* Copies `n` bytes, at least `size` and at most twice that, by two copies of `size` bytes, which may overlap; `size` is
 * at most 8. False: one of them does not stand for itself. */
static inline __attribute__((always_inline)) bool copy_twice(char *out, const char *from, size_t n, size_t size)
{
	uint64_t half[2] = { UINT64_C(0x2020202020202020), UINT64_C(0x2020202020202020) }; /* blanks */
	chars c;

	memcpy(&half[0], from, size);
	memcpy(&half[1], from + n - size, size);
	memcpy(out, &half[0], size);
	memcpy(out + n - size, &half[1], size);
	memcpy(&c, half, sizeof c);
	return plain(c);
}

/* Copies a text that is not empty. False: one of its bytes does not stand for itself. */
static bool copy_plain(char *out, slice s)
{
	bool ok = true;

	if (s.len < 2)
		return copy_twice(out, s.ptr, s.len, 1);
	if (s.len < 4)
		return copy_twice(out, s.ptr, s.len, 2);
	if (s.len < 8)
		return copy_twice(out, s.ptr, s.len, 4);
	if (s.len < 16)
		return copy_twice(out, s.ptr, s.len, 8);
	for (size_t at = 0; s.len - at > 16; at += 16)
		ok = copy_16(out + at, s.ptr + at) && ok;
	return copy_16(out + s.len - 16, s.ptr + s.len - 16) && ok; /* perhaps some bytes again */
}

static char *put_u(char *out, uint32_t unit)
{
	static const char digits[] = "0123456789abcdef";

	out[0] = '\\';
	out[1] = 'u';
	for (int i = 0; i < 4; i++)
		out[2 + i] = digits[unit >> (12 - 4 * i) & 15];
	return out + 6;
}

/* Returns the length of the UTF-8 character at `p`, of which `left` bytes are there, and sets `*c`; 0: it is none. */
static size_t character(const unsigned char *p, size_t left, uint32_t *c)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (len == 0 || len > left || !utf8_valid((const char *)p, len))
		return 0;
	*c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++)
		*c = *c << 6 | (p[i] & 0x3fu);
	return len;
}

/* Writes one character, or leaves out one byte that begins none; returns where the next one is written. */
static char *put_character(char *out, slice s, size_t *at)
{
	uint32_t c = 0;
	size_t len = character((const unsigned char *)s.ptr + *at, s.len - *at, &c);

	*at += len ? len : 1;
	if (len == 0)
		return out;
	if (c == '"' || c == '\\') {
		*out++ = '\\';
		*out++ = (char)c;
		return out;
	}
	if (c >= ' ' && c < 0x7f) {
		*out++ = (char)c;
		return out;
	}
	if (c < 0x10000)
		return put_u(out, c);
	out = put_u(out, 0xd800 + ((c - 0x10000) >> 10));
	return put_u(out, 0xdc00 + ((c - 0x10000) & 0x3ff));
}

static char *put(char *out, slice text)
{
	memcpy(out, text.ptr, text.len);
	return out + text.len;
}

/* A function of its own, so that put_text() needs no stack. */
static __attribute__((noinline)) char *put_escaped(char *out, slice s)
{
	for (size_t at = 0; at < s.len;)
		out = put_character(out, s, &at);
	return out;
}

static char *put_text(char *out, slice s)
{
	if (s.len == 0)
		return out;
	return copy_plain(out, s) ? out + s.len : put_escaped(out, s);
}

size_t line_room(const decision *d)
{
	size_t model = d->model.status == MODEL_FOUND ? d->model.len : 0;
	const llm_request *r = d->request;
	size_t texts = d->route_name.len + model + slice_first(r->project, LABEL_MAX).len +
		       slice_first(r->client, LABEL_MAX).len + slice_first(r->user_agent, UA_MAX).len +
		       (d->leg.len ? d->backend.len : 0);

	return NAMES_MAX + ESCAPED_MAX * texts;
}

/* From the end of the route to the beginning of the model. */
static const slice protocols[PROTOCOLS] = {
	[PROTOCOL_OPENAI] = SLICE_INIT("\",\"protocol\":\"openai\",\"model\":\""),
	[PROTOCOL_ANTHROPIC] = SLICE_INIT("\",\"protocol\":\"anthropic\",\"model\":\""),
	[PROTOCOL_GEMINI] = SLICE_INIT("\",\"protocol\":\"gemini\",\"model\":\""),
};

size_t line_write(const decision *d, char *out)
{
	const llm_request *r = d->request;
	const char *start = out;

	out = put_text(put(out, SLICE(",\"route\":\"")), d->route_name);
	out = put(out, protocols[d->caller]);
	if (d->model.status == MODEL_FOUND)
		out = put_text(out, slice_of(d->model.name, d->model.len));
	out = put_text(put(out, SLICE("\",\"project\":\"")), slice_first(r->project, LABEL_MAX));
	out = put_text(put(out, SLICE("\",\"client\":\"")), slice_first(r->client, LABEL_MAX));
	out = put_text(put(out, SLICE("\",\"ua\":\"")), slice_first(r->user_agent, UA_MAX));
	out = put(out, d->model.stream ? SLICE("\",\"stream\":\"1\",\"metered\":\"") :
					 SLICE("\",\"stream\":\"0\",\"metered\":\""));
	out = put(out, d->metered ? SLICE("1\"") : SLICE("0\""));
	if (d->operation.len) {
		out = put_text(put(out, SLICE(",\"op\":\"")), d->operation);
		*out++ = '"';
	}
	if (d->leg.len) {
		out = put_text(put(out, SLICE(",\"behind\":\"")), d->backend);
		*out++ = '"';
	}
	if (d->told_before)
		out = put(out, SLICE(",\"told_before\":1"));
	if (d->client)
		out = put(out, SLICE(",\"keyed\":1"));
	if (d->refusal != REFUSE_NOT)
		out = put(out, SLICE(",\"refused\":1"));
	return (size_t)(out - start);
}

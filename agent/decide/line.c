/* SPDX-License-Identifier: MIT */
#include "decide/line.h"

#include "base/json.h"

enum {
	UA_MAX = 128,    /* bytes of a User-Agent; haproxy.cfg.example cuts project and client */
	LABEL_MAX = 64,  /* bytes of a project and of a client */
	NAMES_MAX = 192, /* bytes of all names, numbers and punctuation */
	ESCAPED_MAX = 6, /* bytes that one byte becomes: \uXXXX */
};

/* Returns `w`, eight bytes, as a mask: the high bit of each byte that does not stand for itself in a JSON string of
 * ASCII. The byte behind such a byte may be marked, too, without reason. */
static inline __attribute__((always_inline)) uint64_t special(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\', last = w ^ ones * 0x7f;

	return (w | (w - ones * ' ') | ((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
		((last - ones) & ~last)) &
	       high;
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

/* Whether every byte stands for itself in a JSON string of ASCII. */
static bool plain(slice s)
{
	uint64_t w = 0x2020202020202020u, odd = 0; /* blanks */

	if (s.len < sizeof w) {
		for (size_t at = 0; at < s.len; at++)
			w = w << 8 | (unsigned char)s.ptr[at];
		return special(w) == 0;
	}
	for (size_t at = 0; s.len - at > sizeof w; at += sizeof w) {
		memcpy(&w, s.ptr + at, sizeof w);
		odd |= special(w);
	}
	memcpy(&w, s.ptr + s.len - sizeof w, sizeof w); /* perhaps some bytes again */
	return (odd | special(w)) == 0;
}

static char *put(char *out, slice text)
{
	memcpy(out, text.ptr, text.len);
	return out + text.len;
}

static char *put_text(char *out, slice s)
{
	if (s.len == 0)
		return out;
	if (plain(s))
		return put(out, s);
	for (size_t at = 0; at < s.len;)
		out = put_character(out, s, &at);
	return out;
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

size_t line_write(const decision *d, char *out)
{
	const llm_request *r = d->request;
	const char *start = out;

	out = put_text(put(out, SLICE(",\"route\":\"")), d->route_name);
	out = put(put(out, SLICE("\",\"protocol\":\"")), slice_cstr(protocol_name(d->caller)));
	out = put(out, SLICE("\",\"model\":\""));
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
	if (d->client)
		out = put(out, SLICE(",\"keyed\":1"));
	if (d->refusal != REFUSE_NOT)
		out = put(out, SLICE(",\"refused\":1"));
	return (size_t)(out - start);
}

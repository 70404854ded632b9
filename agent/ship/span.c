/* SPDX-License-Identifier: MIT */
#include "ship/span.h"

#include "base/cursor.h"
#include "base/sha256.h"
#include "base/text.h"
#include "decide/backend_name.h"
#include "ledger/codec.h"
#include "ship/protobuf.h"

/* The fields of OTLP's messages (opentelemetry/proto/trace/v1/trace.proto and common.proto). */
enum {
	REQUEST_RESOURCE_SPANS = 1,
	RESOURCE_SPANS_RESOURCE = 1,
	RESOURCE_SPANS_SCOPE_SPANS = 2,
	RESOURCE_ATTRIBUTES = 1,
	SCOPE_SPANS_SCOPE = 1,
	SCOPE_SPANS_SPANS = 2,
	SCOPE_NAME = 1,
	SCOPE_VERSION = 2,
	SPAN_TRACE_ID = 1,
	SPAN_SPAN_ID = 2,
	SPAN_PARENT = 4,
	SPAN_NAME = 5,
	SPAN_KIND = 6,
	SPAN_START = 7,
	SPAN_END = 8,
	SPAN_ATTRIBUTES = 9,
	SPAN_STATUS = 15,
	SPAN_FLAGS = 16,
	STATUS_CODE = 3,
	STATUS_ERROR = 2,
	KIND_CLIENT = 3,
	KEY = 1,
	VALUE = 2,
	VALUE_TEXT = 1,
	VALUE_BOOL = 2,
	VALUE_INT = 3,
	VALUE_DOUBLE = 4,
	VALUE_ARRAY = 5,
	ARRAY_VALUES = 1,
	FLAG_SAMPLED = 1,
	FLAG_KNOWS_REMOTE = 0x100, /* whether the parent is another process is known */
	FLAG_REMOTE = 0x200,       /* it is */
};

/* ---- ids */

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads the digits of `s` that stand between its first `len` characters, without dashes. False: they are not
 * `size` * 2. */
static bool read_hex(const char *s, size_t len, unsigned char *out, size_t size)
{
	size_t digits = 0;

	for (size_t i = 0; i < len; i++) {
		int d = digit(s[i]);
		if (s[i] == '-')
			continue;
		if (d < 0 || digits == 2 * size)
			return false;
		out[digits / 2] = (unsigned char)(digits % 2 ? out[digits / 2] | d : d << 4);
		digits++;
	}
	return digits == 2 * size;
}

void span_ids(const record *r, unsigned char trace[SPAN_TRACE_BYTES], unsigned char span[SPAN_ID_BYTES])
{
	unsigned char id[SHA256_LEN];

	/* haproxy.cfg.example makes UUIDs. Another unique-id-format may make anything. */
	if (!read_hex(r->id, strlen(r->id), id, SPAN_TRACE_BYTES))
		sha256(slice_cstr(r->id), id);
	memcpy(trace, id, SPAN_TRACE_BYTES);
	memcpy(span, id + SPAN_TRACE_BYTES - SPAN_ID_BYTES, SPAN_ID_BYTES);
	if (*r->traceparent && !read_hex(r->traceparent + TRACE_ID_AT, TRACE_ID_LEN, trace, SPAN_TRACE_BYTES))
		memcpy(trace, id, SPAN_TRACE_BYTES);
}

/* Returns the client's flags; -1: it has sent none. */
static int flags_of(const record *r)
{
	unsigned char flags;

	return *r->traceparent && read_hex(r->traceparent + TRACE_FLAGS_AT, 2, &flags, 1) ? flags : -1;
}

bool span_unsampled(const record *r)
{
	int flags = flags_of(r);
	return flags >= 0 && !(flags & FLAG_SAMPLED);
}

/* ---- attributes */

static size_t begin_attribute(protobuf *p, const char *name, size_t *value)
{
	size_t begin = protobuf_begin(p, SPAN_ATTRIBUTES);

	protobuf_text(p, KEY, name);
	*value = protobuf_begin(p, VALUE);
	return begin;
}

static void end_attribute(protobuf *p, size_t begin, size_t value)
{
	protobuf_end(p, value);
	protobuf_end(p, begin);
}

/* Writes a text, if there is one. */
static void text(protobuf *p, const char *name, const char *value)
{
	size_t at, begin;

	if (!*value)
		return;
	begin = begin_attribute(p, name, &at);
	protobuf_text(p, VALUE_TEXT, value);
	end_attribute(p, begin, at);
}

static void number(protobuf *p, const char *name, int64_t value)
{
	size_t at, begin = begin_attribute(p, name, &at);

	protobuf_varint(p, VALUE_INT, (uint64_t)value);
	end_attribute(p, begin, at);
}

/* Writes a count, if it is known. */
static void count(protobuf *p, const char *name, int64_t value)
{
	if (value >= 0)
		number(p, name, value);
}

static void real(protobuf *p, const char *name, double value)
{
	size_t at, begin = begin_attribute(p, name, &at);

	protobuf_double(p, VALUE_DOUBLE, value);
	end_attribute(p, begin, at);
}

static void flag(protobuf *p, const char *name, bool value)
{
	size_t at, begin = begin_attribute(p, name, &at);

	protobuf_varint(p, VALUE_BOOL, value);
	end_attribute(p, begin, at);
}

/* Writes the parts of `value` between its commas. */
static void texts(protobuf *p, const char *name, const char *value)
{
	char part[RECORD_TRIED_MAX + 1];
	size_t at, begin = begin_attribute(p, name, &at), array = protobuf_begin(p, VALUE_ARRAY);

	for (const char *from = value; *from; from += *from == ',') {
		size_t len = strcspn(from, ",");
		snprintf(part, sizeof part, "%.*s", (int)len, from);
		size_t one = protobuf_begin(p, ARRAY_VALUES);
		protobuf_text(p, VALUE_TEXT, part);
		protobuf_end(p, one);
		from += len;
	}
	protobuf_end(p, array);
	end_attribute(p, begin, at);
}

/* ---- whose model it is */

/* Returns gen_ai.provider.name: by the upstream's host, else by the API that the client speaks. */
static const char *provider_of(const char *host, const char *protocol)
{
	/* What a host ends with, or has in it if it begins with a star. */
	static const struct {
		const char *host, *provider;
	} known[] = {
		{ "api.openai.com", "openai" },
		{ "api.anthropic.com", "anthropic" },
		{ "generativelanguage.googleapis.com", "gcp.gemini" },
		{ "aiplatform.googleapis.com", "gcp.vertex_ai" },
		{ ".openai.azure.com", "azure.ai.openai" },
		{ ".services.ai.azure.com", "azure.ai.inference" },
		{ ".inference.ai.azure.com", "azure.ai.inference" },
		{ "*bedrock-runtime.", "aws.bedrock" },
		{ "*bedrock-mantle.", "aws.bedrock" },
		{ ".cohere.com", "cohere" },
		{ ".cohere.ai", "cohere" },
		{ "api.deepseek.com", "deepseek" },
		{ "api.groq.com", "groq" },
		{ "api.mistral.ai", "mistral_ai" },
		{ "api.perplexity.ai", "perplexity" },
		{ "api.x.ai", "x_ai" },
		{ ".ml.cloud.ibm.com", "ibm.watsonx.ai" },
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		const char *want = known[i].host;
		size_t len = strlen(host), tail = strlen(want);
		if (*want == '*' ? strstr(host, want + 1) != NULL : len >= tail && strcmp(host + len - tail, want) == 0)
			return known[i].provider;
	}
	return strcmp(protocol, "gemini") == 0 ? "gcp.gemini" : *protocol ? protocol : "openai";
}

/* ---- what came of it */

/* Returns error.type; NULL: the request did not fail. */
static const char *error_of(const record *r, char out[RECORD_LABEL_MAX + 1])
{
	char by = r->termination[0];

	if (*r->code)
		snprintf(out, RECORD_LABEL_MAX + 1, "%s", r->code);
	else if (r->status >= 400)
		snprintf(out, RECORD_LABEL_MAX + 1, "%d", (int)r->status);
	else if (by == 's' || by == 'c')
		return "timeout";
	else if (by == 'C')
		return "cancelled";
	else if (by == 'S')
		return "upstream_broke_off";
	else if ((by != '\0' && by != '-' && by != 'L') || r->status < 100)
		return "_OTHER";
	else
		return NULL;
	return out;
}

static void usage(protobuf *p, const record *r)
{
	bool known = r->input >= 0 && r->usage != USAGE_UNKNOWN && r->usage != USAGE_NONE;

	if (known) {
		/* OpenTelemetry counts cached tokens with the others, and the ledger beside them. */
		number(p, "gen_ai.usage.input_tokens",
		       r->input + (r->cache_read > 0 ? r->cache_read : 0) + (r->cache_write > 0 ? r->cache_write : 0));
		count(p, "gen_ai.usage.output_tokens", r->output);
	}
	if (known && r->cache_read > 0)
		number(p, "gen_ai.usage.cache_read.input_tokens", r->cache_read);
	if (known && r->cache_write > 0)
		number(p, "gen_ai.usage.cache_write.input_tokens", r->cache_write);
	text(p, "spoa_llm.usage.from", usage_from_name(r->usage));
	text(p, "spoa_llm.price.from", price_from_name(r->price));
	text(p, "spoa_llm.price.missing", r->price_missing);
	if (r->price == PRICE_TABLE || r->price == PRICE_PARTIAL) {
		real(p, "spoa_llm.cost.usd", (double)r->cost / 1e9);
		number(p, "spoa_llm.cost.nanodollars", r->cost);
		number(p, "spoa_llm.saved.compression.nanodollars", r->saved_compression);
		number(p, "spoa_llm.saved.cache.nanodollars", r->saved_cache);
		number(p, "spoa_llm.saved.routing.nanodollars", r->saved_routing);
	}
	if (r->saved)
		number(p, "spoa_llm.saved.tokens", r->saved);
}

static void attributes(protobuf *p, const record *r, const char *error)
{
	char host[UPSTREAM_HOST_MAX + 1] = "";
	uint16_t port = 0;
	bool known = backend_name_server(slice_cstr(r->backend), host, &port);

	text(p, "gen_ai.operation.name", r->operation);
	text(p, "gen_ai.provider.name", provider_of(host, r->protocol));
	text(p, "gen_ai.request.model", r->model);
	if (r->stream)
		flag(p, "gen_ai.request.stream", true);
	if (known) {
		text(p, "server.address", host);
		number(p, "server.port", port);
	}
	if (r->status > 0)
		number(p, "http.response.status_code", r->status);
	if (error)
		text(p, "error.type", error);
	if (r->stream && r->ttfb_ms >= 0)
		real(p, "gen_ai.response.time_to_first_chunk", (double)r->ttfb_ms / 1000);
	usage(p, r);
	text(p, "spoa_llm.request.id", r->id);
	text(p, "spoa_llm.route", r->route);
	text(p, "spoa_llm.backend", r->backend);
	text(p, "spoa_llm.project", r->project);
	text(p, "spoa_llm.client", r->client);
	flag(p, "spoa_llm.keyed", r->keyed);
	text(p, "spoa_llm.refusal", r->code);
	text(p, "spoa_llm.termination", r->termination);
	count(p, "spoa_llm.time_to_first_byte_ms", r->ttfb_ms);
	count(p, "spoa_llm.bytes_in", r->bytes_in);
	count(p, "spoa_llm.bytes_out", r->bytes_out);
	if (r->attempts) {
		text(p, "spoa_llm.pool.member", r->member);
		number(p, "spoa_llm.pool.attempts", r->attempts);
		texts(p, "spoa_llm.pool.declined", r->tried);
	}
}

/* Returns a time in nanoseconds since 1970, or the nearest one that 63 bits have. */
static uint64_t nanoseconds(int64_t ms)
{
	return ms <= 0 ? 0 : ms > INT64_MAX / 1000000 ? (uint64_t)INT64_MAX : (uint64_t)ms * 1000000;
}

bool span_append(buf *to, const record *r)
{
	unsigned char trace[SPAN_TRACE_BYTES], span[SPAN_ID_BYTES], parent[SPAN_ID_BYTES];
	char name[RECORD_OPERATION_MAX + RECORD_MODEL_MAX + 2], code[RECORD_LABEL_MAX + 1];
	protobuf p = { .to = to };
	size_t before = buf_len(to), begin = protobuf_begin(&p, SCOPE_SPANS_SPANS);
	const char *error = error_of(r, code);
	int64_t end;

	span_ids(r, trace, span);
	protobuf_bytes(&p, SPAN_TRACE_ID, trace, sizeof trace);
	protobuf_bytes(&p, SPAN_SPAN_ID, span, sizeof span);
	int flags = flags_of(r);
	bool remote = flags >= 0 && read_hex(r->traceparent + TRACE_SPAN_AT, TRACE_SPAN_LEN, parent, sizeof parent);
	if (remote)
		protobuf_bytes(&p, SPAN_PARENT, parent, sizeof parent);
	snprintf(name, sizeof name, "%s%s%s", *r->operation ? r->operation : "request", *r->model ? " " : "", r->model);
	protobuf_text(&p, SPAN_NAME, name);
	protobuf_varint(&p, SPAN_KIND, KIND_CLIENT);
	protobuf_fixed64(&p, SPAN_START, nanoseconds(r->time_ms));
	if (__builtin_add_overflow(r->time_ms, r->total_ms > 0 ? r->total_ms : 0, &end))
		end = INT64_MAX;
	protobuf_fixed64(&p, SPAN_END, nanoseconds(end));
	attributes(&p, r, error);
	if (error) {
		size_t status = protobuf_begin(&p, SPAN_STATUS);
		protobuf_varint(&p, STATUS_CODE, STATUS_ERROR);
		protobuf_end(&p, status);
	}
	protobuf_fixed32(
		&p, SPAN_FLAGS,
		(uint32_t)((flags >= 0 ? flags & 3 : FLAG_SAMPLED) | FLAG_KNOWS_REMOTE | (remote ? FLAG_REMOTE : 0)));
	protobuf_end(&p, begin);
	if (p.full)
		to->end = to->start + before;
	return !p.full;
}

/* ---- the request around the spans */

static void resource_text(protobuf *p, const char *name, const char *value)
{
	size_t begin = protobuf_begin(p, RESOURCE_ATTRIBUTES);

	protobuf_text(p, KEY, name);
	size_t at = protobuf_begin(p, VALUE);
	protobuf_text(p, VALUE_TEXT, value);
	protobuf_end(p, at);
	protobuf_end(p, begin);
}

/* Returns how many bytes protobuf_head() writes for a field below 16. */
static size_t head_len(size_t len)
{
	unsigned char bytes[16];
	return 1 + (size_t)(put_varint(bytes, len) - bytes);
}

bool span_request_head(buf *to, const span_source *from, size_t len)
{
	buf resource, scope;
	protobuf r = { .to = &resource }, s = { .to = &scope }, p = { .to = to };

	buf_init(&resource, 4096);
	buf_init(&scope, 1024);
	size_t begin = protobuf_begin(&r, RESOURCE_SPANS_RESOURCE);
	resource_text(&r, "service.name", "spoa-llm");
	resource_text(&r, "service.version", from->version);
	resource_text(&r, "service.instance.id", from->uuid);
	resource_text(&r, "host.name", from->host);
	resource_text(&r, "spoa_llm.gateway.name", from->name);
	protobuf_end(&r, begin);
	begin = protobuf_begin(&s, SCOPE_SPANS_SCOPE);
	protobuf_text(&s, SCOPE_NAME, "spoa-llm");
	protobuf_text(&s, SCOPE_VERSION, from->version);
	protobuf_end(&s, begin);
	size_t scope_spans = buf_len(&scope) + len;
	protobuf_head(&p, REQUEST_RESOURCE_SPANS, buf_len(&resource) + head_len(scope_spans) + scope_spans);
	p.full = p.full || r.full || s.full || !buf_append(to, buf_slice(&resource).ptr, buf_len(&resource));
	protobuf_head(&p, RESOURCE_SPANS_SCOPE_SPANS, scope_spans);
	p.full = p.full || !buf_append(to, buf_slice(&scope).ptr, buf_len(&scope));
	buf_deinit(&resource);
	buf_deinit(&scope);
	return !p.full;
}

/* ---- the collector's answer */

/* Finds field `want` of a message: a number, or the bytes of a message, of which only the first may be there if it is
 * `cut`. False: it is not there, or the bytes are no message. */
static bool find(slice message, unsigned want, unsigned how, bool cut, slice *bytes, uint64_t *value)
{
	cursor c = cursor_of(message);
	uint64_t len, left;

	while (!cursor_done(&c)) {
		uint64_t tag = get_varint(&c);
		*value = 0;
		*bytes = (slice){ NULL, 0 };
		switch (tag & 7) {
		case 0:
			*value = get_varint(&c);
			break;
		case 1:
			cursor_take(&c, 8);
			break;
		case 2:
			len = get_varint(&c);
			left = cursor_left(&c);
			*bytes = cursor_take(&c, cut && len > left ? left : len);
			break;
		case 5:
			cursor_take(&c, 4);
			break;
		default:
			return false;
		}
		if (!c.failed && tag >> 3 == want && (tag & 7) == how)
			return true;
	}
	return false;
}

int64_t span_rejected(slice body, bool cut)
{
	slice partial, none;
	uint64_t rejected, ignored;

	if (!find(body, 1, 2, cut, &partial, &ignored) || !find(partial, 1, 0, cut, &none, &rejected))
		return 0;
	return rejected > INT32_MAX ? INT32_MAX : (int64_t)rejected;
}

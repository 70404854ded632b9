/* SPDX-License-Identifier: MIT */
#include "ledger/usage.h"

#include "base/json.h"

/* How many bytes of a stream carry one token, with its frames, and how many bytes a stream has besides. Measured on
 * recorded streams with reported output tokens, and on the providers' chunks filled with words of 4 bytes;
 * tests/unit/test_usage.c has both:
 *
 *   api.openai.com chat        one chunk a token: id, model, fingerprint, `"usage":null`, obfuscation     340
 *   api.openai.com responses   one event a token, and the text three times more at the end                290
 *   Ollama, vLLM, DeepSeek     one chunk a token, without obfuscation                                     200-230
 *   Anthropic                  events of 1 to 8 tokens: claude-3-7 36, sonnet-4 (padded) 51,
 *                              sonnet-4-6 33, a tool call 14
 *   Gemini                     chunks of 25 to 50 tokens: 2.5-pro 18, 2.5-flash 10
 *
 * The rest of a stream is its head (cookies and rate limits at OpenAI and Anthropic), and the first and the last
 * events. Responses sends three copies of the response object with instructions and tools, so long ones are estimated a
 * little too high. */
enum {
	ESTIMATE_OPENAI_TOKEN = 310,
	ESTIMATE_OPENAI_FIXED = 2500,
	ESTIMATE_COMPATIBLE_TOKEN = 215,
	ESTIMATE_COMPATIBLE_FIXED = 900,
	ESTIMATE_ANTHROPIC_TOKEN = 35,
	ESTIMATE_ANTHROPIC_FIXED = 2000,
	ESTIMATE_GEMINI_TOKEN = 16,
	ESTIMATE_GEMINI_FIXED = 700,
	/* A request has 4.2 bytes a token of English, 3 to 3.5 of code and JSON, both with the JSON around them. */
	ESTIMATE_INPUT_TOKEN = 4,
	ESTIMATE_INPUT_FIXED = 800, /* the head, and the members besides the prompt */
};

/* Every count of a usage object, as reported; -1: absent. */
typedef struct counts {
	int64_t prompt, completion; /* OpenAI chat */
	int64_t input, output;      /* Responses, Anthropic */
	int64_t gemini_prompt, gemini_output, gemini_thoughts, gemini_tool, gemini_total;
	int64_t bedrock_input, bedrock_output, bedrock_read, bedrock_write;
	int64_t total;
	int64_t cached, cached_write;            /* part of the input */
	int64_t read, write, write_5m, write_1h; /* cache_*_input_tokens; Anthropic's are beside input */
	int64_t gemini_cached;
	int64_t reasoning;
	bool details;   /* Responses: input_tokens_details, or reasoning inside output_tokens_details */
	bool anthropic; /* a member named cache_*_input_tokens or cache_creation */
	bool bad;       /* a count has an invalid value */
	bool whole;     /* the object is not cut */
} counts;

typedef struct field {
	slice name;
	size_t count; /* offset in counts */
} field;

#define FIELD(key, member) \
	{ \
		SLICE_INIT(key), offsetof(counts, member) \
	}

static const field top_fields[] = {
	FIELD("prompt_tokens", prompt),
	FIELD("completion_tokens", completion),
	FIELD("total_tokens", total),
	FIELD("prompt_cache_hit_tokens", cached), /* DeepSeek */
	FIELD("cached_tokens", cached),           /* Moonshot */
	FIELD("input_tokens", input),
	FIELD("output_tokens", output),
	FIELD("cache_read_input_tokens", read),
	FIELD("cache_creation_input_tokens", write),
	FIELD("promptTokenCount", gemini_prompt),
	FIELD("candidatesTokenCount", gemini_output),
	FIELD("thoughtsTokenCount", gemini_thoughts),
	FIELD("toolUsePromptTokenCount", gemini_tool),
	FIELD("cachedContentTokenCount", gemini_cached),
	FIELD("totalTokenCount", gemini_total),
	FIELD("inputTokens", bedrock_input),
	FIELD("outputTokens", bedrock_output),
	FIELD("cacheReadInputTokens", bedrock_read),
	FIELD("cacheWriteInputTokens", bedrock_write),
};
/* Members of prompt_tokens_details, input_tokens_details and input_token_details. */
static const field input_fields[] = {
	FIELD("cached_tokens", cached), FIELD("cache_write_tokens", cached_write),
	FIELD("cache_creation_tokens", cached_write), /* LiteLLM */
};
static const field output_fields[] = { FIELD("reasoning_tokens", reasoning) };
static const field creation_fields[] = {
	FIELD("ephemeral_5m_input_tokens", write_5m),
	FIELD("ephemeral_1h_input_tokens", write_1h),
};

static bool named(slice key, const char *name)
{
	return json_key_is(key, slice_cstr(name));
}

static void count_take(counts *c, const json_member *m, const field *fields, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!json_key_is(m->key, fields[i].name))
			continue;
		int64_t value = -1;
		if (m->type == JSON_NULL)
			return;
		bool good = m->type == JSON_NUMBER && json_int64(m->value, &value) && value >= 0 &&
			    value <= USAGE_TOKENS_MAX;
		if (!good) {
			c->bad = true;
			value = -1;
		}
		memcpy((char *)c + fields[i].count, &value, sizeof value);
		return;
	}
}

#define COUNT_OF(fields) (sizeof(fields) / sizeof(fields)[0])

static void nested(counts *c, slice object, const field *fields, size_t n)
{
	json_iter it;
	json_member m;
	json_step step;

	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		count_take(c, &m, fields, n);
	c->bad |= step != JSON_DONE;
}

static void member_take(counts *c, const json_member *m)
{
	if (m->type == JSON_OBJECT) {
		if (named(m->key, "input_tokens_details") || named(m->key, "input_token_details")) {
			c->details = true;
			nested(c, m->value, input_fields, COUNT_OF(input_fields));
		} else if (named(m->key, "prompt_tokens_details")) {
			nested(c, m->value, input_fields, COUNT_OF(input_fields));
		} else if (named(m->key, "completion_tokens_details")) {
			nested(c, m->value, output_fields, COUNT_OF(output_fields));
		} else if (named(m->key, "output_tokens_details")) {
			/* Anthropic has one too, with thinking_tokens in it. */
			int64_t before = c->reasoning;
			nested(c, m->value, output_fields, COUNT_OF(output_fields));
			c->details |= c->reasoning != before;
		} else if (named(m->key, "cache_creation")) {
			c->anthropic = true;
			nested(c, m->value, creation_fields, COUNT_OF(creation_fields));
		}
		return;
	}
	if (named(m->key, "cache_read_input_tokens") || named(m->key, "cache_creation_input_tokens") ||
	    named(m->key, "cache_creation"))
		c->anthropic = true;
	count_take(c, m, top_fields, COUNT_OF(top_fields));
}

/* Reads the counts of the object in `fragment`; sets `*rest` to what follows it. False: no object, or invalid JSON. */
static bool counts_read(counts *c, slice fragment, slice *rest)
{
	size_t at = 0;
	slice value = { NULL, 0 };
	json_type type = JSON_NULL;
	json_iter it;
	json_member m;
	json_step step;

	_Static_assert(offsetof(counts, details) % sizeof(int64_t) == 0, "the counts come first");
	*c = (counts){ 0 };
	for (size_t i = 0; i < offsetof(counts, details); i += sizeof(int64_t))
		memcpy((char *)c + i, &(int64_t){ -1 }, sizeof(int64_t));
	*rest = slice_from(fragment, fragment.len);
	for (bool colon = false; at < fragment.len; at++) {
		char b = fragment.ptr[at];
		if (b == ':' && !colon)
			colon = true;
		else if (b != ' ' && b != '\t' && b != '\n' && b != '\r')
			break;
	}
	if (at == fragment.len || fragment.ptr[at] != '{')
		return false;
	slice object = slice_from(fragment, at);
	if (json_value(fragment, &at, &value, &type) == JSON_MEMBER) {
		object = value;
		c->whole = true;
		*rest = slice_from(fragment, at);
	}
	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		member_take(c, &m);
	return step != JSON_BAD;
}

static int64_t known(int64_t count)
{
	return count > 0 ? count : 0;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* What the counts mean, the same for every provider; -1: missing. */
typedef struct meaning {
	int64_t prompt; /* with the cached part */
	int64_t output;
	int64_t read, write; /* at least 0 */
	bool final;          /* this shape reports usage at the end only */
	bool any;            /* there was a count */
} meaning;

static meaning counts_mean(const counts *c, slice protocol)
{
	meaning m = { -1, -1, 0, 0, false, true };

	if (c->prompt >= 0 || c->completion >= 0) {
		m.prompt = c->prompt;
		m.output = c->completion;
		/* Some proxies use Anthropic's names for cached tokens; in this shape all are part of prompt_tokens. */
		m.read = larger(known(c->cached), known(c->read));
		m.write = larger(known(c->cached_write), known(c->write));
		if (c->total >= 0 && m.prompt >= 0 && c->total >= m.prompt) {
			if (m.output < 0) /* embeddings: no completion at all */
				m.output = c->total - m.prompt;
			else if (c->reasoning > 0 && c->total - m.prompt == m.output + c->reasoning) /* x.ai */
				m.output += c->reasoning;
		}
	} else if (c->input >= 0 || c->output >= 0) {
		bool openai = c->details ||
			      (!c->anthropic && (c->total >= 0 || !slice_eq(protocol, SLICE("anthropic"))));
		m.prompt = c->input;
		m.output = c->output;
		if (openai) {
			m.read = known(c->cached);
			m.write = known(c->cached_write);
			m.final = c->details;
		} else {
			m.read = known(c->read);
			m.write = c->write >= 0 ? c->write : known(c->write_5m) + known(c->write_1h);
			if (m.prompt >= 0)
				m.prompt += m.read + m.write;
		}
	} else if (c->bedrock_input >= 0 || c->bedrock_output >= 0) {
		m.read = known(c->bedrock_read);
		m.write = known(c->bedrock_write);
		m.prompt = c->bedrock_input < 0 ? -1 : c->bedrock_input + m.read + m.write;
		m.output = c->bedrock_output;
	} else if (c->gemini_prompt >= 0 || c->gemini_output >= 0 || c->gemini_thoughts >= 0) {
		/* Google leaves out what is 0. */
		m.prompt = c->gemini_prompt < 0 ? -1 : c->gemini_prompt + known(c->gemini_tool);
		m.read = known(c->gemini_cached);
		if (c->gemini_output >= 0 || c->gemini_thoughts >= 0 || (c->whole && !c->bad))
			m.output = known(c->gemini_output) + known(c->gemini_thoughts);
		if (m.prompt < 0 && c->whole && !c->bad && c->gemini_total >= m.output)
			m.prompt = c->gemini_total - m.output;
	} else {
		m.any = false;
	}
	return m;
}

/* Whether `rest`, what follows the usage object, has the end of the stream; see (1) in usage.h. */
static bool ends_stream(slice rest)
{
	static const char *const ends[] = { "\ndata: [DONE]", "\ndata:[DONE]", "\nevent: message_stop",
					    "\nevent:message_stop", "\n]" };

	for (size_t i = 0; i < COUNT_OF(ends); i++)
		if (rest.len && memmem(rest.ptr, rest.len, ends[i], strlen(ends[i])))
			return true;
	return false;
}

/* Reads a header's number, with white space around it and, if `sign`, below 0 too. False: it is no such number. */
static bool header_count(slice text, bool sign, int64_t *out)
{
	slice s = slice_trim(text);

	if (!json_int64(s, out))
		return false;
	return *out <= USAGE_TOKENS_MAX && *out >= (sign ? -USAGE_TOKENS_MAX : 0);
}

static int64_t by_bytes(int64_t bytes, int64_t fixed, int64_t each)
{
	int64_t tokens = bytes > fixed ? (bytes - fixed + each / 2) / each : 0;
	return tokens < USAGE_TOKENS_MAX ? tokens : USAGE_TOKENS_MAX;
}

/* Whether OpenAI serves this model itself, in its long chunks. */
static bool openais_own(slice model)
{
	static const slice names[] = { SLICE_INIT("gpt-"), SLICE_INIT("chatgpt-"), SLICE_INIT("o1"),
				       SLICE_INIT("o3"),   SLICE_INIT("o4"),       SLICE_INIT("codex-") };

	if (slice_istarts(model, SLICE("openai/")))
		model = slice_from(model, 7);
	if (slice_istarts(model, SLICE("gpt-oss")))
		return false;
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (slice_istarts(model, names[i]))
			return true;
	return false;
}

static int64_t output_estimate(const record *r, int64_t bytes)
{
	slice protocol = slice_cstr(r->protocol);

	if (slice_eq(protocol, SLICE("anthropic")))
		return by_bytes(bytes, ESTIMATE_ANTHROPIC_FIXED, ESTIMATE_ANTHROPIC_TOKEN);
	if (slice_eq(protocol, SLICE("gemini")))
		return by_bytes(bytes, ESTIMATE_GEMINI_FIXED, ESTIMATE_GEMINI_TOKEN);
	if (openais_own(slice_cstr(r->model)))
		return by_bytes(bytes, ESTIMATE_OPENAI_FIXED, ESTIMATE_OPENAI_TOKEN);
	return by_bytes(bytes, ESTIMATE_COMPATIBLE_FIXED, ESTIMATE_COMPATIBLE_TOKEN);
}

/* Estimates what a stream has not reported. `ended`: the end of the stream was seen, so the output is complete. */
static void stream_apply(record *r, meaning *m, bool ended, const usage_hints *hints)
{
	int64_t after = 0;

	if (m->any)
		r->usage = USAGE_PARTIAL;
	if (!(ended && m->output >= 0) && hints->bytes_out >= 0) {
		m->output = larger(m->output, output_estimate(r, hints->bytes_out));
		r->usage = USAGE_ESTIMATED;
	}
	if (m->prompt >= 0)
		return;
	if (header_count(hints->headroom_after, false, &after))
		m->prompt = after;
	else if (hints->bytes_in >= 0)
		m->prompt = by_bytes(hints->bytes_in, ESTIMATE_INPUT_FIXED, ESTIMATE_INPUT_TOKEN);
	if (m->prompt >= 0)
		r->usage = USAGE_ESTIMATED;
}

void usage_apply(record *r, slice fragment, const usage_hints *hints, usage_parts *parts)
{
	counts c;
	meaning m = { -1, -1, 0, 0, false, false };
	slice rest = { NULL, 0 };
	int64_t saved = 0, before = 0, after = 0;
	/* Gemini without `alt=sse` streams one JSON array, which looks like any other body. */
	bool stream = hints->stream || (!hints->all && r->stream && slice_eq(slice_cstr(r->protocol), SLICE("gemini")));

	r->input = r->output = r->cache_read = r->cache_write = r->saved = 0;
	r->usage = USAGE_NONE;
	*parts = usage_parts_untold();
	if (!hints->ok)
		return;

	if (header_count(hints->headroom_saved, true, &saved))
		r->saved = saved;
	else if (header_count(hints->headroom_before, false, &before) &&
		 header_count(hints->headroom_after, false, &after))
		r->saved = before - after;

	bool object = counts_read(&c, fragment, &rest);
	if (object) {
		m = counts_mean(&c, slice_cstr(r->protocol));
		parts->reasoning = c.reasoning >= 0 ? c.reasoning : c.gemini_thoughts;
		parts->write_1h = c.write_1h;
	}
	bool complete = m.any && c.whole && !c.bad && m.prompt >= 0 && m.output >= 0;
	bool ended = m.any && c.whole && (m.final || ends_stream(rest));
	if (stream && !(complete && ended))
		stream_apply(r, &m, ended, hints);
	else if (m.any)
		r->usage = complete ? USAGE_REPORTED : USAGE_PARTIAL;

	/* If the prompt is missing, its cached part still counts. */
	int64_t prompt = m.prompt < 0 ? m.read + m.write : m.prompt;
	r->cache_read = m.read < prompt ? m.read : prompt;
	r->cache_write = m.write < prompt - r->cache_read ? m.write : prompt - r->cache_read;
	r->input = prompt - r->cache_read - r->cache_write;
	r->output = known(m.output);
}

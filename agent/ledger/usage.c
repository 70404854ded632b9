/* SPDX-License-Identifier: MIT */
#include "ledger/usage.h"

#include "base/json.h"
#include "ledger/usage_counts.h"
#include "ledger/usage_shape.h"

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
	ESTIMATE_INPUT_FIXED = 60,   /* the members besides the prompt */
	ESTIMATE_UNSEEN_MAX = 65536, /* bytes of a request that were not looked at: its head, and little of its body */
};

#define COUNT_OF(fields) (sizeof(fields) / sizeof(fields)[0])

static int64_t known(int64_t count)
{
	return count > 0 ? count : 0;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
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

/* Whether the bytes of an answer tell how many tokens of text it has. */
static bool bytes_are_text(const record *r, const usage_hints *hints)
{
	slice model = slice_cstr(r->model);

	return hints->bytes_out >= 0 && !hints->coded && !hints->most.media &&
	       !slice_icontains(model, SLICE("audio")) && !slice_icontains(model, SLICE("image")) &&
	       !slice_icontains(model, SLICE("tts"));
}

static int64_t at_most(int64_t tokens, int64_t most)
{
	return most > 0 && tokens > most ? most : tokens;
}

/* Estimates what a stream has not reported. `ended`: the end of the stream was seen, so the output is complete. */
static void stream_apply(record *r, usage_told *m, bool ended, const usage_hints *hints)
{
	int64_t prompt = m->prompt, output = m->output, after = 0;
	bool seen = hints->text >= 0 && hints->bytes_in - hints->text <= ESTIMATE_UNSEEN_MAX;
	bool estimated = !(ended && output >= 0) && bytes_are_text(r, hints);

	if (estimated)
		output = larger(output, at_most(output_estimate(r, hints->bytes_out), hints->most.output));
	if (prompt < 0 && header_count(hints->headroom_after, false, &after))
		prompt = after;
	else if (prompt < 0 && seen)
		prompt = at_most(larger(by_bytes(hints->text, ESTIMATE_INPUT_FIXED, ESTIMATE_INPUT_TOKEN), 1),
				 hints->most.input);
	if (!m->any && (prompt < 0 || output < 0))
		return;
	r->usage = estimated || prompt != m->prompt ? USAGE_ESTIMATED : USAGE_PARTIAL;
	m->prompt = prompt;
	m->output = output;
}

static void set_counts(record *r, const usage_told *t)
{
	/* If the prompt is missing, its cached part still counts. */
	int64_t prompt = t->prompt < 0 ? t->read + t->write : t->prompt;

	r->cache_read = t->read < prompt ? t->read : prompt;
	r->cache_write = t->write < prompt - r->cache_read ? t->write : prompt - r->cache_read;
	r->input = prompt - r->cache_read - r->cache_write;
	r->output = known(t->output);
}

/* Gemini without `alt=sse` streams one JSON array, which looks like any other body. */
static bool is_stream(const record *r, const usage_hints *hints)
{
	return hints->stream || (!hints->all && r->stream && slice_eq(slice_cstr(r->protocol), SLICE("gemini")));
}

bool usage_needs_limits(const record *r, const usage_hints *hints)
{
	return hints->ok && is_stream(r, hints);
}

void usage_apply(record *r, slice fragment, const usage_hints *hints, usage_parts *parts)
{
	usage_told told;
	int64_t saved = 0, before = 0, after = 0;
	bool stream = is_stream(r, hints);

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

	/* HAProxy finds the place of the object from the end of the answer, so it proves nothing where the answer broke
	 * off. (An object that the agent found in such an answer lacks its end.) */
	bool broken = r->termination[0] == 'S' || r->termination[0] == 's' || r->termination[0] == 'P';
	if (hints->counts)
		usage_told_counts(hints->counts, slice_cstr(r->protocol), &told);
	else
		usage_told_read(fragment, slice_cstr(r->protocol), &told);
	if (broken && !stream && told.whole)
		usage_told_read((slice){ NULL, 0 }, slice_cstr(r->protocol), &told);
	*parts = told.parts;
	if (parts->tier == TIER_STANDARD)
		parts->tier = usage_tier(hints->tier);
	bool ended = !hints->first && told.any && told.whole && (told.final || ends_stream(told.rest));
	if (stream && !(told.complete && ended))
		stream_apply(r, &told, ended, hints);
	else if (told.any)
		r->usage = told.complete ? USAGE_REPORTED : USAGE_PARTIAL;

	set_counts(r, &told);
}

/* ---- what the tap has read */

static bool is_success(int32_t status)
{
	return status >= 200 && status < 300;
}

/* Sets the counts for an answer whose last usage was not read. False: they stay as they are. */
static bool apply_part(record *r, usage_told *t, const tap_report *report)
{
	bool guessed = r->usage == USAGE_ESTIMATED || r->usage == USAGE_PARTIAL;

	if (r->usage == USAGE_REPORTED)
		return false;
	/* What the tap could not read may be most of the answer. */
	if (!t->any && (report->content == 0 || report->end == TAP_END_LOST || r->usage == USAGE_NONE))
		return false;
	if (!report->final || t->output <= 0)
		t->output = larger(t->output, report->content);
	bool input_told = t->any && t->prompt >= 0;
	if (!input_told && guessed) {
		t->read = known(r->cache_read);
		t->write = known(r->cache_write);
		t->prompt = known(r->input) + t->read + t->write;
	}
	r->usage = input_told || !guessed ? USAGE_PARTIAL : USAGE_ESTIMATED;
	set_counts(r, t);
	return true;
}

bool usage_apply_report(record *r, const tap_report *report, usage_parts *parts)
{
	usage_told told;
	bool whole = report->end == TAP_END_WHOLE;
	/* A client that leaves before HAProxy has the answer's head leaves no status. */
	bool ok = is_success(report->status) && (is_success(r->status) || r->usage == USAGE_UNKNOWN);

	*parts = usage_parts_untold();
	if (r->tap == TAP_NOT || r->usage == USAGE_STREAM)
		return false;
	usage_told_stream(slice_cstr(report->first), slice_cstr(report->last), slice_cstr(r->protocol), &told);
	/* A stream that had content and tells of no output does not count. */
	bool nothing = report->content > 0 && told.output == 0 && told.parts.audio_ms < 0 && told.parts.images < 0;
	if (nothing && told.prompt == 0)
		usage_told_stream(slice_cstr(""), slice_cstr(""), slice_cstr(r->protocol), &told);
	bool exact = ok && told.complete && !nothing && report->final;
	if (!exact && r->tap != TAP_MISSING)
		return false;
	r->tap = ok && told.any ? TAP_TOLD : ok && whole && report->content > 0 ? TAP_UNTOLD : TAP_NOTHING;
	if (!ok || (!exact && !apply_part(r, &told, report)))
		return false;
	if (exact) {
		r->usage = USAGE_STREAM;
		set_counts(r, &told);
	}
	*parts = told.parts;
	if (parts->tier == TIER_STANDARD)
		parts->tier = usage_tier(slice_cstr(report->tier));
	return true;
}

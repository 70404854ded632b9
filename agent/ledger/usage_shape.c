/* SPDX-License-Identifier: MIT */
#include "ledger/usage_shape.h"

#include "base/json.h"
#include "ledger/usage_counts.h"

#define SIZE(array) (sizeof(array) / sizeof(array)[0])

/* Finds the object; sets `*rest` to what follows it, and `*whole` if the object is not cut. Returns the empty slice if
 * there is none. */
static slice find_object(slice fragment, slice *rest, bool *whole)
{
	size_t at = json_skip_space(fragment, 0);
	slice value = { NULL, 0 };
	json_type type = JSON_NULL;

	*rest = slice_from(fragment, fragment.len);
	*whole = false;
	if (at < fragment.len && fragment.ptr[at] == ':')
		at = json_skip_space(fragment, at + 1);
	if (at == fragment.len || fragment.ptr[at] != '{')
		return (slice){ NULL, 0 };
	slice object = slice_from(fragment, at);
	if (json_value(fragment, &at, &value, &type) == JSON_MEMBER) {
		object = value;
		*whole = true;
		*rest = slice_from(fragment, at);
	}
	return object;
}

static int64_t known(int64_t n)
{
	return n > 0 ? n : 0;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void mean_chat(const counts *r, usage_told *t)
{
	const int64_t *n = r->n;

	t->prompt = n[PROMPT];
	t->output = n[COMPLETION];
	/* Some proxies use Anthropic's names for cached tokens; in this shape all are part of prompt_tokens. */
	t->read = larger(known(n[CACHED]), known(n[READ]));
	t->write = larger(known(n[CACHED_WRITE]), known(n[WRITE]));
	if (n[TOTAL] < 0 || t->prompt < 0 || n[TOTAL] < t->prompt)
		return;
	if (t->output < 0)
		t->output = n[TOTAL] - t->prompt;
	else if (n[REASONING] > 0 && n[TOTAL] - t->prompt == t->output + n[REASONING])
		t->output += n[REASONING];
}

/* Whether the total tells of tokens that none of the counts has: a server's thoughts, for instance. */
static bool lacks(int64_t total, const usage_told *t)
{
	return t->prompt >= 0 && t->output >= 0 && total > t->prompt + t->output;
}

static void mean_input_output(const counts *r, slice protocol, usage_told *t)
{
	const int64_t *n = r->n;
	bool openai = r->details || (!r->anthropic && (n[TOTAL] >= 0 || !slice_eq(protocol, SLICE("anthropic"))));

	t->prompt = n[INPUT];
	t->output = n[OUTPUT];
	if (openai) {
		t->read = known(n[CACHED]);
		t->write = known(n[CACHED_WRITE]);
		t->final = r->details;
		return;
	}
	t->read = known(n[READ]);
	t->write = larger(n[WRITE], known(n[WRITE_5M]) + known(n[WRITE_1H]));
	if (t->prompt >= 0)
		t->prompt += t->read + t->write;
}

static void mean_bedrock(const counts *r, usage_told *t)
{
	const int64_t *n = r->n;

	t->read = known(n[BEDROCK_READ]);
	t->write = known(n[BEDROCK_WRITE]);
	t->prompt = n[BEDROCK_INPUT] < 0 ? -1 : n[BEDROCK_INPUT] + t->read + t->write;
	t->output = n[BEDROCK_OUTPUT];
}

/* Google leaves out what is 0. */
static void mean_gemini(const counts *r, usage_told *t)
{
	const int64_t *n = r->n;
	bool all = t->whole && !r->bad;

	t->prompt = n[GEMINI_PROMPT] < 0 ? -1 : n[GEMINI_PROMPT] + known(n[GEMINI_TOOL]);
	t->read = known(n[GEMINI_CACHED]);
	if (n[GEMINI_OUTPUT] >= 0 || n[GEMINI_THOUGHTS] >= 0 || all)
		t->output = known(n[GEMINI_OUTPUT]) + known(n[GEMINI_THOUGHTS]);
	if (t->prompt < 0 && all && n[GEMINI_TOTAL] >= t->output)
		t->prompt = n[GEMINI_TOTAL] - t->output;
}

/* What is billed, or else what was counted. Rerank has searches only, and embeddings no output. */
static void mean_cohere(const counts *r, usage_told *t)
{
	const int64_t *n = r->n;
	bool billed = n[BILLED_INPUT] >= 0 || n[BILLED_OUTPUT] >= 0;

	t->prompt = billed ? n[BILLED_INPUT] : n[COHERE_INPUT];
	t->output = billed ? n[BILLED_OUTPUT] : n[COHERE_OUTPUT];
	t->read = known(n[CACHED]);
	if (t->whole && !r->bad) {
		t->prompt = known(t->prompt);
		t->output = known(t->output);
	}
}

static bool has_any(const counts *r, const count_kind *of, size_t count_of_them)
{
	for (size_t i = 0; i < count_of_them; i++)
		if (r->n[of[i]] >= 0)
			return true;
	return false;
}

#define HAS(r, ...) has_any(r, (const count_kind[]){ __VA_ARGS__ }, SIZE(((const count_kind[]){ __VA_ARGS__ })))

static void mean(const counts *r, slice protocol, usage_told *t)
{
	bool input_told = larger(r->n[INPUT], r->n[OUTPUT]) > 0;

	t->any = true;
	if (HAS(r, PROMPT, COMPLETION) && (!input_told || larger(r->n[PROMPT], r->n[COMPLETION]) > 0)) {
		mean_chat(r, t);
	} else if (HAS(r, INPUT, OUTPUT)) {
		mean_input_output(r, protocol, t);
	} else if (HAS(r, BEDROCK_INPUT, BEDROCK_OUTPUT)) {
		mean_bedrock(r, t);
	} else if (HAS(r, GEMINI_PROMPT, GEMINI_OUTPUT, GEMINI_THOUGHTS)) {
		mean_gemini(r, t);
	} else if (HAS(r, PLAIN_INPUT, PLAIN_OUTPUT)) {
		t->prompt = r->n[PLAIN_INPUT];
		t->output = r->n[PLAIN_OUTPUT];
	} else if (HAS(r, BILLED_INPUT, BILLED_OUTPUT, COHERE_INPUT, COHERE_OUTPUT, SEARCHES)) {
		mean_cohere(r, t);
	} else if (t->whole && !r->bad && r->n[TOTAL] > 0) {
		t->prompt = r->n[TOTAL]; /* Voyage's embeddings; elsewhere some of it may be output */
	} else if (t->whole && !r->bad && (r->n[IMAGES] >= 0 || r->audio_ms >= 0)) {
		t->prompt = t->output = 0; /* priced by the picture or the second */
	} else {
		t->any = false;
	}
}

static void tell_parts(const counts *r, usage_parts *p)
{
	const int64_t *n = r->n;

	p->audio_input = n[AUDIO_INPUT];
	p->image_input = n[IMAGE_INPUT];
	p->video_input = n[VIDEO_INPUT];
	p->audio_read = n[AUDIO_READ];
	p->audio_output = n[AUDIO_OUTPUT];
	p->image_output = n[IMAGE_OUTPUT];
	p->reasoning = n[REASONING] >= 0 ? n[REASONING] : larger(n[THINKING], n[GEMINI_THOUGHTS]);
	p->write_1h = n[WRITE_1H];
	p->images = n[IMAGES];
	p->audio_ms = r->audio_ms;
	p->searches = n[SEARCHES];
	p->tier = r->tier;
	p->cost = r->cost;
	if (r->own_key && p->cost >= 0 && r->byok >= 0)
		p->cost += r->byok;
}

static void tell(const counts *r, slice protocol, usage_told *t)
{
	mean(r, protocol, t);
	if (!t->any)
		return;
	tell_parts(r, &t->parts);
	bool doubtful = lacks(larger(r->n[TOTAL], r->n[GEMINI_TOTAL]), t) || t->read + t->write > t->prompt ||
			r->n[WRITE_1H] > t->write;
	t->complete = t->whole && !r->bad && t->prompt >= 0 && t->output >= 0 && !doubtful;
}

void usage_told_read(slice fragment, slice protocol, usage_told *t)
{
	counts r;

	*t = (usage_told){ .prompt = -1, .output = -1, .parts = usage_parts_untold() };
	slice object = find_object(fragment, &t->rest, &t->whole);
	if (object.len && counts_read(&r, object, NULL))
		tell(&r, protocol, t);
}

void usage_told_counts(const counts *c, slice protocol, usage_told *t)
{
	*t = (usage_told){ .prompt = -1, .output = -1, .parts = usage_parts_untold(), .whole = true };
	tell(c, protocol, t);
}

void usage_told_stream(slice first, slice last, slice protocol, usage_told *t)
{
	const slice objects[] = { first, last };
	counts read[SIZE(objects)];
	size_t n = 0;
	bool bad = false;

	*t = (usage_told){ .prompt = -1, .output = -1, .parts = usage_parts_untold(), .whole = true };
	for (size_t i = 0; i < SIZE(objects); i++) {
		bool there = objects[i].len > 0, ok = there && counts_read(&read[n], objects[i], NULL);
		n += ok;
		bad |= there && !ok;
	}
	if (n == 0)
		return;
	if (n == 2)
		counts_merge(&read[1], &read[0]);
	read[n - 1].bad |= bad;
	tell(&read[n - 1], protocol, t);
}

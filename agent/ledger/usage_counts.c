/* SPDX-License-Identifier: MIT */
#include "ledger/usage_counts.h"

#include "base/json.h"

typedef struct field {
	slice name;
	count_kind kind;
} field;

#define FIELD(key, count_) \
	{ \
		SLICE_INIT(key), count_ \
	}
#define SIZE(array) (sizeof(array) / sizeof(array)[0])

static const field outer[] = {
	FIELD("prompt_tokens", PROMPT),
	FIELD("completion_tokens", COMPLETION),
	FIELD("total_tokens", TOTAL),
	FIELD("input_tokens", INPUT),
	FIELD("output_tokens", OUTPUT),
	FIELD("cache_read_input_tokens", READ),
	FIELD("cache_creation_input_tokens", WRITE),
	FIELD("prompt_cache_hit_tokens", CACHED),
	FIELD("num_cached_tokens", CACHED),
	FIELD("cached_tokens", CACHED),
	FIELD("num_search_queries", SEARCHES),
	FIELD("promptTokenCount", GEMINI_PROMPT),
	FIELD("candidatesTokenCount", GEMINI_OUTPUT),
	FIELD("thoughtsTokenCount", GEMINI_THOUGHTS),
	FIELD("toolUsePromptTokenCount", GEMINI_TOOL),
	FIELD("cachedContentTokenCount", GEMINI_CACHED),
	FIELD("totalTokenCount", GEMINI_TOTAL),
	FIELD("total_input_tokens", GEMINI_PROMPT),
	FIELD("total_output_tokens", GEMINI_OUTPUT),
	FIELD("total_thought_tokens", GEMINI_THOUGHTS),
	FIELD("total_tool_use_tokens", GEMINI_TOOL),
	FIELD("total_cached_tokens", GEMINI_CACHED),
	FIELD("inputTokens", BEDROCK_INPUT),
	FIELD("outputTokens", BEDROCK_OUTPUT),
	FIELD("cacheReadInputTokens", BEDROCK_READ),
	FIELD("cacheWriteInputTokens", BEDROCK_WRITE),
	FIELD("cacheReadInputTokenCount", BEDROCK_READ),
	FIELD("cacheWriteInputTokenCount", BEDROCK_WRITE),
	FIELD("prompt_token_count", PLAIN_INPUT),
	FIELD("generation_token_count", PLAIN_OUTPUT),
	FIELD("inputTextTokenCount", PLAIN_INPUT),
	FIELD("outputTextTokenCount", PLAIN_OUTPUT),
	FIELD("prompt_eval_count", PLAIN_INPUT),
	FIELD("eval_count", PLAIN_OUTPUT),
	FIELD("images", IMAGES),
};
static const field input_details[] = {
	FIELD("cached_tokens", CACHED),     FIELD("cache_write_tokens", CACHED_WRITE),
	FIELD("audio_tokens", AUDIO_INPUT), FIELD("cache_creation_tokens", CACHED_WRITE),
	FIELD("image_tokens", IMAGE_INPUT), FIELD("cache_creation_input_tokens", CACHED_WRITE),
	FIELD("video_tokens", VIDEO_INPUT),
};
static const field output_details[] = {
	FIELD("reasoning_tokens", REASONING),
	FIELD("thinking_tokens", THINKING),
	FIELD("audio_tokens", AUDIO_OUTPUT),
	FIELD("image_tokens", IMAGE_OUTPUT),
};
static const field cached_details[] = { FIELD("audio_tokens", AUDIO_READ) };
static const field creation[] = {
	FIELD("ephemeral_5m_input_tokens", WRITE_5M),
	FIELD("ephemeral_1h_input_tokens", WRITE_1H),
};
static const field server_tools[] = { FIELD("web_search_requests", SEARCHES) };
static const field billed_units[] = {
	FIELD("input_tokens", BILLED_INPUT),
	FIELD("output_tokens", BILLED_OUTPUT),
	FIELD("search_units", SEARCHES),
	FIELD("images", IMAGES),
};
static const field cohere_tokens[] = {
	FIELD("input_tokens", COHERE_INPUT),
	FIELD("output_tokens", COHERE_OUTPUT),
};

/* The objects inside a usage object. */
static const struct {
	slice name;
	const field *fields;
	size_t count;
} inner[] = {
	{ SLICE_INIT("prompt_tokens_details"), input_details, SIZE(input_details) },
	{ SLICE_INIT("input_tokens_details"), input_details, SIZE(input_details) },
	{ SLICE_INIT("input_token_details"), input_details, SIZE(input_details) },
	{ SLICE_INIT("completion_tokens_details"), output_details, SIZE(output_details) },
	{ SLICE_INIT("output_tokens_details"), output_details, SIZE(output_details) },
	{ SLICE_INIT("output_token_details"), output_details, SIZE(output_details) },
	{ SLICE_INIT("cached_tokens_details"), cached_details, SIZE(cached_details) },
	{ SLICE_INIT("cache_creation"), creation, SIZE(creation) },
	{ SLICE_INIT("server_tool_use"), server_tools, SIZE(server_tools) },
	{ SLICE_INIT("billed_units"), billed_units, SIZE(billed_units) },
	{ SLICE_INIT("tokens"), cohere_tokens, SIZE(cohere_tokens) },
};

static bool named(const json_member *m, const char *name)
{
	return json_key_is(m->key, slice_cstr(name));
}

/* Reads a count. False: it is invalid. */
static bool count_of(slice value, int64_t *out)
{
	int64_t n;

	if (!json_whole(value, &n) || n < 0 || n > USAGE_TOKENS_MAX)
		return false;
	*out = n;
	return true;
}

static int64_t known(int64_t n)
{
	return n > 0 ? n : 0;
}

/* Adds a count to one that may be absent yet. False: the sum is too large. */
static bool add_count(int64_t *to, int64_t n)
{
	if (n >= 0)
		*to = known(*to) + n;
	if (*to <= USAGE_TOKENS_MAX)
		return true;
	*to = USAGE_TOKENS_MAX;
	return false;
}

static void note(const counts *r, slice number, count_kind kind)
{
	counts_notes *to = r->notes;

	if (!to)
		return;
	to->depends |= to->count == COUNTS_NOTES || (kind != COUNTS && to->kinds & UINT64_C(1) << kind);
	if (to->depends)
		return;
	to->kinds |= kind == COUNTS ? 0 : UINT64_C(1) << kind;
	to->each[to->count].number = number;
	to->each[to->count++].kind = kind;
}

/* Tells that some counts depend on several members. */
static void note_dependence(const counts *r)
{
	if (r->notes)
		r->notes->depends = true;
}

/* Takes the count that `m` is, if it is one of `fields`. */
static void take_count(counts *r, const json_member *m, const field *fields, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!json_key_is(m->key, fields[i].name))
			continue;
		int64_t *to = &r->n[fields[i].kind], count;
		/* An absent detail may be null or, at Mistral, an empty object. */
		if (m->type == JSON_NULL || m->type == JSON_OBJECT)
			return;
		if (m->type != JSON_NUMBER || !count_of(m->value, &count)) {
			*to = -1;
			r->bad = true;
			return;
		}
		note(r, m->value, fields[i].kind);
		/* Some servers write every name they know, with 0 for those that they do not use. */
		r->bad |= count > 0 && *to > 0 && count != *to;
		if (count > *to)
			*to = count;
		return;
	}
	if (m->type == JSON_NUMBER)
		note(r, m->value, COUNTS);
}

/* Dollars as nano-dollars; -1: no such amount. */
static int64_t money(const json_member *m)
{
	double dollars;

	if (m->type != JSON_NUMBER || !json_double(m->value, &dollars) || dollars < 0 || dollars > 1e6)
		return -1;
	return (int64_t)(dollars * 1e9 + 0.5);
}

static void take_inner(counts *r, const json_member *m)
{
	json_iter it;
	json_member member;
	json_step step;

	for (size_t i = 0; i < SIZE(inner); i++) {
		if (!json_key_is(m->key, inner[i].name))
			continue;
		json_iter_init(&it, m->value);
		while ((step = json_next(&it, &member)) == JSON_MEMBER) {
			if (member.type == JSON_OBJECT && named(&member, "cached_tokens_details"))
				take_inner(r, &member);
			else
				take_count(r, &member, inner[i].fields, inner[i].count);
		}
		r->bad |= step != JSON_DONE;
		return;
	}
}

/* Adds the tokens of one kind of Gemini's lists by modality: {"modality":"AUDIO","tokenCount":5}. */
static void take_modality(counts *r, slice object, count_kind audio, count_kind image, count_kind video)
{
	json_iter it;
	json_member m;
	slice kind = { NULL, 0 };
	int64_t tokens = -1;

	json_iter_init(&it, object);
	while (json_next(&it, &m) == JSON_MEMBER) {
		if (named(&m, "modality"))
			kind = m.value;
		else if ((named(&m, "tokenCount") || named(&m, "tokens")) && !count_of(m.value, &tokens))
			r->bad = true;
	}
	count_kind to = slice_ieq(kind, SLICE("\"audio\"")) ? audio :
			slice_ieq(kind, SLICE("\"image\"")) ? image :
			slice_ieq(kind, SLICE("\"video\"")) ? video :
							      COUNTS;
	if (to != COUNTS)
		r->bad |= !add_count(&r->n[to], tokens);
}

/* A list by modality tells of each one: those that are not in it are 0. */
static void take_modalities(counts *r, slice array, count_kind audio, count_kind image, count_kind video)
{
	const count_kind all[] = { audio, image, video };
	json_iter it;
	json_member m;

	note_dependence(r);
	for (size_t i = 0; i < SIZE(all); i++)
		if (all[i] != COUNTS && r->n[all[i]] < 0)
			r->n[all[i]] = 0;
	json_iter_init(&it, array);
	while (json_next(&it, &m) == JSON_MEMBER)
		if (m.type == JSON_OBJECT)
			take_modality(r, m.value, audio, image, video);
}

/* Bedrock's list of cache writes by their life: {"ttl":"1h","inputTokens":5}. */
static void take_cache_details(counts *r, slice array)
{
	json_iter all, it;
	json_member entry, m;

	note_dependence(r);
	json_iter_init(&all, array);
	while (json_next(&all, &entry) == JSON_MEMBER) {
		bool hour = false;
		int64_t tokens = 0;
		if (entry.type != JSON_OBJECT)
			continue;
		json_iter_init(&it, entry.value);
		while (json_next(&it, &m) == JSON_MEMBER) {
			if (named(&m, "ttl"))
				hour = slice_eq(m.value, SLICE("\"1h\""));
			else if (named(&m, "inputTokens") && !count_of(m.value, &tokens))
				r->bad = true;
		}
		if (r->n[WRITE_1H] < 0)
			r->n[WRITE_1H] = 0;
		if (hour)
			r->bad |= !add_count(&r->n[WRITE_1H], tokens);
	}
}

/* Bedrock's headers: "IN OUT READ WRITE", where `-` or nothing stands for an absent one. */
static void take_headers(counts *r, slice text)
{
	static const count_kind order[] = { BEDROCK_INPUT, BEDROCK_OUTPUT, BEDROCK_READ, BEDROCK_WRITE };
	size_t at = 1;

	note_dependence(r);
	for (size_t i = 0; i < SIZE(order); i++) {
		size_t end = slice_find(text, at, i + 1 < SIZE(order) ? ' ' : '"');
		slice word = slice_first(slice_from(text, at), end - at);
		if (word.len && !slice_eq(word, SLICE("-")) && !count_of(word, &r->n[order[i]]))
			r->bad = true;
		at = end + 1;
	}
	/* Embeddings have no output. */
	if (r->n[BEDROCK_INPUT] >= 0 && r->n[BEDROCK_OUTPUT] < 0 && !r->bad)
		r->n[BEDROCK_OUTPUT] = 0;
}

static void counts_init(counts *r)
{
	*r = (counts){ .cost = -1, .byok = -1, .audio_ms = -1 };
	for (size_t i = 0; i < COUNTS; i++)
		r->n[i] = -1;
}

static void take_member(counts *r, const json_member *m);

/* Anthropic's list of the runs of the model that one answer took. The counts outside leave out those that compact the
 * conversation. Another model's run is left out here, because it has another price. */
static void take_iterations(counts *r, slice array)
{
	static const count_kind summed[] = { INPUT, OUTPUT, READ, WRITE, WRITE_5M, WRITE_1H };
	counts sum, one;
	json_iter all, it;
	json_member entry, m;

	note_dependence(r);
	counts_init(&sum);
	json_iter_init(&all, array);
	while (json_next(&all, &entry) == JSON_MEMBER) {
		bool other = false;
		if (entry.type != JSON_OBJECT)
			continue;
		counts_init(&one);
		json_iter_init(&it, entry.value);
		while (json_next(&it, &m) == JSON_MEMBER) {
			if (named(&m, "type"))
				other = slice_eq(m.value, SLICE("\"advisor_message\""));
			else if (m.type != JSON_ARRAY)
				take_member(&one, &m);
		}
		r->bad |= one.bad || other;
		for (size_t i = 0; i < SIZE(summed) && !other; i++)
			r->bad |= !add_count(&sum.n[summed[i]], one.n[summed[i]]);
	}
	for (size_t i = 0; i < SIZE(summed); i++)
		if (sum.n[summed[i]] >= 0)
			r->n[summed[i]] = sum.n[summed[i]];
}

static void take_object(counts *r, const json_member *m)
{
	json_iter it;
	json_member inside;
	bool cost = named(m, "cost"), details = named(m, "cost_details");

	if (named(m, "input_tokens_details") || named(m, "input_token_details"))
		r->details = true;
	if (named(m, "cache_creation"))
		r->anthropic = true;
	if (!cost && !details) {
		int64_t before = r->n[REASONING];
		take_inner(r, m);
		/* Anthropic has output_tokens_details too, without reasoning_tokens. */
		r->details |= named(m, "output_tokens_details") && r->n[REASONING] != before;
		return;
	}
	json_iter_init(&it, m->value);
	while (json_next(&it, &inside) == JSON_MEMBER) {
		if (cost && named(&inside, "total_cost"))
			r->cost = money(&inside);
		else if (details && named(&inside, "upstream_inference_cost"))
			r->byok = money(&inside);
	}
}

static void take_array(counts *r, const json_member *m, slice *iterations)
{
	if (named(m, "promptTokensDetails") || named(m, "input_tokens_by_modality"))
		take_modalities(r, m->value, AUDIO_INPUT, IMAGE_INPUT, VIDEO_INPUT);
	else if (named(m, "candidatesTokensDetails") || named(m, "output_tokens_by_modality"))
		take_modalities(r, m->value, AUDIO_OUTPUT, IMAGE_OUTPUT, COUNTS);
	else if (named(m, "cacheTokensDetails") || named(m, "cached_tokens_by_modality"))
		take_modalities(r, m->value, AUDIO_READ, COUNTS, COUNTS);
	else if (named(m, "cacheDetails"))
		take_cache_details(r, m->value);
	else if (named(m, "iterations"))
		*iterations = m->value;
}

static bool one_of(slice text, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_ieq(text, slice_cstr(names[i])))
			return true;
	return false;
}

static void take_text(counts *r, const json_member *m)
{
	/* The values of Anthropic's members that mean the usual price. */
	static const char *const speeds[] = { "", "standard" };
	static const char *const places[] = { "", "global", "not_available" };
	slice text = slice_of(m->value.ptr + 1, m->value.len - 2);

	if (named(m, "service_tier") || named(m, "trafficType"))
		r->tier = r->tier == TIER_STANDARD ? usage_tier(text) : r->tier;
	else if ((named(m, "speed") && !one_of(text, speeds, SIZE(speeds))) ||
		 (named(m, "inference_geo") && !one_of(text, places, SIZE(places))))
		r->tier = TIER_OTHER;
	else if (named(m, "amzn_bedrock"))
		take_headers(r, m->value);
	else
		take_count(r, m, outer, SIZE(outer));
}

static void take_number(counts *r, const json_member *m)
{
	int64_t ticks;
	double seconds;

	/* None of these is noted, valid or not: a number that is noted as meaningless means nothing in any later object
	 * of the same form. */
	if (named(m, "cost")) {
		r->cost = money(m);
	} else if (named(m, "cost_in_usd_ticks")) {
		if (json_whole(m->value, &ticks) && ticks >= 0)
			r->cost = ticks / 10;
	} else if (named(m, "seconds") || named(m, "prompt_audio_seconds")) {
		if (json_double(m->value, &seconds) && seconds >= 0 && seconds < 1e9)
			r->audio_ms = (int64_t)(seconds * 1000 + 0.5);
	} else {
		take_count(r, m, outer, SIZE(outer));
	}
}

static void take_member(counts *r, const json_member *m)
{
	if (named(m, "cache_read_input_tokens") || named(m, "cache_creation_input_tokens") ||
	    named(m, "cache_creation"))
		r->anthropic = true;
	if (m->type == JSON_OBJECT)
		take_object(r, m);
	else if (m->type == JSON_STRING)
		take_text(r, m);
	else if (m->type == JSON_NUMBER)
		take_number(r, m);
	else if (named(m, "is_byok"))
		r->own_key = m->type == JSON_TRUE;
	else
		take_count(r, m, outer, SIZE(outer));
}

void counts_merge(counts *last, const counts *first)
{
	static const count_kind grow[] = { INPUT, READ, WRITE, WRITE_5M, WRITE_1H, SEARCHES, THINKING };

	if (first->n[INPUT] < 0 && first->n[OUTPUT] < 0)
		return;
	for (size_t i = 0; i < SIZE(grow); i++)
		if (first->n[grow[i]] > last->n[grow[i]])
			last->n[grow[i]] = first->n[grow[i]];
	/* The output at the beginning is a guess, often 1. */
	if (last->n[OUTPUT] < 0)
		last->n[OUTPUT] = first->n[OUTPUT];
	last->anthropic |= first->anthropic;
	last->bad |= first->bad;
	if (last->tier == TIER_STANDARD)
		last->tier = first->tier;
	if (last->cost < 0)
		last->cost = first->cost;
}

service_tier usage_tier(slice name)
{
	static const char *const standard[] = { "", "default", "standard", "auto", "on_demand" };

	if (slice_ieq(name, SLICE("batch")))
		return TIER_BATCH;
	if (slice_ieq(name, SLICE("flex")) || slice_ieq(name, SLICE("ON_DEMAND_FLEX")))
		return TIER_FLEX;
	if (slice_ieq(name, SLICE("priority")) || slice_ieq(name, SLICE("ON_DEMAND_PRIORITY")))
		return TIER_PRIORITY;
	return one_of(name, standard, SIZE(standard)) ? TIER_STANDARD : TIER_OTHER;
}

bool counts_read(counts *r, slice object, counts_notes *notes)
{
	json_iter it;
	json_member m;
	json_step step;
	slice iterations = { NULL, 0 };

	counts_init(r);
	r->notes = notes;
	if (notes)
		*notes = (counts_notes){ .count = 0 };
	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		if (m.type == JSON_ARRAY) {
			take_array(r, &m, &iterations);
			take_count(r, &m, outer, SIZE(outer));
		} else {
			take_member(r, &m);
		}
	}
	if (iterations.len && r->n[INPUT] >= 0)
		take_iterations(r, iterations);
	r->notes = NULL;
	return step != JSON_BAD;
}

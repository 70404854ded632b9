/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "ledger/price_table.h"

#include <inttypes.h>
#include <sys/stat.h>

static price_table *parse(const char *json)
{
	err e = { 0 };
	size_t len = strlen(json);
	price_table *t = price_table_parse(slice_of(unit_guarded(json, len), len), "test", &e);

	if (!t)
		printf("  %s\n", e.text);
	return t;
}

/* Prices text: the usage tells that there is nothing else. */
static record priced(const price_table *t, const char *model, int64_t input, int64_t output, int64_t read,
		     int64_t write, int64_t saved, const char *reference)
{
	record r = { .input = input, .output = output, .cache_read = read, .cache_write = write, .saved = saved };
	usage_parts parts = { .cost = -1 };

	snprintf(r.model, sizeof r.model, "%s", model);
	price_apply(t, &r, &parts, slice_cstr(reference));
	return r;
}

/* Whether `r` has these figures and a partial price that lacks `missing`. */
static bool lacks(const record *r, const char *missing, int64_t cost, int64_t compression, int64_t cache,
		  int64_t routing)
{
	if (r->price == PRICE_PARTIAL && strcmp(r->price_missing, missing) == 0 && r->cost == cost &&
	    r->saved_compression == compression && r->saved_cache == cache && r->saved_routing == routing)
		return true;
	printf("  %s %s cost %" PRId64 " compression %" PRId64 " cache %" PRId64 " routing %" PRId64 "\n",
	       price_from_name(r->price), r->price_missing, r->cost, r->saved_compression, r->saved_cache,
	       r->saved_routing);
	return false;
}

static bool is(const record *r, price_from price, int64_t cost, int64_t compression, int64_t cache, int64_t routing)
{
	if (r->price == price && r->price_missing[0] == '\0' && r->cost == cost &&
	    r->saved_compression == compression && r->saved_cache == cache && r->saved_routing == routing)
		return true;
	printf("  %s %s cost %" PRId64 " compression %" PRId64 " cache %" PRId64 " routing %" PRId64 "\n",
	       price_from_name(r->price), r->price_missing, r->cost, r->saved_compression, r->saved_cache,
	       r->saved_routing);
	return false;
}

/* The table's name for a model; "" none, with "!" in front when it is unpriced there. */
static bool match(const price_table *t, const char *model, const char *want)
{
	char got[RECORD_MODEL_MAX + 2];
	bool has = false;
	slice name = price_match(t, slice_cstr(model), &has);

	snprintf(got, sizeof got, "%s%.*s", name.len && !has ? "!" : "", (int)name.len, name.len ? name.ptr : "");
	if (strcmp(got, want) == 0)
		return true;
	printf("  %s: %s instead of %s\n", model, got, want);
	return false;
}

static void tokens_times_prices(void)
{
	price_table *t = parse(
		"{\"sample_spec\":{\"input_cost_per_token\":9},\"_meta\":{\"input_cost_per_token\":9},"
		"\"m\":{\"input_cost_per_token\":3e-06,\"output_cost_per_token\":1.5e-05,\"x\":[1,{}],"
		"\"cache_read_input_token_cost\":3e-07,\"cache_creation_input_token_cost\":3.75e-06,\"mode\":\"chat\"},"
		"\"r\":{\"input_cost_per_token\":1e-05,\"output_cost_per_token\":0.00005}}");
	record r = priced(t, "m", 1000, 200, 5000, 400, 300, "r");
	/* 3.0 + 3.0 + 1.5 + 1.5 mUSD; 300 x 3; 5000 x 2.7 - 400 x 0.75; (6400 x 10 + 200 x 50) - 9 mUSD */
	CHECK(is(&r, PRICE_TABLE, 9000000, 900000, 13200000, 65000000));
	r = priced(t, "m", 1000, 200, 5000, 400, 300, "");
	CHECK(is(&r, PRICE_TABLE, 9000000, 900000, 13200000, 0));
	r = priced(t, "m", 1000, 200, 5000, 400, 300, "unknown");
	CHECK(is(&r, PRICE_TABLE, 9000000, 900000, 13200000, 0));
	/* Savings may be negative: writes that nobody reads, a dearer model than the reference, a prompt that grew. */
	r = priced(t, "m", 0, 0, 0, 1000, -10, "m");
	CHECK(is(&r, PRICE_TABLE, 3750000, -30000, -750000, 0));
	r = priced(t, "r", 1000, 0, 0, 0, 0, "m");
	CHECK(is(&r, PRICE_TABLE, 10000000, 0, 0, -7000000));
	/* Without prices of their own, cached tokens cost what input costs, and save nothing. */
	r = priced(t, "r", 0, 0, 1000, 1000, 0, "");
	CHECK(lacks(&r, "cache_read,cache_write", 20000000, 0, 0, 0));
	r = priced(t, "m", 0, 0, 0, 0, 0, "r");
	CHECK(is(&r, PRICE_NONE, 0, 0, 0, 0));
	r = priced(t, "m", -1, -1, -1, -1, 0, "r");
	CHECK(is(&r, PRICE_NONE, 0, 0, 0, 0));
	r = priced(t, "n", 1, 1, 1, 1, 1, "r");
	CHECK(is(&r, PRICE_UNPRICED, 0, 0, 0, 0));
	r = priced(t, "sample_spec", 1, 1, 1, 1, 1, "r");
	CHECK(is(&r, PRICE_UNPRICED, 0, 0, 0, 0));
	r = priced(t, "", 1, 1, 1, 1, 1, "r");
	CHECK(is(&r, PRICE_UNPRICED, 0, 0, 0, 0));
	r = priced(NULL, "m", 1, 1, 1, 1, 1, "r");
	CHECK(is(&r, PRICE_UNPRICED, 0, 0, 0, 0));
	r = priced(NULL, "m", 0, 0, 0, 0, 0, "r");
	CHECK(is(&r, PRICE_NONE, 0, 0, 0, 0));
	CHECK(price_table_count(t) == 2 && price_table_bad(t) == 0);
	price_table_unref(t);
}

static void zero_is_a_price_and_nothing_is_none(void)
{
	price_table *t = parse(
		"{\"free\":{\"input_cost_per_token\":0,\"output_cost_per_token\":0.0,\"cache_read_input_token_cost\":null},"
		"\"embed\":{\"input_cost_per_token\":2e-8},\"speech\":{\"output_cost_per_token\":1e-6},"
		"\"images\":{\"output_cost_per_image\":0.04},\"negative\":{\"input_cost_per_token\":-1e-6,\"output_cost_per_token\":1e-6},"
		"\"text\":{\"input_cost_per_token\":\"one\"},\"dear\":{\"input_cost_per_token\":1.000001},"
		"\"nan\":{\"input_cost_per_token\":NaN},\"one\":{\"input_cost_per_token\":1.0},\"minus0\":{\"input_cost_per_token\":-0.0}}");
	record r = priced(t, "free", 5, 5, 0, 0, 5, "one");
	CHECK(is(&r, PRICE_TABLE, 0, 0, 0, 0)); /* the reference has no output price */
	r = priced(t, "free", 5, 0, 0, 0, 5, "one");
	CHECK(is(&r, PRICE_TABLE, 0, 0, 0, 5000000000));
	r = priced(t, "embed", 1000, 0, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 20000, 0, 0, 0));
	r = priced(t, "embed", 1000, 1, 0, 0, 0, "one");
	CHECK(lacks(&r, "output", 20000, 0, 0, 0));
	r = priced(t, "speech", 0, 3, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 3000, 0, 0, 0));
	r = priced(t, "free", 0, 3, 0, 0, 1, "speech"); /* what was saved needs no price of the reference */
	CHECK(is(&r, PRICE_TABLE, 0, 0, 0, 3000));
	r = priced(t, "speech", 0, 3, 0, 0, 1, "");
	CHECK(lacks(&r, "input", 3000, 0, 0, 0));
	r = priced(t, "speech", 0, 3, 1, 0, 0, "free");
	CHECK(lacks(&r, "input,cache_read", 3000, 0, 0, 0));
	r = priced(t, "speech", 2, 0, 1, 0, 0, "free");
	CHECK(is(&r, PRICE_UNPRICED, 0, 0, 0, 0));
	r = priced(t, "images", 1, 0, 0, 0, 0, "");
	CHECK(is(&r, PRICE_UNPRICED, 0, 0, 0, 0));
	static const char *const bad[] = { "negative", "text", "dear", "nan" };
	for (size_t i = 0; i < 4; i++) {
		char want[32];
		r = priced(t, bad[i], 0, 1, 0, 0, 0, "");
		CHECK(is(&r, PRICE_UNPRICED, 0, 0, 0, 0));
		snprintf(want, sizeof want, "!%s", bad[i]);
		CHECK(match(t, bad[i], want));
	}
	CHECK(match(t, "minus0", "minus0") && match(t, "images", "images"));
	CHECK(price_table_count(t) == 6 && price_table_bad(t) == 4);
	price_table_unref(t);
}

static void each_figure_is_rounded_once(void)
{
	/* Half a nano-dollar, and a hair less, a token. */
	price_table *t = parse(
		"{\"half\":{\"input_cost_per_token\":5e-10,\"output_cost_per_token\":5e-10,\"cache_read_input_token_cost\":0},"
		"\"less\":{\"input_cost_per_token\":4.99999999999999e-10,\"output_cost_per_token\":1e-24},"
		"\"finest\":{\"input_cost_per_token\":1.0000000000000001e-08,\"output_cost_per_token\":4e-25},"
		"\"up\":{\"input_cost_per_token\":5e-25,\"output_cost_per_token\":0.00000000000000000000000049999999999999999999999999},"
		"\"tie\":{\"input_cost_per_token\":2.499999999999995e-10},\"wide\":{\"input_cost_per_token\":0.00100000000000000000009},"
		"\"many\":{\"input_cost_per_token\":0.1234567890123456789012345678901234567890123456789},"
		"\"long\":{\"input_cost_per_token\":0.000000000000000000000000000000000000000000000000000000001,"
		"\"output_cost_per_token\":1000000000000000000000000000000000000000000000e-50}}");
	record r = priced(t, "half", 1, 0, 0, 0, -1, "");
	CHECK(is(&r, PRICE_TABLE, 1, -1, 0, 0));
	r = priced(t, "half", 1, 1, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 1, 0, 0, 0)); /* not 2 */
	r = priced(t, "half", 1, 1, 1, 1, 3, "");
	CHECK(lacks(&r, "cache_write", 2, 2, 1, 0));
	r = priced(t, "less", 1, 0, 0, 0, 0, "half");
	CHECK(is(&r, PRICE_TABLE, 0, 0, 0, 0));
	r = priced(t, "less", 3, 1, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 1, 0, 0, 0));
	r = priced(t, "finest", PRICE_TOKENS_MAX, PRICE_TOKENS_MAX, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 100000000000000, 0, 0, 0)); /* 1e13 x (1e-8 + 1e-24), and 4e-25 is rounded to 0 */
	r = priced(t, "up", PRICE_TOKENS_MAX, 0, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 0, 0, 0, 0));  /* 1e-24 x 1e13 = 1e-11 */
	r = priced(t, "tie", 2, 0, 0, 0, 0, ""); /* its 25th decimal makes it 2.5e-10 */
	CHECK(is(&r, PRICE_TABLE, 1, 0, 0, 0));
	r = priced(t, "wide", 6000000000000, 0, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 6000000000000000001, 0, 0, 0));
	r = priced(t, "many", 1, 0, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 123456789, 0, 0, 0));
	r = priced(t, "long", 1, 3, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 30000, 0, 0, 0));
	price_table_unref(t);
}

static void nothing_overflows(void)
{
	price_table *t = parse(
		"{\"m\":{\"input_cost_per_token\":1,\"output_cost_per_token\":1e0,\"cache_read_input_token_cost\":0,"
		"\"cache_creation_input_token_cost\":1},\"free\":{\"input_cost_per_token\":0,\"output_cost_per_token\":0,"
		"\"cache_read_input_token_cost\":0,\"cache_creation_input_token_cost\":0}}");
	record r = priced(t, "m", INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, "free");
	CHECK(is(&r, PRICE_TABLE, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MIN));
	r = priced(t, "free", INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MIN, "m");
	CHECK(is(&r, PRICE_TABLE, 0, 0, 0, INT64_MAX));
	r = priced(t, "m", INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, "free");
	CHECK(is(&r, PRICE_TABLE, 0, INT64_MIN, 0, 0));
	r = priced(t, "m", 9, 0, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 9000000000, 0, 0, 0));
	price_table_unref(t);
}

static void tiers_by_the_size_of_the_prompt(void)
{
	price_table *t = parse(
		"{\"m\":{\"input_cost_per_token_above_200k_tokens\":4e-6,\"input_cost_per_token\":1e-6,"
		"\"output_cost_per_token_above_512k_tokens\":9e-6,\"output_cost_per_token\":2e-6,"
		"\"output_cost_per_token_above_200k_tokens\":3e-6,\"cache_read_input_token_cost_above_200k_tokens\":4e-7,"
		"\"input_cost_per_token_above_200k_tokens_priority\":1,\"input_cost_per_token_priority\":1,"
		"\"input_cost_per_token_flex\":1,\"input_cost_per_token_batches\":1,"
		"\"cache_creation_input_token_cost_above_1hr\":1},"
		"\"only\":{\"input_cost_per_token_above_0k_tokens\":2e-6}}");
	record r = priced(t, "m", 200000, 1, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 200002000, 0, 0, 0));
	r = priced(t, "m", 200001, 1, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 800007000, 0, 0, 0));
	/* Cached tokens are part of the prompt; the read price exists above only, the write price nowhere. */
	r = priced(t, "m", 1, 1, 100000, 99999, 10, "");
	CHECK(lacks(&r, "cache_read,cache_write", 200002000, 10000, 0, 0));
	r = priced(t, "m", 1, 1, 100000, 100000, 10, "");
	CHECK(lacks(&r, "cache_write", 4000 + 3000 + 40000000 + 400000000, 40000, 360000000, 0));
	/* Output has a third tier, input does not. */
	r = priced(t, "m", 512001, 1, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 2048013000, 0, 0, 0));
	/* A reference is priced by its own tiers. */
	r = priced(t, "only", 300000, 0, 0, 0, 0, "m");
	CHECK(is(&r, PRICE_TABLE, 600000000, 0, 0, 600000000));
	/* Above nothing: not for output alone. */
	r = priced(t, "only", 0, 0, 0, 0, 5, "m");
	CHECK(is(&r, PRICE_UNPRICED, 0, 0, 0, 0));
	price_table_unref(t);

	/* Not more prices than fit. */
	char text[16384] = "{\"ok\":{\"input_cost_per_token\":1e-6},\"m\":{\"input_cost_per_token\":1e-6";
	for (unsigned i = 1; i < PRICE_ROWS_MAX; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text),
			 ",\"input_cost_per_token_above_%uk_tokens\":%ue-6", i * 7 % 97, i);
	size_t fits = strlen(text);
	snprintf(text + fits, sizeof text - fits, "}}");
	t = parse(text);
	CHECK(price_table_count(t) == 2 && price_table_bad(t) == 0);
	price_table_unref(t);
	snprintf(text + fits, sizeof text - fits, ",\"input_cost_per_token_above_99k_tokens\":1e-6}}");
	t = parse(text);
	CHECK(price_table_count(t) == 1 && price_table_bad(t) == 1 && match(t, "m", "!m"));
	price_table_unref(t);
}

#define P(x) "{\"input_cost_per_token\":" #x ",\"output_cost_per_token\":1e-6}"

static void names_are_matched_by_the_rules(void)
{
	price_table *t = parse(
		"{\"gpt-4\":" P(30e-6) ",\"gpt-4-turbo\":" P(10e-6) ",\"gpt-4o\":" P(2.5e-6) ",\"gpt-4o-2024-05-13\":" P(
			5e-6) ",\"gpt-5\":" P(1e-6) ",\"gpt-5.5\":" P(5e-6) ",\"gpt-realtime\":" P(1e-6) ",\"gpt-realtime-whisper\":{\"x\":1}"
													 ",\"claude-opus-4\":" P(15e-6) ",\"claude-opus-4-5\":" P(5e-6) ",\"claude-sonnet-4-20250514\":" P(3e-6) ",\"vertex_ai/claude-sonnet-4@20250514\":" P(3e-6) ",\"azure/gpt-4o\":" P(7e-6) ",\"azure/gpt-azure\":" P(7e-6) ",\"openai/gpt-9\":" P(9e-6) ",\"azure/gpt-9\":" P(8e-6) ",\"openrouter/z-ai/glm-4.6\":" P(4e-7) ",\"deepinfra/zai-org/GLM-4.6\":" P(5e-7) ",\"zai/glm-4.6\":" P(6e-7) ",\"groq/llama-x\":" P(1e-7) ",\"together/llama-x\":" P(2e-7) ",\"groq/llama-y\":" P(1e-7) ",\"together/llama-y\":" P(
														 1e-7) ",\"old-20240101\":" P(1e-6) ",\"old-20250101\":" P(2e-6) ",\"free:free\":" P(0) ",\"free\":" P(1e-6) "}");
	/* The name itself, any case. */
	CHECK(match(t, "gpt-4", "gpt-4") && match(t, "GPT-4O", "gpt-4o") &&
	      match(t, "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"));
	/* A dot between digits is a dash. */
	CHECK(match(t, "claude-opus-4.5", "claude-opus-4-5") && match(t, "gpt-5-5", "gpt-5.5"));
	/* With a provider, or several path components, in front. */
	CHECK(match(t, "openai/gpt-4o", "gpt-4o") && match(t, "azure/gpt-4o", "azure/gpt-4o"));
	CHECK(match(t, "openrouter/openai/gpt-4o", "gpt-4o") && match(t, "a/b/c/d/gpt-4o", "gpt-4o"));
	CHECK(match(t, "a/b/c/d/e/gpt-4o", "") && match(t, "models/gpt-5", "gpt-5"));
	/* Without one, where the table has it: the maker's first; others only if they agree. */
	CHECK(match(t, "gpt-azure", "azure/gpt-azure") && match(t, "gpt-9", "openai/gpt-9") &&
	      match(t, "glm-4.6", "zai/glm-4.6"));
	CHECK(match(t, "openrouter/z-ai/glm-4.6", "openrouter/z-ai/glm-4.6") &&
	      match(t, "fireworks/glm-4.6", "zai/glm-4.6"));
	CHECK(match(t, "llama-x", "") && match(t, "groq/llama-x", "groq/llama-x"));
	bool has = false;
	CHECK(price_match(t, SLICE("llama-y"), &has).len > 0 && has);
	/* Dates on either side. */
	CHECK(match(t, "gpt-5-2025-08-07", "gpt-5") && match(t, "gpt-5-20250807", "gpt-5") &&
	      match(t, "gpt-5-latest", "gpt-5"));
	CHECK(match(t, "gpt-5@20250807", "gpt-5") && match(t, "openai/gpt-5@latest", "gpt-5"));
	CHECK(match(t, "claude-sonnet-4", "claude-sonnet-4-20250514") &&
	      match(t, "claude-sonnet-4@20250514", "vertex_ai/claude-sonnet-4@20250514"));
	CHECK(match(t, "claude-sonnet-4-20260101", "claude-sonnet-4-20250514"));
	CHECK(match(t, "old", "old-20250101") && match(t, "old-20240101", "old-20240101"));
	/* The longest that ends at a boundary. */
	CHECK(match(t, "gpt-4-0613", "gpt-4") && match(t, "gpt-4-turbo-2024-04-09", "gpt-4-turbo") &&
	      match(t, "gpt-4-turbo-preview", "gpt-4-turbo"));
	CHECK(match(t, "gpt-5-codex", "gpt-5") && match(t, "glm-4.6:cloud", "zai/glm-4.6") &&
	      match(t, "openai/gpt-5-chat-latest", "gpt-5"));
	CHECK(match(t, "gpt-5-preview-05-06", "gpt-5") && match(t, "gpt-5:thinking", "gpt-5") &&
	      match(t, "gpt-4o/eu", "gpt-4o"));
	CHECK(match(t, "gpt-4omni", "") && match(t, "gpt-4x", "") && match(t, "gpt-45", "") && match(t, "gp", "") &&
	      match(t, "gpt", ""));
	/* Not another version, size or variant. */
	CHECK(match(t, "gpt-5.7", "") && match(t, "claude-opus-4-9", "") && match(t, "claude-opus-4.7-20260101", ""));
	CHECK(match(t, "gpt-4-32k", "") && match(t, "llama-y-70b", "") && match(t, "llama-y-405b", ""));
	CHECK(match(t, "gpt-5-mini", "") && match(t, "gpt-5-pro-2026-01-01", "") && match(t, "gpt-5-foo-mini", "") &&
	      match(t, "gpt-5:free", ""));
	CHECK(match(t, "gpt-4o-mini", "") && match(t, "gpt-4o-audio-preview", "") &&
	      match(t, "free:free", "free:free") && match(t, "free:x", "free"));
	/* A name that the table has without a price decides too. */
	CHECK(match(t, "gpt-realtime-whisper", "!gpt-realtime-whisper") &&
	      match(t, "gpt-realtime-whisper-2026-01-01", "!gpt-realtime-whisper"));
	CHECK(match(t, "gpt-realtime-x", "gpt-realtime"));
	char longest[RECORD_MODEL_MAX + 2];
	memset(longest, 'x', sizeof longest);
	memcpy(longest, "gpt-5-", 6);
	CHECK(price_match(t, slice_of(unit_guarded(longest, RECORD_MODEL_MAX), RECORD_MODEL_MAX), &has).len == 5);
	CHECK(price_match(t, slice_of(longest, RECORD_MODEL_MAX + 1), &has).len == 0);
	CHECK(match(t, "/", "") && match(t, "//gpt-5", "gpt-5") && match(t, "gpt-5/", "gpt-5") && match(t, "-", ""));
	price_table_unref(t);

	t = parse("{\"m\":" P(1e-6) ",\"M\":" P(2e-6) ",\"a\\u002fb\":" P(3e-6) ",\"x/n\":" P(3e-6) ",\"X/N\":" P(
		5e-6) ",\"\":" P(4e-6) "}");
	record r = priced(t, "m", 1, 0, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 2000, 0, 0, 0)); /* the last one, as in JSON */
	r = priced(t, "n", 1, 0, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 5000, 0, 0, 0));
	CHECK(match(t, "b", "a/b") && price_table_bad(t) == 1);
	price_table_unref(t);
}

static bool refused(const char *json, const char *why)
{
	err e = { 0 };
	price_table *t = price_table_parse(slice_of(unit_guarded(json, strlen(json)), strlen(json)), "test", &e);

	if (!t && strstr(e.text, why))
		return true;
	printf("  %s: %s\n", json, t ? "taken" : e.text);
	price_table_unref(t);
	return false;
}

static void broken_files_are_refused(void)
{
	CHECK(refused("", "test:1:1"));
	CHECK(refused("[]", "object of models"));
	CHECK(refused("[{\"input_cost_per_token\":1}]", "object of models"));
	CHECK(refused("{}", "no model has a price"));
	CHECK(refused("{\"m\":{\"x\":1}}", "no model has a price"));
	CHECK(refused("{\"m\":" P(1e-6), "ends in the middle"));
	CHECK(refused("{\"m\":" P(1e-6) "\n,\n  nonsense}", "test:3:3"));
	CHECK(refused("{\"m\":{\n\"input_cost_per_token\" 1}}", "test:2:"));
	CHECK(refused("{\"m\":" P(1e-6) "} more", "test:1:"));
	CHECK(refused("null", "test:1:1"));

	size_t many = PRICE_MODELS_MAX + 1, cap = many * 64, len = 1;
	char *text = malloc(cap);
	CHECK(text != NULL);
	text[0] = '{';
	for (size_t i = 0; text && i < many; i++)
		len += (size_t)snprintf(text + len, cap - len, "%s\"m%zu\":{\"input_cost_per_token\":1e-6}",
					i ? "," : "", i);
	text[len++] = '}';
	err e = { 0 };
	CHECK(!price_table_parse(slice_of(text, len), "test", &e) && strstr(e.text, "more than 65536 models"));
	/* One fewer fits. */
	while (text[--len] != ',')
		;
	text[len++] = '}';
	price_table *t = price_table_parse(slice_of(text, len), "test", &e);
	CHECK(t && price_table_count(t) == PRICE_MODELS_MAX && match(t, "m65535", "m65535") &&
	      match(t, "m65535-x", "m65535"));
	price_table_unref(t);
	free(text);
}

static void files_are_read_with_care(void)
{
	char dir[] = "/tmp/test_price.XXXXXX", path[64];
	err e = { 0 };

	CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof path, "%s/prices.json", dir);
	CHECK(!price_table_load(path, &e) && strstr(e.text, "No such file"));
	CHECK(!price_table_load(dir, &e) && strstr(e.text, "not a regular file"));
	CHECK(mkfifo(path, 0600) == 0);
	CHECK(!price_table_load(path, &e) && strstr(e.text, "not a regular file")); /* and does not wait for a writer */
	unlink(path);
	FILE *f = fopen(path, "w");
	CHECK(f && fputs("{\"m\":" P(1e-6) "}", f) > 0 && fclose(f) == 0);
	price_table *t = price_table_load(path, &e);
	CHECK(t && price_table_count(t) == 1);
	CHECK(price_table_ref(t) == t);
	price_table_unref(t);
	CHECK(match(t, "m", "m")); /* still there */
	price_table_unref(t);
	CHECK(truncate(path, (off_t)PRICE_FILE_MAX + 1) == 0);
	CHECK(!price_table_load(path, &e) && strstr(e.text, "larger than 64 MB"));
	CHECK(truncate(path, 0) == 0);
	CHECK(!price_table_load(path, &e) && strstr(e.text, ":1:1"));
	unlink(path);
	rmdir(dir);
	price_table_unref(NULL);
}

static void the_table_that_ships(void)
{
	err e = { 0 };
	price_table *t = price_table_load(NULL, &e);

	CHECK(t != NULL);
	if (!t) {
		printf("  %s\n", e.text);
		return;
	}
	CHECK(price_table_count(t) >= 90 && price_table_bad(t) == 0);
	static const char *const models[] = {
		"gpt-5",
		"gpt-5.5-2026-04-23",
		"gpt-4o-2024-11-20",
		"o3",
		"text-embedding-3-small",
		"claude-opus-4-1-20250805",
		"claude-3-5-haiku-latest",
		"anthropic/claude-sonnet-4.5",
		"claude-haiku-4-5@20251001",
		"gemini-2.5-pro",
		"models/gemini-3-flash-preview",
		"google/gemini-2.5-flash",
		"glm-4.6",
		"zai/glm-5.3",
		"GLM-4.5-Air",
		"z-ai/glm-4.7",
	};
	for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
		record r = priced(t, models[i], 1000, 0, 0, 0, 0, "");
		CHECK((r.price == PRICE_TABLE && r.cost > 0) || !printf("  %s\n", models[i]));
	}
	record r = priced(t, "claude-opus-4-5", 1000000, 1000000, 1000000, 1000000, 0, "");
	CHECK(is(&r, PRICE_TABLE, 36750000000, 0, 4500000000 - 1250000000, 0));
	r = priced(t, "gemini-2.5-pro", 200001, 1000000, 0, 0, 0, "");
	CHECK(is(&r, PRICE_TABLE, 500002500 + 15000000000, 0, 0, 0));
	CHECK(match(t, "_meta", "") && match(t, "gpt-5.9", "") && match(t, "claude-opus-6", ""));
	price_table_unref(t);
}

int main(void)
{
	RUN(tokens_times_prices);
	RUN(zero_is_a_price_and_nothing_is_none);
	RUN(each_figure_is_rounded_once);
	RUN(nothing_overflows);
	RUN(tiers_by_the_size_of_the_prompt);
	RUN(names_are_matched_by_the_rules);
	RUN(broken_files_are_refused);
	RUN(files_are_read_with_care);
	RUN(the_table_that_ships);
	return unit_end();
}

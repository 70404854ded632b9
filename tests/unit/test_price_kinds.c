/* SPDX-License-Identifier: MIT
 *
 * Prices of LiteLLM's file by kind: what a key means, and what is said where usage and entry do not fit together. */
#include "unit.h"

#include "ledger/price_table.h"

#include <inttypes.h>

/* Prices one request by an entry. `told` is set, `missing` "" for a whole price. Costs are in nano-dollars. */
static bool costs(const char *entry, record r, usage_parts told, int64_t cost, const char *missing)
{
	char json[4096];
	err e = { 0 };

	snprintf(json, sizeof json, "{\"m\":{%s}}", entry);
	price_table *t = price_table_parse(slice_of(unit_guarded(json, strlen(json)), strlen(json)), "test", &e);
	if (!t) {
		printf("  %s: %s\n", entry, e.text);
		return false;
	}
	snprintf(r.model, sizeof r.model, "m");
	price_apply(t, &r, &told, slice_of(NULL, 0));
	price_table_unref(t);
	price_from want = *missing ? PRICE_PARTIAL : PRICE_TABLE;
	if (r.price == want && r.cost == cost && strcmp(r.price_missing, missing) == 0)
		return true;
	printf("  %s: %s cost %" PRId64 " missing %s\n", entry, price_from_name(r.price), r.cost, r.price_missing);
	return false;
}

static record tokens(int64_t input, int64_t output, int64_t read, int64_t write)
{
	return (record){ .input = input, .output = output, .cache_read = read, .cache_write = write };
}

/* Parts of an answer of text. */
static usage_parts text(void)
{
	return (usage_parts){ .cost = -1 };
}

#define TEXT "\"input_cost_per_token\":1e-6,\"output_cost_per_token\":2e-6"

static void the_figures_of_the_cases(void)
{
	usage_parts p = text();
	/* gpt-4o-audio-preview: 900 of 1,000 tokens heard and 400 of 500 spoken. */
	p.audio_input = 900;
	p.audio_output = 400;
	CHECK(costs("\"input_cost_per_token\":2.5e-6,\"output_cost_per_token\":1e-5,"
		    "\"input_cost_per_audio_token\":1e-4,\"output_cost_per_audio_token\":2e-4",
		    tokens(1000, 500, 0, 0), p, 171250000, ""));
	CHECK(costs("\"input_cost_per_token\":2.5e-6,\"output_cost_per_token\":1e-5", tokens(1000, 500, 0, 0), p,
		    7500000, "audio_input,audio_output"));
	/* The entry prices audio, and nobody tells whether there was any. */
	CHECK(costs(
		"\"input_cost_per_token\":2.5e-6,\"output_cost_per_token\":1e-5,\"input_cost_per_audio_token\":1e-4",
		tokens(1000, 500, 0, 0), usage_parts_untold(), 7500000, "audio_input"));
	CHECK(costs(
		"\"input_cost_per_token\":2.5e-6,\"output_cost_per_token\":1e-5,\"input_cost_per_audio_token\":2.5e-6",
		tokens(1000, 500, 0, 0), usage_parts_untold(), 7500000, "")); /* it would cost the same */
	/* Reasoning. */
	p = text();
	p.reasoning = 300;
	CHECK(costs(TEXT ",\"output_cost_per_reasoning_token\":5e-7", tokens(0, 500, 0, 0), p, 400000 + 150000, ""));
	CHECK(costs(TEXT, tokens(0, 500, 0, 0), p, 1000000, ""));
	CHECK(costs(TEXT ",\"output_cost_per_reasoning_token\":5e-7", tokens(0, 500, 0, 0), usage_parts_untold(),
		    1000000, "reasoning"));
	/* Cache writes that are kept for an hour: 1,253 tokens of a Claude. */
	p = text();
	p.write_1h = 1253;
	CHECK(costs("\"input_cost_per_token\":3e-6,\"cache_creation_input_token_cost\":3.75e-6,"
		    "\"cache_creation_input_token_cost_above_1hr\":6e-6",
		    tokens(0, 0, 0, 1253), p, 7518000, ""));
	CHECK(costs("\"input_cost_per_token\":3e-6,\"cache_creation_input_token_cost\":3.75e-6", tokens(0, 0, 0, 1253),
		    p, 4698750, "write_1h"));
	p.write_1h = 253;
	CHECK(costs("\"input_cost_per_token\":3e-6,\"cache_creation_input_token_cost\":3.75e-6,"
		    "\"cache_creation_input_token_cost_above_1hr\":6e-6",
		    tokens(0, 0, 0, 1253), p, 3750000 + 1518000, ""));
	CHECK(costs("\"cache_creation_input_token_cost\":3.75e-6,\"cache_creation_input_token_cost_above_1hr\":6e-6",
		    tokens(0, 0, 0, 1253), usage_parts_untold(), 4698750, "write_1h"));
	/* DeepSeek's cache hits. */
	CHECK(costs("\"input_cost_per_token\":2.7e-7,\"input_cost_per_token_cache_hit\":7e-8", tokens(0, 0, 1000000, 0),
		    text(), 70000000, ""));
	CHECK(costs("\"input_cost_per_token_cache_hit\":9e-8,\"cache_read_input_token_cost\":7e-8,"
		    "\"input_cost_per_token_cache_hit_flex\":1e-8",
		    tokens(0, 0, 1000000, 0), text(), 70000000, ""));
	CHECK(costs("\"cache_read_input_token_cost\":7e-8,\"input_cost_per_token_cache_hit\":9e-8",
		    tokens(0, 0, 1000000, 0), text(), 70000000, ""));
}

static void bounds_in_any_spelling(void)
{
	static const char *const suffixes[] = {
		"_above_200k_tokens",
		"_above_200K_tokens",
		"_above_200000_tokens",
		"_above_200_000_tokens",
		"_above_0.2m_tokens",
		"_above_0.2M_tokens",
		"_above_200k",
		"_over_200k_tokens",
		"_above_200_k_tokens",
		"_above_200k_token",
		"_above_0.2_million_tokens",
		"_above_200_thousand_tokens",
		"_above_200k_input_tokens",
		"_above_200000",
		"_above_200ktokens",
	};
	for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
		char entry[256];
		snprintf(entry, sizeof entry, "\"input_cost_per_token\":3e-7,\"input_cost_per_token%s\":6e-7",
			 suffixes[i]);
		CHECK(costs(entry, tokens(200000, 0, 0, 0), text(), 60000000, ""));
		CHECK(costs(entry, tokens(200001, 0, 0, 0), text(), 120000600, ""));
	}
	static const char *const unknown[] = { "_above_k_tokens",           "_above_1e1k_tokens",
					       "_above_9999999999k_tokens", "_above_-1k_tokens",
					       "_above_8s_interval",        "_above_200k_words",
					       "_above_0.0000001m_tokens",  "_fast",
					       "_above_1k_above_2k_tokens" };
	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
		char entry[256], name[128];
		snprintf(entry, sizeof entry, "\"input_cost_per_token\":3e-7,\"input_cost_per_token%s\":6e-7",
			 unknown[i]);
		snprintf(name, sizeof name, "input_cost_per_token%s", unknown[i]);
		for (char *c = name; *c; c++)
			*c = *c == '-' ? '_' : *c;
		CHECK(costs(entry, tokens(1, 0, 0, 0), text(), 300, name));
	}
	/* How long a cache keeps, before or behind the bound. */
	static const char *const hour[] = { "_above_1hr_above_200k_tokens", "_above_200k_tokens_above_1hr",
					    "_1h_above_200k_tokens", "_above_1h_above_200k_tokens",
					    "_above_60min_above_200k_tokens" };
	usage_parts p = text();
	p.write_1h = 1;
	for (size_t i = 0; i < sizeof hour / sizeof hour[0]; i++) {
		char entry[512];
		snprintf(entry, sizeof entry,
			 TEXT
			 ",\"cache_creation_input_token_cost\":1e-6,\"cache_creation_input_token_cost_above_1hr\":2e-6,"
			 "\"cache_creation_input_token_cost_above_200k_tokens\":3e-6,"
			 "\"cache_creation_input_token_cost%s\":5e-6",
			 hour[i]);
		CHECK(costs(entry, tokens(0, 0, 0, 200001), p, 600000000 + 5000, ""));
		CHECK(costs(entry, tokens(0, 0, 0, 200000), p, 199999000 + 2000, ""));
	}
	/* An hour's price that says nothing of long prompts. */
	CHECK(costs(TEXT ",\"cache_creation_input_token_cost\":1e-6,\"cache_creation_input_token_cost_above_1hr\":2e-6,"
			 "\"cache_creation_input_token_cost_above_200k_tokens\":3e-6",
		    tokens(0, 0, 0, 200001), p, 600000000 + 2000, "write_1h"));
	CHECK(costs(TEXT ",\"cache_read_input_token_cost\":1e-7,\"input_cost_per_token_above_200k_tokens\":3e-6",
		    tokens(200000, 0, 1, 0), text(), 600000000 + 100, "cache_read"));
}

static void lists_of_tiers(void)
{
	/* As Alibaba's models have them. */
	static const char *const qwen =
		"\"output_cost_per_token\":9e-6,\"tiered_pricing\":[{\"range\":[0,32000.0],\"input_cost_per_token\":1e-6,"
		"\"output_cost_per_token\":2e-6,\"cache_read_input_token_cost\":1e-7,\"output_cost_per_reasoning_token\":4e-6},"
		"{\"input_cost_per_token\":\"3e-6\",\"range\":[3.2e4,128000]}],\"input_cost_per_token\":7e-6";
	usage_parts p = text();
	p.reasoning = 10;
	CHECK(costs(qwen, tokens(32000, 20, 0, 0), p, 32000000 + 20000 + 40000, ""));
	CHECK(costs(qwen, tokens(32001, 20, 0, 0), p, 96003000 + 20000 + 40000, ""));
	CHECK(costs(qwen, tokens(1000000, 0, 0, 0), text(), 3000000000, ""));
	CHECK(costs("\"tiered_pricing\":[{\"range\":[0,1],\"input_cost_per_token\":1e-6}]", tokens(9, 0, 0, 0), text(),
		    9000, ""));
	CHECK(costs(TEXT ",\"tiered_pricing\":[{\"max_results_range\":[0,25],\"input_cost_per_query\":5e-3}]",
		    tokens(9, 0, 0, 0), text(), 9000, "tiered_pricing"));
	CHECK(costs(TEXT ",\"tiered_pricing\":{\"a\":1}", tokens(9, 0, 0, 0), text(), 9000, "tiered_pricing"));
	CHECK(costs(TEXT ",\"off_peak_pricing\":{\"hours_utc\":\"16:30-00:30\",\"input_cost_per_token\":1e-7}",
		    tokens(9, 0, 0, 0), text(), 9000, "off_peak_pricing"));
}

static void service_tiers(void)
{
	static const char *const gpt = TEXT
		",\"cache_read_input_token_cost\":1e-7,\"input_cost_per_token_flex\":5e-7,\"output_cost_per_token_flex\":1e-6,"
		"\"input_cost_per_token_priority\":3e-6,\"output_cost_per_token_priority\":4e-6,"
		"\"cache_read_input_token_cost_priority\":3e-7,\"input_cost_per_token_batches\":4e-7,"
		"\"input_cost_per_token_above_272k_tokens\":9e-6,\"input_cost_per_token_above_272k_tokens_flex\":8e-6,"
		"\"input_cost_per_token_flex_above_300k_tokens\":8.5e-6";
	usage_parts p = text();
	CHECK(costs(gpt, tokens(1000, 100, 0, 0), p, 1200000, ""));
	p.tier = TIER_FLEX;
	CHECK(costs(gpt, tokens(1000, 100, 0, 0), p, 600000, ""));
	CHECK(costs(gpt, tokens(1000, 100, 1000, 0), p, 700000, "flex"));
	CHECK(costs(gpt, tokens(272001, 0, 0, 0), p, INT64_C(2176008000), ""));
	CHECK(costs(gpt, tokens(300001, 0, 0, 0), p, INT64_C(2550008500), ""));
	p.tier = TIER_PRIORITY;
	CHECK(costs(gpt, tokens(1000, 100, 1000, 0), p, 3700000, ""));
	CHECK(costs(gpt, tokens(272001, 0, 0, 0), p, 816003000, "priority")); /* it has no price above 272k */
	p.tier = TIER_BATCH;
	CHECK(costs(gpt, tokens(1000, 0, 0, 0), p, 400000, ""));
	CHECK(costs(gpt, tokens(1000, 100, 0, 0), p, 600000, "batch"));
	CHECK(costs(TEXT, tokens(1000, 100, 0, 0), p, 1200000, "batch"));
	p.tier = TIER_OTHER;
	CHECK(costs(TEXT, tokens(1000, 100, 0, 0), p, 1200000, "tier"));
}

static void what_is_no_token(void)
{
	usage_parts p = text();
	/* Pictures: by number, by tokens, or by a size that nobody tells. */
	p.images = 2;
	CHECK(costs("\"output_cost_per_image\":0.04,\"mode\":\"image_generation\"", tokens(0, 0, 0, 0), p, 80000000,
		    ""));
	CHECK(costs("\"input_cost_per_image\":0.04,\"mode\":\"image_generation\"", tokens(0, 0, 0, 0), p, 80000000,
		    ""));
	CHECK(costs("\"output_cost_per_image\":0.04,\"output_cost_per_image_4K\":0.24", tokens(0, 0, 0, 0), p, 80000000,
		    "images"));
	CHECK(costs("\"output_cost_per_image_1024\":0.04,\"output_cost_per_image_0.5K\":0.04", tokens(0, 0, 0, 0), p,
		    80000000, ""));
	p.image_output = 1000;
	CHECK(costs(TEXT ",\"output_cost_per_image\":0.04", tokens(10, 1100, 0, 0), p, 10000 + 200000 + 80000000, ""));
	CHECK(costs(TEXT ",\"output_cost_per_image\":0.04,\"output_cost_per_image_token\":4e-5", tokens(10, 1100, 0, 0),
		    p, 10000 + 200000 + 40000000, ""));
	p.images = 0;
	CHECK(costs(TEXT, tokens(10, 1100, 0, 0), p, 10000 + 2200000, "image_output"));
	/* gpt-image-1 has no price for an answer of text, so all of the answer is pictures. */
	p.images = 1;
	p.image_output = -1;
	CHECK(costs("\"input_cost_per_token\":5e-6,\"output_cost_per_image_token\":4e-5", tokens(0, 4160, 0, 0), p,
		    166400000, ""));
	p = usage_parts_untold();
	CHECK(costs(TEXT ",\"output_cost_per_image\":0.04", tokens(10, 10, 0, 0), p, 30000, "images"));
	p.image_output = 0;
	CHECK(costs(TEXT ",\"output_cost_per_image\":0.04", tokens(10, 10, 0, 0), p, 30000, ""));
	/* Pictures of the prompt: their tokens, but not their number, are told. */
	p = text();
	CHECK(costs(TEXT ",\"input_cost_per_image\":0.001,\"input_cost_per_video_per_second\":0.002",
		    tokens(1000, 0, 0, 0), p, 1000000, ""));
	p.image_input = 258;
	p.video_input = 1;
	CHECK(costs(TEXT ",\"input_cost_per_image\":0.001,\"input_cost_per_video_per_second\":0.002",
		    tokens(1000, 0, 0, 0), p, 1000000, "image_input,video_input"));
	CHECK(costs(TEXT ",\"input_cost_per_image_token\":2e-6,\"input_cost_per_video_token\":3e-6",
		    tokens(1000, 0, 0, 0), p, 741000 + 516000 + 3000, ""));
	/* Seconds: of a transcription under either name, and once. */
	p = text();
	p.audio_ms = 10500;
	CHECK(costs("\"input_cost_per_second\":1e-4,\"output_cost_per_second\":1e-4,\"mode\":\"audio_transcription\"",
		    tokens(0, 0, 0, 0), p, 1050000, ""));
	/* The highest price and more seconds than are counted: 10^12 dollars are more than a ledger's cost can be. */
	p.audio_ms = INT64_MAX;
	CHECK(costs("\"input_cost_per_second\":1000,\"mode\":\"audio_transcription\"", tokens(0, 0, 0, 0), p, INT64_MAX,
		    ""));
	p.audio_ms = 10500;
	CHECK(costs("\"output_cost_per_second\":0.0,\"mode\":\"audio_transcription\",\"input_cost_per_second\":1e-4",
		    tokens(0, 0, 0, 0), p, 1050000, ""));
	CHECK(costs("\"output_cost_per_second\":\"0.0001\",\"mode\":\"audio_transcription\"", tokens(0, 0, 0, 0), p,
		    1050000, ""));
	CHECK(costs(TEXT ",\"input_cost_per_audio_per_second\":1e-4", tokens(10, 0, 0, 0), usage_parts_untold(), 10000,
		    "audio_seconds"));
	CHECK(costs(TEXT ",\"output_cost_per_second_1080p\":1e-4", tokens(10, 0, 0, 0), text(), 10000,
		    "output_cost_per_second_1080p"));
	CHECK(costs(TEXT ",\"input_cost_per_second\":1e-4,\"mode\":\"chat\"", tokens(10, 0, 0, 0), text(), 10000,
		    "input_cost_per_second"));
	CHECK(costs(TEXT ",\"output_cost_per_second\":1e-4", tokens(10, 0, 0, 0), text(), 10000,
		    "output_cost_per_second"));
	/* Characters that were spoken. */
	p = text();
	p.characters = 1000;
	CHECK(costs("\"input_cost_per_character\":1.5e-5,\"mode\":\"audio_speech\"", tokens(0, 0, 0, 0), p, 15000000,
		    ""));
	CHECK(costs(TEXT ",\"input_cost_per_character\":1.5e-5,\"output_cost_per_character\":1", tokens(1000, 0, 0, 0),
		    p, 1000000, ""));
	/* Searches. */
	p = text();
	p.searches = 3;
	CHECK(costs("\"input_cost_per_query\":0.002,\"mode\":\"rerank\"", tokens(0, 0, 0, 0), p, 6000000, ""));
	static const char *const web = TEXT
		",\"search_context_cost_per_query\":{\"search_context_size_low\":0.01,"
		"\"search_context_size_medium\":\"0.01\",\"search_context_size_high\":0.01}";
	CHECK(costs(web, tokens(10, 0, 0, 0), p, 10000 + 30000000, ""));
	CHECK(costs(web, tokens(10, 0, 0, 0), usage_parts_untold(), 10000, "")); /* no tool was used */
	CHECK(costs(TEXT ",\"search_context_cost_per_query\":{\"a\":0.01,\"b\":0.02}", tokens(10, 0, 0, 0), p,
		    10000 + 60000000, "searches"));
	CHECK(costs(TEXT ",\"search_context_cost_per_query\":{\"a\":0.01},\"web_search_billing_unit\":\"per_prompt\"",
		    tokens(10, 0, 0, 0), p, 10000 + 10000000, ""));
	CHECK(costs(TEXT, tokens(10, 0, 0, 0), p, 10000, "searches"));
	CHECK(costs(TEXT ",\"search_context_cost_per_query\":{\"a\":0.01},\"litellm_provider\":\"perplexity\"",
		    tokens(10, 0, 0, 0), usage_parts_untold(), 10000, "searches"));
	/* A fee for each request. */
	CHECK(costs(TEXT ",\"input_cost_per_request\":\"0.005\"", tokens(10, 0, 0, 0), text(), 10000 + 5000000, ""));
}

static void what_the_provider_asks_for(void)
{
	usage_parts p = usage_parts_untold();
	p.cost = 123456;
	CHECK(costs(TEXT ",\"ocr_cost_per_page\":1", tokens(1000, 100, 50, 0), p, 123456, ""));
	p.cost = 0;
	CHECK(costs(TEXT, tokens(1000, 100, 50, 0), p, 0, ""));
	record r = tokens(1000, 100, 0, 0);
	p.cost = 77;
	price_apply(NULL, &r, &p, slice_of(NULL, 0));
	CHECK(r.price == PRICE_TABLE && r.cost == 77 && r.saved_cache == 0);
}

static void what_is_missing_fits(void)
{
	usage_parts p = usage_parts_untold();
	p.tier = TIER_PRIORITY;
	p.audio_input = p.image_input = p.video_input = p.audio_output = p.image_output = p.write_1h = 1;
	CHECK(costs(TEXT, tokens(9, 9, 9, 9), p, 27000 + 18000,
		    "cache_read,cache_write,write_1h,audio_input,image_input,..."));
	CHECK(costs(TEXT ",\"a_cost_that_has_a_very_very_very_very_very_very_very_long_name\":1", tokens(1, 0, 0, 0),
		    text(), 1000, "..."));
	CHECK(costs(TEXT ",\"caf\\u00e9 price\":{}", tokens(1, 0, 0, 0), text(), 1000, "caf_u00e9_price"));
	/* What costs nothing, or is no number, is not missing. */
	CHECK(costs(TEXT
		    ",\"x_cost\":0.0,\"y_cost\":null,\"cost_source\":\"somewhere\",\"z_price\":\"0\",\"is_price\":true",
		    tokens(1, 0, 0, 0), text(), 1000, ""));
	/* Limits, remarks, factors for a region and fees for tools are no prices of each request. */
	CHECK(costs(
		TEXT
		",\"max_tokens\":8192,\"supports_vision\":true,\"source\":\"x\",\"regional_processing_uplift_multiplier_eu\":1.1,"
		"\"provider_specific_entry\":{\"us\":1.1},\"code_interpreter_cost_per_session\":0.03,\"rpm\":10,"
		"\"google_maps_grounding_cost_per_query\":0.025,\"input_dbu_cost_per_token\":1e-5,"
		"\"file_search_cost_per_1k_calls\":0.0025,\"vector_store_cost_per_gb_per_day\":0.1",
		tokens(1, 0, 0, 0), text(), 1000, ""));
}

static void limits_of_a_model(void)
{
	err e = { 0 };
	static const char json[] = "{\"a\":{" TEXT
				   ",\"max_input_tokens\":200000,\"max_output_tokens\":\"64000\",\"max_tokens\":1},"
				   "\"b\":{" TEXT ",\"max_tokens\":8192.0},\"c\":{\"max_input_tokens\":5},\"d\":{" TEXT
				   ",\"max_input_tokens\":-1,\"max_output_tokens\":\"many\"},\"e\":{" TEXT
				   ",\"output_cost_per_audio_token\":1}}";
	price_table *t = price_table_parse(slice_of(json, sizeof json - 1), "test", &e);
	static const struct {
		const char *model;
		int64_t input, output;
		bool media;
	} rows[] = {
		{ "a-2025-08-07", 200000, 64000, false },
		{ "b", -1, 8192, false },
		{ "c", 5, -1, false },
		{ "d", -1, -1, false },
		{ "e", -1, -1, true },
		{ "x", -1, -1, false },
	};

	CHECK(t != NULL);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		price_limits l = price_limits_of(t, slice_cstr(rows[i].model));
		CHECK((l.input == rows[i].input && l.output == rows[i].output && l.media == rows[i].media) ||
		      !printf("  %s\n", rows[i].model));
	}
	CHECK(price_limits_of(NULL, SLICE("a")).input == -1);
	price_table_unref(t);
}

int main(void)
{
	RUN(the_figures_of_the_cases);
	RUN(bounds_in_any_spelling);
	RUN(lists_of_tiers);
	RUN(service_tiers);
	RUN(what_is_no_token);
	RUN(what_the_provider_asks_for);
	RUN(what_is_missing_fits);
	RUN(limits_of_a_model);
	return unit_end();
}

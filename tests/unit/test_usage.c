/* SPDX-License-Identifier: MIT */
#include "usage_rig.h"

/* What providers document, as it follows the last `"usage"` or `"usageMetadata"` of a response. */
typedef struct sample {
	const char *what, *protocol, *fragment;
	int64_t input, output, read, write;
} sample;

static const sample samples[] = {
	{ "openai chat", "openai",
	  ":{\"prompt_tokens\":2006,\"completion_tokens\":300,\"total_tokens\":2306,\"prompt_tokens_details\":{\"cached_tokens\":1920,"
	  "\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":120,\"audio_tokens\":0,"
	  "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}},\"service_tier\":\"default\"}\n",
	  86, 300, 1920, 0 },
	{ "openai chat, pretty", "openai",
	  ": {\n    \"prompt_tokens\": 19,\n    \"completion_tokens\": 10,\n    \"total_tokens\": 29\n  }\n}\n", 19, 10,
	  0, 0 },
	{ "openai chat with cache writes", "openai",
	  ":{\"prompt_tokens\":5000,\"completion_tokens\":9,\"total_tokens\":5009,\"prompt_tokens_details\":{\"cached_tokens\":1000,"
	  "\"cache_write_tokens\":3000}}}",
	  1000, 9, 1000, 3000 },
	{ "qwen, an explicit cache", "openai",
	  ":{\"prompt_tokens\":3019,\"completion_tokens\":104,\"total_tokens\":3123,\"prompt_tokens_details\":{\"cached_tokens\":1000,"
	  "\"cache_creation_input_tokens\":1500,\"cache_type\":\"ephemeral\",\"cache_creation\":{\"ephemeral_5m_input_tokens\":1500}}}}",
	  519, 104, 1000, 1500 },
	{ "bedrock invoke, nova", "anthropic",
	  ":{\"inputTokens\":10,\"outputTokens\":5,\"totalTokens\":15,\"cacheReadInputTokenCount\":100,\"cacheWriteInputTokenCount\":7}}",
	  10, 5, 100, 7 },
	{ "openai embeddings", "openai", ":{\"prompt_tokens\":8,\"total_tokens\":8}}", 8, 0, 0, 0 },
	{ "openai responses", "openai",
	  ":{\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":30},\"output_tokens\":87,\"output_tokens_details\":"
	  "{\"reasoning_tokens\":64},\"total_tokens\":123},\"user\":null,\"metadata\":{}}",
	  6, 87, 30, 0 },
	{ "responses with Anthropic's names beside its own", "anthropic",
	  ":{\"input_tokens\":36,\"cache_read_input_tokens\":30,\"input_tokens_details\":{\"cached_tokens\":30},\"output_tokens\":7}}",
	  6, 7, 30, 0 },
	{ "openai transcription", "openai",
	  ":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14},"
	  "\"output_tokens\":45,\"total_tokens\":59}}",
	  14, 45, 0, 0 },
	{ "responses, of a route whose protocol is anthropic", "anthropic",
	  ":{\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":30},\"output_tokens\":7,\"total_tokens\":43}}",
	  6, 7, 30, 0 },
	{ "anthropic", "anthropic",
	  ":{\"input_tokens\":2095,\"cache_creation_input_tokens\":2051,\"cache_read_input_tokens\":18000,\"cache_creation\":"
	  "{\"ephemeral_5m_input_tokens\":2051,\"ephemeral_1h_input_tokens\":0},\"output_tokens\":503,\"service_tier\":\"standard\","
	  "\"server_tool_use\":{\"web_search_requests\":1}}}",
	  2095, 503, 18000, 2051 },
	{ "anthropic, thinking counted, on an openai endpoint", "openai",
	  ":{\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":5,\"input_tokens\":41,\"output_tokens\":67,"
	  "\"output_tokens_details\":{\"thinking_tokens\":30}}}",
	  41, 67, 5, 0 },
	{ "anthropic, cache members null", "anthropic",
	  ":{\"input_tokens\":10,\"cache_creation_input_tokens\":null,\"cache_read_input_tokens\":null,\"output_tokens\":20}}",
	  10, 20, 0, 0 },
	{ "anthropic, only the nested cache writes", "anthropic",
	  ":{\"input_tokens\":10,\"cache_creation\":{\"ephemeral_5m_input_tokens\":100,\"ephemeral_1h_input_tokens\":11},"
	  "\"output_tokens\":20}}",
	  10, 20, 0, 111 },
	{ "input and output without a sign of whose", "anthropic", ":{\"input_tokens\":10,\"output_tokens\":25}}", 10,
	  25, 0, 0 },
	{ "input and output without a sign of whose", "openai", ":{\"input_tokens\":10,\"output_tokens\":25}}", 10, 25,
	  0, 0 },
	{ "gemini", "gemini",
	  ": {\n    \"promptTokenCount\": 2152,\n    \"candidatesTokenCount\": 710,\n    \"totalTokenCount\": 3962,\n"
	  "    \"cachedContentTokenCount\": 2027,\n    \"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": 2152}],\n"
	  "    \"toolUsePromptTokenCount\": 100,\n    \"thoughtsTokenCount\": 1000\n  },\n  \"modelVersion\": \"gemini-2.5-pro\"\n}\n",
	  225, 1710, 2027, 0 },
	{ "gemini leaves out zeros", "gemini", ": {\"promptTokenCount\": 4,\"totalTokenCount\": 4}}", 4, 0, 0, 0 },
	{ "gemini, everything cached", "gemini",
	  ":{\"promptTokenCount\":50,\"cachedContentTokenCount\":50,\"candidatesTokenCount\":2,\"totalTokenCount\":52}}",
	  0, 2, 50, 0 },
	{ "deepseek", "openai",
	  ":{\"prompt_tokens\":3000,\"completion_tokens\":500,\"total_tokens\":3500,\"prompt_tokens_details\":{\"cached_tokens\":1000},"
	  "\"prompt_cache_hit_tokens\":1000,\"prompt_cache_miss_tokens\":2000}}",
	  2000, 500, 1000, 0 },
	{ "deepseek, older", "openai",
	  ":{\"prompt_tokens\":13,\"completion_tokens\":300,\"total_tokens\":313,\"prompt_cache_hit_tokens\":3,"
	  "\"prompt_cache_miss_tokens\":10}}",
	  10, 300, 3, 0 },
	{ "moonshot", "openai",
	  ":{\"prompt_tokens\":19,\"completion_tokens\":21,\"total_tokens\":40,\"cached_tokens\":10}}", 9, 21, 10, 0 },
	{ "x.ai counts reasoning beside the completion", "openai",
	  ":{\"prompt_tokens\":32,\"completion_tokens\":9,\"total_tokens\":135,\"prompt_tokens_details\":{\"cached_tokens\":6},"
	  "\"completion_tokens_details\":{\"reasoning_tokens\":94}}}",
	  26, 103, 6, 0 },
	{ "litellm in front of anthropic", "openai",
	  ":{\"completion_tokens\":16,\"prompt_tokens\":2210,\"total_tokens\":2226,\"prompt_tokens_details\":{\"cached_tokens\":2000,"
	  "\"cache_creation_tokens\":200},\"cache_creation_input_tokens\":200,\"cache_read_input_tokens\":2000}}",
	  10, 16, 2000, 200 },
	{ "bedrock converse", "openai",
	  ":{\"inputTokens\":30,\"outputTokens\":628,\"totalTokens\":1758,\"cacheReadInputTokens\":1000,\"cacheWriteInputTokens\":100}}",
	  30, 628, 1000, 100 },
	{ "whole numbers in other spellings", "openai",
	  ":{\"prompt_tokens\":1000.0,\"completion_tokens\":2e1,\"note\":\"\xc3\xa9\"}}", 1000, 20, 0, 0 },
	{ "mistral", "openai",
	  "{\"prompt_tokens\":50,\"completion_tokens\":7,\"total_tokens\":57,\"prompt_audio_seconds\":{},\"num_cached_tokens\":20}",
	  30, 7, 20, 0 },
	{ "openrouter", "openai",
	  "{\"prompt_tokens\":194,\"completion_tokens\":2,\"total_tokens\":196,\"cost\":0.95,\"is_byok\":false,"
	  "\"prompt_tokens_details\":{\"cached_tokens\":100,\"cache_write_tokens\":50,\"audio_tokens\":0},\"cost_details\":"
	  "{\"upstream_inference_cost\":19},\"completion_tokens_details\":{\"reasoning_tokens\":0}}",
	  44, 2, 100, 50 },
	{ "anthropic, with the conversation compacted", "anthropic",
	  "{\"input_tokens\":45,\"output_tokens\":1234,\"cache_read_input_tokens\":0,\"cache_creation_input_tokens\":0,\"iterations\":[{\"type\":"
	  "\"compaction\",\"input_tokens\":180000,\"output_tokens\":3500,\"cache_read_input_tokens\":7,\"cache_creation_input_tokens\":0},{\"type\":"
	  "\"message\",\"input_tokens\":45,\"output_tokens\":1234,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0}]}",
	  180045, 4734, 7, 0 },
	{ "gemini interactions", "openai",
	  "{\"total_input_tokens\":20,\"total_output_tokens\":7,\"total_thought_tokens\":22,\"total_cached_tokens\":5,\"total_tokens\":49,"
	  "\"total_tool_use_tokens\":0,\"input_tokens_by_modality\":[{\"modality\":\"text\",\"tokens\":20}]}",
	  15, 29, 5, 0 },
	{ "bedrock by headers", "openai", "{\"amzn_bedrock\":\"30 628 1000 100\"}", 30, 628, 1000, 100 },
	{ "bedrock by headers, without a cache", "openai", "{\"amzn_bedrock\":\"30 628 - -\"}", 30, 628, 0, 0 },
	{ "bedrock by headers, embeddings", "openai", "{\"amzn_bedrock\":\"30 - - -\"}", 30, 0, 0, 0 },
	{ "bedrock by headers, embeddings", "openai", "{\"amzn_bedrock\":\"30   \"}", 30, 0, 0, 0 },
	{ "llama on bedrock", "openai", "{\"prompt_token_count\":3,\"generation_token_count\":4}", 3, 4, 0, 0 },
	{ "titan on bedrock", "openai", "{\"inputTextTokenCount\":3,\"outputTextTokenCount\":4}", 3, 4, 0, 0 },
	{ "ollama", "openai", "{\"prompt_eval_count\":26,\"eval_count\":298}", 26, 298, 0, 0 },
	{ "cohere v2", "openai",
	  "{\"billed_units\":{\"input_tokens\":5,\"output_tokens\":418},\"tokens\":{\"input_tokens\":71,\"output_tokens\":419},\"cached_tokens\":0}",
	  5, 418, 0, 0 },
	{ "cohere, tokens only", "openai", "{\"tokens\":{\"input_tokens\":71.0,\"output_tokens\":419.0}}", 71, 419, 0,
	  0 },
	{ "cohere v1", "openai",
	  "{\"api_version\":{\"version\":\"1\"},\"billed_units\":{\"input_tokens\":5,\"output_tokens\":418},\"tokens\":{\"input_tokens\":71}}",
	  5, 418, 0, 0 },
	{ "cohere embed", "openai", "{\"billed_units\":{\"input_tokens\":5}}", 5, 0, 0, 0 },
	{ "keys written with escapes", "openai", ":{\"prompt\\u005ftokens\":3,\"completion_tokens\":4}}", 3, 4, 0, 0 },
};

#define SAMPLES (sizeof samples / sizeof samples[0])

static void every_provider_is_understood(void)
{
	for (size_t i = 0; i < SAMPLES; i++) {
		const sample *s = &samples[i];
		record r = apply(s->protocol, "m", s->fragment, strlen(s->fragment), whole);
		CHECK(is(&r, USAGE_REPORTED, s->input, s->output, s->read, s->write) || !printf("  %s\n", s->what));
		CHECK(r.saved == 0);
	}
}

/* Where the object ends. */
static size_t object_len(const char *fragment)
{
	int depth = 0;

	for (size_t i = 0; fragment[i]; i++) {
		depth += fragment[i] == '{';
		depth -= fragment[i] == '}';
		if (depth == 0 && fragment[i] == '}')
			return i + 1;
	}
	return 0;
}

/* True if `count` is 0 or a number that stands in the fragment. The first digits of a longer number are none. */
static bool written(const char *fragment, int64_t count)
{
	if (count == 0)
		return true;
	for (const char *p = fragment; *p; p++) {
		bool begins = *p >= '0' && *p <= '9' && (p == fragment || p[-1] == ':' || p[-1] == ' ');
		if (begins && strtoll(p, NULL, 10) == count)
			return true;
	}
	return false;
}

static void a_cut_object_is_never_reported(void)
{
	for (size_t i = 0; i < SAMPLES; i++) {
		const sample *s = &samples[i];
		size_t end = object_len(s->fragment), len = strlen(s->fragment);
		for (size_t cut = 0; cut <= len; cut++) {
			record r = apply(s->protocol, "m", s->fragment, cut, whole);
			if (cut >= end) {
				CHECK(is(&r, USAGE_REPORTED, s->input, s->output, s->read, s->write));
				continue;
			}
			CHECK(r.usage == USAGE_NONE || r.usage == USAGE_PARTIAL);
			CHECK(r.usage == USAGE_PARTIAL || is(&r, USAGE_NONE, 0, 0, 0, 0));
			/* No cut number is taken for a whole one. */
			int64_t prompt = r.input + r.cache_read + r.cache_write;
			CHECK(written(s->fragment, r.output) || r.output == s->output);
			CHECK(written(s->fragment, r.cache_read) || r.cache_read == s->read);
			CHECK(written(s->fragment, r.cache_write) || r.cache_write == s->write);
			CHECK(written(s->fragment, prompt) || written(s->fragment, r.input) ||
			      prompt == s->input + s->read + s->write);
		}
	}
}

/* What is told of kinds that have a price of their own. */
static void the_parts_are_told(void)
{
	static const struct {
		const char *what, *fragment;
		usage_parts parts;
	} rows[] = {
		{ "openai audio",
		  "{\"prompt_tokens\":1000,\"completion_tokens\":500,\"prompt_tokens_details\":{\"audio_tokens\":900,\"image_tokens\":3,\"cached_tokens\":4,"
		  "\"cached_tokens_details\":{\"audio_tokens\":2}},\"completion_tokens_details\":{\"audio_tokens\":400,\"reasoning_tokens\":6}}",
		  { 900, 3, -1, 2, 400, -1, 6, -1, -1, -1, -1, -1, -1, TIER_STANDARD } },
		{ "openai images",
		  "{\"input_tokens\":50,\"output_tokens\":4160,\"total_tokens\":4210,\"input_tokens_details\":{\"text_tokens\":10,\"image_tokens\":40},"
		  "\"output_tokens_details\":{\"image_tokens\":4160}}",
		  { -1, 40, -1, -1, -1, 4160, -1, -1, -1, -1, -1, -1, -1, TIER_STANDARD } },
		{ "anthropic",
		  "{\"input_tokens\":2,\"cache_creation_input_tokens\":9,\"cache_creation\":{\"ephemeral_5m_input_tokens\":2,"
		  "\"ephemeral_1h_input_tokens\":7},\"output_tokens\":3,\"service_tier\":\"batch\",\"server_tool_use\":{\"web_search_requests\":4},"
		  "\"output_tokens_details\":{\"thinking_tokens\":1}}",
		  { -1, -1, -1, -1, -1, -1, 1, 7, -1, -1, -1, 4, -1, TIER_BATCH } },
		{ "gemini",
		  "{\"promptTokenCount\":100,\"candidatesTokenCount\":9,\"thoughtsTokenCount\":5,\"cachedContentTokenCount\":8,\"trafficType\":"
		  "\"ON_DEMAND_FLEX\",\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":40},{\"modality\":\"AUDIO\",\"tokenCount\":50},"
		  "{\"modality\":\"VIDEO\",\"tokenCount\":10}],\"cacheTokensDetails\":[{\"modality\":\"AUDIO\",\"tokenCount\":8}],"
		  "\"candidatesTokensDetails\":[{\"modality\":\"IMAGE\",\"tokenCount\":9}]}",
		  { 50, 0, 10, 8, 0, 9, 5, -1, -1, -1, -1, -1, -1, TIER_FLEX } },
		{ "bedrock",
		  "{\"inputTokens\":1,\"outputTokens\":2,\"cacheWriteInputTokens\":9,\"cacheDetails\":[{\"ttl\":\"5m\",\"inputTokens\":4},"
		  "{\"ttl\":\"1h\",\"inputTokens\":5}]}",
		  { -1, -1, -1, -1, -1, -1, -1, 5, -1, -1, -1, -1, -1, TIER_STANDARD } },
		{ "transcription by the second",
		  "{\"type\":\"duration\",\"seconds\":8.5}",
		  { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 8500, -1, -1, TIER_STANDARD } },
		{ "pictures", "{\"images\":2}", { -1, -1, -1, -1, -1, -1, -1, -1, 2, -1, -1, -1, -1, TIER_STANDARD } },
		{ "rerank",
		  "{\"billed_units\":{\"search_units\":3}}",
		  { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 3, -1, TIER_STANDARD } },
		{ "openrouter",
		  "{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":0.00014}",
		  { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 140000, TIER_STANDARD } },
		{ "openrouter, with the client's own key",
		  "{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":0.1,\"is_byok\":true,\"cost_details\":{\"upstream_inference_cost\":2}}",
		  { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2100000000, TIER_STANDARD } },
		{ "perplexity",
		  "{\"prompt_tokens\":1,\"completion_tokens\":1,\"num_search_queries\":2,\"cost\":{\"total_cost\":0.5}}",
		  { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 500000000, TIER_STANDARD } },
		{ "x.ai",
		  "{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost_in_usd_ticks\":12340}",
		  { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1234, TIER_STANDARD } },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		record r = apply("openai", "m", rows[i].fragment, strlen(rows[i].fragment), whole);
		const usage_parts *p = &parts, *w = &rows[i].parts;
		CHECK(r.usage == USAGE_REPORTED);
		CHECK((p->audio_input == w->audio_input && p->image_input == w->image_input &&
		       p->video_input == w->video_input && p->audio_read == w->audio_read &&
		       p->audio_output == w->audio_output && p->image_output == w->image_output &&
		       p->reasoning == w->reasoning && p->write_1h == w->write_1h && p->images == w->images &&
		       p->characters == w->characters && p->audio_ms == w->audio_ms && p->searches == w->searches &&
		       p->cost == w->cost && p->tier == w->tier) ||
		      !printf("  %s\n", rows[i].what));
	}
	usage_hints hints = whole;
	hints.tier = SLICE("priority");
	apply("openai", "m", samples[0].fragment, strlen(samples[0].fragment), hints);
	CHECK(parts.tier == TIER_PRIORITY);
	hints.tier = SLICE("default");
	apply("openai", "m", samples[0].fragment, strlen(samples[0].fragment), hints);
	CHECK(parts.tier == TIER_STANDARD);
	hints.tier = SLICE("performance");
	apply("openai", "m", samples[0].fragment, strlen(samples[0].fragment), hints);
	CHECK(parts.tier == TIER_OTHER);
	static const struct {
		const char *member;
		service_tier tier;
	} tiers[] = {
		{ "\"speed\":\"fast\"", TIER_OTHER },
		{ "\"speed\":\"standard\",\"inference_geo\":\"global\"", TIER_STANDARD },
		{ "\"inference_geo\":\"us\"", TIER_OTHER },
		{ "\"inference_geo\":\"us\",\"service_tier\":\"standard\"", TIER_OTHER },
		{ "\"inference_geo\":null,\"service_tier\":\"batch\",\"speed\":null", TIER_BATCH },
		{ "\"trafficType\":\"ON_DEMAND\"", TIER_STANDARD },
		{ "\"trafficType\":\"PROVISIONED_THROUGHPUT\"", TIER_OTHER },
	};
	hints.tier = SLICE("default");
	for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++) {
		char text[256];
		int len = snprintf(text, sizeof text, "{\"input_tokens\":4,\"output_tokens\":5,%s}", tiers[i].member);
		apply("anthropic", "m", text, (size_t)len, hints);
		CHECK(parts.tier == tiers[i].tier || !printf("  %s\n", tiers[i].member));
	}
	/* Another model's run has another price, so what is known is a part. */
	static const char advised[] =
		"{\"input_tokens\":4,\"output_tokens\":5,\"iterations\":[{\"type\":\"message\",\"input_tokens\":4,\"output_tokens\":5},"
		"{\"type\":\"advisor_message\",\"input_tokens\":40,\"output_tokens\":50}]}";
	record r = apply("anthropic", "m", advised, sizeof advised - 1, whole);
	CHECK(is(&r, USAGE_PARTIAL, 4, 5, 0, 0));
}

static void counts_that_contradict(void)
{
	static const sample rows[] = {
		{ "a total with thoughts that no count has", "openai",
		  "{\"prompt_tokens\":5,\"completion_tokens\":10,\"total_tokens\":900}", 5, 10, 0, 0 },
		{ "the same of responses", "openai", "{\"input_tokens\":5,\"output_tokens\":10,\"total_tokens\":900}",
		  5, 10, 0, 0 },
		{ "the same of gemini", "gemini",
		  "{\"promptTokenCount\":5,\"candidatesTokenCount\":10,\"totalTokenCount\":900}", 5, 10, 0, 0 },
		{ "no output, but a total", "gemini", "{\"promptTokenCount\":5,\"totalTokenCount\":900}", 5, 0, 0, 0 },
		{ "more written for an hour than was written", "anthropic",
		  "{\"input_tokens\":5,\"output_tokens\":1,\"cache_creation_input_tokens\":3,\"cache_creation\":"
		  "{\"ephemeral_1h_input_tokens\":4,\"ephemeral_5m_input_tokens\":-1}}",
		  5, 1, 0, 4 },
		{ "a name twice", "openai", "{\"prompt_tokens\":5,\"completion_tokens\":1,\"prompt_tokens\":900}", 900,
		  1, 0, 0 },
		{ "two names of one count", "openai",
		  "{\"prompt_tokens\":50,\"completion_tokens\":1,\"prompt_cache_hit_tokens\":20,\"num_cached_tokens\":30}",
		  20, 1, 30, 0 },
		{ "more cached than prompt", "openai",
		  ":{\"prompt_tokens\":10,\"completion_tokens\":1,\"total_tokens\":11,\"prompt_tokens_details\":{\"cached_tokens\":99,"
		  "\"cache_write_tokens\":5}}}",
		  0, 1, 10, 0 },
		{ "more written than the rest of the prompt", "openai",
		  ":{\"prompt_tokens\":10,\"completion_tokens\":1,\"total_tokens\":11,\"prompt_tokens_details\":{\"cached_tokens\":4,"
		  "\"cache_write_tokens\":50}}}",
		  0, 1, 4, 6 },
	};
	static const sample zeros[] = {
		{ "names that are not used", "openai",
		  "{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":1010,\"input_tokens\":1000,\"output_tokens\":10}",
		  1000, 10, 0, 0 },
		{ "the other names", "openai",
		  "{\"prompt_tokens\":1000,\"completion_tokens\":10,\"total_tokens\":1010,\"input_tokens\":0,\"output_tokens\":0}",
		  1000, 10, 0, 0 },
		{ "a name of the cached part", "openai",
		  "{\"prompt_cache_hit_tokens\":900,\"prompt_tokens\":1000,\"completion_tokens\":1,\"prompt_tokens_details\":"
		  "{\"cached_tokens\":0}}",
		  100, 1, 900, 0 },
		{ "the sum of what was written", "anthropic",
		  "{\"input_tokens\":10,\"output_tokens\":1,\"cache_creation_input_tokens\":0,\"cache_creation\":"
		  "{\"ephemeral_5m_input_tokens\":100}}",
		  10, 1, 0, 100 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		record r = apply(rows[i].protocol, "m", rows[i].fragment, strlen(rows[i].fragment), whole);
		CHECK(is(&r, USAGE_PARTIAL, rows[i].input, rows[i].output, rows[i].read, rows[i].write) ||
		      !printf("  %s\n", rows[i].what));
	}
	for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++) {
		record r = apply(zeros[i].protocol, "m", zeros[i].fragment, strlen(zeros[i].fragment), whole);
		CHECK(is(&r, USAGE_REPORTED, zeros[i].input, zeros[i].output, zeros[i].read, zeros[i].write) ||
		      !printf("  %s\n", zeros[i].what));
	}
}

static void the_first_event_is_not_the_last(void)
{
	static const char first[] =
		"{\"input_tokens\":26,\"input_tokens_details\":{\"cached_tokens\":6},\"output_tokens\":1}";
	usage_hints hints = {
		.stream = true, .first = true, .ok = true, .bytes_out = 2000 + 35 * 500, .bytes_in = 900
	};
	record r = apply("anthropic", "m", first, sizeof first - 1, hints);

	CHECK(is(&r, USAGE_ESTIMATED, 20, 500, 6, 0));
}

/* In an answer that broke off, HAProxy finds an object from the end of what came, which proves nothing. The agent finds
 * one that lacks its end, which tells a part. */
static void an_answer_that_broke_off(void)
{
	static const char object[] = "{\"input_tokens\":900,\"output_tokens\":90}";

	for (const char *const *term = (const char *const[]){ "SD", "sD", "PD", NULL }; *term; term++) {
		record r = { .protocol = "openai", .usage = USAGE_REPORTED };
		snprintf(r.termination, sizeof r.termination, "%s", *term);
		usage_apply(&r, slice_of(object, sizeof object - 1), &whole, &parts);
		CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
		usage_apply(&r, slice_of("{\"input_tokens\":900,\"output_tokens\":90,", 39), &whole, &parts);
		CHECK(is(&r, USAGE_PARTIAL, 900, 90, 0, 0));
	}
}

static void cut_between_the_counts(void)
{
	static const char text[] = ":{\"prompt_tokens\":2006,\"completion_tokens\":300,\"total_tokens\":2306";
	record r = apply("openai", "m", text, sizeof text - 1, whole);
	CHECK(is(&r, USAGE_PARTIAL, 2006, 300, 0, 0));
	r = apply("openai", "m", text, strlen(":{\"prompt_tokens\":2006"), whole); /* may be 20061 */
	CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
	r = apply("openai", "m", text, strlen(":{\"prompt_tokens\":2006,"), whole);
	CHECK(is(&r, USAGE_PARTIAL, 2006, 0, 0, 0));
	r = apply("openai", "m", ": {\"total_tokens\":5}}", strlen(": {\"total_tokens\":5}}"), whole);
	CHECK(is(&r, USAGE_PARTIAL, 5, 0, 0, 0));
}

static void what_is_no_usage(void)
{
	static const char *const nothing[] = {
		"",
		":",
		" : ",
		":null},\"user\":null",
		":[]",
		":{}",
		": {\"total_tokens\":0}}",
		": {\"total_tokens\":5.5}}",
		"::{\"prompt_tokens\":1,\"completion_tokens\":1}",
		":12",
		":\"prompt_tokens\"",
		"x{\"prompt_tokens\":1,\"completion_tokens\":1}",
		":{\"prompt_tokens\":1,\"completion_tokens\":1,]",
		":{\"prompt_tokens\" 1}",
		":{prompt_tokens:1}",
		"\"",
		":{\"a\":{\"prompt_tokens\":1,\"completion_tokens\":1}}",
		":{\"prompt_tokens\":[1],\"completion_tokens\":{\"x\":1}}",
	};

	for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
		record r = apply("openai", "m", nothing[i], strlen(nothing[i]), whole);
		CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0) || !printf("  %s\n", nothing[i]));
	}
}

static void counts_that_are_none(void)
{
	static const char *const bad[] = { "-1",   "1.5", "1e-3", "\"12\"", "1000000000001", "99999999999999999999",
					   "true", "NaN", "{}",   "[]" };
	char text[256];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int len = snprintf(text, sizeof text, ":{\"prompt_tokens\":%s,\"completion_tokens\":8}}", bad[i]);
		record r = apply("openai", "m", text, (size_t)len, whole);
		CHECK(is(&r, USAGE_PARTIAL, 0, 8, 0, 0));
		len = snprintf(text, sizeof text, ":{\"prompt_tokens\":9,\"completion_tokens\":%s}}", bad[i]);
		r = apply("openai", "m", text, (size_t)len, whole);
		CHECK(is(&r, USAGE_PARTIAL, 9, 0, 0, 0));
		len = snprintf(
			text, sizeof text,
			":{\"prompt_tokens\":9,\"completion_tokens\":8,\"prompt_tokens_details\":{\"cached_tokens\":%s}}}",
			bad[i]);
		r = apply("openai", "m", text, (size_t)len, whole);
		CHECK(is(&r, USAGE_PARTIAL, 9, 8, 0, 0) || bad[i][0] == '{' || bad[i][0] == '[');
	}
	static const char odd[] =
		":{\"prompt_tokens\":9,\"completion_tokens\":8,\"prompt_tokens_details\":{\"cached_tokens\" 5}}}";
	record broken = apply("openai", "m", odd, sizeof odd - 1, whole);
	CHECK(is(&broken, USAGE_PARTIAL, 9, 8, 0, 0));
	static const char most[] = ":{\"prompt_tokens\":1000000000000,\"completion_tokens\":0}}";
	record r = apply("openai", "m", most, sizeof most - 1, whole);
	CHECK(is(&r, USAGE_REPORTED, INT64_C(1000000000000), 0, 0, 0));
}

static void no_success_is_no_usage(void)
{
	usage_hints hints = whole;

	hints.ok = false;
	hints.headroom_saved = SLICE("100");
	for (int stream = 0; stream < 2; stream++) {
		hints.stream = stream;
		record r = apply("openai", "m", samples[0].fragment, strlen(samples[0].fragment), hints);
		CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0) && r.saved == 0);
	}
}

/* Whatever comes, the counts are sane and no byte outside is read. */
static void noise_is_survived(void)
{
	static const char alphabet[] = "{}[]:,\"\\ 0123456789.eE-+truefalsn\n\t_promptkendCacho";
	char text[200];
	unsigned seed = 1;

	for (int i = 0; i < 20000; i++) {
		size_t len = 0;
		const sample *s = &samples[(size_t)i % SAMPLES];
		for (; len < sizeof text && s->fragment[len]; len++)
			text[len] = s->fragment[len];
		for (int k = i % 7; k > 0; k--) {
			seed = seed * 1103515245u + 12345u;
			size_t at = seed / 65536u % len;
			seed = seed * 1103515245u + 12345u;
			text[at] = alphabet[seed / 65536u % (sizeof alphabet - 1)];
		}
		record r = { .protocol = "openai" };
		usage_hints hints = i % 2 ? whole : streamed(5000, 5000);
		usage_apply(&r, slice_of(text, len), &hints, &parts);
		CHECK(r.input >= 0 && r.output >= 0 && r.cache_read >= 0 && r.cache_write >= 0);
		CHECK(r.input <= 3 * USAGE_TOKENS_MAX && r.output <= 2 * USAGE_TOKENS_MAX);
		CHECK(r.usage != USAGE_NONE || r.input + r.output + r.cache_read + r.cache_write == 0);
	}
}

int main(void)
{
	RUN(every_provider_is_understood);
	RUN(a_cut_object_is_never_reported);
	RUN(the_parts_are_told);
	RUN(counts_that_contradict);
	RUN(the_first_event_is_not_the_last);
	RUN(an_answer_that_broke_off);
	RUN(cut_between_the_counts);
	RUN(what_is_no_usage);
	RUN(counts_that_are_none);
	RUN(no_success_is_no_usage);
	RUN(noise_is_survived);
	return unit_end();
}

/* SPDX-License-Identifier: MIT
 *
 * Streams: what their beginning tells, and what is estimated. */
#include "usage_rig.h"

#include "decide/admission.h"

static const char message_start[] =
	":{\"input_tokens\":1270,\"cache_creation_input_tokens\":300,\"cache_read_input_tokens\":4000,\"output_tokens\":3}}}\n\n"
	"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,";

static void the_beginning_of_a_stream(void)
{
	record r = apply("anthropic", "claude-sonnet-4-6", message_start, sizeof message_start - 1,
			 streamed(2000 + 35 * 100, 9000));
	CHECK(is(&r, USAGE_ESTIMATED, 1270, 100, 4000, 300));
	/* Never below what was seen. */
	r = apply("anthropic", "claude-sonnet-4-6", message_start, sizeof message_start - 1, streamed(500, 9000));
	CHECK(is(&r, USAGE_ESTIMATED, 1270, 3, 4000, 300));
	r = apply("anthropic", "claude-sonnet-4-6", message_start, sizeof message_start - 1, streamed(-1, 9000));
	CHECK(is(&r, USAGE_PARTIAL, 1270, 3, 4000, 300));
	/* Cut: what is there counts, the rest is estimated. */
	r = apply("anthropic", "claude-sonnet-4-6", message_start, 60, streamed(2000 + 35 * 100, 9000));
	CHECK(is(&r, USAGE_ESTIMATED, 1270, 100, 0, 300) || is(&r, USAGE_ESTIMATED, 1270, 100, 0, 0));
	for (size_t cut = 0; cut < sizeof message_start; cut++) {
		r = apply("anthropic", "claude", message_start, cut, streamed(-1, -1));
		CHECK(r.usage == USAGE_NONE || (r.usage == USAGE_PARTIAL && r.input == 1270));
	}
}

static void a_stream_without_usage(void)
{
	static const char null[] = ":null,\"obfuscation\":\"x\"}\n\ndata: {\"choices\":[]}";
	record r = apply("openai", "gpt-5.5", "", 0, streamed(2500 + 310 * 50, 800 + 400));
	CHECK(is(&r, USAGE_ESTIMATED, 100, 50, 0, 0));
	r = apply("openai", "gpt-5.5", null, sizeof null - 1, streamed(2500 + 310 * 50, 800 + 400));
	CHECK(is(&r, USAGE_ESTIMATED, 100, 50, 0, 0));
	r = apply("openai", "glm-4.6", "", 0, streamed(900 + 215 * 50, 800 + 400));
	CHECK(is(&r, USAGE_ESTIMATED, 100, 50, 0, 0));
	r = apply("openai", "openai/gpt-oss-120b", "", 0, streamed(900 + 215 * 50, 800 + 400));
	CHECK(is(&r, USAGE_ESTIMATED, 100, 50, 0, 0));
	r = apply("gemini", "gemini-2.5-pro", "", 0, streamed(700 + 16 * 50, 800 + 400));
	CHECK(is(&r, USAGE_ESTIMATED, 100, 50, 0, 0));
	r = apply("openai", "m", "", 0, streamed(-1, -1));
	CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
	r = apply("openai", "m", "", 0, streamed(-1, 1200));
	CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
	r = apply("openai", "m", "", 0, streamed(INT64_MAX, INT64_MAX));
	CHECK(is(&r, USAGE_ESTIMATED, USAGE_TOKENS_MAX, USAGE_TOKENS_MAX, 0, 0));
	/* Headroom knows what it sent. */
	usage_hints hints = streamed(900, 80000);
	hints.headroom_after = SLICE("1234");
	r = apply("openai", "m", "", 0, hints);
	CHECK(is(&r, USAGE_ESTIMATED, 1234, 0, 0, 0));
}

static void bytes_that_are_no_text(void)
{
	static const char first[] = ":{\"input_tokens\":40,\"output_tokens\":3}}}\n\nevent: ping\n";
	usage_hints hints = streamed(900 + 215 * 50, 3000000);
	record r = apply("openai", "m", "", 0, hints);
	CHECK(is(&r, USAGE_ESTIMATED, 749800, 50, 0, 0));
	/* No more than the model takes and gives. */
	hints.most = (price_limits){ 200000, 40, false };
	r = apply("openai", "m", "", 0, hints);
	CHECK(is(&r, USAGE_ESTIMATED, 200000, 40, 0, 0));
	hints.most = (price_limits){ 200000, -1, false };
	r = apply("anthropic", "m", first, sizeof first - 1, hints);
	CHECK(is(&r, USAGE_ESTIMATED, 40, 276, 0, 0)); /* what is reported is not cut */
	/* A picture in the request: HAProxy says nothing of text. Or it has seen a part of the body only. */
	hints = streamed(900 + 215 * 50, 3000000);
	hints.text = -1;
	r = apply("openai", "m", "", 0, hints);
	CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
	hints.headroom_after = SLICE("1234");
	r = apply("openai", "m", "", 0, hints);
	CHECK(is(&r, USAGE_ESTIMATED, 1234, 50, 0, 0));
	hints = streamed(900 + 215 * 50, 3000000);
	hints.text = 3000000 - 65537;
	r = apply("openai", "m", "", 0, hints);
	CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
	hints.text = 3000000 - 65536;
	r = apply("openai", "m", "", 0, hints);
	CHECK(r.usage == USAGE_ESTIMATED && r.input == (3000000 - 65536 - 60) / 4);
	/* A prompt of a few bytes is not free. */
	hints = streamed(900, 500);
	hints.text = 30;
	r = apply("openai", "m", "", 0, hints);
	CHECK(is(&r, USAGE_ESTIMATED, 1, 0, 0, 0));
	/* An answer that is compressed, or of a model that makes audio or pictures. */
	hints = streamed(900 + 215 * 50, 1200);
	hints.coded = true;
	r = apply("openai", "m", "", 0, hints);
	CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
	r = apply("anthropic", "m", first, sizeof first - 1, hints);
	CHECK(is(&r, USAGE_PARTIAL, 40, 3, 0, 0));
	hints.coded = false;
	hints.most.media = true;
	r = apply("openai", "m", "", 0, hints);
	CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
	hints.most.media = false;
	r = apply("openai", "gpt-4o-Audio-preview", "", 0, hints);
	CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
	r = apply("gemini", "gemini-2.5-flash-image", "", 0, hints);
	CHECK(is(&r, USAGE_NONE, 0, 0, 0, 0));
}

/* A budget holds only if a request reserves what the ledger will count. */
static void what_is_reserved_covers_the_estimate(void)
{
	usage_hints hints = streamed(900, 500);

	for (int64_t len = 0; len < 5000; len++) {
		const model_sample body = { .buffered = (uint64_t)len, .length = (uint64_t)len };
		hints.text = len;
		record r = apply("openai", "m", "", 0, hints);
		CHECK(r.usage == USAGE_ESTIMATED && admission_input(&body) >= r.input);
	}
}

static void a_stream_whose_end_was_seen(void)
{
	static const char chat[] =
		":{\"prompt_tokens\":11,\"completion_tokens\":8,\"total_tokens\":19,\"prompt_tokens_details\":"
		"{\"cached_tokens\":4}},\"obfuscation\":\"x\"}\n\ndata: [DONE]\n\n";
	static const char fake[] =
		":{\"prompt_tokens\":11,\"completion_tokens\":8},\"x\":\"\\ndata: [DONE]\"}\n\ndata: {\"a\":1}";
	static const char delta[] =
		":{\"input_tokens\":95,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":5,"
		"\"output_tokens\":13}      }\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"  }\n\n";
	static const char older[] = ":{\"output_tokens\":94}     }\r\n\r\nevent: message_stop\r\n";
	static const char responses[] =
		":{\"input_tokens\":26,\"input_tokens_details\":{\"cached_tokens\":6},\"output_tokens\":7,"
		"\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":33},\"user\":null}}\n\n";
	static const char gemini[] =
		": {\n \"promptTokenCount\": 18,\n \"candidatesTokenCount\": 80,\n \"thoughtsTokenCount\": 35\n},"
		"\n\"modelVersion\": \"gemini-2.5-flash\"\n}\n]";
	record r = apply("openai", "gpt-5", chat, sizeof chat - 1, streamed(90000, 9000));
	CHECK(is(&r, USAGE_REPORTED, 7, 8, 4, 0));
	r = apply("openai", "gpt-5", fake, sizeof fake - 1, streamed(2500 + 31000, 9000));
	CHECK(is(&r, USAGE_ESTIMATED, 11, 100, 0, 0));
	r = apply("anthropic", "claude", delta, sizeof delta - 1, streamed(90000, 9000));
	CHECK(is(&r, USAGE_REPORTED, 95, 13, 5, 0));
	/* Only the output: the input is estimated, the output is not. */
	r = apply("anthropic", "claude", older, sizeof older - 1, streamed(90000, 1200));
	CHECK(is(&r, USAGE_ESTIMATED, 100, 94, 0, 0));
	r = apply("openai", "gpt-5", responses, sizeof responses - 1, streamed(90000, 9000));
	CHECK(is(&r, USAGE_REPORTED, 20, 7, 6, 0));
	/* Gemini's array has no stream's content type; the request says that it is one. */
	usage_hints array = whole;
	record g = { .protocol = "gemini", .stream = true };
	usage_apply(&g, slice_of(gemini, sizeof gemini - 1), &array, &parts);
	CHECK(is(&g, USAGE_REPORTED, 18, 115, 0, 0));
	array.bytes_out = 700 + 16 * 500;
	usage_apply(&g, slice_of(gemini, sizeof gemini - 3), &array, &parts);
	CHECK(is(&g, USAGE_ESTIMATED, 18, 500, 0, 0));
}

static void headroom_tells_what_it_took_out(void)
{
	static const struct {
		const char *before, *after, *saved;
		int64_t want;
	} cases[] = {
		{ "", "", "120", 120 },
		{ "500", "380", "", 120 },
		{ "500", "380", "119", 119 },
		{ "380", "500", "", -120 },
		{ "", "", "-7", -7 },
		{ "500", "", "", 0 },
		{ "", "380", "", 0 },
		{ "500", "x", "", 0 },
		{ "500", "380", "many", 120 },
		{ "500", "-3", "", 0 },
		{ "", "", "1.5", 0 },
		{ "", "", " 12 ", 12 },
		{ "", "", "12abc", 0 },
		{ "", "", "1000000000001", 0 },
		{ "", "", "-1000000000001", 0 },
		{ "", "", "99999999999999999999999", 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		usage_hints hints = whole;
		hints.headroom_before = slice_cstr(cases[i].before);
		hints.headroom_after = slice_cstr(cases[i].after);
		hints.headroom_saved = slice_cstr(cases[i].saved);
		record r = apply("openai", "m", "", 0, hints);
		CHECK(r.usage == USAGE_NONE && r.saved == cases[i].want);
	}
}

/* The constants of the estimate against streams as the providers send them: chunks of the wire filled with words of one
 * token (4 bytes), with a head and the fixed events around them. */
static void estimates_are_near_real_streams(void)
{
	static const char chat[] =
		"data: {\"id\":\"chatcmpl-DL2G9KdEY06xq8M0PqZ5rs5Jv13ok\",\"object\":\"chat.completion.chunk\",\"created\":1773905945,"
		"\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_f986a632b0\",\"choices\":[{\"index\":0,"
		"\"delta\":{\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"fjE24R0ZOJr\"}\n\n";
	static const char responses[] =
		"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":600,"
		"\"item_id\":\"msg_0e7bcfab8fc907240069152d1173f48192a1f37340a24e4fba\",\"output_index\":1,\"content_index\":0,"
		"\"delta\":\"\",\"logprobs\":[],\"obfuscation\":\"UYDTgfVef9F\"}\n\n";
	static const char ollama[] =
		"data: {\"id\":\"chatcmpl-371\",\"object\":\"chat.completion.chunk\",\"created\":1773905945,\"model\":\"glm-4.6:cloud\","
		"\"system_fingerprint\":\"fp_ollama\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
		"\"finish_reason\":null}]}\n\n";
	static const char vllm[] =
		"data: {\"id\":\"chatcmpl-f42e8ae7ddb346e1adfba47e3d710b46\",\"object\":\"chat.completion.chunk\",\"created\":1760031300,"
		"\"model\":\"deepseek-ai/DeepSeek-V3.1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"logprobs\":null,"
		"\"finish_reason\":null,\"token_ids\":null}]}\n\n";
	static const char anthropic[] =
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\","
		"\"text\":\"\"}       }\n\n";
	static const char gemini[] =
		"data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"\"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": "
		"{\"promptTokenCount\": 34,\"candidatesTokenCount\": 240,\"totalTokenCount\": 1033,\"promptTokensDetails\": [{\"modality\": "
		"\"TEXT\",\"tokenCount\": 34}],\"thoughtsTokenCount\": 759},\"modelVersion\": \"gemini-2.5-pro\",\"responseId\": "
		"\"2zR8aYTnEvahz7IPmq6EoQ0\"}\r\n\r\n";
	static const struct {
		const char *what, *protocol, *model;
		size_t event;
		int tokens, copies, fixed,
			head; /* tokens an event; copies of the text; bytes of the other events; of the head */
	} shapes[] = {
		{ "OpenAI chat", "openai", "gpt-4o", sizeof chat - 1, 1, 1, 900, 1300 },
		{ "OpenAI responses", "openai", "gpt-5-mini", sizeof responses - 1, 1, 4, 4300, 1300 },
		{ "Ollama", "openai", "glm-4.6", sizeof ollama - 1, 1, 1, 400, 250 },
		{ "vLLM", "openai", "deepseek-v3.1", sizeof vllm - 1, 1, 1, 500, 250 },
		{ "Anthropic, small deltas", "anthropic", "claude-sonnet-4", sizeof anthropic - 1, 3, 1, 1100, 1000 },
		{ "Anthropic, larger deltas", "anthropic", "claude-sonnet-4-6", sizeof anthropic - 1, 5, 1, 900, 1000 },
		{ "Gemini", "gemini", "gemini-2.5-pro", sizeof gemini - 1, 26, 1, 0, 500 },
	};

	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
		for (int64_t tokens = 300; tokens <= 30000; tokens *= 10) {
			int64_t events = (tokens + shapes[i].tokens - 1) / shapes[i].tokens;
			int64_t bytes = shapes[i].head + shapes[i].fixed + events * (int64_t)shapes[i].event +
					4 * tokens * shapes[i].copies;
			record r = apply(shapes[i].protocol, shapes[i].model, "", 0, streamed(bytes, 1000));
			CHECK((r.output * 10 >= tokens * 7 && r.output * 10 <= tokens * 14) ||
			      !printf("  %s: %" PRId64 " tokens in %" PRId64 " bytes, estimated %" PRId64 "\n",
				      shapes[i].what, tokens, bytes, r.output));
		}
	/* Recorded streams, their bodies and a usual head, and what they reported at the end. */
	static const struct {
		const char *what, *model;
		int64_t body, tokens;
	} recorded[] = {
		{ "claude-sonnet-4, thinking and text", "claude-sonnet-4-20250514", 16500, 277 },
		{ "claude-3-7-sonnet, thinking", "claude-3-7-sonnet-20250219", 3700, 94 },
		{ "claude-sonnet-4-6, text", "claude-sonnet-4-6", 2480, 49 },
	};
	for (size_t i = 0; i < sizeof recorded / sizeof recorded[0]; i++) {
		record r = apply("anthropic", recorded[i].model, "", 0, streamed(recorded[i].body + 1000, 1000));
		CHECK((r.output * 2 >= recorded[i].tokens && r.output <= recorded[i].tokens * 2) ||
		      !printf("  %s: %" PRId64 " for %" PRId64 "\n", recorded[i].what, r.output, recorded[i].tokens));
	}
}

int main(void)
{
	RUN(the_beginning_of_a_stream);
	RUN(a_stream_without_usage);
	RUN(bytes_that_are_no_text);
	RUN(what_is_reserved_covers_the_estimate);
	RUN(a_stream_whose_end_was_seen);
	RUN(headroom_tells_what_it_took_out);
	RUN(estimates_are_near_real_streams);
	return unit_end();
}

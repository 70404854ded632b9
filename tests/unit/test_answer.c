/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "answer/answer.h"

typedef struct row {
	const char *text;
	const char *usage;
	const char *tier;
} row;

static void check(const row *rows, size_t n, answer_kind kind)
{
	answer_told told;

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(rows[i].text);
		answer_read(slice_of(unit_guarded(rows[i].text, len), len), kind, &told);
		CHECK(slice_eq(slice_of(told.usage, told.usage_len), slice_cstr(rows[i].usage)) ||
		      !printf("  %s: %.*s\n", rows[i].text, (int)told.usage_len, told.usage));
		CHECK(slice_eq(told.tier, slice_cstr(rows[i].tier ? rows[i].tier : "")));
	}
}

#define CHECK_ROWS(rows, kind) check(rows, sizeof(rows) / sizeof(rows)[0], kind)

static void usage_counts_at_its_own_place_only(void)
{
	static const row rows[] = {
		{ "{\"a\":1,\"usage\" : {\"x\":{\"y\":1}},\"b\":2}", "{\"x\":{\"y\":1}}", NULL },
		{ "{\"usageMetadata\":{\"x\":1}}", "{\"x\":1}", NULL },
		{ "\xef\xbb\xbf\n{\"us\\u0061ge\":{\"x\":1}}\n", "{\"x\":1}", NULL },
		{ "{\"tools\":[{\"usage\":{\"x\":9}}],\"usage\":{\"x\":1},\"metadata\":{\"usage\":{\"x\":9}}}",
		  "{\"x\":1}", NULL },
		{ "{\"tools\":[{\"usage\":{\"x\":9}}],\"usage\":null}", "", NULL },
		{ "{\"usage\":null,\"tools\":[{\"usage\":{\"x\":9}}]}", "", NULL },
		{ "{\"message\":{\"usage\":{\"x\":9}},\"response\":{\"usage\":{\"x\":9}}}", "", NULL },
		{ "{\"usage\":{\"x\":1},\"usage\":{\"x\":2}}", "", NULL },
		{ "{\"usage\":{\"x\":1},\"usage\":null}", "", NULL },
		{ "{\"usage\":null,\"usage\":{\"x\":1}}", "", NULL },
		{ "{\"usage\":{\"x\":1},\"usage\":{\"x\":1}}", "{\"x\":1}", NULL },
		{ "{\"t\":\"\\\"usage\\\":{}\"}", "", NULL },
		{ "{\"usage\":{\"x\":1", "", NULL },
		{ "{\"usage\":{\"x\":1},\"text\":\"cut", "{\"x\":1,", NULL },
		{ "{\"usage\":{\"x\":1}}{\"usage\":{\"x\":1}}", "", NULL },
		{ "{\"usages\":{\"x\":1}}", "", NULL },
		{ "{\"service_tier\":\"flex\",\"usage\":{\"x\":1}}", "{\"x\":1}", "flex" },
		{ "{\"usage\":{\"x\":1},\"service_tier\":\"priority\"}", "{\"x\":1}", "priority" },
		{ "{\"usage\":{\"x\":1},\"a\":{\"service_tier\":\"priority\"}}", "{\"x\":1}", NULL },
		{ "{\"usage\":{\"x\":1},\"service_tier\":\"a name that is too long\"}", "{\"x\":1}",
		  "a name that is t" },
		{ "{\"usage\":{\"x\":1},\"serviceTier\":{\"type\":\"flex\"}}", "{\"x\":1}", "flex" },
		{ "[{\"usageMetadata\":{\"x\":1}},\n{\"usageMetadata\":{\"x\":2}}]", "{\"x\":2}", NULL },
		{ "[{\"usageMetadata\":{\"x\":1}},\n{\"usageMetadata\":{\"x\":2}}", "", NULL },
		{ "[{\"usage\":{\"x\":1}}]", "{\"x\":1}", NULL },
		{ "[{\"usage\":{\"x\":1}},{\"usage\":{\"x\":2}}]", "", NULL },
		{ "[]", "", NULL },
		{ "", "", NULL },
		{ "\"usage\":{}", "", NULL },
	};
	CHECK_ROWS(rows, ANSWER_JSON);
}

static void other_shapes_become_objects(void)
{
	static const row rows[] = {
		{ "{\"done\":true,\"prompt_eval_count\":26,\"eval_count\":29.0}",
		  "{\"prompt_eval_count\":26,\"eval_count\":29}", NULL },
		{ "{\"eval_count\":5,\"x\":{\"prompt_eval_count\":9}}", "{\"eval_count\":5}", NULL },
		{ "{\"prompt_eval_count\":26,\"eval_co", "", NULL },
		{ "{\"generation\":\"\",\"prompt_token_count\":3,\"generation_token_count\":4}",
		  "{\"prompt_token_count\":3,\"generation_token_count\":4}", NULL },
		{ "{\"inputTextTokenCount\":5,\"results\":[{\"tokenCount\":7},{\"tokenCount\":1}]}",
		  "{\"inputTextTokenCount\":5,\"outputTextTokenCount\":8}", NULL },
		{ "{\"inputTextTokenCount\":5,\"results\":[{\"tokenCount\":7},{\"outputText\":\"\"}]}",
		  "{\"inputTextTokenCount\":5}", NULL },
		{ "{\"eval_count\":5,\"eval_count\":6}", "{\"eval_count\":6}", NULL },
		{ "{\"predictions\":[{\"embeddings\":{\"statistics\":{\"token_count\":6}}},{\"embeddings\":{}}]}", "",
		  NULL },
		{ "{\"embedding\":[1],\"inputTextTokenCount\":5}", "{\"inputTextTokenCount\":5}", NULL },
		{ "{\"predictions\":[{\"embeddings\":{\"statistics\":{\"token_count\":6.0}}},{\"embeddings\":{\"statistics\":{\"token_count\":2}}}]}",
		  "{\"prompt_tokens\":8,\"total_tokens\":8}", NULL },
		{ "{\"predictions\":[{\"bytesBase64Encoded\":\"x\"},{\"bytesBase64Encoded\":\"x\"}]}", "{\"images\":2}",
		  NULL },
		{ "{\"created\":1,\"data\":[{\"url\":\"x\"},{\"b64_json\":\"x\"}]}", "{\"images\":2}", NULL },
		{ "{\"data\":[{\"b64_json\":\"x\"},{\"b64_json\":\"x", "", NULL },
		{ "{\"data\":[{\"embedding\":[1]}]}", "", NULL },
		{ "{\"meta\":{\"billed_units\":{\"input_tokens\":3}}}", "{\"billed_units\":{\"input_tokens\":3}}",
		  NULL },
		{ "{\"meta\":{\"version\":1}}", "", NULL },
		{ "{\"text\":\"hi\",\"duration\":8.47}", "{\"type\":\"duration\",\"seconds\":8.47}", NULL },
		{ "{\"duration\":8.47}", "", NULL },
	};
	CHECK_ROWS(rows, ANSWER_JSON);
}

static void the_last_line_tells(void)
{
	static const row rows[] = {
		{ "{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":3,\"eval_count\":4}\n",
		  "{\"prompt_eval_count\":3,\"eval_count\":4}", NULL },
		{ "{\"eval_count\":4}\n{\"done\":true,\"eval_co", "", NULL },
		{ "\n\n", "", NULL },
	};
	CHECK_ROWS(rows, ANSWER_LINES);
}

static void the_first_event_tells(void)
{
	static const struct {
		const char *text, *usage;
		bool settled;
	} rows[] = {
		{ "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[{\"usage\":{\"x\":9}}],\"usage\":{\"x\":1}}}\n\n",
		  "{\"x\":1}", true },
		{ ": hi\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\ndata: {\"message\":{\"usage\":{\"x\":1}}}\n",
		  "{\"x\":1}", true },
		{ "event: ping\ndata: {\"type\": \"ping\"}\n\n", "", false },
		{ "data: {\"type\": \"ping\",\"usage\":{\"x\":9}}\n\n", "", false },
		{ "data: {\"message\":{\"usage\":{\"x\":1}}}", "", false },
		{ "data: {\"usageMetadata\":{\"x\":1}}\r\n\r\ndata: {\"usageMetadata\":{\"x\":2}}\r\n", "{\"x\":1}",
		  true },
		{ "data: {\"choices\":[]}\n\ndata: {\"usage\":{\"x\":2}}\n", "", true },
		{ "data: nonsense\n", "", true },
		{ "[{\n \"usageMetadata\": {\"x\":1}\n}\n", "{\"x\":1}", true },
		{ "[{\n \"usageMetadata\": {\"x\":1}\n", "", false },
		{ "", "", false },
	};
	answer_told told;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t len = strlen(rows[i].text);
		answer_read(slice_of(unit_guarded(rows[i].text, len), len), ANSWER_FIRST, &told);
		CHECK(slice_eq(slice_of(told.usage, told.usage_len), slice_cstr(rows[i].usage)));
		CHECK(told.settled == rows[i].settled || !printf("  %s\n", rows[i].text));
	}
}

int main(void)
{
	RUN(usage_counts_at_its_own_place_only);
	RUN(other_shapes_become_objects);
	RUN(the_last_line_tells);
	RUN(the_first_event_tells);
	return unit_end();
}

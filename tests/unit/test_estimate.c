/* SPDX-License-Identifier: MIT
 *
 * What a request may cost, before it is known: how long its answer may become, and at which price. */
#include "ledger/price_table.h"
#include "sample/most.h"

#include "unit.h"

static answer_most most(const char *body, const char *coding)
{
	size_t len = strlen(body);
	model_sample s = { .body = slice_of((const char *)unit_guarded(body, len), len), .cenc = slice_cstr(coding) };

	return most_find(&s);
}

static void the_body_says_how_long_an_answer_may_be(void)
{
	static const struct {
		const char *body;
		int64_t output, answers;
	} rows[] = {
		{ "{\"model\":\"m\",\"max_tokens\":100}", 100, 1 },
		{ " {\"max_completion_tokens\" : 1e3 , \"n\":4}", 1000, 4 },
		{ "{\"max_output_tokens\":7}", 7, 1 },
		{ "{\"max_tokens\":7,\"max_completion_tokens\":9}", 9, 1 },
		{ "{\"max_tokens\":9,\"max_tokens\":7}", 9, 1 },
		{ "{\"generationConfig\":{\"maxOutputTokens\":50,\"candidateCount\":2},\"contents\":[]}", 50, 2 },
		{ "{\"generation_config\":{\"max_output_tokens\":50}}", 50, 1 },
		{ "{\"options\":{\"num_predict\":12}}", 12, 1 },
		{ "{\"options\":{\"num_predict\":-1}}", -1, 1 }, /* without an end */
		{ "{\"messages\":[{\"max_tokens\":5}],\"metadata\":{\"max_tokens\":6}}", -1, 1 },
		{ "{\"max_tokens\":\"100\",\"n\":null}", -1, 1 },
		{ "{\"max_tokens\":0,\"n\":0}", 0, 1 },
		{ "{\"max_tokens\":100,\"messages\":[\"cut", 100, 1 },
		{ "{\"messages\":[\"cut", -1, 1 },
		{ "[1]", -1, 1 },
		{ "no json", -1, 1 },
		{ "", -1, 1 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		answer_most is = most(rows[i].body, i % 2 ? "" : "identity");
		CHECK(is.output == rows[i].output && is.answers == rows[i].answers);
		if (is.output != rows[i].output || is.answers != rows[i].answers)
			printf("  %s\n", rows[i].body);
	}
	CHECK(most("{\"max_tokens\":100}", "gzip").output == -1);
}

static int64_t nano;

static bool estimate(const price_table *t, const char *model, int64_t input, int64_t output, int64_t answers)
{
	return price_estimate(t, slice_cstr(model), input, output, answers, &nano);
}

static void the_dearest_price_is_taken(void)
{
	static const char json[] =
		"{\"plain\":{\"input_cost_per_token\":1e-6,\"output_cost_per_token\":1e-5},"
		"\"tiers\":{\"input_cost_per_token\":1e-6,\"output_cost_per_token\":1e-5,"
		"\"input_cost_per_token_above_200k_tokens\":2e-6,\"output_cost_per_token_above_200k_tokens\":3e-5,"
		"\"input_cost_per_token_priority\":9e-6},"
		"\"thinks\":{\"input_cost_per_token\":0,\"output_cost_per_token\":1e-6,\"output_cost_per_reasoning_token\":4e-6},"
		"\"tiny\":{\"input_cost_per_token\":1e-12,\"output_cost_per_token\":0},"
		"\"dear\":{\"input_cost_per_token\":1,\"output_cost_per_token\":1},"
		"\"none\":{\"mode\":\"chat\"}}";
	err e;
	price_table *t = price_table_parse(slice_of((const char *)unit_guarded(json, sizeof json - 1), sizeof json - 1),
					   "test", &e);

	CHECK(t && estimate(t, "plain", 1000, 100, 1) && nano == 2000000);
	CHECK(estimate(t, "tiers", 1000, 100, 1) && nano == 5000000);
	CHECK(estimate(t, "thinks", 1000, 100, 1) && nano == 400000);
	CHECK(estimate(t, "tiny", 1, 0, 1) && nano == 1); /* rounded up */
	CHECK(estimate(t, "plain", 0, 0, 1) && nano == 0);
	CHECK(estimate(t, "dear", INT64_MAX, INT64_MAX, INT64_MAX) && nano == INT64_MAX);
	CHECK(!estimate(t, "none", 1, 1, 1) && nano == 0);
	CHECK(!estimate(t, "unheard", 1, 1, 1) && !estimate(t, "", 1, 1, 1) && !estimate(NULL, "plain", 1, 1, 1));
	price_table_unref(t);
}

int main(void)
{
	RUN(the_body_says_how_long_an_answer_may_be);
	RUN(the_dearest_price_is_taken);
	return unit_end();
}

/* SPDX-License-Identifier: MIT
 *
 * What a request may cost, before it is known: how long its answer may become, and at which price. */
#include "ledger/price_table.h"
#include "sample/most.h"

#include "unit.h"

#define CHAT "/v1/chat/completions"
#define GEMINI "/v1beta/models/gemini-1:generateContent"
#define INVOKE "/model/a.b-v1:0/invoke"

static model_sample sample(const char *path, const char *body)
{
	size_t len = strlen(body);

	return (model_sample){ .path = slice_cstr(path), .body = slice_of((const char *)unit_guarded(body, len), len) };
}

static void the_body_says_how_long_an_answer_may_be(void)
{
	enum { SURE = 1 };
	static const struct {
		const char *path, *body;
		int64_t output, answers;
		bool sure;
	} rows[] = {
		{ CHAT, "{\"model\":\"m\",\"max_tokens\":100}", 100, 1, SURE },
		{ CHAT, " {\"max_completion_tokens\" : 1e3 , \"n\":4}", 1000, 4, SURE },
		{ CHAT "/", "{\"max_tokens\":7,\"max_completion_tokens\":9}", 9, 1, SURE },
		{ CHAT, "{\"max_tokens\":7,\"max_completion_tokens\":null}", 7, 1, SURE },
		{ CHAT, "{\"max_tokens\":null,\"max_completion_tokens\" :7}", 7, 1, SURE },
		{ "/v1/completions", "{\"max_tokens\":7,\"prompt\":\"one\"}", 7, 1, SURE },
		{ "/v1/responses", "{\"max_output_tokens\":7}", 7, 1, SURE },
		{ "/v1/messages", "{\"max_tokens\":7}", 7, 1, SURE },
		{ "/v1/complete", "{\"max_tokens_to_sample\":7}", 7, 1, SURE },
		{ GEMINI, "{\"generationConfig\":{\"maxOutputTokens\":50,\"candidateCount\":2},\"contents\":[]}", 50, 2,
		  SURE },
		{ GEMINI, "{\"generation_config\":{\"max_output_tokens\":50}}", 50, 1, SURE },
		{ "/api/chat", "{\"options\":{\"num_predict\":12}}", 12, 1, SURE },
		{ "/api/chat", "{\"options\":{\"num_predict\":-1}}", -1, 1, false }, /* without an end */
		{ "/api/generate", "{\"options\":{\"num_predict\":0}}", -1, 1, false },
		{ "/v2/chat", "{\"max_tokens\":7}", 7, 1, SURE },
		{ "/generate", "{\"parameters\":{\"max_new_tokens\":7}}", 7, 1, SURE },
		{ "/model/a/converse", "{\"inferenceConfig\":{\"maxTokens\":7}}", 7, 1, SURE },
		{ INVOKE, "{\"textGenerationConfig\":{\"maxTokenCount\":7}}", 7, 1, SURE },
		{ INVOKE, "{\"max_tokens\":7}", 7, 1, SURE },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict", "{\"max_tokens\":7}", 7, 1,
		  SURE },
		/* A number in other words. */
		{ CHAT, "{\"max_tokens\":100.0}", 100, 1, SURE },
		{ CHAT, "{\"max_tokens\":99.1}", 100, 1, SURE },
		{ CHAT, "{\"max_tokens\":\" 100 \",\"n\":\"2\"}", 100, 2, SURE },
		{ CHAT, "{\"max_tokens\":1e300,\"n\":1e300}", INT64_C(1) << 62, INT64_C(1) << 62, SURE },
		{ CHAT, "{\"max\\u005ftokens\":100}", 100, 1, SURE },
		{ CHAT, "{\"max\\u005ftokens\":100,\"\\u006e\":3}", 100, 3, false },
		/* Which of several a server obeys is not known. */
		{ CHAT, "{\"max_tokens\":9,\"max_tokens\":7}", 9, 1, false },
		{ CHAT, "{\"max_tokens\":1,\"max_tok\\u0065ns\":90}", 90, 1, false },
		{ CHAT, "{\"max_tokens\":1,\"MAX_Tokens\":90}", 90, 1, false },
		{ CHAT, "{\"max_tokens\":1,\"max_tokens\":null}", 1, 1, false },
		{ CHAT, "{\"max_tokens\":1,\"max_to\\u212aens\":90}", 1, 1, false },
		{ CHAT,
		  "{\"max_tokens\":1,\"max_to\xe2\x84\xaa"
		  "ens\":90}",
		  1, 1, false },
		{ CHAT, "{\"max_tokens\":1,\"max_completion_tokens\":0}", 1, 1, false },
		{ CHAT, "{\"max_tokens\":1,\"max_completion_tokens\":[9]}", 1, 1, false },
		{ "/api/chat", "{\"options\":{\"num_predict\":1},\"options\":{}}", 1, 1, false },
		{ "/api/chat", "{\"options\":{\"num_predict\":1,\"num_\xc5\xbf\":9}}", 1, 1, false },
		{ CHAT, "{\"max_tokens\":\"many\",\"n\":null}", -1, 1, false },
		{ CHAT, "{\"max_tokens\":0,\"n\":0}", -1, 1, false },
		{ CHAT, "{\"max_tokens\":-5,\"n\":-5}", -1, 1, false },
		{ CHAT, "{\"max_tokens\":NaN}", -1, 1, false },
		/* What another API obeys is no limit. */
		{ CHAT, "{\"max_output_tokens\":1,\"num_predict\":1,\"options\":{\"num_predict\":1,\"max_tokens\":1}}",
		  -1, 1, false },
		{ CHAT, "{\"generationConfig\":{\"maxOutputTokens\":1}}", -1, 1, false },
		{ "/v1/responses", "{\"max_tokens\":1,\"max_completion_tokens\":1}", -1, 1, false },
		{ "/v1/messages", "{\"max_completion_tokens\":1}", -1, 1, false },
		{ "/api/chat", "{\"max_tokens\":1,\"num_predict\":1}", -1, 1, false },
		{ GEMINI, "{\"maxOutputTokens\":1,\"max_tokens\":1}", -1, 1, false },
		{ "/model/a/converse", "{\"max_tokens\":1}", -1, 1, false },
		{ "/v1/embeddings", "{\"max_tokens\":1}", -1, 1, false },
		{ "/x:countTokens", "{\"max_tokens\":1}", -1, 1, false },
		{ CHAT, "{\"messages\":[{\"max_tokens\":5}],\"metadata\":{\"max_tokens\":6}}", -1, 1, false },
		/* How many answers. */
		{ "/v1/completions", "{\"max_tokens\":7,\"n\":2,\"best_of\":5}", 7, 5, SURE },
		{ "/v1/completions", "{\"max_tokens\":7,\"n\":2,\"prompt\":[\"a\",\"b\",\"c\"]}", 7, 6, SURE },
		{ "/v1/completions", "{\"max_tokens\":7,\"prompt\":[[1,2],[3]]}", 7, 2, SURE },
		{ "/v1/completions", "{\"max_tokens\":7,\"prompt\":[1,2,3]}", 7, 1, SURE },
		{ "/v1/completions", "{\"n\":9223372036854775807,\"prompt\":[\"a\",\"b\"]}", -1, INT64_MAX, false },
		{ CHAT, "{\"max_tokens\":7,\"prompt\":[\"a\",\"b\",\"c\"]}", 7, 1, SURE },
		/* Not all of it was seen. */
		{ CHAT, "{\"max_tokens\":100,\"messages\":[\"cut", 100, 1, false },
		{ CHAT, "{\"messages\":[\"cut", -1, 1, false },
		{ CHAT, "[1]", -1, 1, false },
		{ CHAT, "no json", -1, 1, false },
		{ CHAT, "", -1, 1, false },
		{ "", "{\"max_tokens\":100}", -1, 1, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		model_sample s = sample(rows[i].path, rows[i].body);
		s.cenc = slice_cstr(i % 2 ? "" : "identity");
		answer_most is = most_find(&s);
		bool newer = strstr(rows[i].body, "max_completion_tokens\" :") != NULL;
		CHECK(is.newer == newer);
		bool ok = is.output == rows[i].output && is.answers == rows[i].answers && is.sure == rows[i].sure;
		CHECK(ok);
		if (!ok)
			printf("  %s %s: %lld %lld %d\n", rows[i].path, rows[i].body, (long long)is.output,
			       (long long)is.answers, is.sure);
	}
	model_sample coded = sample(CHAT, "{\"max_tokens\":100}");
	coded.cenc = SLICE("gzip");
	CHECK(most_find(&coded).output == -1 && !most_find(&coded).sure);
}

static void the_end_of_a_body_counts_too(void)
{
	static const char tail[] = "xx\"}],\"max_tokens\":100,\"n\":2}";
	model_sample s = sample(CHAT, "{\"max_tokens\":1,\"messages\":[{\"content\":\"x");

	s.tail = slice_of((const char *)unit_guarded(tail, sizeof tail - 1), sizeof tail - 1);
	s.sized = true;
	s.length = s.buffered = 5000;
	answer_most is = most_find(&s);
	CHECK(is.output == 100 && is.answers == 2 && !is.sure);
	s.length = 6000; /* it is not the end */
	is = most_find(&s);
	CHECK(is.output == 1 && is.answers == 1 && !is.sure);
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
		"\"sound\":{\"input_cost_per_token\":1e-6,\"output_cost_per_token\":1e-5,\"output_cost_per_audio_token\":8e-5},"
		"\"draws\":{\"input_cost_per_token\":1e-6,\"output_cost_per_image_token\":4e-5},"
		"\"speaks\":{\"mode\":\"audio_speech\",\"input_cost_per_character\":1e-6},"
		"\"hears\":{\"mode\":\"audio_transcription\",\"input_cost_per_second\":1e-4},"
		"\"ranks\":{\"mode\":\"rerank\",\"input_cost_per_query\":2e-3},"
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
	CHECK(estimate(t, "sound", 1000, 100, 1) && nano == 9000000);
	CHECK(estimate(t, "draws", 1000, 100, 1) && nano == 5000000);
	/* 1,000 tokens are 3,000 bytes: so many characters, or two seconds of audio. */
	CHECK(estimate(t, "speaks", 1000, 100, 1) && nano == 3000000);
	CHECK(estimate(t, "hears", 1000, 100, 1) && nano == 200000);
	CHECK(estimate(t, "hears", INT64_MAX, 100, 1) && nano == INT64_C(100000000000000));
	CHECK(estimate(t, "ranks", 1000, 100, 1) && nano == 2000000);
	CHECK(!estimate(t, "none", 1, 1, 1) && nano == 0);
	CHECK(!estimate(t, "unheard", 1, 1, 1) && !estimate(t, "", 1, 1, 1) && !estimate(NULL, "plain", 1, 1, 1));
	price_table_unref(t);
}

int main(void)
{
	RUN(the_body_says_how_long_an_answer_may_be);
	RUN(the_end_of_a_body_counts_too);
	RUN(the_dearest_price_is_taken);
	return unit_end();
}

/* SPDX-License-Identifier: MIT
 *
 * What a request may cost, before it is known. */
#include "ledger/price_table.h"

enum {
	INPUT_TOKEN = 3,     /* bytes that the caller took for a token */
	AUDIO_SECOND = 2000, /* bytes of a second of audio, at 16 kbit/s: hardly anybody sends less */
};

/* Returns the dearest standard price of `kind`, however long the prompt; -1: there is none. */
static price_units dearest(const price_table *t, const price_model *m, price_kind kind)
{
	price_units price = -1;

	for (uint32_t i = 0; i < m->rows; i++) {
		const price_row *r = &t->rows[m->row + i];
		if (r->kind == kind && r->tier == TIER_STANDARD && r->price > price)
			price = r->price;
	}
	return price;
}

static price_units times(price_units price, int64_t count, int64_t most)
{
	return price <= 0 || count <= 0 ? 0 : price * (count < most ? count : most);
}

/* Returns what `tokens` of input may cost where a model has no price of a token: it speaks a text, or hears audio. */
static price_units pieces(const price_table *t, const price_model *m, int64_t tokens)
{
	int64_t bytes = tokens * INPUT_TOKEN;

	return times(dearest(t, m, PRICE_CHARACTER), bytes, PRICE_PIECES_MAX) +
	       times(dearest(t, m, PRICE_SECOND), bytes / AUDIO_SECOND + 1, PRICE_PIECES_MAX);
}

bool price_estimate(const price_table *t, slice model, int64_t input, int64_t output, int64_t answers, int64_t *nano)
{
	/* An answer may be any of these. */
	static const price_kind outputs[] = { PRICE_OUTPUT, PRICE_REASONING, PRICE_AUDIO_OUTPUT, PRICE_IMAGE_OUTPUT,
					      PRICE_VIDEO_OUTPUT };
	const price_units unit = 1000000000000000; /* a nano-dollar */
	const price_model *m = price_model_find(t, model);

	*nano = 0;
	if (!m)
		return false;
	if (input > PRICE_TOKENS_MAX)
		input = PRICE_TOKENS_MAX;
	price_units in = dearest(t, m, PRICE_INPUT), out = -1;
	for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
		price_units one = dearest(t, m, outputs[i]);
		out = one > out ? one : out;
	}
	price_units cost = in < 0 ? pieces(t, m, input) : times(in, input, PRICE_TOKENS_MAX);
	cost += times(out, output, PRICE_TOKENS_MAX) + times(dearest(t, m, PRICE_IMAGE), answers, PRICE_PIECES_MAX) +
		times(dearest(t, m, PRICE_REQUEST), 1, 1) +
		times(dearest(t, m, PRICE_SEARCH), m->search_once || m->search_always, 1);
	cost = (cost + unit - 1) / unit;
	*nano = cost > INT64_MAX ? INT64_MAX : (int64_t)cost;
	return true;
}

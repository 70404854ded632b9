/* SPDX-License-Identifier: MIT
 *
 * What a request may cost, before it is known. */
#include "ledger/price_table.h"

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

bool price_estimate(const price_table *t, slice model, int64_t input, int64_t output, int64_t answers, int64_t *nano)
{
	const price_units unit = 1000000000000000; /* a nano-dollar */
	const price_model *m = price_model_find(t, model);

	*nano = 0;
	if (!m)
		return false;
	price_units out = dearest(t, m, PRICE_OUTPUT), reasoning = dearest(t, m, PRICE_REASONING);
	price_units cost = times(dearest(t, m, PRICE_INPUT), input, PRICE_TOKENS_MAX) +
			   times(out > reasoning ? out : reasoning, output, PRICE_TOKENS_MAX) +
			   times(dearest(t, m, PRICE_IMAGE), answers, PRICE_PIECES_MAX) +
			   times(dearest(t, m, PRICE_REQUEST), 1, 1);
	cost = (cost + unit - 1) / unit;
	*nano = cost > INT64_MAX ? INT64_MAX : (int64_t)cost;
	return true;
}

/* SPDX-License-Identifier: MIT */
#include "report/pricing.h"

#include <stdlib.h>

static bool cost(const void *prices, slice model, int64_t input, int64_t output, int64_t answers, int64_t *nano)
{
	return price_estimate(prices, model, input, output, answers, nano);
}

static void release(pricing *p)
{
	price_table_unref(p->prices);
	free(p);
}

pricing *pricing_new(struct budget *b, price_table *prices)
{
	pricing *p = malloc(sizeof *p);

	if (!p) {
		price_table_unref(prices);
		return NULL;
	}
	*p = (pricing){ .refs = 1, .budget = b, .prices = prices, .cost = cost, .release = release };
	return p;
}

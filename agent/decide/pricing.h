/* SPDX-License-Identifier: MIT
 *
 * What the SPOP threads need to admit a request by its client's budget: prices, and the budgets' memory. Does not
 * change once made; shared by counting references, so that a reload replaces the prices without a lock. */
#ifndef DECIDE_PRICING_H
#define DECIDE_PRICING_H

#include <stdatomic.h>

#include "base/slice.h"

typedef struct pricing {
	atomic_uint refs;
	struct budget *budget; /* of budget/; stays mapped as long as the process lives */
	void *prices;
	/* Sets `*nano` to what so many tokens of `model` may cost, and returns true; false: the model has no price. */
	bool (*cost)(const void *prices, slice model, int64_t input, int64_t output, int64_t answers, int64_t *nano);
	void (*release)(struct pricing *p); /* the last reference is gone */
} pricing;

static inline pricing *pricing_ref(pricing *p)
{
	if (p)
		atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

static inline void pricing_unref(pricing *p)
{
	if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
		p->release(p);
}

#endif

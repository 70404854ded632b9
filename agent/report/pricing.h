/* SPDX-License-Identifier: MIT
 *
 * Makes a policy's prices of the ledger's table of prices, which decide/ does not know. */
#ifndef REPORT_PRICING_H
#define REPORT_PRICING_H

#include "base/must_check.h"
#include "decide/pricing.h"
#include "ledger/price.h"

/* Makes prices with one reference for policy_set_pricing(). Borrows `b`, and takes over one reference of `prices`, on
 * failure too. NULL: out of memory. */
MUST_CHECK pricing *pricing_new(struct budget *b, price_table *prices);

#endif

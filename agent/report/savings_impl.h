/* SPDX-License-Identifier: MIT
 *
 * What the parts of the savings for a person share. */
#ifndef REPORT_SAVINGS_IMPL_H
#define REPORT_SAVINGS_IMPL_H

#include "report/savings.h"

enum { SAVINGS_LABEL_MAX = 44 }; /* columns of a name at most */

/* Returns `n` without its sign; INT64_MAX for INT64_MIN. */
static inline int64_t absolute(int64_t n)
{
	return n < 0 ? n == INT64_MIN ? INT64_MAX : -n : n;
}

/* Returns uncached input, cache reads and cache writes together. */
int64_t savings_tokens_in(const store_sums *s);
/* Returns the name of a row; "(none)" if it has none. */
const char *savings_label(const store_sums *s);
/* Returns how many decimals money has in a table whose largest amount is `most`. */
unsigned savings_decimals(int64_t most);
/* Writes `nano` into `out` (PRINT_NUMBER bytes) with `decimals`, or with more if it would round to 0. Returns `out`. */
const char *savings_money(char *out, unsigned decimals, int64_t nano);
/* Prints the table. Changes `r->rows`. */
void savings_print_table(savings_report *r);

#endif

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

/* Reads the sums of a report's period and filter. Sets `*told` to the period that they are of, and to the time since
 * which requests can be found by their labels. Returns 0, or the result of the source. */
typedef int (*savings_reading)(void *from, store_group group, const savings_report *r,
			       bool (*each)(void *, const store_sums *), savings_list *l, store_facets_told *told,
			       err *e);
/* Reads the rows of a report, and says in `*told` what they are of. */
MUST_CHECK int savings_read_all(savings_report *r, savings_reading read, void *from, store_facets_told *told, err *e);
/* Reads the totals of the period before, and makes the forecast. */
MUST_CHECK int savings_compare(savings_report *r, savings_reading read, void *from, err *e);
/* Adds `sums` to `ctx`, a savings_list. False: the list is full, or out of memory. */
bool savings_keep(void *ctx, const store_sums *sums);
/* True if the report is of some requests only. */
static inline bool savings_filtered(const savings_report *r)
{
	return !filter_is_empty(&r->only) || r->gateway;
}

/* Write the figures of `s`: as members of an object; as CSV, with a comma before each, and the end of the line. */
void savings_write_json(FILE *f, const store_sums *s);
void savings_write_csv(FILE *f, const store_sums *s);
/* Writes the members that the page asks for, each with a comma behind it. */
void savings_write_view(FILE *f, const savings_report *r);
/* Writes what the report is compared with, each member with a comma behind it; nothing unless that was asked for. */
void savings_write_compared(FILE *f, const savings_report *r);
/* Writes the rows of a report that is split. */
void savings_write_parts(FILE *f, const savings_report *r, bool csv);

/* Returns uncached input, cache reads and cache writes together. */
int64_t savings_tokens_in(const store_sums *s);
/* Returns the name of a row; "(none)" if it has none. */
const char *savings_label(const store_sums *s);
/* Returns how many decimals money has in a table whose largest amount is `most`. */
unsigned savings_decimals(int64_t most);
/* Writes `nano` into `out` (PRINT_NUMBER bytes) with `decimals`, or with more if it would round to 0. Returns `out`. */
const char *savings_money(char *out, unsigned decimals, int64_t nano);
/* Writes the name of the hour or day that begins at `time_ms`. */
void savings_bucket(char *out, size_t room, int64_t time_ms, bool hour);
/* Prints what the report is compared with; nothing unless that was asked for. */
void savings_print_compared(const savings_report *r);
/* Prints the table. Changes `r->rows`. */
void savings_print_table(savings_report *r);

#endif

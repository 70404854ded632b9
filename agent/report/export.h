/* SPDX-License-Identifier: MIT
 *
 * Every recorded request, one line each. */
#ifndef REPORT_EXPORT_H
#define REPORT_EXPORT_H

#include "base/must_check.h"
#include "ledger/columns.h"
#include "ledger/store.h"
#include "report/period.h"
#include "ship/pq.h"

/* Is told of each request that was printed. False: print no more. */
typedef bool (*export_told)(void *ctx, const record *r);

/* Prints the requests of `p` that `only` lets through to standard output, oldest first, as CSV or as one JSON object a
 * line. Stops early, with STORE_OK, if `told` says so, or if standard output fails: see finish_output(). */
MUST_CHECK store_result export_print(store *s, period p, const row_filter *only, bool csv, export_told told, void *ctx,
				     err *e);
/* The same with the requests of all gateways. The last column, `gateway`, is the name of the gateway. */
MUST_CHECK pq_result export_print_fleet(pq *c, period p, const row_filter *only, bool csv, export_told told, void *ctx,
					err *e);
/* Writes one request, as CSV or as such an object; `gateway` NULL: without the column. */
void export_write_row(FILE *f, const record *r, const char *gateway, bool csv);
/* Writes the names of the columns, as CSV; `gateway`: with that column. */
void export_write_head(FILE *f, bool gateway);
/* Prints the column `c` of `r`, as CSV has it. */
void export_column(const record *r, const record_column *c);

#endif

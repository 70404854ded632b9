/* SPDX-License-Identifier: MIT
 *
 * What the requests of a period cost and saved: read from the store, written for programs and for a person. */
#ifndef REPORT_SAVINGS_H
#define REPORT_SAVINGS_H

#include "base/must_check.h"
#include "ledger/store.h"
#include "report/period.h"
#include "report/print.h"

typedef struct savings_list {
	store_sums *items;
	size_t count, room;
	bool failed; /* out of memory */
} savings_list;

typedef struct savings_report {
	const char *by; /* the name of `group` */
	store_group group;
	period period;
	int64_t now_ms;
	savings_list rows, models; /* models: only those with unpriced requests, most tokens first */
	store_sums total;
	terminal terminal; /* for savings_print() */
} savings_report;

/* Returns what compression, caching and routing saved together. */
int64_t savings_all(const store_sums *s);

/* Begins a report: `since`, `until` and `by` as the flags of `spoa-llm savings`, each NULL for its default. Borrows
 * `by`. False: `e` says which flag is wrong. */
MUST_CHECK bool savings_prepare(savings_report *r, const char *since, const char *until, const char *by, err *e);
/* Reads the figures; tries again while the database is locked. */
MUST_CHECK store_result savings_read(store *s, savings_report *r, err *e);
/* Writes the report for a program: JSON or CSV. */
void savings_write(FILE *f, const savings_report *r, bool csv);
void savings_deinit(savings_report *r);

/* Prints the report for a person: totals, what is estimated, partial or unpriced, and a table. Changes `r->rows`, so
 * call it last. */
void savings_print(savings_report *r);

#endif

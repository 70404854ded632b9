/* SPDX-License-Identifier: MIT
 *
 * What the requests of a time cost and saved, as read from the store; for programs, and as a table for a person. */
#ifndef REPORT_SAVINGS_H
#define REPORT_SAVINGS_H

#include "ledger/store.h"
#include "report/period.h"
#include "report/print.h"

typedef struct savings_list {
	store_sums *items;
	size_t count, room;
	bool failed; /* out of memory */
} savings_list;

typedef struct savings_report {
	const char *by;
	store_group group;
	period period;
	int64_t now_ms;
	savings_list rows, models; /* models: those with unpriced requests, most tokens first */
	store_sums total;
	terminal terminal;
} savings_report;

void savings_add(store_sums *to, const store_sums *from);
/* The three savings together. */
int64_t savings_all(const store_sums *s);

/* What is asked: as `spoa-llm savings` has it, NULL texts are the defaults; they are borrowed. False: `e` says what is
 * wrong. */
bool savings_prepare(savings_report *r, const char *since, const char *until, const char *by, err *e);
store_result savings_read(store *s, savings_report *r, err *e);
/* For programs: JSON, or CSV. */
void savings_write(FILE *f, const savings_report *r, bool csv);
void savings_deinit(savings_report *r);

/* Totals, what is estimated, partial or unpriced, and the table. The rows are not to be used after it. */
void savings_print(savings_report *r);

#endif

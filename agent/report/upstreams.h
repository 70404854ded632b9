/* SPDX-License-Identifier: MIT
 *
 * What upstreams answered in a period, and how long that took, from the requests that the ledger still has. */
#ifndef REPORT_UPSTREAMS_H
#define REPORT_UPSTREAMS_H

#include "base/must_check.h"
#include "ledger/ends.h"
#include "ledger/store.h"
#include "ledger/store_times.h"
#include "report/period.h"
#include "report/print.h"

typedef struct upstreams_report {
	period period;
	bool by_member; /* report the members of pools, and not the backends */
	ends ends;
	/* Of the place of the same number in `ends`. The times that `ends` has are in buckets too wide for a report. */
	store_times times[ENDS_PLACES + 1];
	bool failed; /* out of memory */
} upstreams_report;

/* Reads the requests that arrived in `r->period` into `r->ends`, which is empty. */
MUST_CHECK store_result upstreams_read(store *s, upstreams_report *r, err *e);
void upstreams_deinit(upstreams_report *r);
/* Writes the report for a program: JSON, or CSV with one line for each route and backend, or for each route and member.
 */
void upstreams_write(FILE *f, const upstreams_report *r, bool csv);
/* Prints the report for a person. */
void upstreams_print(const upstreams_report *r, const terminal *t);

#endif

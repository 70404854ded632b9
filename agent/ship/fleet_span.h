/* SPDX-License-Identifier: MIT
 *
 * Which sums of PostgreSQL a period is made of: those of whole days where there are any, and of hours at its ends. */
#ifndef SHIP_FLEET_SPAN_H
#define SHIP_FLEET_SPAN_H

#include <stdint.h>

#include "ship/pq.h"

/* In seconds. */
typedef struct fleet_span {
	int64_t from_s, to_s;       /* the hours that begin in the period: [from, to) */
	int64_t days_s, days_end_s; /* of these, the days whose sums are there as a whole; equal: none */
	int64_t facets_s;           /* facets have all requests from here on; 0: from the first one on */
} fleet_span;

/* Returns a time that PostgreSQL tells, in seconds, or the nearest one that a ledger can have: any server may tell
 * anything. */
int64_t fleet_within(int64_t s);

/* Finds what [from_ms, to_ms) is made of; `days` false: of hours alone. */
MUST_CHECK pq_result fleet_span_of(pq *c, int64_t from_ms, int64_t to_ms, bool days, fleet_span *span, err *e);

/* The bounds as parameters of a statement, in this order: from, to, days, days_end. */
typedef struct fleet_bounds {
	char text[4][24];
} fleet_bounds;
void fleet_bounds_of(fleet_bounds *out, const fleet_span *span);

#endif

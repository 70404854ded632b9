/* SPDX-License-Identifier: MIT
 *
 * The periods of budgets, by the calendar of UTC. A day is a number: days since 1970-01-01. */
#ifndef BUDGET_PERIOD_H
#define BUDGET_PERIOD_H

#include <stdint.h>

typedef enum period_kind {
	PERIOD_DAY,
	PERIOD_WEEK, /* of ISO 8601: from Monday on */
	PERIOD_MONTH,
} period_kind;

/* Returns the day of `wall_ms`, milliseconds since 1970. */
int64_t period_day(int64_t wall_ms);
/* Returns the first day of the period that `day` is in. */
int64_t period_first(period_kind kind, int64_t day);
/* Returns the first day of the period that follows. */
int64_t period_next(period_kind kind, int64_t day);
const char *period_name(period_kind kind); /* day, week, month */

#endif

/* SPDX-License-Identifier: MIT
 *
 * Points in time and periods as a person writes them: --since, --until, --before. All times are UTC, because the
 * ledger's hours and days are. */
#ifndef REPORT_PERIOD_H
#define REPORT_PERIOD_H

#include "base/err.h"
#include "base/must_check.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct period {
	int64_t from_ms, to_ms; /* [from, to); 0 and INT64_MAX: not limited */
} period;

/* Reads a span: 30m, 24h, 7d, 4w. */
MUST_CHECK bool period_span(const char *text, int64_t *ms);

/* Reads `text` into `*ms`: a span before `now_ms` (30m, 24h, 7d, 4w), a day (2026-11-01, today, yesterday: its
 * beginning, or with `end` its end), a time (2026-11-01T13, 2026-11-01T13:30, 2026-11-01T13:30:00, each with or without
 * a Z), now, or all (0, or with `end` INT64_MAX). False: `e` says what can be written. */
MUST_CHECK bool period_point(const char *text, int64_t now_ms, bool end, int64_t *ms, err *e);

/* Reads the flags --since and --until into `p`. `since` NULL: `fallback` instead; `until` NULL: not limited. */
MUST_CHECK bool period_parse(const char *since, const char *until, const char *fallback, period *p, err *e);

/* Widens `p` to the whole hours that it touches, because the ledger has sums of whole hours. */
void period_widen(period *p);

/* Writes the members `since` and `until`, each with a comma behind it; null: no limit. */
void period_write_json(FILE *f, const period *p);

#endif

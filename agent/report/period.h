/* SPDX-License-Identifier: MIT
 *
 * Which part of the ledger a command is about, as a person says it: --since and --until, --before. All times are UTC,
 * as the sums by hour and day are. */
#ifndef REPORT_PERIOD_H
#define REPORT_PERIOD_H

#include "base/err.h"

#include <stdint.h>

typedef struct period {
	int64_t from_ms, to_ms; /* [from, to); 0 and INT64_MAX: without an end */
} period;

/* A span before `now_ms` (30m, 24h, 7d, 4w), a day (2026-11-01, today, yesterday: its beginning, or with `end` its
 * end), a time (2026-11-01T13, 2026-11-01T13:30, 2026-11-01T13:30:00, each with a Z or without), now, or all. */
bool period_point(const char *text, int64_t now_ms, bool end, int64_t *ms, err *e);

/* From two flags; NULL: not given, then `fallback` before now, up to now and later. */
bool period_parse(const char *since, const char *until, const char *fallback, period *p, err *e);

#endif

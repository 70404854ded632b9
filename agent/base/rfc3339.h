/* SPDX-License-Identifier: MIT
 *
 * Points in time as RFC 3339 writes them: 2026-11-29T01:23:45Z, 2026-11-29 02:23:45.5+01:00. */
#ifndef BASE_RFC3339_H
#define BASE_RFC3339_H

#include "base/must_check.h"
#include "base/slice.h"

enum { RFC3339_TEXT = sizeof "2026-11-29T01:23:45Z" };

/* Reads `text`, which is one point in time and nothing else, into `*ms`, milliseconds since 1970, UTC. The offset (Z or
 * +01:00) has to be there, because without it nobody knows which time is meant. False: not such a text, or a day that
 * no calendar has; `*ms` is untouched. */
MUST_CHECK bool rfc3339_read(slice text, int64_t *ms);
/* Writes `ms` in UTC, without the fraction of its second. A time outside the years 0 to 9999 is written as the nearest
 * one inside. */
void rfc3339_write(int64_t ms, char out[RFC3339_TEXT]);

#endif

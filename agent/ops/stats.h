/* SPDX-License-Identifier: MIT
 *
 * What the dashboard shows of now: rates and latencies of the last seconds, kept by a sample each second, and /stats.
 */
#ifndef OPS_STATS_H
#define OPS_STATS_H

#include "ops/host.h"

enum {
	STATS_HISTORY = 120, /* samples kept, one a second */
	STATS_NOW = 10,      /* seconds that rates and latencies of now are of */
	STATS_BUCKETS = 40,  /* of a latency histogram, at most */
};

typedef struct stats_sample {
	int64_t time_ms; /* Unix time; 0: none */
	uint64_t monotonic_ms;
	uint64_t requests, refused; /* since the start */
	uint64_t latency[STATS_BUCKETS];
} stats_sample;

typedef struct stats_ring {
	stats_sample samples[STATS_HISTORY + 1];
	size_t next; /* where the next one goes */
} stats_ring;

void stats_take(stats_ring *r, const host_snapshot *s);

typedef struct stats_now {
	double requests_per_s, refused_per_s;
	double p50_us, p99_us; /* below 0: no request */
} stats_now;

/* Of the last STATS_NOW seconds. */
stats_now stats_of_now(const stats_ring *r, const host_snapshot *s);

/* The JSON of /stats, without a newline in it. */
void stats_write(FILE *f, const host_snapshot *s, const host_check *checks, size_t checks_count, const stats_ring *r);

/* No blocking check fails. */
bool checks_ready(const host_check *checks, size_t count);
/* [{"part","ok","blocking","detail"}]; `detail` is left out (empty) where not `all`. */
void checks_write(FILE *f, const host_check *checks, size_t count, bool all);

/* Answers of the gateway itself. */
uint64_t stats_requests(const host_snapshot *s);
const char *ledger_state_name(ledger_state state); /* ok, behind, failing */

#endif

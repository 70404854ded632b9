/* SPDX-License-Identifier: MIT
 *
 * /stats: what the dashboard shows of the present. Rates and latencies come from samples, one a second. */
#ifndef OPS_STATS_H
#define OPS_STATS_H

#include <pthread.h>

#include "ops/alerts.h"

enum {
	STATS_SAMPLES = 120, /* samples kept, one a second */
	STATS_NOW = 10,      /* the seconds over which the rates and latencies of "now" are measured */
	STATS_BUCKETS = 40,  /* at most, in a latency histogram */
};

typedef struct stats_sample {
	int64_t time_ms; /* Unix time; 0: not taken yet */
	uint64_t monotonic_ms;
	uint64_t requests, refused; /* since the start */
	uint64_t latency[STATS_BUCKETS];
} stats_sample;

typedef struct stats_ring {
	pthread_mutex_t lock; /* of all below */
	stats_sample samples[STATS_SAMPLES + 1];
	size_t next; /* index of the oldest sample, which is overwritten next */
} stats_ring;

void stats_init(stats_ring *r);
void stats_deinit(stats_ring *r);

/* Adds a sample; call it each second. */
void stats_take(stats_ring *r, const host_snapshot *s);

/* Writes the JSON of /stats, without a newline in it. */
void stats_write(FILE *f, const host_snapshot *s, const host_check *checks, size_t checks_count, stats_ring *r,
		 alerts *a);
/* Writes what stats_write() wrote, `text`, with the member "role": what whoever asks may do. */
void stats_write_role(FILE *f, const char *text, size_t len, const char *role);

/* False if a check fails that is blocking. */
bool checks_ready(const host_check *checks, size_t count);
/* Writes [{"part","ok","blocking","detail"}]; without `all` each detail is empty. With `advice`
 * (else NULL) those that fail also have "advice": what to do. */
void checks_write(FILE *f, const host_check *checks, size_t count, bool all, alerts *advice);

/* Returns how many requests were decided since the start. */
uint64_t stats_requests(const host_snapshot *s);
uint64_t stats_refused(const host_snapshot *s); /* and how many of them were refused */
/* Returns the quantile `q` of `all` decisions in microseconds; `counts`: of each bucket of s->latency. */
double stats_quantile_us(const uint64_t *counts, uint64_t all, const host_snapshot *s, double q);
const char *ledger_state_name(ledger_state state); /* ok, behind, failing */

#endif

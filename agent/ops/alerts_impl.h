/* SPDX-License-Identifier: MIT
 *
 * Inside of the alerts: what their conditions look at. */
#ifndef OPS_ALERTS_IMPL_H
#define OPS_ALERTS_IMPL_H

#include <pthread.h>

#include "ops/alerts.h"
#include "ops/alerts_text.h"
#include "ops/stats.h"

enum {
	ALERTS_STEP_MS = 15000, /* between two samples that are kept */
	ALERTS_SAMPLES = 241,   /* an hour of them */
	PLACES_SAMPLES = 21,    /* five minutes of them */
	ALERTS_RULES = 64,      /* at most */
	WHAT_MAX = 300,
	REST_STEPS = 40, /* the samples of ten minutes */
};

/* What is counted from the start of the process on, or of the one that counts it. */
typedef enum alerts_counter {
	AC_DECISIONS,
	AC_REFUSED,
	AC_AUTH_UNAVAILABLE,
	AC_NO_BACKEND,
	AC_GATEWAY_UNAVAILABLE,
	AC_CONTRACT_FAILED, /* looks at which the check failed; so is the next */
	AC_BACKENDS_FAILED,
	AC_HELLOS_SHORT,
	AC_CONNECTIONS_REFUSED,
	AC_SPOP_ERRORS,
	AC_LINES_DROPPED,
	AC_LINES_FOREIGN,
	AC_LINES_MALFORMED,
	AC_RECORDS,
	AC_UNRECORDED, /* decisions about requests of a HAProxy that sends no records */
	AC_JOURNAL_DROPPED,
	AC_CHARGED,
	AC_TAP_STREAMS,
	AC_TAP_FALLBACKS,
	AC_TAP_FULL,
	AC_TAP_LOST,
	AC_UNSHIPPED,
	AC_REJECTED,
	AC_SPANS_DROPPED,
	AC_USED, /* requests that used tokens */
	AC_USED_UNKNOWN,
	AC_PRICED, /* requests that are in the sums of models */
	AC_UNPRICED,
	AC_LATENCY, /* the first of its buckets */
	ALERTS_COUNTERS = AC_LATENCY + STATS_BUCKETS,
} alerts_counter;

#define COUNTER_UNKNOWN UINT64_MAX /* nobody has told it yet */

typedef struct alerts_sample {
	int64_t mono_ms;
	uint64_t counters[ALERTS_COUNTERS];
} alerts_sample;

/* What became of the requests for an upstream. */
typedef struct place_counts {
	uint64_t answers, errors, cut,
		unanswered; /* `errors`: those of `answers` that are 5xx; `cut` are answers too */
} place_counts;

typedef struct member_rests {
	char route[RECORD_LABEL_MAX + 1], member[RECORD_MEMBER_MAX + 1];
	uint64_t steps; /* a bit for each of the last samples, the newest lowest: it rested */
} member_rests;

/* A look at this moment, with what was before it. */
typedef struct alerts_look_at {
	const alerts_moment *now;
	const host_snapshot *s;
	uint64_t counters[ALERTS_COUNTERS]; /* of this moment */
	const alerts *a;
} alerts_look_at;

typedef struct alert_rule {
	const char *name; /* in dist/alerts.yml */
	const char *part; /* the check of /readyz that fails for the same reason; NULL: none */
	/* Returns whether the condition holds, and then writes what is the matter to `what`. */
	bool (*holds)(const alerts_look_at *l, char *what, size_t room);
} alert_rule;

extern const alert_rule alert_rules[]; /* in the order of that file */
extern const size_t alert_rules_count;

typedef struct alert_state {
	alert_text text;
	bool holds, fires;
	int64_t held_ms;  /* by the monotonic clock: since when the condition holds */
	int64_t since_ms; /* the same, Unix time */
	char what[WHAT_MAX];
} alert_state;

struct alerts {
	pthread_mutex_t lock; /* of `states` */
	alert_state states[ALERTS_RULES];
	/* Only for alerts_look(). The newest sample of a ring is at [(taken - 1) % its size]. */
	alerts_sample samples[ALERTS_SAMPLES];
	place_counts places[PLACES_SAMPLES][ENDS_PLACES + 1];
	uint64_t taken;
	member_rests rests[ENDS_MEMBERS];
	size_t rests_count;
	uint64_t contract_failed, backends_failed;
};

/* Returns by how much the counter grew in the last `minutes`, or since its first value. */
uint64_t alerts_grew(const alerts_look_at *l, alerts_counter c, int minutes);
/* Returns what became of the requests for the upstream `place` (of ends) in the last five minutes. */
place_counts alerts_place_grew(const alerts_look_at *l, size_t place);

#endif

/* SPDX-License-Identifier: MIT
 *
 * What a worker thread counts. Each thread writes its own and nobody else's, so that no lock and no shared cache line
 * is on the path; any thread may read, and sums what it wants. Counters only grow, from the start of the process on. */
#ifndef NET_COUNTERS_H
#define NET_COUNTERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "decide/decision.h"

enum {
	COUNTER_ROUTES = 256, /* routes told apart, by route.slot; slot 0: legacy or none */
	LATENCY_BUCKETS = 18, /* upper bounds: latency_bounds_ns[]; one more for what is above */
	REFUSALS_KEPT = 32,   /* the last ones of a thread */
};

extern const uint64_t latency_bounds_ns[LATENCY_BUCKETS];

typedef _Atomic uint64_t counter;

/* The single writer's increment: a plain addition. */
static inline void counter_add(counter *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t counter_get(const counter *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

typedef enum outcome { OUTCOME_PASSTHROUGH, OUTCOME_REPLACE, OUTCOME_REFUSED, OUTCOMES } outcome;

/* A request that was refused, for people; texts are cut. */
typedef struct refusal_note {
	int64_t time_ms; /* Unix time; 0: none */
	refusal why;
	char id[64];
	char route[65];
	char model[65];
	char problem[128];
} refusal_note;

typedef struct net_counters {
	counter connections_opened, connections_closed, healthchecks;
	counter refused_connections, refused_memory,
		stalled;           /* beyond max_connections, beyond max_memory, never read their answers */
	counter backpressure;      /* times that reading stopped because answers were not taken */
	counter in_flight_limited; /* those of them at which max_in_flight answers waited */
	counter frames_in, frames_out, bytes_in, bytes_out; /* SPOP frames, of all types */
	counter hellos, spop_errors, hello_timeouts, accept_pauses;
	counter asked_for_more; /* refusals that are a question for the whole body; no decision */
	counter responses;      /* llm-response messages */
	counter decisions[COUNTER_ROUTES][PROTOCOLS][OUTCOMES];
	counter refusals[REFUSALS];
	counter latency[LATENCY_BUCKETS + 1]; /* of decisions, from the work at the frames that were read together to
						 their ACKs in the buffer */
	counter latency_sum_ns;
	counter turns; /* of the loop; stands still where the thread is stuck */

	pthread_mutex_t notes_lock; /* taken by the writer with trylock only: a reader never holds it up */
	refusal_note notes[REFUSALS_KEPT];
	size_t notes_next;
} net_counters;

#endif

/* SPDX-License-Identifier: MIT
 *
 * The counters of an SPOP thread. Each thread writes only its own, so that the decision path has no lock and no shared
 * cache line; any thread may read them and build sums. Counters only grow, from the start of the process on. */
#ifndef NET_COUNTERS_H
#define NET_COUNTERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "decide/decision.h"

enum {
	COUNTER_ROUTES = 256, /* slots, see route.slot; slot 0: legacy or no route, the last one: all further routes */
	LATENCY_BUCKETS = 18, /* their upper bounds: latency_bounds_ns[]; one more bucket has no bound */
	REFUSALS_KEPT = 32,   /* notes that a thread keeps of its last refusals */
};

extern const uint64_t latency_bounds_ns[LATENCY_BUCKETS];

typedef _Atomic uint64_t counter;

/* Adds without a locked instruction, because a counter has one writer. */
static inline void counter_add(counter *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t counter_get(const counter *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

typedef enum outcome {
	OUTCOME_PASSTHROUGH,
	OUTCOME_REPLACE,
	OUTCOME_REFUSED,
	OUTCOME_ANSWERED, /* by the gateway itself */
	OUTCOMES
} outcome;

/* A refused request, to be shown to people; long texts are cut. */
typedef struct refusal_note {
	int64_t time_ms; /* Unix time */
	refusal why;
	int status;
	char id[64];
	char route[65];
	char model[65];
	char problem[128];
} refusal_note;

typedef struct net_counters {
	counter connections_opened, connections_closed, healthchecks;
	counter refused_connections; /* beyond max_connections */
	counter refused_memory;      /* beyond max_memory */
	counter stalled;             /* closed because the peer did not take its answers */
	counter backpressure;        /* how often reading stopped because the peer did not take answers */
	counter in_flight_limited;   /* the part of `backpressure` in which max_in_flight answers waited */
	counter frames_in, frames_out, bytes_in, bytes_out; /* SPOP frames, of all types */
	counter hellos, spop_errors, hello_timeouts, accept_pauses;
	counter hellos_short;   /* the part of `hellos` in which HAProxy offers larger frames than the agent takes */
	counter asked_for_more; /* HAProxy was told to ask again with the whole body; not counted as decisions */
	counter responses;      /* llm-response messages */
	/* Decisions about requests of HAProxy files whose contract fits the agent, and of others. */
	counter contract_kept, contract_outdated;
	/* Decisions that refused a request of files that fit, because HAProxy's rules about clients' keys are off. */
	counter unguarded;
	/* Answers that refused a client's key, because the agent has no clients at all. */
	counter clientless;
	/* Decisions about requests of a HAProxy whose backends were made for these routes, and for others. */
	counter backends_same, backends_differ;
	counter unrecorded; /* decisions about requests of a HAProxy that sends no records (LLM_LEDGER=off) */
	counter decisions[COUNTER_ROUTES][PROTOCOLS][OUTCOMES];
	counter refusals[REFUSALS];
	/* Decisions by the time from parsing the frames that were read together until their ACKs are in the buffer. */
	counter latency[LATENCY_BUCKETS + 1];
	counter latency_sum_ns;
	counter heard_ns;   /* when bytes of HAProxy were read last, by the monotonic clock; 0: never */
	counter iterations; /* of the event loop; stands still while the thread is stuck */

	pthread_mutex_t notes_lock; /* the SPOP thread only tries it, so that no reader holds it up */
	refusal_note notes[REFUSALS_KEPT];
	size_t notes_next; /* notes taken so far; the next one goes to notes[notes_next % REFUSALS_KEPT] */
} net_counters;

#endif

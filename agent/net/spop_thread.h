/* SPDX-License-Identifier: MIT
 *
 * One of the threads of workers.h, with an event loop of its own: accepts SPOP connections, answers them, and takes
 * nothing from outside but a new policy and orders. Everything not marked otherwise belongs to the worker's own thread,
 * and to the main thread while none runs. */
#ifndef NET_SPOP_THREAD_H
#define NET_SPOP_THREAD_H

#include <stdalign.h>

#include "base/buf.h"
#include "net/spop_threads.h"

enum {
	SPOP_SCRATCH = 64 * 1024, /* bytes read at a time; most frames never leave this room */
	CACHE_LINE = 64,
};

typedef struct conn conn;

/* How many connections a thread has; on a cache line of its own. */
typedef struct spop_load {
	alignas(CACHE_LINE) atomic_uint conns;
} spop_load;

/* What the threads have in common: nothing that is touched for each request. */
typedef struct spop_shared {
	spop_limits limits;
	const listener *listeners;
	size_t listeners_count;
	unsigned threads;
	struct ev_loop *owner; /* the loop to tell when the last thread ends ... */
	ev_async *ended;       /* ... and the watcher there */
	double stall_seconds;
	double drain_seconds; /* written before `drain` ... */
	bool replaced; /* ... as this: another process answers on the same listeners, so nothing more is accepted here
			*/
	/* Orders. A thread looks at them when it is woken. */
	atomic_bool freeze, drain, stop;
	atomic_uint running;                         /* threads that still have something to do */
	alignas(CACHE_LINE) atomic_uint connections; /* of all threads */
	alignas(CACHE_LINE) _Atomic uint64_t memory; /* bytes in the buffers of all connections */
	spop_load *loads;                            /* one of each thread */
} spop_shared;

typedef struct spop_thread {
	spop_shared *shared;
	unsigned index;
	pthread_t thread;
	bool running; /* main thread: `thread` is to be joined */
	struct ev_loop *loop;
	ev_async wake;
	_Atomic(policy *) next_policy; /* any thread: what to use from the next turn on */

	policy *policy;
	ev_io *accepting; /* one per listener */
	ev_timer accept_pause;
	bool yielding; /* the pause is for a thread with fewer connections to take what came */
	ev_timer drain_end;
	ev_prepare iteration;
	ev_timer heartbeat;     /* a loop that waits turns all the same */
	conn *conns;            /* linked */
	bool draining;          /* connections go with their next answer */
	bool stopping;          /* all are told to go, none is accepted */
	unsigned char *scratch; /* what is read: CONN_KEEP bytes in front, then SPOP_SCRATCH */
	buf spare;              /* room for answers, lent to the connection that is being answered */
	llm_request request;    /* the one being answered: kept here, it needs no clearing each time */
	decision decision;
	alignas(CACHE_LINE) net_counters counters;
} spop_thread;

/* Takes over one reference of `p`, on failure too. Nothing runs yet. */
bool spop_thread_init(spop_thread *t, spop_shared *s, unsigned index, policy *p, err *e);
/* Not of one that runs. What is open is closed without a word. */
/* From its own thread: ends it where it is to end and the last connection is gone. */
void spop_thread_end_if_done(spop_thread *t);
/* Of a thread that has ended: closes its connections. */
void spop_thread_abandon(spop_thread *t);
void spop_thread_deinit(spop_thread *t);

bool spop_thread_run(spop_thread *t, err *e);
void spop_thread_join(spop_thread *t);
/* From any thread: look at the orders, and at the policy. */
void spop_thread_wake(spop_thread *t);
/* From any thread. Takes over one reference of `p`. */
void spop_thread_set_policy(spop_thread *t, policy *p);

#endif

/* SPDX-License-Identifier: MIT
 *
 * One of the threads of spop_threads.h, with an event loop of its own: accepts SPOP connections and answers them. From
 * other threads it takes only a new policy and orders. Unless marked otherwise, its members and functions are for the
 * SPOP thread itself, and for the main thread while the SPOP thread does not run. */
#ifndef NET_SPOP_THREAD_H
#define NET_SPOP_THREAD_H

#include <stdalign.h>

#include "base/buf.h"
#include "base/must_check.h"
#include "net/kept.h"
#include "net/spop_threads.h"

enum {
	SPOP_SCRATCH = 128 * 1024, /* bytes read at a time; most frames are answered without being copied from there */
	/* The largest frame of which the beginning waits in a small buffer, and is copied in front of what is read
	 * next. The beginning of a larger one waits in a buffer for the whole frame, which is read into it. */
	SPOP_FRONT = 32 * 1024,
	CACHE_LINE = 64,
};

typedef struct conn conn;

/* The number of connections of a thread; on a cache line of its own. */
typedef struct spop_load {
	alignas(CACHE_LINE) atomic_uint conns;
} spop_load;

/* Shared by all threads; nothing here is written per request. */
typedef struct spop_shared {
	spop_limits limits;
	const listener *listeners;
	size_t listeners_count;
	unsigned threads;
	struct ev_loop *owner; /* the main thread's event loop */
	ev_async *ended;       /* a watcher of `owner`, woken when the last thread ends */
	double stall_seconds;
	/* Orders, which a thread reads when it is woken. */
	atomic_bool freeze, drain, stop;
	/* How to drain; written before `drain` is set. */
	double drain_seconds;
	bool replaced;       /* another process answers on the same listeners: accept nothing more */
	atomic_uint running; /* threads that have not ended */
	alignas(CACHE_LINE) atomic_uint connections; /* of all threads */
	alignas(CACHE_LINE) _Atomic uint64_t memory; /* bytes in the buffers of all connections */
	spop_load *loads;                            /* one for each thread */
	/* Monotonic times from which on an outdated contract, frames that are too large, and backends of other routes
	 * are logged again. */
	_Atomic int64_t outdated_due_ms, frame_size_due_ms, backends_due_ms;
} spop_shared;

typedef struct spop_thread {
	spop_shared *shared;
	unsigned index;
	pthread_t thread;
	bool running; /* `thread` has to be joined; only the main thread uses this */
	struct ev_loop *loop;
	ev_async wake;
	_Atomic(policy *) next_policy; /* written by any thread; used from the next event loop iteration on */

	policy *policy;
	ev_io *accepting; /* one per listener */
	ev_timer accept_pause;
	bool yielding; /* the pause lets a thread with fewer connections accept first */
	ev_timer drain_end;
	ev_prepare iteration;
	ev_timer heartbeat; /* makes an idle event loop iterate */
	unsigned beats;
	conn *conns;            /* a linked list */
	bool draining;          /* each connection ends after its next answer */
	bool stopping;          /* all connections were told to end, and none is accepted */
	unsigned char *scratch; /* SPOP_FRONT bytes for the beginning of a frame, then SPOP_SCRATCH to read into */
	kept kept;              /* buffers of large frames */
	buf spare;              /* a buffer for answers, lent to the connection that is being answered */
	/* The request that is being answered. Not local variables, because the compiler's hardening clears those. */
	llm_request request;
	decision decision;
	alignas(CACHE_LINE) net_counters counters;
} spop_thread;

/* Initializes a thread and does not run it yet. Takes over one reference of `p`, on failure too. False: `e` says why.
 */
MUST_CHECK bool spop_thread_init(spop_thread *t, spop_shared *s, unsigned index, policy *p, err *e);
/* Frees what spop_thread_init() made. Its thread must have ended. Closes connections without DISCONNECT. */
void spop_thread_deinit(spop_thread *t);
/* Closes the connections without DISCONNECT. The thread must have ended. */
void spop_thread_abandon(spop_thread *t);
/* Leaves the event loop if the last connection is gone and the thread is stopping, or is draining because another
 * process has replaced it. Called by the thread itself. */
void spop_thread_end_if_done(spop_thread *t);

/* Starts the thread. False: `e` says why. */
MUST_CHECK bool spop_thread_run(spop_thread *t, err *e);
/* Waits for the thread's end, if it was started. */
void spop_thread_join(spop_thread *t);
/* From any thread: makes the thread read orders and policy. */
void spop_thread_wake(spop_thread *t);
/* From any thread: gives the thread a new policy. Takes over one reference of `p`. */
void spop_thread_set_policy(spop_thread *t, policy *p);

#endif

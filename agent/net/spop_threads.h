/* SPDX-License-Identifier: MIT
 *
 * The threads that answer HAProxy, as one. Functions belong to the main thread unless marked otherwise. */
#ifndef NET_SPOP_THREADS_H
#define NET_SPOP_THREADS_H

#include <ev.h>

#include "decide/policy.h"
#include "net/counters.h"
#include "net/listener.h"

typedef struct spop_limits {
	uint32_t max_frame;       /* bytes */
	unsigned max_connections; /* of all threads */
	uint64_t max_memory;      /* bytes in the buffers of all connections */
	unsigned max_in_flight;   /* answers of one connection that wait to be taken; not 0 */
	bool pipelining;          /* announced to a HAProxy that offers it */
} spop_limits;

/* Seconds after which a peer that has not taken one byte of its answers is given up. */
enum { WORKER_STALL_S = 30 };

typedef struct spop_threads spop_threads;

/* The listeners stay the caller's, and open, until spop_threads_free(). Takes over one reference of `p`. `ended` is a
 * watcher of the loop `owner`, woken when no thread has anything more to do. Nothing runs yet. NULL: `e` says why, and
 * `p` is released. */
spop_threads *spop_threads_new(const listener *listeners, size_t count, unsigned threads, spop_limits limits, policy *p,
			       struct ev_loop *owner, ev_async *ended, err *e);
/* Before spop_threads_start(), or while frozen: a connection of another process. Takes over `fd`, on failure too. It
 * counts for max_connections and max_memory, and is taken beyond them: HAProxy has it already. */
bool spop_threads_adopt(spop_threads *ts, int fd, slice state, err *e);
/* Also after spop_threads_freeze(): goes on as if nothing had happened. False: `e` says why; no thread runs. */
bool spop_threads_start(spop_threads *ts, err *e);
/* Takes over one reference of `p`. */
void spop_threads_set_policy(spop_threads *ts, policy *p);
/* Before spop_threads_start(): instead of WORKER_STALL_S. */
void spop_threads_set_stall(spop_threads *ts, double seconds);

/* Ends the threads and leaves every connection as it is. */
void spop_threads_freeze(spop_threads *ts);
/* While frozen: each connection that can be handed over. `each` returning false stops, and false is returned. The
 * descriptors stay open here until spop_threads_free(), which then closes them without a word to HAProxy. */
bool spop_threads_export(spop_threads *ts, bool (*each)(void *ctx, int fd, slice state), void *ctx);

/* While frozen, after spop_threads_export(): closes the connections here without a word to HAProxy; they live on
 * elsewhere. The counters stay. */
void spop_threads_abandon(spop_threads *ts);

/* Lets every connection go with its next answer (its last ACK and the DISCONNECT in one write), the idle ones after
 * `seconds`. Then `ended`. `replaced`: another process answers on the same listeners; nothing more is accepted here,
 * and the last connection is the end. Otherwise HAProxy is to go elsewhere: health checks are refused from now on, new
 * connections are still answered. */
void spop_threads_drain(spop_threads *ts, double seconds, bool replaced);
/* Answers what was read, says DISCONNECT on each connection, ends: `ended`. */
void spop_threads_stop(spop_threads *ts);
/* Threads that still run (a start that failed behind spop_threads_start()) are frozen first. */
void spop_threads_free(spop_threads *ts);

/* From any thread. */
unsigned spop_threads_count(const spop_threads *ts);
const net_counters *spop_threads_counters(const spop_threads *ts, unsigned thread);
/* Of all threads: connections open, bytes in buffers. */
unsigned spop_threads_connections(const spop_threads *ts);
uint64_t spop_threads_memory(const spop_threads *ts);
/* The notes of all threads, newest first; how many were written. */
size_t spop_threads_notes(spop_threads *ts, refusal_note *out, size_t room);

#endif

/* SPDX-License-Identifier: MIT
 *
 * All SPOP threads of a worker process: they answer HAProxy. Functions are for the main thread unless marked otherwise.
 */
#ifndef NET_SPOP_THREADS_H
#define NET_SPOP_THREADS_H

#include <ev.h>

#include "base/must_check.h"
#include "decide/policy.h"
#include "net/counters.h"
#include "net/listener.h"

typedef struct spop_limits {
	uint32_t max_frame;       /* bytes */
	unsigned max_connections; /* of all threads */
	uint64_t max_memory;      /* bytes in the buffers of all connections */
	unsigned max_in_flight;   /* answers that may wait until the peer of a connection takes them; not 0 */
	bool pipelining;          /* agree on it with a HAProxy that offers it */
} spop_limits;

/* Seconds after which a connection is closed whose peer has not taken a byte of its answers. */
enum { SPOP_STALL_S = 30 };

typedef struct spop_threads spop_threads;

/* Makes the threads and does not run them yet. The listeners stay the caller's, open until spop_threads_free(). Takes
 * over one reference of `p`, on failure too. `ended` is a watcher of the loop `owner`, woken when the last thread has
 * ended. NULL: `e` says why. */
spop_threads *spop_threads_new(const listener *listeners, size_t count, unsigned threads, spop_limits limits, policy *p,
			       struct ev_loop *owner, ev_async *ended, err *e);
/* Adopts a connection of another process, before spop_threads_start() or while frozen. Takes over `fd`, on failure too.
 * The connection counts for max_connections and max_memory, but is adopted even if they are reached, because HAProxy
 * has it already. False: `e` says why. */
MUST_CHECK bool spop_threads_adopt(spop_threads *ts, int fd, slice state, err *e);
/* Runs the threads; after spop_threads_freeze() they go on with their connections. False: `e` says why; no thread runs.
 */
MUST_CHECK bool spop_threads_start(spop_threads *ts, err *e);
/* Gives all threads a new policy. Takes over one reference of `p`. */
void spop_threads_set_policy(spop_threads *ts, policy *p);
/* Replaces SPOP_STALL_S; before spop_threads_start(). */
void spop_threads_set_stall(spop_threads *ts, double seconds);

/* Ends the threads and leaves every connection as it is. */
void spop_threads_freeze(spop_threads *ts);
/* While frozen: calls `each` for every connection that can be handed over, until it returns false. The descriptors stay
 * open here. False: `each` returned false, or there is no memory. */
MUST_CHECK bool spop_threads_export(spop_threads *ts, bool (*each)(void *ctx, int fd, slice state), void *ctx);
/* While frozen, after spop_threads_export(): closes the connections here without DISCONNECT, because they go on in the
 * other process. The counters stay. */
void spop_threads_abandon(spop_threads *ts);

/* Lets every connection end with its next answer (its last ACK and the DISCONNECT in one write), and all that are left
 * after `seconds`; then ends the threads and wakes `ended`. `replaced`: another process answers on the same listeners;
 * nothing more is accepted here, and a thread ends with its last connection. Otherwise HAProxy is to choose another
 * agent: health checks are refused from now on, and new connections are still answered. */
void spop_threads_drain(spop_threads *ts, double seconds, bool replaced);
/* Answers what was read, says DISCONNECT on each connection, ends the threads, wakes `ended`. */
void spop_threads_stop(spop_threads *ts);
/* Freezes threads that still run, then frees everything; closes connections without DISCONNECT. */
void spop_threads_free(spop_threads *ts);

/* ---- from any thread */

unsigned spop_threads_count(const spop_threads *ts);
const net_counters *spop_threads_counters(const spop_threads *ts, unsigned thread);
/* The open connections of all threads, and the bytes in their buffers. */
unsigned spop_threads_connections(const spop_threads *ts);
uint64_t spop_threads_memory(const spop_threads *ts);
/* Copies the notes of refused requests of all threads, newest first, up to `room`. Returns how many. */
size_t spop_threads_notes(spop_threads *ts, refusal_note *out, size_t room);

#endif

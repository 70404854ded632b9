/* SPDX-License-Identifier: MIT
 *
 * The threads that answer HAProxy, as one. Functions belong to the main thread unless marked otherwise. */
#ifndef NET_WORKERS_H
#define NET_WORKERS_H

#include <ev.h>

#include "decide/policy.h"
#include "net/counters.h"
#include "net/listener.h"

typedef enum worker_pipelining { WORKER_PIPELINING_AUTO, WORKER_PIPELINING_ON, WORKER_PIPELINING_OFF } worker_pipelining;

typedef struct worker_limits {
	uint32_t max_frame;       /* bytes */
	unsigned max_connections; /* of all threads */
	uint64_t max_memory;      /* bytes in the buffers of all connections */
	unsigned max_in_flight;   /* answers of one connection that wait to be taken; not 0 */
	worker_pipelining pipelining;
} worker_limits;

/* Seconds after which a peer that has not taken one byte of its answers is given up. */
enum { WORKER_STALL_S = 30 };

typedef struct workers workers;

/* The listeners stay the caller's, and open, until workers_free(). Takes over one reference of `p`. `ended` is a watcher of the
 * loop `owner`, woken when no thread has anything more to do. Nothing runs yet. NULL: `e` says why, and `p` is released. */
workers *workers_new(const listener *listeners, size_t count, unsigned threads, worker_limits limits, policy *p,
		     struct ev_loop *owner, ev_async *ended, err *e);
/* Before workers_start(), or while frozen: a connection of another process. Takes over `fd`, on failure too. It counts for
 * max_connections and max_memory, and is taken beyond them: HAProxy has it already. */
bool workers_adopt(workers *ws, int fd, slice state, err *e);
/* Also after workers_freeze(): goes on as if nothing had happened. False: `e` says why; no thread runs. */
bool workers_start(workers *ws, err *e);
/* Takes over one reference of `p`. */
void workers_set_policy(workers *ws, policy *p);
/* Before workers_start(): instead of WORKER_STALL_S. */
void workers_set_stall(workers *ws, double seconds);

/* Ends the threads and leaves every connection as it is. */
void workers_freeze(workers *ws);
/* While frozen: each connection that can be handed over. `each` returning false stops, and false is returned. The descriptors
 * stay open here until workers_free(), which then closes them without a word to HAProxy. */
bool workers_export(workers *ws, bool (*each)(void *ctx, int fd, slice state), void *ctx);

/* While frozen, after workers_export(): closes the connections here without a word to HAProxy; they live on elsewhere. The counters stay. */
void workers_abandon(workers *ws);

/* Lets every connection go with its next answer (its last ACK and the DISCONNECT in one write), the idle ones after `seconds`. Then
 * `ended`. `replaced`: another process answers on the same listeners; nothing more is accepted here, and the last connection is the end.
 * Otherwise HAProxy is to go elsewhere: health checks are refused from now on, new connections are still answered. */
void workers_drain(workers *ws, double seconds, bool replaced);
/* Answers what was read, says DISCONNECT on each connection, ends: `ended`. */
void workers_stop(workers *ws);
/* Threads that still run (a start that failed behind workers_start()) are frozen first. */
void workers_free(workers *ws);

/* From any thread. */
unsigned workers_threads(const workers *ws);
const net_counters *workers_counters(const workers *ws, unsigned thread);
/* Of all threads: connections open, bytes in buffers. */
unsigned workers_connections(const workers *ws);
uint64_t workers_memory(const workers *ws);
/* The notes of all threads, newest first; how many were written. */
size_t workers_notes(workers *ws, refusal_note *out, size_t room);

#endif

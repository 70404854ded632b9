/* SPDX-License-Identifier: MIT
 *
 * What master and worker process say to each other, by fdpass messages on the worker's control socket.
 *
 *   upgrade:  master                      old worker                      new worker
 *     SIGUSR2 starts the new binary  ->                                   reads its configuration
 *                                  <------------------------------------- PREPARED
 *     HANDOVER + one end of a pair  ->    stops its SPOP threads, sends   receives the connections from the other
 *                                         the connections            ->   end, which it was started with
 *                                                                    <-   TAKEN
 *                                         COMMIT, closes its copies  ->   answers HAProxy; READY
 *                                         stops the ledger, sends its
 *                                         log streams, END, exits 0  ->   opens the ledger
 *     If the new worker dies or hangs before COMMIT, the old worker goes on with its connections: RESUMED. The messages
 *     on the pair are in net/handover.h. */
#ifndef PROC_CONTROL_H
#define PROC_CONTROL_H

#include "base/fdpass.h"
#include "base/must_check.h"

/* The environment of a worker process. */
#define CONTROL_VARIABLE "SPOA_LLM_CONTROL"   /* the descriptor of the control socket, a number */
#define HANDOVER_VARIABLE "SPOA_LLM_HANDOVER" /* the descriptor of the pair's end; not set: nothing is handed over */
#define MEMORY_VARIABLE "SPOA_LLM_MEMORY"     /* the descriptor of the memory that workers share, if there is one */
#define RESTARTS_VARIABLE "SPOA_LLM_RESTARTS" /* how many workers the master has started in place of a crashed one */

enum {
	CONTROL_VERSION = 1, /* of the messages below; in PREPARED's body */
	WORKER_FILES =
		64,       /* open files that a worker needs before HAProxy connects, beside those of its SPOP threads */
	THREAD_FILES = 3, /* those of each SPOP thread's event loop */
};

typedef enum control_type {
	/* worker -> master */
	/* Hold this descriptor for the next worker. Body: u8 1 if the master is to remove the socket's file, else 0 */
	CONTROL_KEEP = 1,
	/* The configuration is good. Body: u32 CONTROL_VERSION, u32 watchdog in seconds (these two in every version),
	 * u32 log level, u32 log format (log.h) for the master's own lines. A worker that is READY says PREPARED again
	 * after each reload. */
	CONTROL_PREPARED,
	CONTROL_READY,     /* this worker answers HAProxy */
	CONTROL_ALIVE,     /* every SPOP thread has run its event loop since the last ALIVE */
	CONTROL_RELOADING, /* for the service manager; READY follows */
	CONTROL_RELEASED,  /* this worker has no connections any more, because the new one has them or they have ended:
			      it closes the ledger and ends */
	CONTROL_RESUMED,   /* old worker: the handover failed, and this worker answers again */
	CONTROL_DRAINING, /* old worker: the new one could not take the connections; they end one by one, then exit 0 */
	/* Hold this memory (a memfd) for the next workers, in place of the one that you hold: from this worker's READY
	 * on, so that a new version that fails leaves the old one its memory. */
	CONTROL_MEMORY,
	/* master -> worker */
	CONTROL_HANDOVER = 64, /* hand over through the descriptor that comes along, one end of the pair */
	CONTROL_UPGRADE_DRAIN, /* nothing can be handed over: let each connection end, then exit 0 */
} control_type;

/* The worker's side. */
typedef struct control {
	int fd;       /* close-on-exec; readable when control_hear() has a message */
	int handover; /* the new worker's end of the pair; -1: nothing is handed over */
	int memory;   /* what the master holds for its workers; -1: nothing */
	unsigned restarts;
} control;

/* Reads the variables above and removes them from the environment. False: `e` says why; an empty `e` means that this
 * process has no master. */
MUST_CHECK bool control_init(control *c, err *e);
/* Sends a message without waiting. The descriptors stay the caller's. False: `e` says why: the master is gone, or it
 * has read nothing for so long that the socket is full. */
MUST_CHECK bool control_say(control *c, control_type type, slice body, const int *fds, size_t fds_count, err *e);
/* Receives a message, for fdpass_deinit(). END: the master is gone. */
fdpass_result control_hear(control *c, fdpass_message *m, err *e);

#endif

/* SPDX-License-Identifier: MIT
 *
 * What master and worker process say to each other, by fdpass messages on the worker's control socket.
 *
 *   upgrade:  master                      old worker                      new worker
 *     SIGUSR2 starts the new binary  ->                                   reads its configuration
 *                                  <------------------------------------- PREPARED
 *     HANDOVER + one end of a pair  ->    stops turning, sends its        receives them from the other end,
 *                                         connections over the pair  ->   which it was started with; TAKEN
 *                                         closes its copies, stops the    answers HAProxy; READY
 *                                         ledger, sends its streams,
 *                                         END, exits 0               ->   opens the ledger
 *     the new worker dies or hangs before TAKEN: the pair ends, the old one goes on as if nothing had happened. */
#ifndef PROC_CONTROL_H
#define PROC_CONTROL_H

#include "base/fdpass.h"

/* The environment of a worker process. */
#define CONTROL_VARIABLE "SPOA_LLM_CONTROL"   /* number of the control socket's descriptor */
#define HANDOVER_VARIABLE "SPOA_LLM_HANDOVER" /* number of its end of the pair; not set: nothing is handed over */
#define RESTARTS_VARIABLE \
	"SPOA_LLM_RESTARTS" /* how often the master has started a worker again after a crash, decimal */

enum {
	CONTROL_VERSION = 1, /* of the messages below; in PREPARED's body */
	CONTROL_TIMEOUT_MS = 5000,
};

typedef enum control_type {
	/* worker -> master */
	CONTROL_KEEP = 1, /* one descriptor that the master holds for the next worker. Body: u8 1 where its socket file
			     is ours to remove, else 0 */
	/* The configuration is good. Body: u32 CONTROL_VERSION, u32 watchdog in seconds (these two in every version),
	 * u32 log level, u32 log format (log.h) for the master's own lines. A worker that is READY says it again after
	 * a reload that changed one of them. */
	CONTROL_PREPARED,
	CONTROL_READY,     /* answers HAProxy */
	CONTROL_ALIVE,     /* every thread has turned since the last one */
	CONTROL_RELOADING, /* for the service manager; READY follows */
	CONTROL_RELEASED,  /* the old worker after TAKEN: its connections are gone */
	CONTROL_RESUMED,   /* the old worker, where the handover did not come about */
	CONTROL_DRAINING, /* the old worker, where the new one took nothing but answers HAProxy: it lets each connection
			     go, then exits 0 */
	/* master -> worker */
	CONTROL_HANDOVER = 64, /* one descriptor: the pair's end */
	CONTROL_UPGRADE_DRAIN, /* nothing can be handed over: let each connection go, then exit 0 */
} control_type;

/* The worker's side. */
typedef struct control {
	int fd;       /* close-on-exec; readable: control_hear() has something */
	int handover; /* of the pair; -1: nothing is handed over */
	unsigned restarts;
} control;

/* From the environment, and out of it. False with an empty `e`: this process has no master. */
bool control_init(control *c, err *e);
/* False: the master is gone; its worker ends too. */
bool control_say(control *c, control_type type, slice body, const int *fds, size_t fds_count);
/* For fdpass_deinit(). END: the master is gone. */
fdpass_result control_hear(control *c, fdpass_message *m, err *e);

#endif

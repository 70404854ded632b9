/* SPDX-License-Identifier: MIT
 *
 * The parts of the worker process, which run.c puts together and leave.c takes apart. */
#ifndef SERVE_RUN_IMPL_H
#define SERVE_RUN_IMPL_H

#include <ev.h>

#include "net/spop_threads.h"
#include "serve/admin_host.h"
#include "serve/clients.h"
#include "serve/credentials.h"
#include "serve/recording.h"
#include "serve/run.h"
#include "serve/spending.h"

typedef struct agent {
	config *config;
	const option_text *flags;
	size_t flags_count;
	control *master;
	struct ev_loop *loop;
	listener listeners[LISTEN_MAX];
	listener admin_listeners[LISTEN_MAX];
	spop_threads *spop_threads;
	policy *policy;
	credentials *credentials;
	clients_file clients;
	recording *recording; /* NULL: no ledger is kept */
	spending *spending;   /* NULL: no client has had a limit that the agent counts; lives until the process ends */
	admin_host *admin_host;
	int handover; /* the socket to the old worker, until it has closed its ledger; -1: none */
	bool stopping;
	bool leaving;         /* another worker serves; this one lets its connections end */
	bool master_deaf;     /* the last message to the master was lost */
	uint64_t *iterations; /* of each thread, at the last ALIVE */
	ev_io control_io, handover_io;
	ev_signal term, hup, usr1;
	ev_timer refresh, alive;
	ev_async ended, reload;
} agent;

/* ---- run.c */

/* Tells the master, while the event loop runs. The first message that is lost is logged; decisions go on. */
void run_tell(agent *a, control_type type);

/* ---- leave.c */

/* Closes the ledger for good. `sock`: the new worker gets the log streams there, and is told when the ledger is closed;
 * -1: there is none. */
void leave_ledger(agent *a, int sock);
/* Hears the old worker: it gives a log stream, or has closed the ledger, which ends `handover`. */
void leave_hear_old(agent *a);
/* Opens the ledger of a worker that ends and could not open it yet, because the old worker closes it slowly: only this
 * worker can read the lines that HAProxy has sent meanwhile. Waits for the old worker, but not for ever. */
void leave_record_late(agent *a);

/* libev's callbacks: a message of the master, SIGTERM, SIGUSR1, and the end of the last SPOP thread. */
void leave_on_control(struct ev_loop *loop, ev_io *io, int events);
void leave_on_term(struct ev_loop *loop, ev_signal *sig, int events);
void leave_on_usr1(struct ev_loop *loop, ev_signal *sig, int events);
void leave_on_ended(struct ev_loop *loop, ev_async *async, int events);

#endif

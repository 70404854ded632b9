/* SPDX-License-Identifier: MIT
 *
 * Shows the running agent to the admin server: implements ops_host over SPOP threads, policy and ledger. The functions
 * are for the main thread; the threads of the admin server read what was set here. */
#ifndef SERVE_ADMIN_HOST_H
#define SERVE_ADMIN_HOST_H

#include <ev.h>

#include "config/config.h"
#include "net/spop_threads.h"
#include "serve/clients.h"
#include "serve/recording.h"

typedef struct admin_host admin_host;

/* Makes the host. `c`, `ts` and `r` (NULL: no ledger is kept) stay the caller's, and must exist until
 * admin_host_free(), `r` until it is replaced by admin_host_set_recording(). Takes a reference of `p`. `reload` is a
 * watcher of `loop`, woken by POST /reload. NULL: out of memory. */
admin_host *admin_host_new(const config *c, spop_threads *ts, policy *p, recording *r, unsigned restarts,
			   struct ev_loop *loop, ev_async *reload);
/* Stops serving and frees `h`. False: admin_host_stop_serving() failed; `h` and everything that it uses must stay. */
bool admin_host_free(admin_host *h);

/* Serves on these listeners of c->admin_listen (fd -1: not used), which stay the caller's, open until
 * admin_host_free(). False: `e` says why. */
bool admin_host_serve_on(admin_host *h, const listener listeners[LISTEN_MAX], err *e);
/* Tries again to serve on the listeners of admin_host_serve_on(), if it failed. False: `e` says why. */
bool admin_host_serve(admin_host *h, err *e);
/* Leaves new connections to the worker that takes over; those that are there are served. */
void admin_host_quiesce(admin_host *h);
/* Waits until those are served, for a moment at most, because one may wait for a disk. */
void admin_host_finish(const admin_host *h);
/* Stops serving for good: each answer under way is finished or cut off, and then no thread of the admin server uses the
 * SPOP threads or the recording any more. False: a thread still waits for a disk; it is left behind, and logged. */
bool admin_host_stop_serving(admin_host *h);

/* Replaces the policy. Takes a reference of its own. */
void admin_host_set_policy(admin_host *h, policy *p);
/* Replaces the recording. NULL: the ledger is closed. */
void admin_host_set_recording(admin_host *h, recording *r);
/* Notes that the agent drains. */
void admin_host_draining(admin_host *h);
/* Notes what became of the file of clients. */
void admin_host_clients(admin_host *h, const clients_file *f);
/* Notes the result of a reload. */
void admin_host_reloaded(admin_host *h, bool ok, const char *problem);

/* True: a POST /reload waits. The caller reloads, then answers one of them by admin_host_reload_done(). */
bool admin_host_reload_asked(admin_host *h);
/* Gives one waiting POST /reload the result: the number of enabled `routes`, or the error `e` if not `ok`. */
void admin_host_reload_done(admin_host *h, bool ok, size_t routes, const err *e);

#endif

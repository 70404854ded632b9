/* SPDX-License-Identifier: MIT
 *
 * The running agent as the admin server shows it: implements ops_host over workers, policy and ledger. Functions belong
 * to the main thread; what the admin server asks comes from its own threads and is answered here from what was set. */
#ifndef SERVE_ADMIN_HOST_H
#define SERVE_ADMIN_HOST_H

#include <ev.h>

#include "config/config.h"
#include "net/spop_threads.h"
#include "serve/recording.h"

typedef struct admin_host admin_host;

/* `c`, `ts` and `r` (NULL: no ledger is kept) stay the caller's and outlive the observer or are set to NULL first; of
 * `p` a reference is taken. `reload` is a watcher of `loop`, woken when POST /reload asks. NULL: out of memory. */
admin_host *admin_host_new(const config *c, spop_threads *ts, policy *p, recording *r, unsigned restarts,
			   struct ev_loop *loop, ev_async *reload);
/* False: as admin_host_stop_serving(); `o` and all that it was given has to stay. */
bool admin_host_free(admin_host *o);

/* Serves c->admin_listen on these (fd -1: not used); they stay the caller's, open until admin_host_free(). */
bool admin_host_serve_on(admin_host *o, const listener listeners[LISTEN_MAX], err *e);
/* The same, where it is not done yet. */
bool admin_host_serve(admin_host *o, err *e);
/* For good. Every answer under way is finished or cut off; the workers and the recording are not touched any more
 * afterwards. False: one of them waits for a disk, so long that it is left behind (and logged). */
bool admin_host_stop_serving(admin_host *o);

/* Takes a reference of its own. */
void admin_host_set_policy(admin_host *o, policy *p);
void admin_host_set_recording(admin_host *o, recording *r);
void admin_host_draining(admin_host *o);
void admin_host_reloaded(admin_host *o, bool ok, const char *problem);

/* Does somebody wait for a reload? Then admin_host_reload_done() is called next, which wakes them all. */
bool admin_host_reload_asked(admin_host *o);
void admin_host_reload_done(admin_host *o, bool ok, size_t routes, const err *e);

#endif

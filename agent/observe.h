/* SPDX-License-Identifier: MIT
 *
 * The running agent as the admin server shows it: implements ops_host over workers, policy and ledger. Functions belong to the main
 * thread; what the admin server asks comes from its own threads and is answered here from what was set. */
#ifndef OBSERVE_H
#define OBSERVE_H

#include <ev.h>

#include "config.h"
#include "net/workers.h"
#include "recording.h"

typedef struct observer observer;

/* `c`, `ws` and `r` (NULL: no ledger is kept) stay the caller's and outlive the observer or are set to NULL first; of `p` a reference
 * is taken. `reload` is a watcher of `loop`, woken when POST /reload asks. NULL: out of memory. */
observer *observer_new(const config *c, workers *ws, policy *p, recording *r, unsigned restarts, struct ev_loop *loop, ev_async *reload);
/* False: as observer_stop_serving(); `o` and all that it was given has to stay. */
bool observer_free(observer *o);

/* Serves c->admin_listen on these (fd -1: not used); they stay the caller's, open until observer_free(). */
bool observer_serve_on(observer *o, const listener listeners[LISTEN_MAX], err *e);
/* The same, where it is not done yet. */
bool observer_serve(observer *o, err *e);
/* For good. Every answer under way is finished or cut off; the workers and the recording are not touched any more afterwards. False: one
 * of them waits for a disk, so long that it is left behind (and logged). */
bool observer_stop_serving(observer *o);

/* Takes a reference of its own. */
void observer_set_policy(observer *o, policy *p);
void observer_set_recording(observer *o, recording *r);
void observer_draining(observer *o);
void observer_reloaded(observer *o, bool ok, const char *problem);

/* Does somebody wait for a reload? Then observer_reload_done() is called next, which wakes them all. */
bool observer_reload_asked(observer *o);
void observer_reload_done(observer *o, bool ok, size_t routes, const err *e);

#endif

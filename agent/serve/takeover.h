/* SPDX-License-Identifier: MIT
 *
 * How a new worker process takes over from the old one (net/handover.h has the messages, proc/control.h their order).
 * Until the old worker says COMMIT, the connections are its own, and it can go on with them as if nothing had happened.
 */
#ifndef SERVE_TAKEOVER_H
#define SERVE_TAKEOVER_H

#include "base/must_check.h"
#include "net/spop_threads.h"

typedef enum takeover_given {
	TAKEOVER_TAKEN,   /* the new worker has the connections: read and write nothing more here */
	TAKEOVER_REFUSED, /* the new worker speaks another version: drain */
	TAKEOVER_FAILED,  /* the new worker is gone: go on */
} takeover_given;

/* ---- old worker */

/* Waits for the new worker's HELLO, while the SPOP threads run. TAKEN: nothing is taken yet, but takeover_give() may
 * follow, because the new worker speaks our version. */
MUST_CHECK takeover_given takeover_greeted(int sock);
/* Then gives the connections, while the SPOP threads are frozen. Returns TAKEN or FAILED. */
MUST_CHECK takeover_given takeover_give(int sock, spop_threads *ts);
/* Then gives a log stream; to be passed to intake_stop() as `each`. `ctx` is the socket, an int *. */
bool takeover_give_stream(void *ctx, int fd, slice begun);
/* Last: says that the ledger is closed. */
void takeover_give_end(int sock);

/* ---- new worker */

typedef enum takeover_taken {
	TAKEOVER_ALL,  /* the connections are ours; log streams and the end of the old ledger follow on the socket */
	TAKEOVER_NONE, /* there are none to take, because the old worker died or had nothing to give: begin without */
	TAKEOVER_HALF, /* failed half way: this process has to end, so that the old worker goes on */
} takeover_taken;

/* Takes the connections, before the SPOP threads start. */
MUST_CHECK takeover_taken takeover_take(int sock, spop_threads *ts);

#endif

/* SPDX-License-Identifier: MIT
 *
 * How one worker process takes over from another (net/handover.h has the messages, proc/control.h the order of things).
 * Until the old one has said COMMIT the connections are its own, and it can go on with them as if nothing had happened.
 */
#ifndef SERVE_TAKEOVER_H
#define SERVE_TAKEOVER_H

#include "net/spop_threads.h"

typedef enum takeover_given {
	TAKEOVER_TAKEN,   /* they are the new one's: not one more byte is to be read or written here */
	TAKEOVER_REFUSED, /* the new one does not understand us: drain */
	TAKEOVER_FAILED,  /* the new one is gone: go on */
} takeover_given;

/* The old one, its threads turning: is the new one there (TAKEN), and does it speak our version? */
takeover_given takeover_greeted(int sock);
/* Then, its threads frozen: gives its connections. TAKEN or FAILED. */
takeover_given takeover_give(int sock, spop_threads *ts);
/* Behind them, in the form of intake_stop()'s `each`; `ctx` is the socket, an int *. */
void takeover_give_stream(void *ctx, int fd, slice begun);
/* And last: the ledger is free. */
void takeover_give_end(int sock);

typedef enum takeover_taken {
	TAKEOVER_ALL,  /* adopted; streams and the end of the ledger's old life follow on the socket */
	TAKEOVER_NONE, /* there is nothing to have (a version that we do not speak, or the old one died): begin without
			*/
	TAKEOVER_HALF, /* we failed: this process has to end, so that the old one goes on */
} takeover_taken;

/* The new one, its threads not started yet. */
takeover_taken takeover_take(int sock, spop_threads *ts);

#endif

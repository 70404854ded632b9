/* SPDX-License-Identifier: MIT
 *
 * One SPOP connection of an SPOP thread: reads frames, has each NOTIFY decided, writes the ACKs. Nothing is read from a
 * peer that does not read its answers. Bad bytes end this connection and nothing else. */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "base/must_check.h"
#include "net/spop_thread.h"

enum {
	CONN_OUT_HIGH = 256 * 1024,  /* with so many bytes waiting to be written, no further frame is answered */
	CONN_KEEP = 4096,            /* bytes of buffer that an idle connection keeps */
	CONN_FRAME_MAX = 1024 << 20, /* the largest max-frame-size that the configuration allows */
};

/* Returns the largest frame that a connection takes: `max_frame`, or less where its buffer would not fit
 * `max_memory`. */
uint32_t conn_largest_frame(uint32_t max_frame, uint64_t max_memory);

/* Opens a connection on `fd`, which t->shared->connections counts already. Takes over `fd`, on failure too. */
void conn_open(spop_thread *t, int fd);
/* Answers the frames that have arrived, sends DISCONNECT(0), and closes the connection when the peer ends it, after a
 * second at the latest. The connection may be gone afterwards. */
void conn_finish(conn *c);
/* Closes at once and frees the connection. */
void conn_close(conn *c);
/* Returns the next connection of the same thread; NULL: `c` is the last one. */
conn *conn_next(conn *c);
/* Goes on with a connection that was adopted, or whose thread was frozen. Called in the SPOP thread, before its event
 * loop runs. The connection may be gone afterwards. */
void conn_resume(conn *c);

/* ---- from one process to the next (handover.h), while the SPOP thread does not run */

int conn_fd(const conn *c);
/* False: the connection is ending, and stays in this process. */
bool conn_can_go(const conn *c);
/* Appends the state of the connection to `out`, without its descriptor. False: no memory. */
MUST_CHECK bool conn_export(const conn *c, buf *out);
/* Makes a connection from what conn_export() wrote in another process, for conn_resume(). Takes over `fd`, on failure
 * too. Checks `state`, which may come from another version. False: `e` says why. */
MUST_CHECK bool conn_adopt(spop_thread *t, int fd, slice state, err *e);

#endif

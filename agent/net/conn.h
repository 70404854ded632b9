/* SPDX-License-Identifier: MIT
 *
 * One SPOP connection of a worker: reads, has each NOTIFY decided, writes the ACKs. A peer that does not read stops
 * being read from; bad bytes end this connection and nothing else. */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "net/spop_thread.h"

enum {
	CONN_OUT_HIGH = 256 * 1024,        /* bytes of ACKs that wait before no further frame is answered */
	CONN_KEEP = 4096,                  /* bytes of buffer that an idle connection keeps */
	CONN_FRAME_MAX = 64 * 1024 * 1024, /* the largest max-frame-size that a worker can have agreed on */
};

/* Takes over `fd`, on failure too. It is counted in w->shared->connections already. */
void conn_open(spop_thread *w, int fd);
/* Answers what has been read, says DISCONNECT(0), and closes as soon as the peer has it. */
void conn_finish(conn *c);
/* At once. The connection is gone afterwards. */
void conn_close(conn *c);
conn *conn_next(conn *c);
/* In the loop's thread, before the loop runs: goes on with what is there. The connection may be gone afterwards. */
void conn_resume(conn *c);

/* ---- from one process to the next (handover.h). While the worker does not run. */

int conn_fd(const conn *c);
/* False: it is on its way out, and stays here. */
bool conn_can_go(const conn *c);
/* Appends the connection as it is, without its descriptor. False: no memory. */
bool conn_export(const conn *c, buf *out);
/* What conn_export() wrote, in another process, for conn_resume(). Takes over `fd`, on failure too. Everything is
 * looked at before it is used. */
bool conn_adopt(spop_thread *w, int fd, slice state, err *e);

#endif

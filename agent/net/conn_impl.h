/* SPDX-License-Identifier: MIT
 *
 * Shared by conn.c, conn_answer.c and conn_handover.c; no other file includes it. */
#ifndef NET_CONN_IMPL_H
#define NET_CONN_IMPL_H

#include "base/must_check.h"
#include "net/conn.h"

/* Room for each frame that is not an ACK: HELLO, and DISCONNECT with a static text. */
enum { CONTROL_ROOM = 512 };

struct conn {
	spop_thread *spop_thread;
	conn *prev, *next;
	int fd;
	bool leaving;  /* DISCONNECT is in `out` or was sent: what arrives is thrown away */
	bool said;     /* the first try to write the DISCONNECT was made, and LINGER_TIMEOUT runs */
	bool answered; /* a frame was answered since draining began: DISCONNECT follows when no frame is left */
	ev_io readable;
	ev_io writable;
	ev_timer timer; /* leaving: to close; before HELLO: to wait for HELLO; else: for the peer to take answers */
	spop_session session;
	buf in;           /* part of a frame, or frames that wait until `out` is written */
	buf out;          /* what the peer has not taken yet; while frames are answered, the thread's spare buffer */
	unsigned waiting; /* frames written to `out` since it was last empty: max_in_flight and a DISCONNECT at most */
	size_t large; /* bytes of the last large frame: the next frame gets as much room; 0: a read brought no more than
			 a small frame since */
	size_t held;  /* bytes of both buffers that shared->memory counts */
};

/* Makes a connection and starts none of its watchers. NULL: no memory; `fd` is closed and no longer counted. */
conn *conn_new(spop_thread *t, int fd);
/* Sets the limits of the buffers by the session's max-frame-size. */
void conn_set_limits(conn *c);
/* Counts the size of the buffers in shared->memory. False: they have grown, and all connections together are beyond
 * max_memory. */
bool conn_account(conn *c);

/* Reserves `len` bytes in `out`. False: no memory. */
MUST_CHECK bool conn_room(conn *c, size_t len);
/* Writes DISCONNECT into `out`; what the peer sends from now on is thrown away. */
void conn_leave(conn *c, spop_status status, slice message);
/* Answers frames of `*in` into `out`, which is empty, until no whole frame is left, or too many or too large answers
 * wait to be written. Returns the size of the frame that has begun (FRAME_PREFIX if none has); 0: whole frames are
 * left. */
size_t conn_answer(conn *c, slice *in);

#endif

/* SPDX-License-Identifier: MIT
 *
 * What conn.c, conn_answer.c and conn_handover.c share; nobody else includes it. */
#ifndef NET_CONN_IMPL_H
#define NET_CONN_IMPL_H

#include "net/conn.h"

/* The largest frame we write besides ACKs: HELLO and DISCONNECT with a static text. */
enum { CONTROL_ROOM = 512 };

struct conn {
	spop_thread *spop_thread;
	conn *prev, *next;
	int fd;
	bool leaving;  /* DISCONNECT is written or on its way: what arrives is thrown away */
	bool said;     /* it was tried to write it, and the time to read it runs */
	bool answered; /* since draining began: it goes as soon as no frame is left */
	ev_io readable;
	ev_io writable;
	ev_timer timer; /* leaving: until the end; before HELLO: for it; else: for the peer to take answers */
	spop_session session;
	buf in;           /* a frame that is not whole yet, or frames that wait for room in `out` */
	buf out;          /* what the peer has not taken yet; while frames are answered, the worker's spare buffer */
	unsigned waiting; /* frames written to `out` since it was last empty: max_in_flight at the most, and a
			     DISCONNECT */
	size_t held;      /* bytes that the shared account has of both */
};

/* A connection with no watcher started. NULL: no memory; then `fd` is closed and no longer counted. */
conn *conn_new(spop_thread *w, int fd);
/* By the max-frame-size that is agreed now. */
void conn_set_limits(conn *c);
/* Brings the shared account up to date. False: the buffers have grown, and all together are beyond max_memory. */
bool conn_account(conn *c);

/* Room for `len` bytes of answer in `out`. */
bool conn_room(conn *c, size_t len);
/* DISCONNECT into `out`; what the peer sends from now on is thrown away. */
void conn_leave(conn *c, spop_status status, slice message);
/* With `out` empty. Answers the frames in `*in` until they end, or too much or too many wait to be written. Bytes that
 * the frame that has begun takes in all (FRAME_PREFIX where none has); 0 while frames are left. */
size_t conn_answer(conn *c, slice *in);

#endif

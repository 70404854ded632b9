/* SPDX-License-Identifier: MIT
 *
 * Takes in HAProxy's log lines: octet-counted streams (`LENGTH SP MESSAGE`, from a ring) and datagrams. All of one
 * event loop's turn is handed over before `turn` is called, once. */
#ifndef NET_LOGSOCK_H
#define NET_LOGSOCK_H

#include <ev.h>

#include "net/listener.h"

enum {
	LOGSOCK_LISTENERS = 8,
	LOGSOCK_STREAMS = 256,    /* connections at a time; HAProxy has one for each ring and process */
	LOGSOCK_BATCH = 64,       /* datagrams in one system call */
	LOGSOCK_LINE_MAX = 16384, /* bytes of one message; a larger one is malformed */
};

typedef struct logsock logsock;

typedef struct logsock_handler {
	void *ctx;
	void (*line)(void *ctx, slice message);
	void (*bad_framing)(void *ctx);             /* a stream whose lengths cannot be followed; it is closed */
	void (*dropped)(void *ctx, uint32_t count); /* datagrams that the kernel had no room for */
	void (*turn)(void *ctx);                    /* what was handed over is all there is for now */
} logsock_handler;

/* Takes over the listeners, and closes them at the end. Nothing is read yet: another process may be reading from them.
 * NULL: no memory. */
logsock *logsock_new(struct ev_loop *loop, const listener *listeners, size_t count, logsock_handler handler);
/* A stream of another process, with what it had of a message that is not whole. Takes over `fd`, on failure too. */
bool logsock_adopt(logsock *s, int fd, slice begun);
/* From here on what arrives is ours alone. */
void logsock_begin(logsock *s);
/* Takes in what has arrived by now (where it has begun), then closes everything. `each`, where not NULL, is first given
 * every stream that is still connected, with what is there of a message that is not whole: a stream whose descriptor it
 * has passed on to another process goes on there; any other is reset. */
void logsock_free(logsock *s, void (*each)(void *ctx, int fd, slice begun), void *ctx);

#endif

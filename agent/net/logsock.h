/* SPDX-License-Identifier: MIT
 *
 * Takes in HAProxy's log lines: octet-counted streams (`LENGTH SP MESSAGE`, from a ring) and datagrams. Gives the
 * handler each line, and calls `batch_end` after each batch of datagrams and at the end of each event loop iteration.
 */
#ifndef NET_LOGSOCK_H
#define NET_LOGSOCK_H

#include <ev.h>

#include "net/listener.h"

enum {
	LOGSOCK_LISTENERS = 8,
	LOGSOCK_STREAMS = 256,    /* connections at a time; HAProxy opens one for each ring and process */
	LOGSOCK_BATCH = 64,       /* datagrams in one system call */
	LOGSOCK_LINE_MAX = 16384, /* bytes of a message; a larger one is malformed */
};

typedef struct logsock logsock;

typedef struct logsock_handler {
	void *ctx;
	void (*line)(void *ctx, slice message);
	void (*bad_framing)(void *ctx);             /* a stream sent no valid length; it is closed */
	void (*dropped)(void *ctx, uint32_t count); /* the kernel dropped `count` datagrams for lack of room */
	void (*batch_end)(void *ctx);               /* a batch of lines is complete */
} logsock_handler;

/* Takes over the listeners, but not on failure. Reads nothing yet, because another process may be reading from them.
 * NULL: no memory, or more than LOGSOCK_LISTENERS. */
logsock *logsock_new(struct ev_loop *loop, const listener *listeners, size_t count, logsock_handler handler);
/* Takes over a stream of another process; `begun` is the part of a message that the other process has read. Takes over
 * `fd`, on failure too. False: `begun` is not the beginning of a message, there are LOGSOCK_STREAMS, or no memory. */
bool logsock_adopt(logsock *s, int fd, slice begun);
/* Begins to read. Call it when no other process reads from the listeners any more. */
void logsock_begin(logsock *s);
/* Takes in what has arrived by now (after logsock_begin()), then closes everything. First gives `each`, if not NULL,
 * every stream that is still connected, and the part of a message that was read. A stream whose descriptor `each`
 * passed on to another process goes on there; any other is reset. If `each` returns false, the other process is gone:
 * the remaining streams are read to their end instead. */
void logsock_free(logsock *s, bool (*each)(void *ctx, int fd, slice begun), void *ctx);

#endif

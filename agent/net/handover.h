/* SPDX-License-Identifier: MIT
 *
 * How a worker process gives its connections to the next one, with the bytes that are half read and half written, so
 * that HAProxy notices nothing. The messages are fdpass messages on a socket pair. */
#ifndef NET_HANDOVER_H
#define NET_HANDOVER_H

#include "base/fdpass.h"

/* The version of all bodies below; HELLO and BEGIN bring it. A test is built with another version. */
#ifndef HANDOVER_VERSION
#define HANDOVER_VERSION 1
#endif

enum {
	HANDOVER_TIMEOUT_MS = 5000,
	/* The old worker waits so long for HELLO, while its SPOP threads run ... */
	HANDOVER_GREET_MS = 3000,
	/* ... and so long for each step while they stand still, because HAProxy waits for answers. */
	HANDOVER_PAUSE_MS = 1500,
};

typedef enum handover_type {
	/* old -> new */
	HANDOVER_BEGIN = 1, /* body: u32 HANDOVER_VERSION */
	HANDOVER_CONN,      /* a connection, with its descriptor; body: see conn_export() */
	HANDOVER_CONNS_END, /* all connections were sent; the new worker answers TAKEN */
	HANDOVER_COMMIT, /* after TAKEN: the connections are the new worker's. Without COMMIT they stay the old one's */
	HANDOVER_LOG_STREAM, /* a stream of log lines, with its descriptor; body: the part of a message that was read */
	HANDOVER_END,        /* the old worker has closed the ledger */
	/* new -> old */
	HANDOVER_TAKEN = 64, /* has all connections, and touches none before COMMIT */
	/* The first message: the new worker is there and listens. Body: u32 HANDOVER_VERSION. The old worker stops
	 * nothing for one that speaks another version. */
	HANDOVER_HELLO,
} handover_type;

#endif

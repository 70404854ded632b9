/* SPDX-License-Identifier: MIT
 *
 * How a worker process gives its connections to the next one, with the bytes that are half read and half written, so
 * that HAProxy notices nothing. The messages are fdpass messages on a socket pair. */
#ifndef NET_HANDOVER_H
#define NET_HANDOVER_H

#include "base/fdpass.h"

/* The version of all bodies below, carried by HELLO and BEGIN. Tests build an agent of another version. */
#ifndef HANDOVER_VERSION
#define HANDOVER_VERSION 1
#endif

enum {
	/* How long the new worker waits for each step of the old one. */
	HANDOVER_TIMEOUT_MS = 5000,
	/* How long the old worker waits for HELLO. Its SPOP threads run meanwhile. */
	HANDOVER_GREET_MS = 3000,
	/* How long the old worker waits for each later step. Its SPOP threads stand still, and HAProxy waits. */
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
	/* The first message: the new worker is there and listens. Body: u32 HANDOVER_VERSION. If it is another version
	 * than the old worker's, the old worker drains instead of stopping its SPOP threads. */
	HANDOVER_HELLO,
} handover_type;

#endif

/* SPDX-License-Identifier: MIT
 *
 * Established connections on their way from one worker process to the next, with what is half read and half written, so
 * that HAProxy notices nothing. Messages are fdpass messages on a socket pair. */
#ifndef NET_HANDOVER_H
#define NET_HANDOVER_H

#include "base/fdpass.h"

/* Of all bodies below; the first message says it. A test is built with another one. */
#ifndef HANDOVER_VERSION
#define HANDOVER_VERSION 1
#endif

enum {
	HANDOVER_TIMEOUT_MS = 5000,
	HANDOVER_GREET_MS = 3000, /* the old one waits as long for HELLO, its threads turning ... */
	HANDOVER_PAUSE_MS = 1500, /* ... and as long for each step while they stand still: HAProxy waits for answers */
};

typedef enum handover_type {
	/* old -> new */
	HANDOVER_BEGIN = 1, /* body: u32 HANDOVER_VERSION */
	HANDOVER_CONN,      /* one descriptor; body by conn_export() */
	HANDOVER_CONNS_END, /* the new one answers TAKEN */
	HANDOVER_COMMIT, /* after TAKEN: from here on the connections are the new one's. Without it they never were */
	HANDOVER_LOG_STREAM, /* one descriptor; body: what is there of a message that is not whole */
	HANDOVER_END,        /* the ledger's journal is released */
	/* new -> old */
	HANDOVER_TAKEN = 64, /* has them all, and touches none before COMMIT */
	HANDOVER_HELLO, /* first of all: is there, listens, and speaks this version: nothing is stopped for one that
			   does not. Body: u32 HANDOVER_VERSION */
} handover_type;

#endif

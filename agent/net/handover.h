/* SPDX-License-Identifier: MIT
 *
 * Established connections on their way from one worker process to the next, with what is half read and half written, so that
 * HAProxy notices nothing. Messages are fdpass messages on a socket pair. */
#ifndef NET_HANDOVER_H
#define NET_HANDOVER_H

#include "base/fdpass.h"

enum {
	HANDOVER_VERSION = 1, /* of all bodies below; the first message says it */
	HANDOVER_TIMEOUT_MS = 5000,
};

typedef enum handover_type {
	/* old -> new */
	HANDOVER_BEGIN = 1,   /* body: u32 HANDOVER_VERSION */
	HANDOVER_CONN,        /* one descriptor; body by conn_export() */
	HANDOVER_CONNS_END,   /* the new one answers TAKEN or REFUSED */
	HANDOVER_LOG_STREAM,  /* one descriptor; body: what is there of a message that is not whole */
	HANDOVER_END,         /* the ledger's journal is released */
	/* new -> old */
	HANDOVER_TAKEN = 64,  /* from here on the connections are the new one's */
	HANDOVER_REFUSED,     /* another version: drain */
} handover_type;

#endif

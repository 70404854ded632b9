/* SPDX-License-Identifier: MIT
 *
 * Messages between the agent's own processes, over a unix stream socket pair: a type, a body of up to FDPASS_BODY_MAX
 * bytes, and up to FDPASS_MAX descriptors. Numbers in bodies are big endian (cursor.h, buf.h). */
#ifndef BASE_FDPASS_H
#define BASE_FDPASS_H

#include "base/buf.h"
#include "base/err.h"

enum {
	FDPASS_MAX = 8, /* descriptors in one message */
	/* Bytes of one body. Only a connection in the midst of a larger frame would need more (CONN_FRAME_MAX is 1
	 * GiB, if max_memory is larger than its default); an upgrade at that moment fails, says so, and changes
	 * nothing. */
	FDPASS_BODY_MAX = 256 << 20,
};

typedef struct fdpass_message {
	uint8_t type;
	buf body;            /* owned */
	int fds[FDPASS_MAX]; /* owned; close-on-exec */
	size_t fds_count;
} fdpass_message;

/* fdpass_send() and fdpass_receive() work on blocking and non-blocking sockets, and wait up to `timeout_ms` in all for
 * the peer. */

/* Sends one message. The descriptors stay the caller's. False: `e` says why; part of the message may have been sent, so
 * the stream cannot be used any more. */
MUST_CHECK bool fdpass_send(int sock, uint8_t type, slice body, const int *fds, size_t fds_count, int timeout_ms,
			    err *e);

typedef enum fdpass_result { FDPASS_OK, FDPASS_END, FDPASS_FAILED } fdpass_result;

/* Receives one message, to be released with fdpass_deinit(). END: the peer has closed between two messages. FAILED: `e`
 * says why, and the stream cannot be used any more. */
MUST_CHECK fdpass_result fdpass_receive(int sock, fdpass_message *m, int timeout_ms, err *e);

/* Frees the body and closes the descriptors left in fds[]. To keep a descriptor, set its entry to -1. */
void fdpass_deinit(fdpass_message *m);

#endif

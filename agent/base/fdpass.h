/* SPDX-License-Identifier: MIT
 *
 * Messages between our own processes, over a unix stream socket pair: a type, a body of any length, and up to
 * FDPASS_MAX descriptors. Both sides run on one machine; numbers in bodies are big endian (cursor.h, buf.h). */
#ifndef BASE_FDPASS_H
#define BASE_FDPASS_H

#include "base/buf.h"
#include "base/err.h"

enum {
	FDPASS_MAX = 8,              /* descriptors in one message */
	FDPASS_BODY_MAX = 256 << 20, /* bytes of one body: more is no message of ours */
};

typedef struct fdpass_message {
	uint8_t type;
	buf body;            /* owned */
	int fds[FDPASS_MAX]; /* owned; close-on-exec */
	size_t fds_count;
} fdpass_message;

/* Both work on blocking and non-blocking sockets, and wait up to `timeout_ms` in all for the peer. */

/* The descriptors stay the caller's. False: `e` says why; the stream is of no use any more. */
bool fdpass_send(int sock, uint8_t type, slice body, const int *fds, size_t fds_count, int timeout_ms, err *e);

typedef enum fdpass_result { FDPASS_OK, FDPASS_END, FDPASS_FAILED } fdpass_result;

/* One message, for fdpass_deinit(). END: the peer has closed, between two messages. FAILED: `e` says why. */
fdpass_result fdpass_receive(int sock, fdpass_message *m, int timeout_ms, err *e);

/* Frees the body and closes what is left in fds[]: take one by setting it to -1. */
void fdpass_deinit(fdpass_message *m);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Listening sockets, at the addresses of base/address.h. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/address.h"
#include "base/slice.h"

typedef struct listener {
	int fd; /* non-blocking; -1: none */
	bool tcp;
	bool datagram;
	char *path; /* owned; of a unix socket that we made, removed by listener_close() */
	uint64_t ino;
} listener;

typedef struct listener_rules {
	unsigned mode; /* permissions of a unix socket */
	address_rules addresses;
} listener_rules;

/* Opens a socket at the address `text`. An inherited socket (LISTEN_FDS) at this address is used as it is. Otherwise a
 * stale unix socket is replaced, and one that another process answers on is an error. */
bool listener_open(listener *l, const char *text, const listener_rules *rules, err *e);
void listener_close(listener *l);
/* Closes the inherited sockets that nothing has asked for: they would stay open, and never be answered. Call it once,
 * when everything is open. */
void listener_close_unused(void);

/* The next connection, non-blocking and with TCP_NODELAY where it has one; -1 with errno. */
int listener_accept(const listener *l);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Listening sockets, at the addresses of base/address.h. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/address.h"
#include "base/must_check.h"
#include "base/slice.h"

typedef struct listener {
	int fd;    /* non-blocking; -1: none */
	bool inet; /* TCP or UDP, not a unix socket */
	bool datagram;
	char *path; /* owned; the file of a unix socket that this process made: listener_close() removes it */
	uint64_t ino;
} listener;

typedef struct listener_rules {
	unsigned mode; /* permissions of a unix socket */
	address_rules addresses;
} listener_rules;

/* Opens a socket at the address `text`. An inherited socket (LISTEN_FDS) at this address is used as it is. Otherwise a
 * stale unix socket is replaced, and one that another process answers on is an error. So is a unix socket at a path
 * where another user could put his own (net/guard.h). */
MUST_CHECK bool listener_open(listener *l, const char *text, const listener_rules *rules, err *e);
void listener_close(listener *l);
/* Closes the inherited socket at the address `text`, if there is one, because what would use it is switched off. */
void listener_close_inherited(const char *text);
/* Closes, and logs, the inherited sockets that listener_open() has not used, because nobody would answer there. Call it
 * once, after the last listener_open(). */
void listener_close_unused(void);

/* Counts how many datagrams a unix socket holds that this process makes now, up to `most`. The system says so in
 * net.unix.max_dgram_qlen, which is hidden from the agent's systemd unit. */
unsigned listener_datagram_queue(unsigned most);

/* Accepts a connection: non-blocking, and with TCP_NODELAY if it is TCP. -1: errno says why. */
int listener_accept(const listener *l);

#endif

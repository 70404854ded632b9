/* SPDX-License-Identifier: MIT
 *
 * Listening sockets: unix@/PATH (or just /PATH) and HOST:PORT with a numeric host, [::1]:PORT or localhost:PORT; for
 * log lines also the datagram sockets udp@HOST:PORT and dgram@/PATH. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/err.h"
#include "base/slice.h"

typedef struct listener {
	int fd; /* non-blocking; -1: none */
	bool tcp;
	bool datagram;
	char *path; /* owned; of a unix socket that we made, removed by listener_close() */
	uint64_t ino;
} listener;

typedef struct listener_rules {
	unsigned mode;     /* permissions of a unix socket */
	bool allow_remote; /* beyond loopback too */
	bool datagrams;    /* the datagram kinds too */
} listener_rules;

/* Can this address be listened on by these rules? Touches nothing. */
bool listener_check(const char *address, const listener_rules *rules, err *e);

/* A socket that was inherited (LISTEN_FDS) and has this address is used as it is. Otherwise a stale unix socket is
 * replaced, and one that somebody answers on is an error. */
bool listener_open(listener *l, const char *address, const listener_rules *rules, err *e);
void listener_close(listener *l);
/* Closes the inherited sockets that nothing has asked for: they would stay open, and never be answered. Call it once,
 * when everything is open. */
void listener_close_unused(void);

/* The next connection, non-blocking and with TCP_NODELAY where it has one; -1 with errno. */
int listener_accept(const listener *l);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Addresses to listen on: unix@/PATH (or just /PATH) and HOST:PORT with a numeric host, [::1]:PORT, localhost:PORT or
 * *:PORT; for log lines also the datagram sockets udp@HOST:PORT and dgram@/PATH. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/must_check.h"

typedef struct socket_address {
	union {
		struct sockaddr sa;
		struct sockaddr_un un;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	};
	socklen_t len;
	bool datagram;
} socket_address;

enum { ADDRESS_TEXT = sizeof(struct sockaddr_un) + 8 }; /* room for any address as text */

typedef struct address_rules {
	bool allow_remote; /* addresses beyond loopback too */
	bool datagrams;    /* the datagram kinds too */
} address_rules;

/* Reads `text` into `a`. False: `e` says what is wrong with it, or which of the rules it breaks. */
MUST_CHECK bool address_parse(socket_address *a, const char *text, const address_rules *rules, err *e);

/* True if one socket cannot be bound to `a` while another one is bound to `b`. */
bool address_same(const socket_address *a, const socket_address *b);

/* Writes `a` into `out` as address_parse() reads it. `cap` is at least ADDRESS_TEXT. */
void address_print(char *out, size_t cap, const socket_address *a);

#endif

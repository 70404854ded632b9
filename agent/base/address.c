/* SPDX-License-Identifier: MIT */
#include "base/address.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>

static bool parse_unix(const char *path, socket_address *a, err *e)
{
	if (*path != '/')
		return err_set(e, "the path of a unix socket has to begin with /");
	if (strlen(path) >= sizeof a->un.sun_path)
		return err_set(e, "the path is longer than the %zu bytes that a unix socket can have",
			       sizeof a->un.sun_path - 1);
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path, path, strlen(path) + 1);
	a->len = sizeof a->un;
	return true;
}

static bool parse_inet(const char *text, socket_address *a, bool allow_remote, err *e)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	char *end;
	bool loopback;

	size_t host_len = colon ? (size_t)(colon - text) : 0;
	if (!colon || host_len >= sizeof host)
		return err_set(e, "an address must be unix@/PATH or HOST:PORT");
	memcpy(host, text, host_len);
	host[host_len] = '\0';
	long port = strtol(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || port < 1 || port > UINT16_MAX)
		return err_set(e, "the port is not a number from 1 to 65535");
	if (strcmp(host, "localhost") == 0)
		snprintf(host, sizeof host, "127.0.0.1");
	if (strcmp(host, "*") == 0)
		snprintf(host, sizeof host, "0.0.0.0");
	if (host[0] == '[' && host[host_len - 1] == ']') {
		host[host_len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &a->in6.sin6_addr) != 1)
			return err_set(e, "the text in brackets is not an IPv6 address");
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons((uint16_t)port);
		a->len = sizeof a->in6;
		loopback = IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
	} else {
		if (inet_pton(AF_INET, host, &a->in4.sin_addr) != 1)
			return err_set(e,
				       "the host must be an IPv4 address, an IPv6 address in brackets, or localhost");
		a->in4.sin_family = AF_INET;
		a->in4.sin_port = htons((uint16_t)port);
		a->len = sizeof a->in4;
		loopback = (ntohl(a->in4.sin_addr.s_addr) >> 24) == 127;
	}
	if (!loopback && !allow_remote)
		return err_set(
			e, "traffic to this address is neither encrypted nor signed; set \"allow_remote\" to listen "
			   "beyond loopback, on a network that only HAProxy and the agent can reach");
	return true;
}

bool address_parse(socket_address *a, const char *text, const address_rules *rules, err *e)
{
	err why = { 0 };
	bool ok;

	memset(a, 0, sizeof *a);
	if (strncmp(text, "unix@", 5) == 0 || text[0] == '/') {
		ok = parse_unix(text + (text[0] == '/' ? 0 : 5), a, &why);
	} else if (strncmp(text, "dgram@", 6) == 0) {
		a->datagram = true;
		ok = parse_unix(text + 6, a, &why);
	} else if (strncmp(text, "udp@", 4) == 0) {
		a->datagram = true;
		ok = parse_inet(text + 4, a, rules->allow_remote, &why);
	} else {
		ok = parse_inet(text, a, rules->allow_remote, &why);
	}
	if (ok && a->datagram && !rules->datagrams)
		ok = err_set(&why, "a stream socket is needed here: unix@/PATH or HOST:PORT");
	return ok || err_set(e, "listen address \"%.120s\": %s", text, why.text);
}

bool address_same(const socket_address *a, const socket_address *b)
{
	bool kind = a->sa.sa_family == AF_UNIX ||
		    a->datagram == b->datagram; /* a path is one file, whatever the kind */

	return kind && a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}

void address_print(char *out, size_t cap, const socket_address *a)
{
	char host[INET6_ADDRSTRLEN] = "";
	const char *kind = a->datagram ? "udp@" : "";

	switch (a->sa.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &a->in4.sin_addr, host, sizeof host);
		snprintf(out, cap, "%s%s:%u", kind, host, ntohs(a->in4.sin_port));
		return;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host);
		snprintf(out, cap, "%s[%s]:%u", kind, host, ntohs(a->in6.sin6_port));
		return;
	default:
		snprintf(out, cap, "%s%.*s", a->datagram ? "dgram@" : "unix@", (int)sizeof a->un.sun_path,
			 a->un.sun_path);
	}
}

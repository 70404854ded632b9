/* SPDX-License-Identifier: MIT */
#include "commands/admin_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/slice.h"
#include "base/token_source.h"

enum {
	WAIT_MS = 5000, /* for the whole answer */
	ANSWER_MAX = 16 << 20,
};

/* Writes the header line with the token; "": there is no token, or this user cannot read it. */
static void authorization(const config *c, char *out, size_t cap)
{
	const char *const sources[] = { c->admin_token, c->viewer_token };
	char text[TOKEN_MAX + 1];
	const char *problem;

	*out = '\0';
	for (size_t i = 0; i < sizeof sources / sizeof *sources && !*out; i++) {
		slice token = *sources[i] ? token_source_read(sources[i], text, &problem) : slice_of(text, 0);
		if (token.len)
			snprintf(out, cap, "Authorization: Bearer %.*s\r\n", (int)token.len, token.ptr);
	}
	explicit_bzero(text, sizeof text);
}

/* Waits until `fd` can be read or written. False: the time is over. */
static bool ready(int fd, short events, int64_t end_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = end_ms - clock_mono_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* Returns a connection to `a`; -1: errno says why not. */
static int connected(const socket_address *a, int64_t end_ms)
{
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), problem = 0;
	socklen_t len = sizeof problem;

	if (fd < 0)
		return -1;
	if (connect(fd, &a->sa, a->len) != 0) {
		problem = errno;
		if (problem == EINPROGRESS && !ready(fd, POLLOUT, end_ms))
			problem = ETIMEDOUT;
		else if (problem == EINPROGRESS)
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &len);
	}
	if (!problem)
		return fd;
	close(fd);
	errno = problem;
	return -1;
}

static bool send_all(int fd, const char *text, int64_t end_ms)
{
	for (size_t len = strlen(text); len;) {
		ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
		if (sent < 0 && (errno != EAGAIN || !ready(fd, POLLOUT, end_ms)))
			return false;
		text += sent > 0 ? sent : 0;
		len -= sent > 0 ? (size_t)sent : 0;
	}
	return true;
}

/* Reads until the end of the answer. NULL: it broke off, took too long or is too long. The caller frees it. */
static char *read_all(int fd, int64_t end_ms)
{
	size_t cap = 65536, len = 0;
	char *text = malloc(cap);

	while (text) {
		ssize_t got = recv(fd, text + len, cap - len - 1, 0);
		if (got == 0) {
			text[len] = '\0';
			return text;
		}
		len += got > 0 ? (size_t)got : 0;
		if ((got < 0 && (errno != EAGAIN || !ready(fd, POLLIN, end_ms))) || len > ANSWER_MAX)
			break;
		if (len + 1 < cap)
			continue;
		char *more = realloc(text, cap * 2);
		if (!more)
			break;
		text = more;
		cap *= 2;
	}
	free(text);
	return NULL;
}

/* An agent that listens on all addresses is asked on this host's own. */
static void here(socket_address *a)
{
	if (a->sa.sa_family == AF_INET && a->in4.sin_addr.s_addr == htonl(INADDR_ANY))
		a->in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr))
		a->in6.sin6_addr = in6addr_loopback;
}

char *admin_get(const config *c, const char *path, int *status, err *e)
{
	const address_rules rules = { .allow_remote = true };
	int64_t end_ms = clock_mono_ms() + WAIT_MS;
	char request[TOKEN_MAX + 512], token[TOKEN_MAX + 64], host[ADDRESS_TEXT];
	socket_address a;

	if (!c->admin_listen.count) {
		err_set(e, "the agent has no admin server: \"admin_listen\" is none");
		return NULL;
	}
	const char *address = c->admin_listen.items[0];
	if (!address_parse(&a, address, &rules, e))
		return NULL;
	here(&a);
	address_print(host, sizeof host, &a);
	int fd = connected(&a, end_ms);
	if (fd < 0) {
		err_set(e, "no agent answers at %.200s: %s; %s", address, strerror(errno),
			errno == EACCES ?
				"only a user who may write to the socket, and enter its directory, can ask: sudo, or the agent's user" :
				"is `spoa-llm run` running, with this \"admin_listen\"?");
		return NULL;
	}
	authorization(c, token, sizeof token);
	snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: %s\r\n%s\r\n", path,
		 a.sa.sa_family == AF_UNIX ? "localhost" : host, token);
	char *answer = send_all(fd, request, end_ms) ? read_all(fd, end_ms) : NULL;
	explicit_bzero(request, sizeof request);
	explicit_bzero(token, sizeof token);
	close(fd);
	char *body = answer && sscanf(answer, "HTTP/1.%*d %d", status) == 1 ? strstr(answer, "\r\n\r\n") : NULL;
	if (body)
		memmove(answer, body + 4, strlen(body + 4) + 1);
	else
		err_set(e, "the agent at %.200s does not answer within %d s", address, WAIT_MS / 1000);
	if (!body)
		free(answer);
	return body ? answer : NULL;
}

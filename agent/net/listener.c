/* SPDX-License-Identifier: MIT */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BACKLOG = 1024,
	INHERITED_FIRST = 3, /* of systemd's protocol, sd_listen_fds(3) */
	INHERITED_MAX = 64,
	/* Bytes of datagrams that wait in the kernel while the agent restarts or is busy: about 14,000 lines, as the
	 * kernel counts 2.3 KB for one. */
	DATAGRAM_BACKLOG = 32 * 1024 * 1024,
};

typedef union address {
	struct sockaddr sa;
	struct sockaddr_un un;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
} address;

static bool parse_unix(const char *path, address *a, socklen_t *len, err *e)
{
	if (strlen(path) >= sizeof a->un.sun_path)
		return err_set(e, "the path is longer than the %zu bytes that a unix socket can have",
			       sizeof a->un.sun_path - 1);
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path, path, strlen(path) + 1);
	*len = sizeof a->un;
	return true;
}

static bool parse_inet(const char *text, address *a, socklen_t *len, bool allow_remote, err *e)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	char *end;
	bool loopback;

	size_t host_len = colon ? (size_t)(colon - text) : 0;
	if (!colon || host_len >= sizeof host)
		return err_set(e, "an address is unix@/PATH or HOST:PORT");
	memcpy(host, text, host_len);
	host[host_len] = '\0';
	long port = strtol(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || port < 1 || port > UINT16_MAX)
		return err_set(e, "the port is no number from 1 to 65535");
	if (strcmp(host, "localhost") == 0)
		snprintf(host, sizeof host, "127.0.0.1");
	if (strcmp(host, "*") == 0)
		snprintf(host, sizeof host, "0.0.0.0");
	if (host[0] == '[' && host[host_len - 1] == ']') {
		host[host_len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &a->in6.sin6_addr) != 1)
			return err_set(e, "what stands in brackets is no IPv6 address");
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons((uint16_t)port);
		*len = sizeof a->in6;
		loopback = IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
	} else {
		if (inet_pton(AF_INET, host, &a->in4.sin_addr) != 1)
			return err_set(e, "the host is an IPv4 address, an IPv6 address in brackets, or localhost");
		a->in4.sin_family = AF_INET;
		a->in4.sin_port = htons((uint16_t)port);
		*len = sizeof a->in4;
		loopback = (ntohl(a->in4.sin_addr.s_addr) >> 24) == 127;
	}
	if (!loopback && !allow_remote)
		return err_set(e,
			       "what comes here is neither encrypted nor signed; set \"allow_remote\" to listen beyond "
			       "loopback, on a network that only HAProxy and the agent are on");
	return true;
}

typedef struct parsed {
	address addr;
	socklen_t len;
	bool datagram;
} parsed;

static bool parse(const char *text, const listener_rules *rules, parsed *p, err *e)
{
	err why;
	bool ok;

	memset(p, 0, sizeof *p);
	if (strncmp(text, "unix@", 5) == 0 || text[0] == '/') {
		ok = parse_unix(text + (text[0] == '/' ? 0 : 5), &p->addr, &p->len, &why);
	} else if (strncmp(text, "dgram@", 6) == 0) {
		p->datagram = true;
		ok = parse_unix(text + 6, &p->addr, &p->len, &why);
	} else if (strncmp(text, "udp@", 4) == 0) {
		p->datagram = true;
		ok = parse_inet(text + 4, &p->addr, &p->len, rules->allow_remote, &why);
	} else {
		ok = parse_inet(text, &p->addr, &p->len, rules->allow_remote, &why);
	}
	if (ok && p->datagram && !rules->datagrams)
		ok = err_set(&why, "SPOP needs a stream: unix@/PATH or HOST:PORT");
	return ok || err_set(e, "listen address \"%.120s\": %s", text, why.text);
}

bool listener_check(const char *text, const listener_rules *rules, err *e)
{
	parsed p;
	return parse(text, rules, &p, e);
}

static bool taken[INHERITED_MAX];

/* How many descriptors somebody opened for us. */
static int inherited_count(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	long fds = count ? strtol(count, NULL, 10) : 0;

	if (!pid || strtol(pid, NULL, 10) != (long)getpid() || fds < 0)
		return 0;
	return fds < INHERITED_MAX ? (int)fds : INHERITED_MAX;
}

/* The one at this address; -1: none. */
static int inherited(const parsed *p)
{
	for (int i = 0; i < inherited_count(); i++) {
		address have;
		socklen_t len = sizeof have;
		int fd = INHERITED_FIRST + i, type = 0;
		socklen_t type_len = sizeof type;
		memset(&have, 0, sizeof have);
		if (taken[i] || getsockname(fd, &have.sa, &len) != 0 || have.sa.sa_family != p->addr.sa.sa_family ||
		    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0 ||
		    type != (p->datagram ? SOCK_DGRAM : SOCK_STREAM))
			continue;
		if (have.sa.sa_family == AF_UNIX ? strcmp(have.un.sun_path, p->addr.un.sun_path) != 0 :
						   memcmp(&have, &p->addr, p->len) != 0)
			continue;
		taken[i] = true;
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		return fd;
	}
	return -1;
}

void listener_close_unused(void)
{
	for (int i = 0; i < inherited_count(); i++) {
		if (!taken[i])
			close(INHERITED_FIRST + i);
		taken[i] = true;
	}
}

/* A socket file that nobody answers on is a dead process's. */
static bool remove_stale(const parsed *p, err *e)
{
	const char *path = p->addr.un.sun_path;
	struct stat st;

	if (lstat(path, &st) != 0)
		return true;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, "%s exists and is no socket; remove it or choose another path", path);
	int fd = socket(AF_UNIX, (p->datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, "socket: %s", strerror(errno));
	bool refused = connect(fd, &p->addr.sa, p->len) != 0 && errno == ECONNREFUSED;
	close(fd);
	if (!refused)
		return err_set(e, "%s: another process is listening there", path);
	unlink(path);
	return true;
}

static bool bind_unix(listener *l, const parsed *p, unsigned mode, err *e)
{
	const char *path = p->addr.un.sun_path;
	struct stat st;

	if (!remove_stale(p, e))
		return false;
	/* The permissions are right from the first moment on: no other thread runs yet. */
	mode_t old = umask((mode_t)(~mode & 0777));
	int rc = bind(l->fd, &p->addr.sa, p->len);
	int bind_errno = errno;
	umask(old);
	if (rc != 0)
		return err_set(e, "%s: %s%s", path, strerror(bind_errno),
			       bind_errno == ENOENT ? "; create its directory first" : "");
	l->path = strdup(path);
	if (l->path && stat(l->path, &st) == 0)
		l->ino = st.st_ino;
	return true;
}

/* FORCE goes past the system's limit, and is root's alone. */
static void enlarge(int fd)
{
	int bytes = DATAGRAM_BACKLOG;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

bool listener_open(listener *l, const char *text, const listener_rules *rules, err *e)
{
	parsed p;
	int one = 1;

	*l = (listener){ .fd = -1 };
	if (!parse(text, rules, &p, e))
		return false;
	l->tcp = p.addr.sa.sa_family != AF_UNIX && !p.datagram;
	l->datagram = p.datagram;
	l->fd = inherited(&p);
	if (l->fd >= 0)
		return true;
	l->fd = socket(p.addr.sa.sa_family, (p.datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_set(e, "socket: %s", strerror(errno));
	bool ok;
	if (p.addr.sa.sa_family != AF_UNIX) {
		if (l->tcp)
			setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		ok = bind(l->fd, &p.addr.sa, p.len) == 0 || err_set(e, "%s: %s", text, strerror(errno));
	} else {
		ok = bind_unix(l, &p, rules->mode, e);
	}
	if (ok && l->datagram)
		enlarge(l->fd);
	if (ok && !l->datagram && listen(l->fd, BACKLOG) != 0)
		ok = err_set(e, "%s: listen: %s", text, strerror(errno));
	if (!ok)
		listener_close(l);
	return ok;
}

void listener_close(listener *l)
{
	struct stat st;

	/* Another agent may have put its own socket there in the meantime. */
	if (l->path && stat(l->path, &st) == 0 && st.st_ino == l->ino)
		unlink(l->path);
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	*l = (listener){ .fd = -1 };
}

int listener_accept(const listener *l)
{
	int one = 1;
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	/* Without it small frames wait for each other: p99 50 ms instead of 15 at 100 clients. */
	if (fd >= 0 && l->tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

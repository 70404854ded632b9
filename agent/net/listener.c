/* SPDX-License-Identifier: MIT */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "net/guard.h"

enum {
	BACKLOG = 1024,
	INHERITED_FIRST = 3, /* of systemd's protocol, sd_listen_fds(3) */
	INHERITED_MAX = 64,
	/* Bytes of datagrams that may wait in the kernel while the agent restarts or is busy: about 14,000 lines,
	 * because the kernel counts 2.3 KB for each. */
	DATAGRAM_BACKLOG = 32 * 1024 * 1024,
};

static bool taken[INHERITED_MAX]; /* inherited descriptors that are in use, or were closed */

/* The number of descriptors that the master or systemd passed to this process. */
static int inherited_count(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	long fds = count ? strtol(count, NULL, 10) : 0;

	if (!pid || strtol(pid, NULL, 10) != (long)getpid() || fds < 0)
		return 0;
	return fds < INHERITED_MAX ? (int)fds : INHERITED_MAX;
}

/* Clears SO_REUSEADDR of an inherited UDP socket, which systemd sets for each: with it any local user could bind the
 * same address and get HAProxy's datagrams, the key in them included. (SO_REUSEPORT is for sockets of one user only.)
 */
static void unshare(int fd, const socket_address *a)
{
	int off = 0;

	if (!a->datagram || a->sa.sa_family == AF_UNIX)
		return;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off);
}

/* Takes the inherited descriptor at this address; -1: there is none. */
static int inherited(const socket_address *a)
{
	for (int i = 0; i < inherited_count(); i++) {
		socket_address have;
		socklen_t len = sizeof have.un;
		int fd = INHERITED_FIRST + i, type = 0;
		socklen_t type_len = sizeof type;
		memset(&have, 0, sizeof have);
		if (taken[i] || getsockname(fd, &have.sa, &len) != 0 || have.sa.sa_family != a->sa.sa_family ||
		    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0 ||
		    type != (a->datagram ? SOCK_DGRAM : SOCK_STREAM))
			continue;
		if (have.sa.sa_family == AF_UNIX ? strcmp(have.un.sun_path, a->un.sun_path) != 0 :
						   memcmp(&have, a, a->len) != 0)
			continue;
		taken[i] = true;
		unshare(fd, a);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		return fd;
	}
	return -1;
}

void listener_close_inherited(const char *text)
{
	const address_rules all = { .allow_remote = true, .datagrams = true };
	socket_address a;
	err e;

	int fd = address_parse(&a, text, &all, &e) ? inherited(&a) : -1;
	if (fd >= 0)
		close(fd);
}

static void log_unused(int fd)
{
	socket_address a = { 0 };
	char text[ADDRESS_TEXT];
	socklen_t len = sizeof a.un;
	int type = 0;
	socklen_t type_len = sizeof type;

	if (getsockname(fd, &a.sa, &len) != 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0)
		return;
	a.datagram = type == SOCK_DGRAM;
	address_print(text, sizeof text, &a);
	log_event(socket_unused, LOG_C("address", text), LOG_C("problem", "no option names this inherited socket"),
		  LOG_C("instead", "the agent closes it"));
}

void listener_close_unused(void)
{
	for (int i = 0; i < inherited_count(); i++) {
		if (!taken[i]) {
			log_unused(INHERITED_FIRST + i);
			close(INHERITED_FIRST + i);
		}
		taken[i] = true;
	}
}

/* Removes a socket file that a dead process left: nobody answers there. False: `e` says what else is at the path. */
static bool remove_stale(const socket_address *a, err *e)
{
	const char *path = a->un.sun_path;
	struct stat st;

	if (lstat(path, &st) != 0)
		return true;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, "%s exists and is no socket; remove it or choose another path", path);
	int fd = socket(AF_UNIX, (a->datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, "socket: %s", strerror(errno));
	bool refused = connect(fd, &a->sa, a->len) != 0 && errno == ECONNREFUSED;
	close(fd);
	if (!refused)
		return err_set(e, "%s: another process is listening there", path);
	unlink(path);
	return true;
}

/* Writes why a socket could not be bound, and what to do. */
static bool bind_failed(const char *text, const socket_address *a, int why, err *e)
{
	bool path = a->sa.sa_family == AF_UNIX;
	const char *hint = "";

	if (why == EACCES)
		hint = path ? "; let the agent's user write to its directory" : "; choose a port from 1024 on";
	else if (why == EADDRNOTAVAIL)
		hint = "; give an address that an interface of this host has";
	else if (why == EADDRINUSE && !path)
		hint = a->datagram ? "; `ss -lnup` names the process that has it" :
				     "; `ss -lntp` names the process that has it";
	return err_set(e, "%s: %s%s", text, strerror(why), hint);
}

static bool bind_unix(listener *l, const socket_address *a, unsigned mode, err *e)
{
	const char *path = a->un.sun_path;
	struct stat st;

	if (!guard_path(path, e) || !remove_stale(a, e))
		return false;
	/* Let bind() make the file with its final permissions. umask() is safe because no other thread runs yet. */
	mode_t old = umask((mode_t)(~mode & 0777));
	int rc = bind(l->fd, &a->sa, a->len);
	int bind_errno = errno;
	umask(old);
	if (rc != 0)
		return bind_failed(path, a, bind_errno, e);
	l->path = strdup(path);
	if (l->path && stat(l->path, &st) == 0)
		l->ino = st.st_ino;
	return true;
}

unsigned listener_datagram_queue(unsigned most)
{
	int in = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof name;
	unsigned count = 0;

	/* Without a path the kernel chooses a name. A socket pair would not do: its queues have no limit. */
	bool ok = in >= 0 && out >= 0 && bind(in, (struct sockaddr *)&name, sizeof name.sun_family) == 0 &&
		  getsockname(in, (struct sockaddr *)&name, &len) == 0 &&
		  connect(out, (struct sockaddr *)&name, len) == 0;
	while (ok && count < most && send(out, "", 1, 0) == 1)
		count++;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return ok ? count : most;
}

/* Enlarges the receive buffer: beyond the system's limit for root, else up to it. */
static void enlarge(int fd)
{
	int bytes = DATAGRAM_BACKLOG;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

bool listener_open(listener *l, const char *text, const listener_rules *rules, err *e)
{
	socket_address a;
	int one = 1;

	*l = (listener){ .fd = -1 };
	if (!address_parse(&a, text, &rules->addresses, e))
		return false;
	l->inet = a.sa.sa_family != AF_UNIX;
	l->datagram = a.datagram;
	l->fd = inherited(&a);
	if (l->fd >= 0)
		return true;
	l->fd = socket(a.sa.sa_family, (a.datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_set(e, "socket: %s", strerror(errno));
	bool ok;
	if (a.sa.sa_family != AF_UNIX) {
		if (!a.datagram)
			setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		ok = bind(l->fd, &a.sa, a.len) == 0 || bind_failed(text, &a, errno, e);
	} else {
		ok = bind_unix(l, &a, rules->mode, e);
	}
	if (ok && l->datagram)
		enlarge(l->fd);
	if (ok && !l->datagram && listen(l->fd, BACKLOG) != 0)
		ok = bind_failed(text, &a, errno, e);
	if (!ok)
		listener_close(l);
	return ok;
}

void listener_close(listener *l)
{
	struct stat st;

	/* Leave the file if another agent has put its own socket there meanwhile. */
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

	/* Without TCP_NODELAY a small frame waits for TCP's acknowledgement of the one before: p99 is 50 ms instead of
	 * 15 at 100 clients. */
	if (fd >= 0 && l->inet)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

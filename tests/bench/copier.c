/* SPDX-License-Identifier: MIT
 *
 * Stands where the tap stands, and only reads and sends: what any process in this place costs.
 *
 *   copier PATH LEGS     listens at the unix socket PATH
 *
 * Each connection is connected to the leg in the directory LEGS that its first request names. A connection that does
 * not take all bytes at once is closed: events are small, so this does not happen in a benchmark. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct side side;
struct side {
	int fd; /* -1: closed */
	side *other;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "copier: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (snprintf(at.sun_path, sizeof at.sun_path, "%s", path) >= (int)sizeof at.sun_path)
		die("the path is too long");
	return at;
}

static side *watch(int ep, int fd)
{
	side *s = calloc(1, sizeof *s);

	if (!s)
		die("calloc");
	s->fd = fd;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLIN, { .ptr = s } }) != 0)
		die("epoll_ctl");
	return s;
}

static void take(int ep, int listening)
{
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		watch(ep, fd);
}

/* Connects to the leg that the request in `room` names. */
static void join(int ep, side *s, const char *legs, const char *room)
{
	static const char header[] = "x-llm-leg: ";
	const char *name = strstr(room, header);
	char path[4096];
	int to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!name)
		die("a request names no leg");
	name += sizeof header - 1;
	snprintf(path, sizeof path, "%s/%.*s.sock", legs, (int)strcspn(name, "\r"), name);
	struct sockaddr_un leg = address_of(path);
	if (to < 0 || connect(to, (const struct sockaddr *)&leg, sizeof leg) != 0)
		die("cannot connect to the leg");
	s->other = watch(ep, to);
	s->other->other = s;
}

/* Closes both sides; they are not freed, because an event of this turn may still point at one. */
static void end(side *s)
{
	if (s->other) {
		close(s->other->fd);
		s->other->fd = -1;
	}
	close(s->fd);
	s->fd = -1;
}

int main(int argc, char **argv)
{
	static char room[65536 + 1];
	struct epoll_event ready[64];

	if (argc != 3)
		die("copier PATH LEGS");
	struct sockaddr_un at = address_of(argv[1]);
	int ep = epoll_create1(EPOLL_CLOEXEC),
	    listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	unlink(argv[1]);
	if (bind(listening, (struct sockaddr *)&at, sizeof at) != 0 || listen(listening, 4096) != 0)
		die("cannot listen");
	epoll_ctl(ep, EPOLL_CTL_ADD, listening, &(struct epoll_event){ EPOLLIN, { .ptr = NULL } });
	for (;;) {
		int n = epoll_wait(ep, ready, 64, -1);
		for (int i = 0; i < n; i++) {
			side *s = ready[i].data.ptr;
			if (!s) {
				take(ep, listening);
				continue;
			}
			if (s->fd < 0)
				continue;
			ssize_t got = recv(s->fd, room, sizeof room - 1, 0);
			if (got <= 0) {
				end(s);
				continue;
			}
			if (!s->other) {
				room[got] = '\0';
				join(ep, s, argv[2], room);
			}
			if (send(s->other->fd, room, (size_t)got, MSG_NOSIGNAL) != got)
				end(s);
		}
	}
}

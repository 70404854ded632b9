/* SPDX-License-Identifier: MIT */
#include "proc/sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	INHERITED_FIRST = 3, /* of sd_listen_fds(3) */
	ANY_MAX = 1024,      /* the end of the descriptors that sockets_keep_any() looks at */
};

static uint64_t made_at(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

/* Finds the path of a unix socket; "": the socket has no file. */
static void path_of(int fd, char path[sizeof(struct sockaddr_un) + 1])
{
	struct sockaddr_un name = { 0 };
	socklen_t len = sizeof name;

	path[0] = '\0';
	if (getsockname(fd, (struct sockaddr *)&name, &len) != 0 || name.sun_family != AF_UNIX)
		return;
	len -= (socklen_t)offsetof(struct sockaddr_un, sun_path);
	if (len == 0 || len > sizeof name.sun_path)
		return;
	memcpy(path, name.sun_path, len);
	path[len] = '\0';
}

/* Notes the file that is now at the socket's path, for let_go() to remove. */
static void own(held_socket *h)
{
	struct stat st;

	if (!h->path[0] || lstat(h->path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	h->ours = true;
	h->file_dev = st.st_dev;
	h->file_ino = st.st_ino;
	h->file_made = made_at(&st);
}

static void let_go(held_socket *h)
{
	struct stat st;

	if (h->ours && h->path[0] && lstat(h->path, &st) == 0 && st.st_dev == h->file_dev && st.st_ino == h->file_ino &&
	    made_at(&st) == h->file_made)
		unlink(h->path);
	if (h->fd >= 0)
		close(h->fd);
}

bool is_socket(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

held_socket *sockets_keep(sockets *s, int fd, bool ours, unsigned worker)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode)) {
		close(fd);
		return NULL;
	}
	for (size_t i = 0; i < s->count; i++) {
		held_socket *h = &s->items[i];
		if (h->dev != st.st_dev || h->ino != st.st_ino)
			continue;
		h->named_by = worker;
		if (ours && !h->ours)
			own(h);
		close(fd);
		return h;
	}
	if (s->count == MASTER_SOCKETS) {
		close(fd);
		return NULL;
	}
	held_socket *h = &s->items[s->count++];
	*h = (held_socket){ .fd = fd, .dev = st.st_dev, .ino = st.st_ino, .added_by = worker, .named_by = worker };
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	path_of(fd, h->path);
	if (ours)
		own(h);
	return h;
}

static bool is_file(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

int sockets_take_inherited(sockets *s)
{
	int file = -1;
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	long count = pid && fds && strtol(pid, NULL, 10) == getpid() ? strtol(fds, NULL, 10) : 0;

	for (int i = 0; i < count && i < MASTER_SOCKETS; i++) {
		int fd = INHERITED_FIRST + i;
		if (file >= 0 || !is_file(fd)) {
			sockets_keep(s, fd, false, 0);
			continue;
		}
		file = fd;
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return file;
}

/* True: a stream socket that listens, or a datagram socket with an address. */
static bool is_served(int fd)
{
	int type = 0, listens = 0;
	socklen_t len = sizeof type, name_len = sizeof(struct sockaddr_storage);
	struct sockaddr_storage name = { 0 };

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0)
		return false;
	if (type != SOCK_DGRAM) {
		len = sizeof listens;
		return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens;
	}
	if (getsockname(fd, (struct sockaddr *)&name, &name_len) != 0)
		return false;
	switch (name.ss_family) {
	case AF_UNIX:
		return name_len > offsetof(struct sockaddr_un, sun_path);
	case AF_INET:
		return ((const struct sockaddr_in *)&name)->sin_port != 0;
	case AF_INET6:
		return ((const struct sockaddr_in6 *)&name)->sin6_port != 0;
	default:
		return false;
	}
}

void sockets_keep_any(sockets *s)
{
	for (int fd = INHERITED_FIRST; fd < ANY_MAX; fd++)
		if (is_served(fd))
			sockets_keep(s, fd, false, 0);
		else
			close(fd);
}

void sockets_stop_listening(sockets *s)
{
	for (size_t i = 0; i < s->count; i++) {
		held_socket *h = &s->items[i];
		int type = SOCK_DGRAM;
		socklen_t len = sizeof type;
		if (h->fd < 0 || getsockopt(h->fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM)
			continue;
		close(h->fd);
		h->fd = -1;
	}
}

static void drop(sockets *s, bool added, unsigned worker)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->count; i++) {
		if (added ? s->items[i].added_by == worker : s->items[i].named_by != worker)
			let_go(&s->items[i]);
		else
			s->items[kept++] = s->items[i];
	}
	s->count = kept;
}

void sockets_drop_unnamed(sockets *s, unsigned worker)
{
	drop(s, false, worker);
}

void sockets_drop_added(sockets *s, unsigned worker)
{
	drop(s, true, worker);
}

void sockets_drop_all(sockets *s)
{
	while (s->count)
		let_go(&s->items[--s->count]);
}

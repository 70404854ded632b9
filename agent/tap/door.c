/* SPDX-License-Identifier: MIT */
#include "tap/door.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/log.h"
#include "base/unused.h"
#include "net/guard.h"

static const double ACCEPT_PAUSE = 0.1; /* seconds */

enum {
	TAKEN_AT_ONCE = 64, /* connections accepted before those that exist have their turn */
	SUFFIX = 12,        /* bytes of ".PID" */
};

/* Accepts up to `most` connections. False: no descriptor or no memory is left for one more. */
static bool take(door *d, unsigned most)
{
	for (unsigned i = 0; i < most; i++) {
		int fd = accept4(d->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		/* EINVAL: the door shuts, and nobody waits any more. */
		if (fd < 0 && (errno == EAGAIN || errno == EINVAL))
			break;
		if (fd < 0) {
			log_event(accept_paused, LOG_C("problem", strerror(errno)),
				  LOG_C("hint", "raise the limit of open files"));
			return false;
		}
		d->take(d->ctx, fd);
	}
	return true;
}

/* Who waits to be accepted would wake the loop again at once, as long as there is no descriptor. */
static void on_acceptable(struct ev_loop *loop, ev_io *io, int events UNUSED)
{
	door *d = io->data;

	if (take(d, TAKEN_AT_ONCE) || !door_is_open(d))
		return;
	ev_io_stop(loop, io);
	ev_timer_set(&d->pause, ACCEPT_PAUSE, 0.);
	ev_timer_start(loop, &d->pause);
}

static void on_pause_end(struct ev_loop *loop, ev_timer *timer, int events UNUSED)
{
	door *d = timer->data;
	ev_io_start(loop, &d->io);
}

bool door_init(door *d, struct ev_loop *loop, const char *address, unsigned mode, unsigned backlog, err *e)
{
	const address_rules unix_only = { .allow_remote = false };
	socket_address a;

	*d = (door){ .loop = loop, .mode = mode, .backlog = backlog };
	ev_io_init(&d->io, on_acceptable, -1, EV_READ);
	d->io.data = d;
	ev_timer_init(&d->pause, on_pause_end, 0., 0.);
	d->pause.data = d;
	if (!address_parse(&a, address, &unix_only, e))
		return false;
	if (a.sa.sa_family != AF_UNIX)
		return err_set(e, "%s: the tap listens on unix sockets only; give unix@/PATH", address);
	if (strlen(a.un.sun_path) >= sizeof d->path - SUFFIX)
		return err_set(e, "%s: the path is too long; at most %zu bytes", address, sizeof d->path - SUFFIX - 1);
	memcpy(d->path, a.un.sun_path, strlen(a.un.sun_path) + 1);
	return true;
}

/* Has the socket `fd` listen at `path`, as the door `d` does. */
static bool listen_at(const door *d, int fd, const char *path, struct stat *st)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memcpy(un.sun_path, path, strlen(path) + 1);
	/* Let bind() make the file with its final permissions. */
	mode_t old = umask((mode_t)(~d->mode & 0777));
	int rc = bind(fd, (const struct sockaddr *)&un, sizeof un);
	int why = errno;
	umask(old);
	errno = why;
	return rc == 0 && listen(fd, (int)d->backlog) == 0 && stat(path, st) == 0;
}

bool door_open(door *d, err *e)
{
	char beside[sizeof d->path + SUFFIX];
	struct stat st;

	if (!guard_path(d->path, e))
		return false;
	if (lstat(d->path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(e, "%s exists and is no socket; remove it or choose another path", d->path);
	snprintf(beside, sizeof beside, "%s.%d", d->path, (int)getpid());
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, "socket: %s", strerror(errno));
	unlink(beside); /* of a dead process that had the same number */
	if (!listen_at(d, fd, beside, &st) || rename(beside, d->path) != 0) {
		err_set(e, "%s: %s", d->path, strerror(errno));
		unlink(beside);
		close(fd);
		return false;
	}
	if (door_is_open(d))
		door_shut(d);
	d->dev = st.st_dev;
	d->ino = st.st_ino;
	ev_io_set(&d->io, fd, EV_READ);
	ev_io_start(d->loop, &d->io);
	return true;
}

void door_shut(door *d)
{
	if (!door_is_open(d))
		return;
	shutdown(d->io.fd, SHUT_RD);
	/* Nobody can connect any more, so this ends. */
	take(d, UINT_MAX);
	ev_io_stop(d->loop, &d->io);
	ev_timer_stop(d->loop, &d->pause);
	close(d->io.fd);
	d->io.fd = -1;
}

bool door_is_open(const door *d)
{
	return d->io.fd >= 0;
}

/* Returns 1 if somebody answers at the path, 0 if nobody does, and -1 if that is not known. */
static int is_answered(const door *d)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memcpy(un.sun_path, d->path, sizeof un.sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	/* EAGAIN: so many wait to be accepted there that one more cannot. */
	bool answers = connect(fd, (const struct sockaddr *)&un, sizeof un) == 0 || errno == EAGAIN;
	close(fd);
	return answers;
}

bool door_is_taken(const door *d)
{
	return is_answered(d) == 1;
}

door_place door_look(const door *d)
{
	struct stat st;

	/* No other file can get the inode number of the socket's file while the socket is open. */
	if (stat(d->path, &st) == 0 && st.st_dev == d->dev && st.st_ino == d->ino)
		return DOOR_OURS;
	int answered = is_answered(d);
	/* If that is not known, look again later. */
	return answered < 0 ? DOOR_OURS : answered ? DOOR_TAKEN : DOOR_DEAD;
}

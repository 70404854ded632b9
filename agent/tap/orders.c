/* SPDX-License-Identifier: MIT */
#include "tap/orders.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/unused.h"

static void hang_up(orders_listener *l)
{
	if (l->io.fd < 0)
		return;
	ev_io_stop(l->owner->loop, &l->io);
	close(l->io.fd);
	l->io.fd = -1;
}

static void on_word(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	orders_listener *l = io->data;
	char word[sizeof ORDER_DRAIN];
	ssize_t n = recv(io->fd, word, sizeof word, 0);
	slice said = slice_of(word, n > 0 ? (size_t)n : 0);

	/* An order is so short that it arrives whole. */
	if (!l->heard && slice_eq(said, SLICE(ORDER_STATE)))
		(void)!send(io->fd, l->owner->draining ? "d\n" : "r\n", 2, MSG_NOSIGNAL);
	if (l->heard || !slice_eq(said, SLICE(ORDER_DRAIN))) {
		hang_up(l);
		return;
	}
	l->heard = true;
	l->owner->drain(l->owner->ctx);
}

static bool may_order(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static void take(void *ctx, int fd)
{
	orders *o = ctx;
	size_t i = 0;

	while (i < ORDERS_LISTENERS && o->listeners[i].io.fd >= 0)
		i++;
	if (i == ORDERS_LISTENERS || !may_order(fd)) {
		close(fd);
		return;
	}
	orders_listener *l = &o->listeners[i];
	l->heard = false;
	ev_io_set(&l->io, fd, EV_READ);
	ev_io_start(o->loop, &l->io);
}

/* True if the tap that answers at the path drains. */
static bool other_drains(const door *d)
{
	const struct timeval patience = { .tv_sec = 2 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char first = 0;

	memcpy(un.sun_path, d->path, sizeof un.sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool told = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
		    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
		    connect(fd, (const struct sockaddr *)&un, sizeof un) == 0 &&
		    send(fd, ORDER_STATE, strlen(ORDER_STATE), MSG_NOSIGNAL) > 0 && recv(fd, &first, 1, 0) == 1;
	if (fd >= 0)
		close(fd);
	return told && first == 'd';
}

bool orders_open(orders *o, struct ev_loop *loop, const char *address, bool replace, err *e)
{
	o->loop = loop;
	for (size_t i = 0; i < ORDERS_LISTENERS; i++) {
		orders_listener *l = &o->listeners[i];
		l->owner = o;
		ev_io_init(&l->io, on_word, -1, EV_READ);
		l->io.data = l;
	}
	if (!door_init(&o->door, loop, address, 0600, ORDERS_LISTENERS, e))
		return false;
	if (!replace && door_is_taken(&o->door) && !other_drains(&o->door))
		return err_set(
			e,
			"another process answers at %s; give this tap a socket of its own by --control, or replace "
			"the tap that runs by SIGUSR2",
			o->door.path);
	o->door.take = take;
	o->door.ctx = o;
	return door_open(&o->door, e);
}

void orders_tell(orders *o, unsigned streams)
{
	char text[16];
	size_t len = (size_t)snprintf(text, sizeof text, "%u\n", streams);

	for (size_t i = 0; i < ORDERS_LISTENERS; i++) {
		orders_listener *l = &o->listeners[i];
		if (l->io.fd >= 0 && l->heard && send(l->io.fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
			hang_up(l);
	}
}

void orders_close(orders *o)
{
	for (size_t i = 0; i < ORDERS_LISTENERS; i++)
		hang_up(&o->listeners[i]);
	door_shut(&o->door);
}

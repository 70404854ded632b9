/* SPDX-License-Identifier: MIT */
#include "tap/reports.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/unused.h"

/* Seconds until the tap tries again to connect to the agent's socket. */
static const double AGAIN = 0.25;

/* KEEP: bytes of buffer that are kept when no report waits. LENGTH: bytes of the length before a report that waits. */
enum { KEEP = 64 * 1024, LENGTH = 4 };

static void disconnect(reports *r)
{
	if (r->fd < 0)
		return;
	ev_io_stop(r->loop, &r->writable);
	close(r->fd);
	r->fd = -1;
}

static bool is_connected(reports *r)
{
	if (r->fd >= 0)
		return true;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&r->to, sizeof r->to) == 0) {
		r->fd = fd;
		ev_io_set(&r->writable, fd, EV_WRITE);
		return true;
	}
	if (fd >= 0)
		close(fd);
	return false;
}

typedef enum outcome { SENT, LATER, NOBODY } outcome;

static outcome try_send(reports *r, slice text)
{
	if (!is_connected(r))
		return NOBODY;
	ssize_t n;
	do
		n = send(r->fd, text.ptr, text.len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return SENT;
	if (errno == EAGAIN || errno == ENOBUFS)
		return LATER;
	/* The socket that was there is gone; another one may be at the path by now. */
	disconnect(r);
	return NOBODY;
}

/* Sends what waits, and waits for what is left. */
static void flush(reports *r)
{
	outcome o = SENT;

	while (buf_len(&r->waiting) > 0) {
		const unsigned char *at = r->waiting.data + r->waiting.start;
		size_t len = get_u32be(at);
		o = try_send(r, slice_of(at + LENGTH, len));
		if (o != SENT)
			break;
		r->sent++;
		buf_consume(&r->waiting, LENGTH + len, KEEP);
	}
	if (o == LATER)
		ev_io_start(r->loop, &r->writable);
	else
		ev_io_stop(r->loop, &r->writable);
	if (o == NOBODY && !ev_is_active(&r->again)) {
		ev_timer_set(&r->again, AGAIN, 0.);
		ev_timer_start(r->loop, &r->again);
	}
}

static void on_writable(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	flush(io->data);
}

static void on_again(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	flush(timer->data);
}

bool reports_init(reports *r, struct ev_loop *loop, const char *address, err *e)
{
	const address_rules rules = { .datagrams = true };
	socket_address a;

	*r = (reports){ .loop = loop, .fd = -1 };
	buf_init(&r->waiting, REPORTS_WAITING);
	ev_io_init(&r->writable, on_writable, -1, EV_WRITE);
	ev_timer_init(&r->again, on_again, 0., 0.);
	r->writable.data = r->again.data = r;
	if (!*address)
		return true;
	if (!address_parse(&a, address, &rules, e))
		return false;
	if (a.sa.sa_family != AF_UNIX || !a.datagram)
		return err_set(e, "%s: the tap reports to a unix datagram socket only; give dgram@/PATH", address);
	r->to = a.un;
	return true;
}

void reports_deinit(reports *r)
{
	disconnect(r);
	ev_timer_stop(r->loop, &r->again);
	buf_deinit(&r->waiting);
}

void reports_send(reports *r, slice text)
{
	if (!*r->to.sun_path)
		return;
	/* Those that wait come first. */
	if (buf_len(&r->waiting) == 0 && try_send(r, text) == SENT) {
		r->sent++;
		return;
	}
	if (buf_reserve(&r->waiting, LENGTH + text.len) && buf_append_u32be(&r->waiting, (uint32_t)text.len) &&
	    buf_append(&r->waiting, text.ptr, text.len)) {
		flush(r);
		return;
	}
	r->lost++;
	log_event(tap_report_lost, LOG_I("lost", r->lost), LOG_C("socket", r->to.sun_path));
}

void reports_inform(reports *r, slice text)
{
	if (*r->to.sun_path)
		try_send(r, text);
}

bool reports_done(const reports *r)
{
	return buf_len(&r->waiting) == 0 || r->fd < 0;
}

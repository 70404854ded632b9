/* SPDX-License-Identifier: MIT
 *
 * Connects pairs to legs. A unix socket connects at once or not at all. If too many wait to be accepted there,
 * connect(2) says EAGAIN, and there is nothing to poll for: the pair tries again by a timer. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/unused.h"
#include "tap/relay_impl.h"

static const double RETRY = 0.01; /* seconds until those that wait try again */

enum {
	TRIES_AT_ONCE = 64,
	/* Milliseconds after which a request is refused. */
	PATIENCE_GONE = 1000,  /* nobody listens at the leg's socket: HAProxy may be just starting again */
	PATIENCE_FULL = 30000, /* HAProxy listens but does not accept: as long as it would queue a request itself */
};

static void enqueue(pair *p)
{
	relay *r = p->r;

	p->waits = true;
	p->waits_behind = NULL;
	p->waits_before = r->waiting_last;
	if (r->waiting_last)
		r->waiting_last->waits_behind = p;
	else
		r->waiting = p;
	r->waiting_last = p;
	if (!ev_is_active(&r->retry)) {
		ev_timer_set(&r->retry, RETRY, RETRY);
		ev_timer_start(r->loop, &r->retry);
	}
}

void connect_forget(pair *p)
{
	relay *r = p->r;

	if (!p->waits)
		return;
	p->waits = false;
	if (p->waits_before)
		p->waits_before->waits_behind = p->waits_behind;
	else
		r->waiting = p->waits_behind;
	if (p->waits_behind)
		p->waits_behind->waits_before = p->waits_before;
	else
		r->waiting_last = p->waits_before;
}

static void unreachable(pair *p, const char *problem)
{
	log_event(tap_leg_unreachable, LOG_C("leg", p->leg_name), LOG_C("problem", problem));
	pair_refuse(p);
}

/* Connects now, or waits, or refuses. */
static void try_connect(pair *p)
{
	struct sockaddr_un to;

	if (!leg_address(&to, p->r->settings->legs, slice_cstr(p->leg_name))) {
		unreachable(p, "the path of its socket is too long");
		return;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0) {
		ev_io_set(&p->leg, fd, EV_READ);
		pair_connected(p);
		return;
	}
	int why = errno;
	if (fd >= 0)
		close(fd);
	int patience = why == EAGAIN ? PATIENCE_FULL : PATIENCE_GONE;
	if (why == EACCES || why == EPERM || clock_mono_ms() - p->waits_since >= patience)
		unreachable(p, strerror(why));
	else
		enqueue(p);
}

/* False: the leg has closed its connection, which was idle. The event loop may not have said so yet. */
static bool is_open(const pair *p)
{
	char first;
	ssize_t n = recv(p->leg.fd, &first, 1, MSG_PEEK);

	return n > 0 || (n < 0 && errno == EAGAIN);
}

void connect_leg(pair *p)
{
	struct sockaddr_un to;
	slice name = slice_cstr(p->flow.leg);

	if (p->leg.fd >= 0 && !p->deaf && slice_eq(name, slice_cstr(p->leg_name)) && is_open(p))
		return;
	pair_close_leg(p);
	if (!leg_address(&to, p->r->settings->legs, name)) {
		log_event(tap_request_refused,
			  LOG_C("problem", name.len ? "x-llm-leg is not the name of a leg" : "x-llm-leg is missing"));
		pair_refuse(p);
		return;
	}
	memcpy(p->leg_name, name.ptr, name.len + 1);
	p->waits_since = clock_mono_ms();
	try_connect(p);
}

void connect_on_retry(struct ev_loop *loop, ev_timer *timer, int events UNUSED)
{
	relay *r = timer->data;
	pair *last = r->waiting_last;

	for (unsigned i = 0; i < TRIES_AT_ONCE && r->waiting; i++) {
		pair *p = r->waiting;
		connect_forget(p);
		try_connect(p);
		pair_update(p);
		if (p == last)
			break;
	}
	if (!r->waiting)
		ev_timer_stop(loop, timer);
}

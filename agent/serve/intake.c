/* SPDX-License-Identifier: MIT */
#include "serve/intake.h"

#include <ev.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/unused.h"
#include "net/logsock.h"

/* Seconds between two tries of the journal to write what a disk refused. */
static const double RETRY_EVERY = 1.;
/* Seconds that lines wait for others, because each look at the sockets costs system calls, a write to the journal, and
 * takes a CPU from the SPOP threads. A socket holds the lines of so short a time, unless its queue is short. */
static const double COLLECT = .001;

struct intake {
	pthread_t thread;
	struct ev_loop *loop;
	ev_async stop;
	ev_timer timer;
	logsock *socks;
	ledger *ledger;
	bool running;
};

static void on_line(void *ctx, slice line)
{
	intake *in = ctx;
	ledger_take(in->ledger, line);
}

static void on_bad_framing(void *ctx)
{
	intake *in = ctx;
	ledger_bad_framing(in->ledger);
}

static void on_dropped(void *ctx, uint32_t count)
{
	intake *in = ctx;
	ledger_dropped(in->ledger, count);
}

static void on_batch_end(void *ctx)
{
	intake *in = ctx;
	ledger_flush(in->ledger);
}

static void on_timer(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	on_batch_end(timer->data);
}

static void on_stop(struct ev_loop *loop, ev_async *async UNUSED, int events UNUSED)
{
	ev_break(loop, EVBREAK_ALL);
}

static void *intake_main(void *arg)
{
	intake *in = arg;

	logsock_begin(in->socks);
	ev_run(in->loop, 0);
	return NULL;
}

/* A unix datagram socket holds net.unix.max_dgram_qlen datagrams, 10 of them by default. */
static bool any_short_queue(const listener *listeners, size_t count)
{
	int domain = AF_UNSPEC;
	socklen_t len = sizeof domain;

	for (size_t i = 0; i < count; i++)
		if (listeners[i].datagram &&
		    (getsockopt(listeners[i].fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 || domain == AF_UNIX))
			return true;
	return false;
}

intake *intake_new(const listener *listeners, size_t count)
{
	intake *in = calloc(1, sizeof *in);

	if (in)
		in->loop = ev_loop_new(EVFLAG_NOENV);
	if (in && in->loop)
		in->socks = logsock_new(in->loop, listeners, count,
					(logsock_handler){ in, on_line, on_bad_framing, on_dropped, on_batch_end });
	if (!in || !in->socks) {
		for (size_t i = 0; i < count; i++)
			close(listeners[i].fd);
		if (in && in->loop)
			ev_loop_destroy(in->loop);
		free(in);
		return NULL;
	}
	if (!any_short_queue(listeners, count))
		ev_set_io_collect_interval(in->loop, COLLECT);
	ev_async_init(&in->stop, on_stop);
	ev_async_start(in->loop, &in->stop);
	ev_timer_init(&in->timer, on_timer, RETRY_EVERY, RETRY_EVERY);
	in->timer.data = in;
	ev_timer_start(in->loop, &in->timer);
	return in;
}

void intake_adopt(intake *in, int fd, slice begun)
{
	logsock_adopt(in->socks, fd, begun);
}

bool intake_start(intake *in, ledger *l, err *e)
{
	in->ledger = l;
	int rc = thread_start(&in->thread, intake_main, in);
	in->running = rc == 0;
	return in->running || err_set(e, "the thread that takes in log lines: %s", strerror(rc));
}

void intake_stop(intake *in, void (*each)(void *ctx, int fd, slice begun), void *ctx)
{
	if (!in)
		return;
	if (in->running) {
		ev_async_send(in->loop, &in->stop);
		pthread_join(in->thread, NULL);
	}
	logsock_free(in->socks, each, ctx);
	ev_loop_destroy(in->loop);
	free(in);
}

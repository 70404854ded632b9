/* SPDX-License-Identifier: MIT */
#include "intake.h"

#include <ev.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "net/logsock.h"

/* How often the journal tries again what a disk refused, in seconds. */
static const double TURN_EVERY = 1.;

struct intake {
	pthread_t thread;
	struct ev_loop *loop;
	ev_async stop;
	ev_timer timer;
	logsock *socks;
	ledger *ledger;
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

static void on_turn(void *ctx)
{
	intake *in = ctx;
	ledger_turn(in->ledger);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	on_turn(timer->data);
}

static void on_stop(struct ev_loop *loop, ev_async *async, int events)
{
	(void)async;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

static void *intake_main(void *arg)
{
	intake *in = arg;

	ev_run(in->loop, 0);
	logsock_free(in->socks, NULL, NULL);
	return NULL;
}

static void intake_free(intake *in)
{
	if (in->loop)
		ev_loop_destroy(in->loop);
	free(in);
}

intake *intake_start(const listener *listeners, size_t count, ledger *l, err *e)
{
	intake *in = calloc(1, sizeof *in);
	sigset_t all, old;

	if (in)
		in->loop = ev_loop_new(EVFLAG_NOENV);
	if (!in || !in->loop) {
		free(in);
		err_set(e, "out of memory");
		return NULL;
	}
	in->ledger = l;
	in->socks = logsock_new(in->loop, listeners, count, (logsock_handler){ in, on_line, on_bad_framing, on_dropped, on_turn });
	if (!in->socks) {
		intake_free(in);
		err_set(e, "out of memory");
		return NULL;
	}
	ev_async_init(&in->stop, on_stop);
	ev_async_start(in->loop, &in->stop);
	ev_timer_init(&in->timer, on_timer, TURN_EVERY, TURN_EVERY);
	in->timer.data = in;
	ev_timer_start(in->loop, &in->timer);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&in->thread, NULL, intake_main, in);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		return in;
	err_set(e, "the thread of the log lines: %s", strerror(rc));
	logsock_free(in->socks, NULL, NULL);
	intake_free(in);
	return NULL;
}

void intake_stop(intake *in)
{
	if (!in)
		return;
	ev_async_send(in->loop, &in->stop);
	pthread_join(in->thread, NULL);
	intake_free(in);
}

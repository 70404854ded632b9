/* SPDX-License-Identifier: MIT */
#include "serve/intake.h"

#include <ev.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/unused.h"

/* Seconds between two tries of the journal to write what a disk refused, and between two looks whether taps and
 * shippers have fallen silent. */
static const double RETRY_EVERY = 1.;
/* Seconds that lines wait for others, because each look at the sockets costs system calls and a write to the journal,
 * and takes a CPU from the SPOP threads. A unix datagram socket takes 93 lines of 1,000 bytes from each thread of
 * HAProxy, which took 6 ms to write them (docs/speed.md). */
static const double COLLECT = .001;
/* Lines are not collected where a unix socket holds fewer datagrams than this. */
enum { QUEUE_LEAST = 256 };

struct intake {
	pthread_t thread;
	struct ev_loop *loop;
	ev_async stop;
	ev_timer timer;
	logsock *lines, *reports, *fleet; /* reports, fleet: NULL: no tap, no shipper is listened to */
	ledger *ledger;
	taps taps;
	shipping shipping;
	spans spans;
	intake_ships ships;
	bool running;
};

static void on_line(void *ctx, slice line)
{
	intake *in = ctx;
	ledger_take(in->ledger, line);
}

/* Takes what a tap sends: its own status, or the report of an answer, which is for the ledger. */
static void on_report(void *ctx, slice datagram)
{
	intake *in = ctx;
	if (!taps_take(&in->taps, datagram))
		ledger_take_report(in->ledger, datagram);
}

static void on_shipper(void *ctx, slice datagram)
{
	intake *in = ctx;
	if (in->ships.rows)
		shipping_take(&in->shipping, datagram, in->ledger);
	if (in->ships.spans)
		spans_take(&in->spans, datagram);
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
	intake *in = timer->data;

	on_batch_end(in);
	if (in->reports)
		taps_look(&in->taps);
	if (in->fleet && in->ships.rows)
		shipping_look(&in->shipping);
}

static void on_stop(struct ev_loop *loop, ev_async *async UNUSED, int events UNUSED)
{
	ev_break(loop, EVBREAK_ALL);
}

static void *intake_main(void *arg)
{
	intake *in = arg;

	logsock_begin(in->lines);
	if (in->reports)
		logsock_begin(in->reports);
	if (in->fleet)
		logsock_begin(in->fleet);
	ev_run(in->loop, 0);
	return NULL;
}

/* True if a unix datagram socket is too short to hold the lines that come while others are collected. */
static bool any_short_queue(const intake_sockets *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->items[i].datagram && !s->items[i].inet)
			return listener_datagram_queue(QUEUE_LEAST) < QUEUE_LEAST;
	return false;
}

/* Has `*into` take over the sockets. False: out of memory; they are closed. */
static bool take_over(intake *in, logsock **into, const intake_sockets *s, void (*on_message)(void *, slice))
{
	logsock_handler handler = { in, on_message, on_bad_framing, on_dropped, on_batch_end };

	if (in && in->loop)
		*into = logsock_new(in->loop, s->items, s->count, handler);
	if (in && *into)
		return true;
	for (size_t i = 0; i < s->count; i++)
		close(s->items[i].fd);
	return false;
}

intake *intake_new(const intake_sockets *lines, const intake_sockets *reports, const intake_sockets *fleet,
		   const intake_ships *ships)
{
	intake *in = calloc(1, sizeof *in);

	if (in) {
		taps_init(&in->taps);
		shipping_init(&in->shipping);
		spans_init(&in->spans);
		in->ships = *ships;
		in->loop = ev_loop_new(EVFLAG_NOENV);
	}
	bool ok = take_over(in, in ? &in->lines : NULL, lines, on_line);
	if (reports->count)
		ok = take_over(in, in ? &in->reports : NULL, reports, on_report) && ok;
	if (fleet->count)
		ok = take_over(in, in ? &in->fleet : NULL, fleet, on_shipper) && ok;
	if (!ok) {
		intake_stop(in, NULL, NULL);
		return NULL;
	}
	if (!any_short_queue(lines) && !any_short_queue(reports))
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
	logsock_adopt(in->lines, fd, begun);
}

bool intake_start(intake *in, ledger *l, err *e)
{
	in->ledger = l;
	int rc = thread_start(&in->thread, intake_main, in);
	in->running = rc == 0;
	return in->running || err_set(e, "the thread that takes in log lines: %s", strerror(rc));
}

host_tap intake_tap(intake *in)
{
	return in->reports ? taps_tell(&in->taps) : (host_tap){ .kept = false };
}

void intake_keep(intake *in, spending *to)
{
	shipping_keep(&in->shipping, to);
}

host_fleet intake_fleet(intake *in)
{
	return in->fleet && in->ships.rows ? shipping_tell(&in->shipping) : (host_fleet){ .kept = false };
}

host_spans intake_spans(intake *in)
{
	return in->fleet && in->ships.spans ? spans_tell(&in->spans) : (host_spans){ .kept = false };
}

void intake_stop(intake *in, bool (*each)(void *ctx, int fd, slice begun), void *ctx)
{
	if (!in)
		return;
	if (in->running) {
		ev_async_send(in->loop, &in->stop);
		pthread_join(in->thread, NULL);
	}
	/* The reports may come in before their lines: the ledger joins the two in either order. */
	logsock_free(in->reports, NULL, NULL);
	logsock_free(in->fleet, NULL, NULL);
	logsock_free(in->lines, each, ctx);
	if (in->loop)
		ev_loop_destroy(in->loop);
	taps_deinit(&in->taps);
	shipping_deinit(&in->shipping);
	spans_deinit(&in->spans);
	free(in);
}

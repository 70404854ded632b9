/* SPDX-License-Identifier: MIT */
#include "tap/tap.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/unused.h"
#include "proc/notify.h"
#include "tap/orders.h"
#include "tap/relay.h"
#include "tap/successor.h"

#ifndef SPOA_LLM_VERSION
#define SPOA_LLM_VERSION "0.1.0"
#endif

/* Seconds between two looks at everything, and two status datagrams. */
static const double TICK = 1.;

enum {
	DOOR_MODE = 0660, /* the directory gives the group: HAProxy's */
	/* HAProxy's connections that may wait to be accepted. The kernel's limit is net.core.somaxconn. */
	BACKLOG = 4096,
	OWN_FILES = 64, /* descriptors beside those of connections */
	/* A tap that drains closes a connection that has been idle for so many milliseconds. HAProxy may be about to
	 * use it; the longer nobody has, the less likely that is. A connection that is never idle for so long is closed
	 * behind an answer, when the tap has drained for DRAIN_USED. */
	DRAIN_IDLE = 3000,
	DRAIN_USED = 300 * 1000,
	/* Milliseconds that a tap which ends waits for the agent to take the last reports. */
	LAST_REPORTS = 5000,
};

typedef struct tap {
	const tap_settings *settings;
	struct ev_loop *loop;
	door doors[TAP_DOORS];
	size_t doors_count;
	relay_settings limits;
	relay *relay;
	reports reports;
	orders orders;
	successor successor;
	ev_signal signals[6];
	ev_timer tick, watchdog;
	ev_prepare look;
	bool open, draining, told;
	bool replaced; /* another process is the tap */
	unsigned stops;
	uint64_t full;
	int64_t draining_since, done_since;
} tap;

/* ---- doors */

static bool open_doors(tap *t, err *e)
{
	for (size_t i = 0; i < t->doors_count; i++)
		if (!door_open(&t->doors[i], e))
			return false;
	t->open = true;
	return true;
}

/* True if another process answers at the path of a door that is shut; `e` says which. */
static bool are_taken(const tap *t, err *e)
{
	for (size_t i = 0; i < t->doors_count; i++)
		if (door_is_taken(&t->doors[i])) {
			err_set(e,
				"another process answers at %s; give this tap a socket of its own by --listen, or replace "
				"the tap that runs by SIGUSR2",
				t->doors[i].path);
			return true;
		}
	return false;
}

static void shut_doors(tap *t)
{
	t->open = false;
	for (size_t i = 0; i < t->doors_count; i++)
		door_shut(&t->doors[i]);
}

static void take(void *ctx, int fd)
{
	tap *t = ctx;
	relay_take(t->relay, fd);
}

/* ---- draining */

static void drain(tap *t, const char *why)
{
	if (t->draining)
		return;
	t->draining = t->orders.draining = true;
	t->draining_since = clock_mono_ms();
	log_event(tap_draining, LOG_C("why", why), LOG_I("streams", relay_count(t->relay)->streams));
	if (!t->replaced)
		notify_send("STOPPING=1");
	shut_doors(t);
}

static void replace(tap *t)
{
	t->replaced = true;
	drain(t, "another process has taken over the socket");
}

static void on_order(void *ctx)
{
	drain(ctx, "spoa-llm tap --drain asked for it");
}

/* Ends the process when nothing is left to do. */
static void end_if_done(tap *t)
{
	if (relay_count(t->relay)->connections) {
		t->done_since = 0;
		return;
	}
	if (!t->done_since)
		t->done_since = clock_mono_ms();
	if (reports_done(&t->reports) || clock_mono_ms() - t->done_since > LAST_REPORTS)
		ev_break(t->loop, EVBREAK_ALL);
}

/* Runs once in each iteration of the event loop, before it sleeps. */
static void on_look(struct ev_loop *loop UNUSED, ev_prepare *prepare, int events UNUSED)
{
	tap *t = prepare->data;
	const relay_counts *n = relay_count(t->relay);

	relay_reap(t->relay);
	if (t->draining) {
		end_if_done(t);
	} else if (t->open && relay_is_full(t->relay)) {
		t->full++;
		log_event(tap_full, LOG_I("connections", n->connections), LOG_I("memory", n->memory));
		shut_doors(t);
	}
}

/* ---- time */

static void tell_status(tap *t)
{
	const relay_counts *n = relay_count(t->relay);
	char text[REPORT_MAX];

	int len = snprintf(
		text, sizeof text,
		"{\"v\":1,\"kind\":\"tap\",\"pid\":%d,\"streams\":%u,\"streams_total\":%llu,\"bytes\":%llu,\"reports\":%llu,"
		"\"reports_lost\":%llu,\"cut_client\":%llu,\"cut_upstream\":%llu,\"unreadable\":%llu,\"full\":%llu,"
		"\"memory\":%zu,\"draining\":%s}",
		(int)getpid(), n->streams, (unsigned long long)n->streams_total, (unsigned long long)n->bytes,
		(unsigned long long)t->reports.sent, (unsigned long long)t->reports.lost,
		(unsigned long long)n->cut_client, (unsigned long long)n->cut_upstream,
		(unsigned long long)n->unreadable, (unsigned long long)t->full, n->memory,
		t->draining ? "true" : "false");
	reports_inform(&t->reports, slice_of(text, (size_t)len));
}

static void look_at_doors(tap *t)
{
	const relay_counts *n = relay_count(t->relay);
	err e;

	/* While the doors were shut, another process may have taken their place. */
	if (!t->open && !t->draining && are_taken(t, &e)) {
		replace(t);
		return;
	}
	if (!t->open && !t->draining && relay_has_room(t->relay)) {
		if (open_doors(t, &e))
			log_event(tap_has_room, LOG_I("connections", n->connections), LOG_I("memory", n->memory));
		else
			log_event(tap_socket_gone, LOG_C("problem", e.text));
	}
	for (size_t i = 0; t->open && i < t->doors_count; i++) {
		switch (door_look(&t->doors[i])) {
		case DOOR_OURS:
			break;
		case DOOR_TAKEN:
			replace(t);
			return;
		case DOOR_DEAD:
			log_event(tap_socket_gone, LOG_C("path", t->doors[i].path),
				  LOG_C("problem", door_open(&t->doors[i], &e) ? "" : e.text));
			break;
		}
	}
}

static void on_tick(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	tap *t = timer->data;

	look_at_doors(t);
	if (t->draining) {
		relay_close_idle(t->relay, clock_mono_ms() - DRAIN_IDLE);
		if (clock_mono_ms() - t->draining_since > DRAIN_USED)
			relay_close_used(t->relay);
	}
	orders_tell(&t->orders, relay_count(t->relay)->streams);
	tell_status(t);
}

static void on_watchdog(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	const tap *t = timer->data;

	/* A process that was replaced must not give signs of life in the other one's place. */
	if (!t->replaced)
		notify_inform("WATCHDOG=1");
}

/* ---- signals */

static void on_stop(struct ev_loop *loop, ev_signal *sig, int events UNUSED)
{
	tap *t = sig->data;

	if (++t->stops > 1)
		ev_break(loop, EVBREAK_ALL);
	else
		drain(t, sig->signum == SIGTERM ? "SIGTERM" : sig->signum == SIGINT ? "SIGINT" : "SIGUSR1");
}

static void on_upgrade(struct ev_loop *loop UNUSED, ev_signal *sig, int events UNUSED)
{
	tap *t = sig->data;
	err e;

	if (t->draining)
		log_event(tap_upgrade_failed, LOG_C("problem", "this process drains"));
	else if (!successor_start(&t->successor, &e))
		log_event(tap_upgrade_failed, LOG_C("problem", e.text));
}

static void on_hup(struct ev_loop *loop UNUSED, ev_signal *sig UNUSED, int events UNUSED)
{
	/* There is nothing to read again. */
}

static void on_successor(void *ctx, bool ready)
{
	tap *t = ctx;

	if (ready)
		replace(t);
	else
		look_at_doors(t); /* it may have taken them over before it failed */
}

/* ---- life */

/* Raises the limit of open files as far as it goes, and returns how many connections, with a file for either side, it
 * is enough for. */
static unsigned connections_by_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return 0;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	rlim_t most = files.rlim_cur > OWN_FILES ? (files.rlim_cur - OWN_FILES) / 2 : 0;
	return most < UINT_MAX ? (unsigned)most : UINT_MAX;
}

static void watch(tap *t)
{
	static const struct {
		int sig;
		void (*handler)(struct ev_loop *loop, ev_signal *sig, int events);
	} handlers[] = { { SIGTERM, on_stop },
			 { SIGINT, on_stop },
			 { SIGUSR1, on_stop },
			 { SIGHUP, on_hup },
			 { SIGUSR2, on_upgrade } };
	int64_t watchdog = notify_watchdog_ms();

	for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
		ev_signal_init(&t->signals[i], handlers[i].handler, handlers[i].sig);
		t->signals[i].data = t;
		ev_signal_start(t->loop, &t->signals[i]);
	}
	signal(SIGPIPE, SIG_IGN);
	ev_timer_init(&t->tick, on_tick, TICK, TICK);
	ev_timer_init(&t->watchdog, on_watchdog, 0., (double)watchdog / 2000);
	ev_prepare_init(&t->look, on_look);
	t->tick.data = t->watchdog.data = t->look.data = t;
	ev_timer_start(t->loop, &t->tick);
	if (watchdog)
		ev_timer_start(t->loop, &t->watchdog);
	ev_prepare_start(t->loop, &t->look);
}

/* Makes everything. False: `e` says what failed. */
static bool begin(tap *t, unsigned by_files, err *e)
{
	const tap_settings *s = t->settings;
	bool replaces = successor_is_one();
	/* A quarter is for connections that come on top: those accepted at once, and those that wait when the doors
	 * shut. */
	unsigned most = by_files - by_files / 4;

	t->limits = (relay_settings){ .legs = s->legs, .connections = s->streams, .memory = s->memory };
	if (most < s->streams) {
		t->limits.connections = most;
		log_event(tap_few_files, LOG_I("streams", s->streams), LOG_I("possible", most));
	}
	size_t backlog = (by_files - t->limits.connections) / 2 / s->listen_count;
	if (backlog > BACKLOG)
		backlog = BACKLOG;
	if (access(s->legs, X_OK) != 0)
		log_event(tap_no_legs, LOG_C("directory", s->legs), LOG_C("problem", strerror(errno)));
	if (!successor_init(&t->successor, t->loop, s->argv, e) || !reports_init(&t->reports, t->loop, s->report, e))
		return false;
	t->successor.ended = on_successor;
	t->relay = relay_new(t->loop, &t->limits, &t->reports, e);
	if (!t->relay)
		return false;
	for (; t->doors_count < s->listen_count; t->doors_count++) {
		door *d = &t->doors[t->doors_count];
		if (!door_init(d, t->loop, s->listen[t->doors_count], DOOR_MODE, (unsigned)backlog, e))
			return false;
		d->take = take;
		d->ctx = t;
	}
	t->successor.ctx = t->orders.ctx = t;
	t->orders.drain = on_order;
	return (replaces || !are_taken(t, e)) && orders_open(&t->orders, t->loop, s->control, replaces, e) &&
	       open_doors(t, e);
}

static void say_ready(const tap *t)
{
	char lines[64];

	for (size_t i = 0; i < t->doors_count; i++)
		log_event(listening, LOG_C("address", t->doors[i].path), LOG_C("for", "streams"));
	log_event(tap_ready, LOG_C("version", SPOA_LLM_VERSION), LOG_I("streams", t->limits.connections),
		  LOG_I("memory", t->limits.memory));
	snprintf(lines, sizeof lines, "MAINPID=%d\nREADY=1", (int)getpid());
	notify_send(lines);
	successor_say_ready();
}

static void end(tap *t)
{
	relay_cut(t->relay);
	orders_tell(&t->orders, 0);
	tell_status(t);
	log_event(tap_ended, LOG_I("streams_total", relay_count(t->relay)->streams_total));
	relay_free(t->relay);
	orders_close(&t->orders);
	reports_deinit(&t->reports);
}

int tap_run(const tap_settings *s)
{
	tap t = { .settings = s };
	unsigned by_files = connections_by_files();
	err e;

	/* With fewer files libev aborts, or no stream has any. */
	if (by_files == 0) {
		log_event(
			start_failed,
			LOG_C("problem",
			      "the limit of open files is too low for a single stream: raise it (ulimit -n, LimitNOFILE=)"));
		return EX_UNAVAILABLE;
	}
	t.loop = ev_default_loop(EVFLAG_NOENV);
	if (!t.loop) {
		log_event(start_failed, LOG_C("problem", "the kernel gives no event loop"));
		return EX_OSERR;
	}
	if (!begin(&t, by_files, &e)) {
		log_event(start_failed, LOG_C("problem", e.text));
		return EX_OSERR;
	}
	watch(&t);
	say_ready(&t);
	ev_run(t.loop, 0);
	end(&t);
	return EX_OK;
}

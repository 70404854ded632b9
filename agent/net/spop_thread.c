/* SPDX-License-Identifier: MIT */
#include "net/spop_thread.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "base/unused.h"
#include "net/conn.h"

/* How long accepting rests when there are no file descriptors left, in seconds. */
static const double ACCEPT_PAUSE = 0.1;
/* How long a thread that is not the least loaded leaves a new connection to another one. */
static const double ACCEPT_YIELD = 0.001;
/* How often a loop turns at least. */
static const double HEARTBEAT = 0.5;

/* ---- accepting */

static void accepting_set(spop_thread *w, bool on)
{
	for (size_t i = 0; i < w->shared->listeners_count; i++) {
		if (on)
			ev_io_start(w->loop, &w->accepting[i]);
		else
			ev_io_stop(w->loop, &w->accepting[i]);
	}
}

static void accepting_rest(spop_thread *w, double seconds, bool yielding)
{
	accepting_set(w, false);
	w->yielding = yielding;
	ev_timer_set(&w->accept_pause, seconds, 0.);
	ev_timer_start(w->loop, &w->accept_pause);
}

/* HAProxy opens few connections and keeps them long: where they land decides how the threads are used. */
static bool least_loaded(const spop_thread *w)
{
	const spop_shared *s = w->shared;
	unsigned mine = atomic_load_explicit(&s->loads[w->index].conns, memory_order_relaxed);

	for (unsigned i = 0; i < s->threads; i++)
		if (atomic_load_explicit(&s->loads[i].conns, memory_order_relaxed) < mine)
			return false;
	return true;
}

/* False: accepting rests. */
static bool accept_one(spop_thread *w, const listener *l)
{
	spop_shared *s = w->shared;
	int fd = listener_accept(l);

	if (fd < 0) {
		if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
			return true; /* another worker was faster, or the peer is gone already */
		counter_add(&w->counters.accept_pauses, 1);
		log_event(accept_paused, LOG_C("problem", strerror(errno)),
			  LOG_C("hint", "raise the limit of open files"));
		accepting_rest(w, ACCEPT_PAUSE, false);
		return false;
	}
	if (atomic_fetch_add(&s->connections, 1) >= s->limits.max_connections) {
		atomic_fetch_sub(&s->connections, 1);
		counter_add(&w->counters.refused_connections, 1);
		log_event(connection_refused, LOG_I("max_connections", s->limits.max_connections));
		close(fd);
		return true;
	}
	conn_open(w, fd);
	return true;
}

static void on_acceptable(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	spop_thread *w = io->data;

	if (!least_loaded(w))
		accepting_rest(w, ACCEPT_YIELD, true);
	else
		accept_one(w, &w->shared->listeners[io - w->accepting]);
}

static void on_pause_end(struct ev_loop *loop, ev_timer *timer, int events UNUSED)
{
	spop_thread *w = timer->data;

	ev_timer_stop(loop, timer);
	accepting_set(w, true);
	/* What nobody else took by now is ours. */
	for (size_t i = 0; w->yielding && i < w->shared->listeners_count; i++)
		if (!accept_one(w, &w->shared->listeners[i]))
			break;
}

/* ---- orders */

void spop_thread_end_if_done(spop_thread *w)
{
	w->stopping = w->stopping || (w->draining && w->shared->replaced && !w->conns);
	if (w->stopping && !w->conns)
		ev_break(w->loop, EVBREAK_ALL);
}

static void finish_all(spop_thread *w)
{
	w->stopping = true;
	accepting_set(w, false);
	ev_timer_stop(w->loop, &w->accept_pause);
	ev_timer_stop(w->loop, &w->drain_end);
	for (conn *c = w->conns, *after; c; c = after) {
		after = conn_next(c);
		conn_finish(c);
	}
	spop_thread_end_if_done(w);
}

static void on_drain_end(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	finish_all(timer->data);
}

static void take_policy(spop_thread *w)
{
	policy *next = atomic_exchange(&w->next_policy, NULL);

	if (!next)
		return;
	policy_unref(w->policy);
	w->policy = next;
}

static void on_wake(struct ev_loop *loop, ev_async *async, int events UNUSED)
{
	spop_thread *w = async->data;
	spop_shared *s = w->shared;

	take_policy(w);
	if (atomic_load(&s->freeze)) {
		ev_break(loop, EVBREAK_ALL);
		return;
	}
	if (w->stopping)
		return;
	if (atomic_load(&s->stop)) {
		finish_all(w);
	} else if (atomic_load(&s->drain) && !w->draining) {
		w->draining = true;
		ev_timer_set(&w->drain_end, s->drain_seconds, 0.);
		ev_timer_start(loop, &w->drain_end);
		if (s->replaced) {
			accepting_set(w, false);
			ev_timer_stop(loop, &w->accept_pause);
			spop_thread_end_if_done(w);
		}
	}
}

static void on_turn(struct ev_loop *loop UNUSED, ev_prepare *prepare, int events UNUSED)
{
	spop_thread *w = prepare->data;

	counter_add(&w->counters.turns, 1);
}

static void on_heartbeat(struct ev_loop *loop UNUSED, ev_timer *timer UNUSED, int events UNUSED)
{
}

/* ---- the thread */

static bool ended(const spop_thread *w)
{
	return w->stopping && !w->conns;
}

static void *spop_thread_main(void *arg)
{
	spop_thread *w = arg;
	spop_shared *s = w->shared;

	/* Timers count from now on, not from when the loop was made or frozen. */
	ev_now_update(w->loop);
	take_policy(w);
	for (conn *c = w->conns, *after; c; c = after) {
		after = conn_next(c);
		conn_resume(c);
	}
	if (!ended(w))
		ev_run(w->loop, 0);
	if (ended(w) && atomic_fetch_sub(&s->running, 1) == 1)
		ev_async_send(s->owner, s->ended);
	return NULL;
}

bool spop_thread_run(spop_thread *w, err *e)
{
	int rc = thread_start(&w->thread, spop_thread_main, w);

	w->running = rc == 0;
	char name[16];
	snprintf(name, sizeof name, "spop-%u", w->index);
	if (w->running)
		pthread_setname_np(w->thread, name);
	return w->running || err_set(e, "worker %u: %s", w->index, strerror(rc));
}

void spop_thread_join(spop_thread *w)
{
	if (w->running)
		pthread_join(w->thread, NULL);
	w->running = false;
}

void spop_thread_wake(spop_thread *w)
{
	ev_async_send(w->loop, &w->wake);
}

void spop_thread_set_policy(spop_thread *w, policy *p)
{
	/* One that was not taken yet is skipped: the newest counts. */
	policy_unref(atomic_exchange(&w->next_policy, p));
	spop_thread_wake(w);
}

/* ---- beginning and end */

bool spop_thread_init(spop_thread *w, spop_shared *s, unsigned index, policy *p, err *e)
{
	memset(w, 0, sizeof *w);
	w->shared = s;
	w->index = index;
	w->policy = p;
	pthread_mutex_init(&w->counters.notes_lock, NULL);
	w->loop = ev_loop_new(EVFLAG_NOENV);
	w->accepting = calloc(s->listeners_count ? s->listeners_count : 1, sizeof *w->accepting);
	w->scratch = malloc(CONN_KEEP + SPOP_SCRATCH);
	if (!w->loop || !w->accepting || !w->scratch) {
		spop_thread_deinit(w);
		return err_set_kind(e, ERR_MEMORY, "worker %u: out of memory", index);
	}
	ev_async_init(&w->wake, on_wake);
	ev_timer_init(&w->accept_pause, on_pause_end, 0., 0.);
	ev_timer_init(&w->drain_end, on_drain_end, 0., 0.);
	ev_prepare_init(&w->turn, on_turn);
	ev_timer_init(&w->heartbeat, on_heartbeat, HEARTBEAT, HEARTBEAT);
	w->wake.data = w->accept_pause.data = w->drain_end.data = w->turn.data = w;
	ev_async_start(w->loop, &w->wake);
	ev_prepare_start(w->loop, &w->turn);
	ev_timer_start(w->loop, &w->heartbeat);
	for (size_t i = 0; i < s->listeners_count; i++) {
		ev_io_init(&w->accepting[i], on_acceptable, s->listeners[i].fd, EV_READ);
		w->accepting[i].data = w;
	}
	accepting_set(w, true);
	return true;
}

void spop_thread_abandon(spop_thread *w)
{
	/* Not to be told that the last one is gone. */
	w->stopping = false;
	while (w->conns)
		conn_close(w->conns);
}

void spop_thread_deinit(spop_thread *w)
{
	spop_thread_abandon(w);
	if (w->loop)
		ev_loop_destroy(w->loop);
	free(w->accepting);
	free(w->scratch);
	buf_deinit(&w->spare);
	policy_unref(atomic_exchange(&w->next_policy, NULL));
	policy_unref(w->policy);
	pthread_mutex_destroy(&w->counters.notes_lock);
}

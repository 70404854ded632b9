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

/* Seconds without accepting after the last file descriptor was used up. */
static const double ACCEPT_PAUSE = 0.1;
/* Seconds that a thread which is not the least loaded leaves a new connection to the others. */
static const double ACCEPT_YIELD = 0.001;
/* Seconds until the event loop iterates even if nothing happens, so that the master sees that the thread is alive. */
static const double HEARTBEAT = 0.5;
/* A buffer of a large frame is kept for so many heartbeats, and at most twice as many, after it was needed last,
 * because large requests come in bursts. */
enum { KEPT_BEATS = 30 };

/* The buffers that all threads keep may together have max_memory / KEPT_SHARE bytes. */
enum { KEPT_SHARE = 4 };

/* ---- accepting */

static void accepting_set(spop_thread *t, bool on)
{
	for (size_t i = 0; i < t->shared->listeners_count; i++) {
		if (on)
			ev_io_start(t->loop, &t->accepting[i]);
		else
			ev_io_stop(t->loop, &t->accepting[i]);
	}
}

static void accepting_rest(spop_thread *t, double seconds, bool yielding)
{
	accepting_set(t, false);
	t->yielding = yielding;
	ev_timer_set(&t->accept_pause, seconds, 0.);
	ev_timer_start(t->loop, &t->accept_pause);
}

/* True: no thread has fewer connections. Spreading them matters because HAProxy opens few and keeps them long. */
static bool least_loaded(const spop_thread *t)
{
	const spop_shared *s = t->shared;
	unsigned mine = atomic_load_explicit(&s->loads[t->index].conns, memory_order_relaxed);

	for (unsigned i = 0; i < s->threads; i++)
		if (atomic_load_explicit(&s->loads[i].conns, memory_order_relaxed) < mine)
			return false;
	return true;
}

/* Accepts one connection. False: no descriptor is left, and accepting rests. */
static bool accept_one(spop_thread *t, const listener *l)
{
	spop_shared *s = t->shared;
	int fd = listener_accept(l);

	if (fd < 0) {
		if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
			return true; /* another thread was faster, or the peer is gone already */
		counter_add(&t->counters.accept_pauses, 1);
		log_event(accept_paused, LOG_C("problem", strerror(errno)),
			  LOG_C("hint", "raise the limit of open files"));
		accepting_rest(t, ACCEPT_PAUSE, false);
		return false;
	}
	if (atomic_fetch_add(&s->connections, 1) >= s->limits.max_connections) {
		atomic_fetch_sub(&s->connections, 1);
		counter_add(&t->counters.refused_connections, 1);
		log_event(connection_refused, LOG_I("max_connections", s->limits.max_connections));
		close(fd);
		return true;
	}
	conn_open(t, fd);
	return true;
}

static void on_acceptable(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	spop_thread *t = io->data;

	if (!least_loaded(t))
		accepting_rest(t, ACCEPT_YIELD, true);
	else
		accept_one(t, &t->shared->listeners[io - t->accepting]);
}

static void on_pause_end(struct ev_loop *loop, ev_timer *timer, int events UNUSED)
{
	spop_thread *t = timer->data;

	ev_timer_stop(loop, timer);
	accepting_set(t, true);
	/* Take the connections that no other thread has taken by now. */
	for (size_t i = 0; t->yielding && i < t->shared->listeners_count; i++)
		if (!accept_one(t, &t->shared->listeners[i]))
			break;
}

/* ---- orders */

void spop_thread_end_if_done(spop_thread *t)
{
	t->stopping = t->stopping || (t->draining && t->shared->replaced && !t->conns);
	if (t->stopping && !t->conns)
		ev_break(t->loop, EVBREAK_ALL);
}

static void finish_all(spop_thread *t)
{
	t->stopping = true;
	accepting_set(t, false);
	ev_timer_stop(t->loop, &t->accept_pause);
	ev_timer_stop(t->loop, &t->drain_end);
	for (conn *c = t->conns, *after; c; c = after) {
		after = conn_next(c);
		conn_finish(c);
	}
	spop_thread_end_if_done(t);
}

static void on_drain_end(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	finish_all(timer->data);
}

static void take_policy(spop_thread *t)
{
	policy *next = atomic_exchange(&t->next_policy, NULL);

	if (!next)
		return;
	policy_unref(t->policy);
	t->policy = next;
}

static void on_wake(struct ev_loop *loop, ev_async *async, int events UNUSED)
{
	spop_thread *t = async->data;
	spop_shared *s = t->shared;

	take_policy(t);
	if (atomic_load(&s->freeze)) {
		ev_break(loop, EVBREAK_ALL);
		return;
	}
	if (t->stopping)
		return;
	if (atomic_load(&s->stop)) {
		finish_all(t);
	} else if (atomic_load(&s->drain) && !t->draining) {
		t->draining = true;
		ev_timer_set(&t->drain_end, s->drain_seconds, 0.);
		ev_timer_start(loop, &t->drain_end);
		if (s->replaced) {
			accepting_set(t, false);
			ev_timer_stop(loop, &t->accept_pause);
			spop_thread_end_if_done(t);
		}
	}
}

static void on_iteration(struct ev_loop *loop UNUSED, ev_prepare *prepare, int events UNUSED)
{
	spop_thread *t = prepare->data;

	counter_add(&t->counters.iterations, 1);
}

static void on_heartbeat(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	spop_thread *t = timer->data;

	if (++t->beats % KEPT_BEATS == 0)
		kept_rest(&t->kept);
}

/* ---- the thread */

static bool ended(const spop_thread *t)
{
	return t->stopping && !t->conns;
}

static void *spop_thread_main(void *arg)
{
	spop_thread *t = arg;
	spop_shared *s = t->shared;

	/* Timers count from now on, not from the time when the loop was made or frozen. */
	ev_now_update(t->loop);
	take_policy(t);
	for (conn *c = t->conns, *after; c; c = after) {
		after = conn_next(c);
		conn_resume(c);
	}
	if (!ended(t))
		ev_run(t->loop, 0);
	if (ended(t) && atomic_fetch_sub(&s->running, 1) == 1)
		ev_async_send(s->owner, s->ended);
	return NULL;
}

bool spop_thread_run(spop_thread *t, err *e)
{
	int rc = thread_start(&t->thread, spop_thread_main, t);

	t->running = rc == 0;
	char name[16];
	snprintf(name, sizeof name, "spop-%u", t->index);
	if (t->running)
		pthread_setname_np(t->thread, name);
	return t->running || err_set(e, "SPOP thread %u: %s", t->index, strerror(rc));
}

void spop_thread_join(spop_thread *t)
{
	if (t->running)
		pthread_join(t->thread, NULL);
	t->running = false;
}

void spop_thread_wake(spop_thread *t)
{
	ev_async_send(t->loop, &t->wake);
}

void spop_thread_set_policy(spop_thread *t, policy *p)
{
	/* A policy that the thread has not taken yet is skipped. */
	policy_unref(atomic_exchange(&t->next_policy, p));
	spop_thread_wake(t);
}

/* ---- beginning and end */

bool spop_thread_init(spop_thread *t, spop_shared *s, unsigned index, policy *p, err *e)
{
	memset(t, 0, sizeof *t);
	t->shared = s;
	t->index = index;
	t->policy = p;
	kept_init(&t->kept, (size_t)(s->limits.max_memory / KEPT_SHARE / s->threads));
	pthread_mutex_init(&t->counters.notes_lock, NULL);
	t->loop = ev_loop_new(EVFLAG_NOENV);
	t->accepting = calloc(s->listeners_count ? s->listeners_count : 1, sizeof *t->accepting);
	t->scratch = malloc(SPOP_FRONT + SPOP_SCRATCH);
	if (!t->loop || !t->accepting || !t->scratch) {
		spop_thread_deinit(t);
		return err_set_kind(e, ERR_MEMORY, "SPOP thread %u: out of memory", index);
	}
	ev_async_init(&t->wake, on_wake);
	ev_timer_init(&t->accept_pause, on_pause_end, 0., 0.);
	ev_timer_init(&t->drain_end, on_drain_end, 0., 0.);
	ev_prepare_init(&t->iteration, on_iteration);
	ev_timer_init(&t->heartbeat, on_heartbeat, HEARTBEAT, HEARTBEAT);
	t->wake.data = t->accept_pause.data = t->drain_end.data = t->iteration.data = t->heartbeat.data = t;
	ev_async_start(t->loop, &t->wake);
	ev_prepare_start(t->loop, &t->iteration);
	ev_timer_start(t->loop, &t->heartbeat);
	for (size_t i = 0; i < s->listeners_count; i++) {
		ev_io_init(&t->accepting[i], on_acceptable, s->listeners[i].fd, EV_READ);
		t->accepting[i].data = t;
	}
	accepting_set(t, true);
	return true;
}

void spop_thread_abandon(spop_thread *t)
{
	while (t->conns)
		conn_close(t->conns);
}

void spop_thread_deinit(spop_thread *t)
{
	spop_thread_abandon(t);
	if (t->loop)
		ev_loop_destroy(t->loop);
	free(t->accepting);
	free(t->scratch);
	kept_deinit(&t->kept);
	buf_deinit(&t->spare);
	policy_unref(atomic_exchange(&t->next_policy, NULL));
	policy_unref(t->policy);
	pthread_mutex_destroy(&t->counters.notes_lock);
}

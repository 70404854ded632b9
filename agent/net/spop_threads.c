/* SPDX-License-Identifier: MIT */
#include "net/spop_threads.h"

#include <stdlib.h>

#include "net/conn.h"

struct spop_threads {
	spop_shared shared;
	spop_thread *all; /* shared.threads of them */
};

/* ---- beginning and end */

spop_threads *spop_threads_new(const listener *listeners, size_t count, unsigned threads, spop_limits limits, policy *p,
			       struct ev_loop *owner, ev_async *ended, err *e)
{
	spop_threads *ts = aligned_alloc(alignof(spop_threads), sizeof *ts);
	unsigned made = 0;

	if (ts) {
		memset(ts, 0, sizeof *ts);
		ts->shared.limits = limits;
		ts->shared.listeners = listeners;
		ts->shared.listeners_count = count;
		ts->shared.threads = threads;
		ts->shared.owner = owner;
		ts->shared.ended = ended;
		ts->shared.stall_seconds = SPOP_STALL_S;
		ts->shared.loads = aligned_alloc(alignof(spop_load), threads * sizeof *ts->shared.loads);
		ts->all = aligned_alloc(alignof(spop_thread), threads * sizeof *ts->all);
	}
	bool ok = ts && ts->shared.loads && ts->all;
	if (ok)
		memset(ts->shared.loads, 0, threads * sizeof *ts->shared.loads);
	else
		err_memory(e);
	for (; ok && made < threads; made += ok)
		ok = spop_thread_init(&ts->all[made], &ts->shared, made, policy_ref(p), e);
	policy_unref(p);
	if (ok)
		return ts;
	if (ts) {
		ts->shared.threads = made;
		spop_threads_free(ts);
	}
	return NULL;
}

void spop_threads_abandon(spop_threads *ts)
{
	for (unsigned i = 0; i < ts->shared.threads; i++)
		spop_thread_abandon(&ts->all[i]);
}

void spop_threads_free(spop_threads *ts)
{
	if (!ts)
		return;
	if (ts->all)
		spop_threads_freeze(ts);
	for (unsigned i = 0; ts->all && i < ts->shared.threads; i++)
		spop_thread_deinit(&ts->all[i]);
	free(ts->all);
	free(ts->shared.loads);
	free(ts);
}

static void wake_all(spop_threads *ts)
{
	for (unsigned i = 0; i < ts->shared.threads; i++)
		spop_thread_wake(&ts->all[i]);
}

bool spop_threads_start(spop_threads *ts, err *e)
{
	atomic_store(&ts->shared.freeze, false);
	atomic_store(&ts->shared.running, ts->shared.threads);
	for (unsigned i = 0; i < ts->shared.threads; i++) {
		if (spop_thread_run(&ts->all[i], e))
			continue;
		spop_threads_freeze(ts);
		return false;
	}
	return true;
}

/* ---- orders */

void spop_threads_set_policy(spop_threads *ts, policy *p)
{
	for (unsigned i = 0; i < ts->shared.threads; i++)
		spop_thread_set_policy(&ts->all[i], policy_ref(p));
	policy_unref(p);
}

void spop_threads_set_stall(spop_threads *ts, double seconds)
{
	ts->shared.stall_seconds = seconds;
}

void spop_threads_drain(spop_threads *ts, double seconds, bool replaced)
{
	if (atomic_load(&ts->shared.drain))
		return;
	ts->shared.drain_seconds = seconds;
	ts->shared.replaced = replaced;
	atomic_store(&ts->shared.drain, true);
	wake_all(ts);
}

void spop_threads_stop(spop_threads *ts)
{
	atomic_store(&ts->shared.stop, true);
	wake_all(ts);
}

/* ---- handing connections to another process */

void spop_threads_freeze(spop_threads *ts)
{
	atomic_store(&ts->shared.freeze, true);
	wake_all(ts);
	for (unsigned i = 0; i < ts->shared.threads; i++)
		spop_thread_join(&ts->all[i]);
}

bool spop_threads_export(spop_threads *ts, bool (*each)(void *ctx, int fd, slice state), void *ctx)
{
	bool ok = true;
	buf state;

	buf_init(&state, SIZE_MAX);
	for (unsigned i = 0; ok && i < ts->shared.threads; i++) {
		for (conn *c = ts->all[i].conns; ok && c; c = conn_next(c)) {
			if (!conn_can_go(c))
				continue;
			ok = conn_export(c, &state) && each(ctx, conn_fd(c), buf_slice(&state));
			buf_consume(&state, buf_len(&state), SPOP_SCRATCH);
		}
	}
	buf_deinit(&state);
	return ok;
}

bool spop_threads_adopt(spop_threads *ts, int fd, slice state, err *e)
{
	const spop_load *loads = ts->shared.loads;
	unsigned to = 0;

	for (unsigned i = 1; i < ts->shared.threads; i++)
		if (atomic_load(&loads[i].conns) < atomic_load(&loads[to].conns))
			to = i;
	return conn_adopt(&ts->all[to], fd, state, e);
}

/* ---- counters */

unsigned spop_threads_count(const spop_threads *ts)
{
	return ts->shared.threads;
}

const net_counters *spop_threads_counters(const spop_threads *ts, unsigned thread)
{
	return &ts->all[thread].counters;
}

unsigned spop_threads_connections(const spop_threads *ts)
{
	return atomic_load(&ts->shared.connections);
}

uint64_t spop_threads_memory(const spop_threads *ts)
{
	return atomic_load(&ts->shared.memory);
}

static int newer_first(const void *a, const void *b)
{
	int64_t left = ((const refusal_note *)a)->time_ms, right = ((const refusal_note *)b)->time_ms;
	return (left < right) - (left > right);
}

size_t spop_threads_notes(spop_threads *ts, refusal_note *out, size_t room)
{
	size_t count = 0, most = (size_t)ts->shared.threads * REFUSALS_KEPT;
	refusal_note *notes = calloc(most, sizeof *notes);

	if (!notes)
		return 0;
	for (unsigned i = 0; i < ts->shared.threads; i++) {
		net_counters *n = &ts->all[i].counters;
		pthread_mutex_lock(&n->notes_lock);
		/* Newest first, because glibc's qsort() mostly keeps the order of equal times. */
		for (size_t back = 1; back <= REFUSALS_KEPT && back <= n->notes_next; back++)
			notes[count++] = n->notes[(n->notes_next - back) % REFUSALS_KEPT];
		pthread_mutex_unlock(&n->notes_lock);
	}
	qsort(notes, count, sizeof *notes, newer_first);
	if (count > room)
		count = room;
	memcpy(out, notes, count * sizeof *notes);
	free(notes);
	return count;
}

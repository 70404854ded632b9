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
	spop_threads *ws = aligned_alloc(alignof(spop_threads), sizeof *ws);
	unsigned made = 0;

	if (ws) {
		memset(ws, 0, sizeof *ws);
		ws->shared.limits = limits;
		ws->shared.listeners = listeners;
		ws->shared.listeners_count = count;
		ws->shared.threads = threads;
		ws->shared.owner = owner;
		ws->shared.ended = ended;
		ws->shared.stall_seconds = WORKER_STALL_S;
		ws->shared.loads = aligned_alloc(alignof(spop_load), threads * sizeof *ws->shared.loads);
		ws->all = aligned_alloc(alignof(spop_thread), threads * sizeof *ws->all);
	}
	bool ok = ws && ws->shared.loads && ws->all;
	if (ok)
		memset(ws->shared.loads, 0, threads * sizeof *ws->shared.loads);
	else
		err_memory(e);
	for (; ok && made < threads; made += ok)
		ok = spop_thread_init(&ws->all[made], &ws->shared, made, policy_ref(p), e);
	policy_unref(p);
	if (ok)
		return ws;
	if (ws) {
		ws->shared.threads = made;
		spop_threads_free(ws);
	}
	return NULL;
}

void spop_threads_abandon(spop_threads *ws)
{
	for (unsigned i = 0; i < ws->shared.threads; i++)
		spop_thread_abandon(&ws->all[i]);
}

void spop_threads_free(spop_threads *ws)
{
	if (!ws)
		return;
	if (ws->all)
		spop_threads_freeze(ws);
	for (unsigned i = 0; ws->all && i < ws->shared.threads; i++)
		spop_thread_deinit(&ws->all[i]);
	free(ws->all);
	free(ws->shared.loads);
	free(ws);
}

static void wake_all(spop_threads *ws)
{
	for (unsigned i = 0; i < ws->shared.threads; i++)
		spop_thread_wake(&ws->all[i]);
}

bool spop_threads_start(spop_threads *ws, err *e)
{
	atomic_store(&ws->shared.freeze, false);
	atomic_store(&ws->shared.running, ws->shared.threads);
	for (unsigned i = 0; i < ws->shared.threads; i++) {
		if (spop_thread_run(&ws->all[i], e))
			continue;
		spop_threads_freeze(ws);
		return false;
	}
	return true;
}

/* ---- orders */

void spop_threads_set_policy(spop_threads *ws, policy *p)
{
	for (unsigned i = 0; i < ws->shared.threads; i++)
		spop_thread_set_policy(&ws->all[i], policy_ref(p));
	policy_unref(p);
}

void spop_threads_set_stall(spop_threads *ws, double seconds)
{
	ws->shared.stall_seconds = seconds;
}

void spop_threads_drain(spop_threads *ws, double seconds, bool replaced)
{
	if (atomic_load(&ws->shared.drain))
		return;
	ws->shared.drain_seconds = seconds;
	ws->shared.replaced = replaced;
	atomic_store(&ws->shared.drain, true);
	wake_all(ws);
}

void spop_threads_stop(spop_threads *ws)
{
	atomic_store(&ws->shared.stop, true);
	wake_all(ws);
}

/* ---- from one process to the next */

void spop_threads_freeze(spop_threads *ws)
{
	atomic_store(&ws->shared.freeze, true);
	wake_all(ws);
	for (unsigned i = 0; i < ws->shared.threads; i++)
		spop_thread_join(&ws->all[i]);
}

bool spop_threads_export(spop_threads *ws, bool (*each)(void *ctx, int fd, slice state), void *ctx)
{
	bool ok = true;
	buf state;

	buf_init(&state, SIZE_MAX);
	for (unsigned i = 0; ok && i < ws->shared.threads; i++) {
		for (conn *c = ws->all[i].conns; ok && c; c = conn_next(c)) {
			if (!conn_can_go(c))
				continue;
			ok = conn_export(c, &state) && each(ctx, conn_fd(c), buf_slice(&state));
			buf_consume(&state, buf_len(&state), SPOP_SCRATCH);
		}
	}
	buf_deinit(&state);
	return ok;
}

bool spop_threads_adopt(spop_threads *ws, int fd, slice state, err *e)
{
	const spop_load *loads = ws->shared.loads;
	unsigned to = 0;

	for (unsigned i = 1; i < ws->shared.threads; i++)
		if (atomic_load(&loads[i].conns) < atomic_load(&loads[to].conns))
			to = i;
	return conn_adopt(&ws->all[to], fd, state, e);
}

/* ---- what they count */

unsigned spop_threads_count(const spop_threads *ws)
{
	return ws->shared.threads;
}

const net_counters *spop_threads_counters(const spop_threads *ws, unsigned thread)
{
	return &ws->all[thread].counters;
}

unsigned spop_threads_connections(const spop_threads *ws)
{
	return atomic_load(&ws->shared.connections);
}

uint64_t spop_threads_memory(const spop_threads *ws)
{
	return atomic_load(&ws->shared.memory);
}

static int newer_first(const void *a, const void *b)
{
	int64_t left = ((const refusal_note *)a)->time_ms, right = ((const refusal_note *)b)->time_ms;
	return (left < right) - (left > right);
}

size_t spop_threads_notes(spop_threads *ws, refusal_note *out, size_t room)
{
	size_t count = 0, most = (size_t)ws->shared.threads * REFUSALS_KEPT;
	refusal_note *notes = calloc(most, sizeof *notes);

	for (unsigned i = 0; notes && i < ws->shared.threads; i++) {
		net_counters *n = &ws->all[i].counters;
		pthread_mutex_lock(&n->notes_lock);
		/* The newest first, which the sorting keeps where times are equal in most cases. */
		for (size_t back = 1; back <= REFUSALS_KEPT && back <= n->notes_next; back++)
			notes[count++] = n->notes[(n->notes_next - back) % REFUSALS_KEPT];
		pthread_mutex_unlock(&n->notes_lock);
	}
	if (notes)
		qsort(notes, count, sizeof *notes, newer_first);
	if (count > room)
		count = room;
	if (count)
		memcpy(out, notes, count * sizeof *notes);
	free(notes);
	return count;
}

/* SPDX-License-Identifier: MIT */
#include "net/workers.h"

#include <stdlib.h>

#include "net/conn.h"

struct workers {
	worker_shared shared;
	worker *all; /* shared.threads of them */
};

/* ---- beginning and end */

workers *workers_new(const listener *listeners, size_t count, unsigned threads, worker_limits limits, policy *p,
		     struct ev_loop *owner, ev_async *ended, err *e)
{
	workers *ws = aligned_alloc(alignof(workers), sizeof *ws);
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
		ws->shared.loads = aligned_alloc(alignof(worker_load), threads * sizeof *ws->shared.loads);
		ws->all = aligned_alloc(alignof(worker), threads * sizeof *ws->all);
	}
	bool ok = ws && ws->shared.loads && ws->all;
	if (ok)
		memset(ws->shared.loads, 0, threads * sizeof *ws->shared.loads);
	else
		err_set(e, "out of memory");
	for (; ok && made < threads; made += ok)
		ok = worker_init(&ws->all[made], &ws->shared, made, policy_ref(p), e);
	policy_unref(p);
	if (ok)
		return ws;
	if (ws) {
		ws->shared.threads = made;
		workers_free(ws);
	}
	return NULL;
}

void workers_abandon(workers *ws)
{
	for (unsigned i = 0; i < ws->shared.threads; i++)
		worker_abandon(&ws->all[i]);
}

void workers_free(workers *ws)
{
	if (!ws)
		return;
	if (ws->all)
		workers_freeze(ws);
	for (unsigned i = 0; ws->all && i < ws->shared.threads; i++)
		worker_deinit(&ws->all[i]);
	free(ws->all);
	free(ws->shared.loads);
	free(ws);
}

static void wake_all(workers *ws)
{
	for (unsigned i = 0; i < ws->shared.threads; i++)
		worker_wake(&ws->all[i]);
}

bool workers_start(workers *ws, err *e)
{
	atomic_store(&ws->shared.freeze, false);
	atomic_store(&ws->shared.running, ws->shared.threads);
	for (unsigned i = 0; i < ws->shared.threads; i++) {
		if (worker_run(&ws->all[i], e))
			continue;
		workers_freeze(ws);
		return false;
	}
	return true;
}

/* ---- orders */

void workers_set_policy(workers *ws, policy *p)
{
	for (unsigned i = 0; i < ws->shared.threads; i++)
		worker_set_policy(&ws->all[i], policy_ref(p));
	policy_unref(p);
}

void workers_set_stall(workers *ws, double seconds)
{
	ws->shared.stall_seconds = seconds;
}

void workers_drain(workers *ws, double seconds, bool replaced)
{
	if (atomic_load(&ws->shared.drain))
		return;
	ws->shared.drain_seconds = seconds;
	ws->shared.replaced = replaced;
	atomic_store(&ws->shared.drain, true);
	wake_all(ws);
}

void workers_stop(workers *ws)
{
	atomic_store(&ws->shared.stop, true);
	wake_all(ws);
}

/* ---- from one process to the next */

void workers_freeze(workers *ws)
{
	atomic_store(&ws->shared.freeze, true);
	wake_all(ws);
	for (unsigned i = 0; i < ws->shared.threads; i++)
		worker_join(&ws->all[i]);
}

bool workers_export(workers *ws, bool (*each)(void *ctx, int fd, slice state), void *ctx)
{
	bool ok = true;
	buf state;

	buf_init(&state, SIZE_MAX);
	for (unsigned i = 0; ok && i < ws->shared.threads; i++) {
		for (conn *c = ws->all[i].conns; ok && c; c = conn_next(c)) {
			if (!conn_can_go(c))
				continue;
			ok = conn_export(c, &state) && each(ctx, conn_fd(c), buf_slice(&state));
			buf_consume(&state, buf_len(&state), WORKER_SCRATCH);
		}
	}
	buf_deinit(&state);
	return ok;
}

bool workers_adopt(workers *ws, int fd, slice state, err *e)
{
	const worker_load *loads = ws->shared.loads;
	unsigned to = 0;

	for (unsigned i = 1; i < ws->shared.threads; i++)
		if (atomic_load(&loads[i].conns) < atomic_load(&loads[to].conns))
			to = i;
	return conn_adopt(&ws->all[to], fd, state, e);
}

/* ---- what they count */

unsigned workers_threads(const workers *ws)
{
	return ws->shared.threads;
}

const net_counters *workers_counters(const workers *ws, unsigned thread)
{
	return &ws->all[thread].counters;
}

unsigned workers_connections(const workers *ws)
{
	return atomic_load(&ws->shared.connections);
}

uint64_t workers_memory(const workers *ws)
{
	return atomic_load(&ws->shared.memory);
}

static int newer_first(const void *a, const void *b)
{
	int64_t left = ((const refusal_note *)a)->time_ms, right = ((const refusal_note *)b)->time_ms;
	return (left < right) - (left > right);
}

size_t workers_notes(workers *ws, refusal_note *out, size_t room)
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

/* SPDX-License-Identifier: MIT */
#include "ops/totals.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	EVERY_MS = 5000,     /* if this process has committed something since */
	AT_LEAST_MS = 60000, /* if it has not: another process may have */
	SHARE = 20,          /* reading takes at most 1/SHARE of the time */
};

typedef struct reading {
	totals_group *into;
	bool first;
} reading;

static bool on_sums(void *ctx, const store_sums *sums)
{
	reading *r = ctx;
	totals_group *g = r->into;
	size_t i = 0, room = r->first ? TOTALS_FIRST : TOTALS_LABELS;

	while (i < g->count && strcmp(g->rows[i].label, sums->label) != 0)
		i++;
	/* Once there is an `other`, a label without a row may already be part of it. */
	if (strcmp(sums->label, "other") == 0 || (i == g->count && (g->count >= room || (g->has_other && !r->first))))
		i = TOTALS_LABELS;
	if (i == TOTALS_LABELS) {
		g->has_other = true;
		store_sums_merge(&g->rows[i], sums);
	} else {
		g->rows[i] = *sums;
		g->count += i == g->count;
	}
	return true;
}

/* Raises each counter of `now` that is less than it was. */
static void keep_counters(store_sums *now, const store_sums *was)
{
	int64_t *const after[] = {
		&now->requests,
		&now->input,
		&now->output,
		&now->cache_read,
		&now->cache_write,
		&now->cost,
		&now->estimated_cost,
		&now->unpriced_requests,
		&now->unknown_requests,
		&now->untold_requests,
		&now->partly_priced_requests,
	};
	const int64_t before[] = {
		was->requests,
		was->input,
		was->output,
		was->cache_read,
		was->cache_write,
		was->cost,
		was->estimated_cost,
		was->unpriced_requests,
		was->unknown_requests,
		was->untold_requests,
		was->partly_priced_requests,
	};

	for (size_t i = 0; i < sizeof after / sizeof after[0]; i++)
		if (*after[i] < before[i])
			*after[i] = before[i];
}

static bool read_group(store *s, store_group by, const totals_group *was, totals_group *g, bool first, err *e)
{
	reading r = { g, first };

	*g = *was;
	memset(&g->rows[TOTALS_LABELS], 0, sizeof g->rows[0]);
	snprintf(g->rows[TOTALS_LABELS].label, sizeof g->rows[0].label, "other");
	bool ok = store_report(s, by, 0, INT64_MAX, on_sums, &r, e) == STORE_OK;
	for (size_t i = 0; i <= TOTALS_LABELS; i++)
		if (i < was->count || (i == TOTALS_LABELS && was->has_other))
			keep_counters(&g->rows[i], &was->rows[i]);
	return ok;
}

/* Reads the sums of now into `fresh`; `was`: those read before. False: `e` says why. */
static bool read_totals(totals *fresh, const totals *was, const char *path, err *e)
{
	store_result result;
	store *s = store_open(path, false, &result, e);
	bool ok = s && read_group(s, GROUP_MODEL, &was->models, &fresh->models, !was->known, e) &&
		  read_group(s, GROUP_ROUTE, &was->routes, &fresh->routes, !was->known, e) &&
		  read_group(s, GROUP_CLIENT, &was->clients, &fresh->clients, !was->known, e);

	store_close(s);
	fresh->known = true;
	return ok;
}

/* ---- the cache */

bool totals_init(totals_cache *c, const char *path)
{
	*c = (totals_cache){ .now = NULL };
	pthread_mutex_init(&c->lock, NULL);
	if (!path || !*path)
		return true;
	c->path = strdup(path);
	c->now = calloc(1, sizeof *c->now);
	return c->path && c->now;
}

void totals_deinit(totals_cache *c)
{
	pthread_mutex_destroy(&c->lock);
	free(c->path);
	free(c->now);
}

bool totals_due(totals_cache *c, uint64_t commits)
{
	int64_t now = clock_mono_ms(), since = now - c->asked_ms;

	if (!c->path || c->pending || since < c->took_ms * SHARE)
		return false;
	if (c->asked_ms && since < (commits == c->asked_commits ? AT_LEAST_MS : EVERY_MS))
		return false;
	c->pending = true;
	c->asked_ms = now;
	c->asked_commits = commits;
	return true;
}

void totals_refresh(totals_cache *c)
{
	int64_t began = clock_mono_ms();
	totals *fresh = malloc(sizeof *fresh);
	err e = { 0 };

	/* Reads *c->now without the lock, because nobody else writes it: a second refresh is not due before this one
	 * ended. */
	if (fresh && read_totals(fresh, c->now, c->path, &e)) {
		totals *old = c->now;
		pthread_mutex_lock(&c->lock);
		c->now = fresh;
		pthread_mutex_unlock(&c->lock);
		fresh = old;
	} else if (fresh) {
		log_event(totals_unread, LOG_C("problem", e.text));
	}
	free(fresh);
	c->took_ms = clock_mono_ms() - began;
	c->pending = false;
}

void totals_skip(totals_cache *c)
{
	c->pending = false;
}

const totals *totals_lock(totals_cache *c)
{
	pthread_mutex_lock(&c->lock);
	return c->now && c->now->known ? c->now : NULL;
}

void totals_unlock(totals_cache *c)
{
	pthread_mutex_unlock(&c->lock);
}

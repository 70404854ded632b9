/* SPDX-License-Identifier: MIT */
#include "report/figures.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/sum.h"
#include "report/ledger_store.h"

/* ---- the ledger of one gateway */

static int store_report_of(void *from, store_group by, int64_t from_ms, int64_t to_ms,
			   bool (*each)(void *ctx, const store_sums *sums), void (*again)(void *ctx), void *ctx, err *e)
{
	store_result result;
	int tries = 0;

	do {
		again(ctx);
		result = store_report(from, by, from_ms, to_ms, each, ctx, e);
	} while (ledger_store_retry(result, &tries));
	return (int)result;
}

static int store_facets_of(void *from, const store_facet_question *q, bool (*each)(void *ctx, const store_facet *f),
			   void (*again)(void *ctx), void *ctx, store_facets_told *told, err *e)
{
	store_result result;
	int tries = 0;

	do {
		again(ctx);
		result = store_facets(from, q, each, ctx, told, e);
	} while (ledger_store_retry(result, &tries));
	return (int)result;
}

typedef struct own_rows {
	bool (*each)(void *ctx, const record *r, const char *gateway);
	void *ctx;
} own_rows;

static bool own_row(void *ctx, const record *r)
{
	own_rows *rows = ctx;

	return rows->each(rows->ctx, r, NULL);
}

static int store_page_of(void *from, const store_page_question *q,
			 bool (*each)(void *ctx, const record *r, const char *gateway), void (*again)(void *ctx),
			 void *ctx, store_page_told *told, err *e)
{
	own_rows rows = { each, ctx };
	store_result result;
	int tries = 0;

	do {
		again(ctx);
		result = store_page(from, q, own_row, &rows, told, e);
	} while (ledger_store_retry(result, &tries));
	return (int)result;
}

figures_source figures_of_store(store *s)
{
	return (figures_source){ s, store_report_of, store_facets_of, store_page_of };
}

/* ---- groups */

static void forget(void *ctx)
{
	figures_groups *l = ctx;

	while (l->count)
		free(l->items[--l->count].label);
	times_deinit(&l->times);
	l->times = (store_times){ .bins = NULL };
	l->total = (figures_group){ .label = NULL };
}

static void read_times(figures_group *g, const store_times *times)
{
	static const unsigned percents[] = { 50, 95, 99 };

	for (time_which w = 0; w < TIME_KINDS; w++)
		for (size_t i = 0; i < 3; i++)
			g->ms[w][i] = times ? times_percentile(times, w, percents[i]) : -1;
}

/* False: out of memory. */
static bool add_to_total(figures_groups *l, const store_facet *f)
{
	store_sums_merge(&l->total.sums, f->sums);
	for (size_t i = 0; i < 6; i++)
		l->total.status[i] = add_capped(l->total.status[i], f->status[i]);
	if (f->last_ms > l->total.last_ms)
		l->total.last_ms = f->last_ms;
	return !f->times || times_merge(&l->times, f->times);
}

static bool keep(void *ctx, const store_facet *f)
{
	figures_groups *l = ctx;
	figures_group *items = list_grow(l->items, &l->room, l->count, sizeof *items);
	char *label = f->label ? strdup(f->label) : NULL;

	if (items)
		l->items = items;
	if (!items || (f->label && !label) || !add_to_total(l, f)) {
		free(label);
		l->failed = true;
		return false;
	}
	figures_group *g = &l->items[l->count++];
	*g = (figures_group){ .time_ms = f->time_ms, .label = label, .sums = *f->sums, .last_ms = f->last_ms };
	memcpy(g->status, f->status, sizeof g->status);
	read_times(g, f->times);
	return true;
}

int figures_read(const figures_source *source, const store_facet_question *q, figures_groups *l,
		 store_facets_told *told, err *e)
{
	int result = source->facets(source->from, q, keep, forget, l, told, e);

	read_times(&l->total, &l->times);
	if (!l->failed)
		return result;
	err_memory(e);
	return result ? result : (int)STORE_ERROR;
}

void figures_groups_deinit(figures_groups *l)
{
	forget(l);
	free(l->items);
	*l = (figures_groups){ .items = NULL };
}

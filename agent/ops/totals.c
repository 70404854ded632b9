/* SPDX-License-Identifier: MIT */
#include "ops/totals.h"

#include <stddef.h>
#include <stdlib.h>

typedef struct reading {
	totals_group *into;
	bool first;
} reading;

static int64_t capped(int64_t a, int64_t b)
{
	int64_t sum;
	if (__builtin_add_overflow(a, b, &sum))
		return b < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

/* All of store_sums behind the label is int64_t. */
static void add(store_sums *to, const store_sums *from)
{
	int64_t *at = &to->requests;
	const int64_t *more = &from->requests;

	for (size_t i = 0; i < (sizeof *to - offsetof(store_sums, requests)) / sizeof *at; i++)
		at[i] = capped(at[i], more[i]);
}

static bool on_sums(void *ctx, const store_sums *sums)
{
	reading *r = ctx;
	totals_group *g = r->into;
	size_t i = 0, room = r->first ? TOTALS_FIRST : TOTALS_LABELS;

	while (i < g->count && strcmp(g->rows[i].label, sums->label) != 0)
		i++;
	/* Once there is an `other`, a label that is new here may be in it. */
	if (strcmp(sums->label, "other") == 0 || (i == g->count && (g->count >= room || (g->has_other && !r->first))))
		i = TOTALS_LABELS;
	if (i == TOTALS_LABELS) {
		g->has_other = true;
		add(&g->rows[i], sums);
	} else {
		g->rows[i] = *sums;
		g->count += i == g->count;
	}
	return true;
}

static bool read_group(store *s, store_group by, const totals_group *was, totals_group *g, bool first, err *e)
{
	reading r = { g, first };

	*g = *was;
	memset(&g->rows[TOTALS_LABELS], 0, sizeof g->rows[0]);
	snprintf(g->rows[TOTALS_LABELS].label, sizeof g->rows[0].label, "other");
	return store_report(s, by, 0, INT64_MAX, on_sums, &r, e) == STORE_OK;
}

bool totals_read(totals *t, const char *path, err *e)
{
	store_result result;
	totals *fresh = malloc(sizeof *fresh);

	if (!fresh)
		return err_memory(e);
	store *s = store_open(path, false, &result, e);
	bool ok = s && read_group(s, GROUP_MODEL, &t->models, &fresh->models, !t->known, e) &&
		  read_group(s, GROUP_ROUTE, &t->routes, &fresh->routes, !t->known, e);
	store_close(s);
	if (ok) {
		fresh->known = true;
		*t = *fresh;
	}
	free(fresh);
	return ok;
}

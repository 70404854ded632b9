/* SPDX-License-Identifier: MIT
 *
 * Facets: their labels, and groups of them. */
#include "ledger/store_facets.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "ledger/store_impl.h"

/* ---- labels */

static char *append(char *at, const char *text)
{
	while (*text) {
		/* Only a damaged ledger has such a label. */
		*at++ = *text == FACET_SEPARATOR ? '_' : *text;
		text++;
	}
	return at;
}

size_t facet_label(const record *r, char out[FACET_LABEL_MAX + 1])
{
	char status[16];
	const char *const labels[FACET_LABELS] = {
		[FACET_ROUTE] = r->route,     [FACET_BACKEND] = r->backend, [FACET_MODEL] = r->model,
		[FACET_PROJECT] = r->project, [FACET_CLIENT] = r->client,   [FACET_MEMBER] = r->member,
		[FACET_STATUS] = status,      [FACET_CODE] = r->code,
	};
	char *at = out;

	_Static_assert(RECORD_LABEL_MAX * 4 + RECORD_BACKEND_MAX + RECORD_MODEL_MAX + RECORD_MEMBER_MAX + 16 +
				       FACET_LABELS <=
			       FACET_LABEL_MAX,
		       "all labels fit");
	snprintf(status, sizeof status, "%d", (int)r->status);
	for (int i = 0; i < FACET_LABELS; i++) {
		if (i)
			*at++ = FACET_SEPARATOR;
		at = append(at, labels[i]);
	}
	*at = '\0';
	return (size_t)(at - out);
}

/* Returns what stands before the next separator, and moves `*rest` behind it. */
static slice next_label(slice *rest)
{
	size_t len = slice_find(*rest, 0, FACET_SEPARATOR);
	slice label = slice_of(rest->ptr, len);

	*rest = len < rest->len ? slice_of(rest->ptr + len + 1, rest->len - len - 1) : slice_of(rest->ptr, 0);
	return label;
}

void facet_part(const char *label, size_t i, char *out, size_t room)
{
	slice rest = slice_cstr(label), part = next_label(&rest);

	while (i--)
		part = next_label(&rest);
	snprintf(out, room, "%.*s", (int)part.len, part.ptr);
}

/* A facet's labels, apart. */
typedef struct labels {
	slice at[FACET_LABELS];
	int32_t status;
} labels;

static labels split(slice facet)
{
	labels l;
	char status[16];

	for (int i = 0; i < FACET_LABELS; i++)
		l.at[i] = next_label(&facet);
	snprintf(status, sizeof status, "%.*s", (int)l.at[FACET_STATUS].len, l.at[FACET_STATUS].ptr);
	l.status = atoi(status);
	return l;
}

/* The place in store_facet.status. */
static int status_class(int32_t status)
{
	return status >= 100 && status < 600 ? (int)(status / 100) : 0;
}

static bool has_label(const char *want, slice label)
{
	size_t len = want ? strlen(want) : 0;

	if (!want)
		return true;
	if (len && want[len - 1] == '*')
		return label.len >= len - 1 && memcmp(label.ptr, want, len - 1) == 0;
	return label.len == len && (!len || memcmp(label.ptr, want, len) == 0);
}

/* As filter_make() has it, without the id. */
static bool passes(const row_filter *f, const labels *l)
{
	return !f || (has_label(f->model, l->at[FACET_MODEL]) && has_label(f->route, l->at[FACET_ROUTE]) &&
		      has_label(f->project, l->at[FACET_PROJECT]) && has_label(f->client, l->at[FACET_CLIENT]) &&
		      has_label(f->member, l->at[FACET_MEMBER]) && has_label(f->code, l->at[FACET_CODE]) &&
		      (!f->status_to || (l->status >= f->status_from && l->status < f->status_to)));
}

/* Writes the labels that `by` names. */
static size_t group_label(unsigned by, const labels *l, char out[2 * FACET_LABEL_MAX])
{
	size_t len = 0;
	bool first = true;

	for (int i = 0; i < FACET_COUNT; i++) {
		if (!(by & FACET_BIT(i)))
			continue;
		if (!first)
			out[len++] = FACET_SEPARATOR;
		first = false;
		if (i == FACET_STATUS_CLASS) {
			out[len++] = (char)('0' + status_class(l->status));
		} else if (i == FACET_POOL_MEMBER) {
			slice route = l->at[FACET_ROUTE], member = l->at[FACET_MEMBER];
			if (member.len)
				len += (size_t)sprintf(out + len, "%.*s/%.*s", (int)route.len, route.ptr,
						       (int)member.len, member.ptr);
		} else {
			memcpy(out + len, l->at[i].ptr, l->at[i].len);
			len += l->at[i].len;
		}
	}
	return len;
}

/* ---- groups of one hour or day */

/* What a group has beside the sums of its cell. */
typedef struct group {
	int64_t status[6], last_ms;
	store_times times;
	const rollup_cell *cell; /* set before groups are put in order */
} group;

enum { CELL_TOLD, CELL_UNTOLD }; /* `hour` of a cell */

typedef struct grouping {
	const store_facet_question *q;
	bool (*each)(void *ctx, const store_facet *f);
	void *ctx;
	rollup cells;
	group *groups; /* one for each cell */
	size_t count, room;
	int64_t time_ms; /* of the hour or day whose requests the groups have */
	int64_t untold;
	bool failed, ended; /* out of memory; `each` returned false */
} grouping;

static void grouping_clear(grouping *g)
{
	rollup_clear(&g->cells);
	while (g->count)
		times_deinit(&g->groups[--g->count].times);
}

static void grouping_deinit(grouping *g)
{
	grouping_clear(g);
	rollup_free(&g->cells);
	free(g->groups);
}

static int by_cost(const void *a, const void *b)
{
	const rollup_cell *x = ((const group *)a)->cell, *y = ((const group *)b)->cell;

	if (x->hour != y->hour)
		return x->hour < y->hour ? -1 : 1;
	if (x->sums.cost != y->sums.cost)
		return x->sums.cost < y->sums.cost ? 1 : -1;
	if (x->sums.requests != y->sums.requests)
		return x->sums.requests < y->sums.requests ? 1 : -1;
	size_t len = x->label.len < y->label.len ? x->label.len : y->label.len;
	int order = len ? memcmp(x->label.ptr, y->label.ptr, len) : 0;
	return order ? order : (x->label.len > y->label.len) - (x->label.len < y->label.len);
}

/* Calls `each` with the groups, and forgets them. */
static void tell(grouping *g)
{
	char label[2 * FACET_LABEL_MAX];

	for (size_t i = 0; i < g->count; i++)
		g->groups[i].cell = &g->cells.cells[i];
	if (g->count)
		qsort(g->groups, g->count, sizeof *g->groups, by_cost);
	for (size_t i = 0; i < g->count && !g->ended; i++) {
		const group *own = &g->groups[i];
		store_facet f = { .time_ms = g->time_ms,
				  .label = own->cell->hour == CELL_TOLD ? label : NULL,
				  .sums = &own->cell->sums,
				  .times = &own->times,
				  .last_ms = own->last_ms };
		memcpy(f.status, own->status, sizeof f.status);
		snprintf(label, sizeof label, "%.*s", (int)own->cell->label.len,
			 own->cell->label.len ? own->cell->label.ptr : "");
		g->ended = !g->each(g->ctx, &f);
	}
	grouping_clear(g);
}

/* Returns the group of `facet`, the labels of requests at `time_ms`, or of requests that were not told apart (NULL);
 * `*sums`: its sums. NULL: these requests are not asked for, or out of memory. */
static group *group_of(grouping *g, int64_t time_ms, const slice *facet, store_sums **sums)
{
	char label[2 * FACET_LABEL_MAX];
	labels l;
	size_t len = 0;

	if (facet) {
		l = split(*facet);
		if (!passes(g->q->only, &l))
			return NULL;
		len = group_label(g->q->by, &l, label);
	}
	if (g->q->unit != FACET_WHOLE && g->count && time_ms != g->time_ms)
		tell(g);
	g->time_ms = g->q->unit == FACET_WHOLE ? 0 : time_ms;
	/* A cell of KIND_MEMBER has a copy of its label. */
	rollup_cell *c = rollup_cell_of(&g->cells, facet ? CELL_TOLD : CELL_UNTOLD, KIND_MEMBER, slice_of(label, len));
	if (c && g->cells.count > g->count) {
		group *groups = list_grow(g->groups, &g->room, g->count, sizeof *groups);
		if (groups) {
			g->groups = groups;
			g->groups[g->count++] = (group){ .last_ms = INT64_MIN };
		}
	}
	if (!c || g->cells.count > g->count) {
		g->failed = true;
		return NULL;
	}
	*sums = &c->sums;
	return &g->groups[c - g->cells.cells];
}

/* ---- from rows */

static bool add_row(void *ctx, const record *r)
{
	grouping *g = ctx;
	char label[FACET_LABEL_MAX + 1];
	slice facet = slice_of(label, facet_label(r, label));
	int64_t hour = store_hour_of(store_time_of(r));
	store_sums *sums;

	group *own = group_of(g, (g->q->unit == FACET_DAYS ? store_floor(hour, DAY) : hour) * 1000, &facet, &sums);
	if (own) {
		store_sums_add(sums, r);
		own->status[status_class(r->status)]++;
		own->last_ms = r->time_ms > own->last_ms ? r->time_ms : own->last_ms;
		if (g->q->times && !times_add(&own->times, r))
			g->failed = true;
	}
	return !g->failed && !g->ended;
}

void facets_round(int64_t from_ms, int64_t to_ms, int64_t *from, int64_t *to)
{
	const int64_t last = INT64_MAX / 1000;
	int64_t low = store_ceil(from_ms, HOUR * 1000LL, HOUR), high = store_ceil(to_ms, HOUR * 1000LL, HOUR);

	*from = low > last ? INT64_MAX : low * 1000;
	*to = high > last ? INT64_MAX : high * 1000;
}

int facets_bounds(store *s, int64_t *hours_ms, int64_t *whole_ms)
{
	(void)s;
	*hours_ms = *whole_ms = 0;
	return SQLITE_OK;
}

store_result store_facets(store *s, const store_facet_question *q, bool (*each)(void *ctx, const store_facet *f),
			  void *ctx, store_facets_told *told, err *e)
{
	grouping g = { .q = q, .each = each, .ctx = ctx };

	*told = (store_facets_told){ .from_ms = 0 };
	facets_round(q->from_ms, q->to_ms, &told->from_ms, &told->to_ms);
	store_result result = store_find(s, told->from_ms, told->to_ms, q->only, add_row, &g, e);
	if (result == STORE_OK && !g.failed)
		tell(&g);
	if (g.failed && result == STORE_OK)
		result = store_fail(s, SQLITE_NOMEM, "adding up rows", e);
	grouping_deinit(&g);
	return result;
}

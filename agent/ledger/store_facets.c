/* SPDX-License-Identifier: MIT
 *
 * Facets: their labels, and groups of them. */
#include "ledger/store_facets.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/sum.h"
#include "ledger/store_impl.h"

/* ---- labels */

static char *append(char *at, const char *text)
{
	size_t len = strlen(text);

	memcpy(at, text, len);
	/* Only a damaged ledger has such a label. */
	for (char *bad = at; (bad = memchr(bad, FACET_SEPARATOR, (size_t)(at + len - bad))) != NULL;)
		*bad = '_';
	return at + len;
}

/* Writes the status before `end`, and returns where it begins. */
static char *put_status(char *end, int32_t status)
{
	int64_t left = status < 0 ? -(int64_t)status : status;

	*--end = '\0';
	do
		*--end = (char)('0' + left % 10);
	while ((left /= 10) > 0);
	if (status < 0)
		*--end = '-';
	return end;
}

size_t facet_label(const record *r, char out[FACET_LABEL_MAX + 1])
{
	char status[16], *at = out;

	_Static_assert(RECORD_LABEL_MAX * 4 + RECORD_BACKEND_MAX + RECORD_MODEL_MAX + RECORD_MEMBER_MAX + 16 +
				       FACET_LABELS <=
			       FACET_LABEL_MAX,
		       "all labels fit");
	/* In the order of facet_name. */
	at = append(at, r->route);
	*at++ = FACET_SEPARATOR;
	at = append(at, r->backend);
	*at++ = FACET_SEPARATOR;
	at = append(at, r->model);
	*at++ = FACET_SEPARATOR;
	at = append(at, r->project);
	*at++ = FACET_SEPARATOR;
	at = append(at, r->client);
	*at++ = FACET_SEPARATOR;
	at = append(at, r->member);
	*at++ = FACET_SEPARATOR;
	at = append(at, put_status(status + sizeof status, r->status));
	*at++ = FACET_SEPARATOR;
	at = append(at, r->code);
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

/* Reads what put_status() wrote. */
static int32_t get_status(slice text)
{
	const bool below = text.len && *text.ptr == '-';
	int64_t n = 0;

	for (size_t i = below; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9' && n <= INT32_MAX; i++)
		n = n * 10 + (text.ptr[i] - '0');
	n = n > INT32_MAX ? INT32_MAX : n;
	return (int32_t)(below ? -n : n);
}

/* A facet's labels, apart. */
typedef struct labels {
	slice at[FACET_LABELS];
	int32_t status;
} labels;

static labels split(slice facet)
{
	labels l;

	for (int i = 0; i < FACET_LABELS; i++)
		l.at[i] = next_label(&facet);
	l.status = get_status(l.at[FACET_STATUS]);
	return l;
}

/* The place in store_facet.status. */
static int status_class(int32_t status)
{
	return status >= 100 && status < 600 ? (int)(status / 100) : 0;
}

static bool has_label(const char *want, slice label)
{
	if (!want)
		return true;
	filter_label is = filter_label_of(want);
	return (is.begins ? label.len >= is.len : label.len == is.len) &&
	       (!is.len || memcmp(label.ptr, is.text, is.len) == 0);
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
	rollup waiting;     /* cells of `facet_log`, by their hours */
	size_t next;        /* of them */
	int64_t low, high;  /* hours of the period */
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
	rollup_free(&g->waiting);
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
		if (own->cell->hour == CELL_UNTOLD && !g->q->untold && !filter_is_empty(g->q->only))
			continue;
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
 * `*sums`: its sums; `*status`: where it counts requests with this status. NULL: these requests are not asked for, or
 * out of memory. */
static group *group_of(grouping *g, int64_t time_ms, const slice *facet, store_sums **sums, int64_t **status)
{
	char label[2 * FACET_LABEL_MAX];
	labels l = { .status = 0 };
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
	group *own = &g->groups[c - g->cells.cells];
	*sums = &c->sums;
	*status = &own->status[status_class(l.status)];
	return own;
}

/* ---- from rows */

static bool add_row(void *ctx, const record *r)
{
	grouping *g = ctx;
	char label[FACET_LABEL_MAX + 1];
	slice facet = slice_of(label, facet_label(r, label));
	int64_t hour = store_hour_of(store_time_of(r));
	store_sums *sums;
	int64_t *status;

	group *own = group_of(g, (g->q->unit == FACET_DAYS ? store_floor(hour, DAY) : hour) * 1000, &facet, &sums,
			      &status);
	if (own) {
		store_sums_add(sums, r);
		++*status;
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
	const int64_t last = INT64_MAX / 1000;
	int rc = store_int(s, "SELECT value FROM meta WHERE key = 'facet_hours_from'", hours_ms);

	if (rc == SQLITE_OK)
		rc = store_int(s, "SELECT value FROM meta WHERE key = 'facets_from'", whole_ms);
	*hours_ms = *hours_ms > last ? INT64_MAX : *hours_ms * 1000;
	*whole_ms = *whole_ms > last ? INT64_MAX : *whole_ms * 1000;
	return rc;
}

/* ---- from the tables */

/* Returns when the hour, or the day, begins whose groups are told apart, in milliseconds. */
static int64_t time_of(const grouping *g, int64_t bucket)
{
	return (g->q->unit == FACET_DAYS ? store_floor(bucket, DAY) : bucket) * 1000;
}

/* Sums that suffice for a question about counts; cost puts groups in order. */
static const struct {
	const char *name;
	size_t offset;
} counts[] = {
	{ "requests", offsetof(store_sums, requests) },
	{ "refused", offsetof(store_sums, refused) },
	{ "failed", offsetof(store_sums, failed) },
	{ "cost", offsetof(store_sums, cost) },
};

enum { COUNTS = sizeof counts / sizeof counts[0] };

static const char *count_name(size_t i)
{
	return counts[i].name;
}

/* Adds a facet. */
static void add(grouping *g, int64_t bucket, slice label, const store_sums *row, int64_t last_ms, group **own)
{
	bool told = !slice_eq(label, STORE_OTHER);
	store_sums *sums;
	int64_t *status;

	if (!told)
		g->untold = add_capped(g->untold, row->requests);
	*own = group_of(g, time_of(g, bucket), told ? &label : NULL, &sums, &status);
	if (!*own)
		return;
	store_sums_merge(sums, row);
	if (told)
		*status = add_capped(*status, row->requests);
	(*own)->last_ms = last_ms > (*own)->last_ms ? last_ms : (*own)->last_ms;
}

static int by_hour(const void *a, const void *b)
{
	const rollup_cell *x = a, *y = b;

	return (x->hour > y->hour) - (x->hour < y->hour);
}

/* Adds the cells of `facet_log` up to the hour or day of `bucket`. False: not to go on. */
static bool add_waiting(grouping *g, int64_t bucket)
{
	for (; g->next < g->waiting.count && !g->failed && !g->ended; g->next++) {
		const rollup_cell *c = &g->waiting.cells[g->next];
		group *own;

		if (time_of(g, c->hour) > time_of(g, bucket))
			break;
		if (c->hour < g->low || c->hour >= g->high)
			continue;
		add(g, c->hour, c->label, &c->sums, c->last_ms, &own);
		if (own && g->q->times && !times_merge(&own->times, &c->times))
			g->failed = true;
	}
	return !g->failed && !g->ended;
}

/* Adds the facet in the row of `st`: bucket, label, the time of the last request, times, and then the sums. */
static bool add_facet(grouping *g, sqlite3_stmt *st)
{
	slice label = slice_of((const char *)sqlite3_column_text(st, 1), (size_t)sqlite3_column_bytes(st, 1));
	int64_t bucket = sqlite3_column_int64(st, 0);
	store_sums row = { .requests = 0 };
	group *own;

	if (g->q->unit != FACET_WHOLE && !add_waiting(g, bucket))
		return false;
	if (!filter_is_empty(g->q->only) && !slice_eq(label, STORE_OTHER)) {
		const labels l = split(label);
		if (!passes(g->q->only, &l))
			return true;
	}
	for (size_t i = 0; g->q->counts && i < COUNTS; i++)
		*(int64_t *)(void *)((char *)&row + counts[i].offset) = sqlite3_column_int64(st, (int)i + 4);
	for (size_t i = 0; !g->q->counts && i < SUMS_COUNT; i++)
		*sums_column(&row, i) = sqlite3_column_int64(st, (int)i + 4);
	add(g, bucket, label, &row, sqlite3_column_int64(st, 2), &own);
	/* Damaged times count for nothing; `ledger verify` tells of them. */
	if (own && g->q->times)
		(void)!times_decode(&own->times,
				    slice_of(sqlite3_column_blob(st, 3), (size_t)sqlite3_column_bytes(st, 3)));
	return !g->failed && !g->ended;
}

/* Adds the facets of the hours or days from `low` to `high`, in seconds. Returns an SQLite result code. */
static int add_buckets(grouping *g, store *s, bool days, int64_t low, int64_t high)
{
	char names[SQL_LIST], sql[SQL_MAX];
	sqlite3_stmt *st = NULL;

	if (low >= high || g->ended)
		return SQLITE_OK;
	sql_list(names, sizeof names, g->q->counts ? COUNTS : SUMS_COUNT, g->q->counts ? count_name : sums_name, "$");
	snprintf(sql, sizeof sql,
		 "SELECT bucket, label, last_ms, %s, %s FROM %s WHERE kind = %d AND bucket >= ?1 AND bucket < ?2"
		 " ORDER BY bucket",
		 g->q->times ? "times" : "NULL", names, days ? "daily" : "hourly", KIND_FACET);
	int rc = store_prepare(s, sql, &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, low);
		sqlite3_bind_int64(st, 2, high);
	}
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
		rc = add_facet(g, st) ? SQLITE_OK : g->failed ? SQLITE_NOMEM : SQLITE_DONE;
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Adds the facets of the period, and says in `*told` which it is. Returns an SQLite result code. */
static int add_period(grouping *g, store *s, store_facets_told *told)
{
	const int64_t last = INT64_MAX / 1000 - DAY;
	int64_t hours_ms = 0;
	int rc = facets_bounds(s, &hours_ms, &told->whole_ms);
	int64_t low = store_ceil(told->from_ms, 1000, 1), high = store_ceil(told->to_ms, 1000, 1),
		hours = store_ceil(hours_ms, 1000, 1);

	/* Where facets of hours are no longer kept, only whole days can be told. */
	if (low < hours)
		low = g->q->unit == FACET_HOURS ? hours : store_ceil(low, DAY, DAY);
	if (high < hours)
		high = g->q->unit == FACET_HOURS ? low : store_ceil(high, DAY, DAY);
	if (high < low)
		high = low;
	told->from_ms = low * 1000;
	told->to_ms = high > INT64_MAX / 1000 ? INT64_MAX : high * 1000;
	int64_t day_low = store_ceil(low, DAY, DAY), day_high = store_floor(high, DAY);
	if (g->q->unit == FACET_HOURS || day_low >= day_high)
		day_low = day_high = high;
	g->low = low;
	g->high = high;
	if (rc == SQLITE_OK)
		rc = facets_log_load(s, &g->waiting);
	if (g->waiting.count)
		qsort(g->waiting.cells, g->waiting.count, sizeof *g->waiting.cells, by_hour);
	if (rc == SQLITE_OK)
		rc = add_buckets(g, s, false, low, day_low);
	if (rc == SQLITE_OK)
		rc = add_buckets(g, s, true, day_low, day_high);
	if (rc == SQLITE_OK)
		rc = add_buckets(g, s, false, day_high, high);
	return rc != SQLITE_OK || add_waiting(g, last) || !g->failed ? rc : SQLITE_NOMEM;
}

store_result store_facets(store *s, const store_facet_question *q, bool (*each)(void *ctx, const store_facet *f),
			  void *ctx, store_facets_told *told, err *e)
{
	grouping g = { .q = q, .each = each, .ctx = ctx };

	*told = (store_facets_told){ .from_ms = 0 };
	facets_round(q->from_ms, q->to_ms, &told->from_ms, &told->to_ms);
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	if (q->only && q->only->id) {
		result = store_find(s, told->from_ms, told->to_ms, q->only, add_row, &g, e);
	} else {
		/* One transaction, so that hours and days are of the same moment; or the caller's. */
		bool own = sqlite3_get_autocommit(s->db);
		int rc = own ? store_exec(s, "BEGIN") : SQLITE_OK;
		if (rc == SQLITE_OK)
			rc = add_period(&g, s, told);
		if (rc == SQLITE_OK && own)
			rc = store_exec(s, "COMMIT");
		if (rc != SQLITE_OK)
			result = store_fail(s, rc, "reading facets", e);
	}
	if (result == STORE_OK && !g.failed && !g.ended)
		tell(&g);
	if (g.failed && result == STORE_OK)
		result = store_fail(s, SQLITE_NOMEM, "adding up facets", e);
	told->untold = g.untold;
	grouping_deinit(&g);
	return result;
}

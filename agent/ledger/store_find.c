/* SPDX-License-Identifier: MIT
 *
 * Rows that a filter lets through: in the order of time, the last ones, those that come, and their sums. */
#include "ledger/store_impl.h"

#include <stdlib.h>

#include "base/clock.h"

enum {
	BATCH_ROWS = 256, /* read at a time */
	FIXED = 4,        /* parameters before those of the filter */
};

/* Prepares "SELECT the columns of a row and its sequence FROM requests WHERE `where`, the filter, `order` LIMIT ?4". */
static int prepare(store *s, const char *where, const row_filter *only, const char *order, sqlite3_stmt **st)
{
	char names[SQL_LIST], sql[SQL_MAX];
	filter_sql filter;

	filter_make(&filter, only, '?', FIXED + 1);
	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql, "SELECT %s, rowid FROM requests WHERE %s%s ORDER BY %s LIMIT ?4", names, where,
		 filter.where, order);
	int rc = sqlite3_prepare_v2(s->db, sql, -1, st, NULL);
	for (size_t i = 0; rc == SQLITE_OK && i < filter.count; i++)
		rc = sqlite3_bind_text(*st, FIXED + 1 + (int)i, filter.values[i], -1, SQLITE_TRANSIENT);
	return rc;
}

static int on_steps(void *ctx)
{
	store *s = ctx;

	store_tell(s, s->found, 0);
	return store_wants_end(s);
}

/* Reads at most `max` rows into `rows`, and ends the transaction: while one is open the write-ahead log can only grow.
 * With a filter SQLite may look at all rows for that, so the function of store_stop_if() can end the search. */
static int read_rows(store *s, sqlite3_stmt *st, record *rows, size_t max, size_t *count)
{
	int rc;

	*count = 0;
	sqlite3_bind_int64(st, 4, (int64_t)max);
	sqlite3_progress_handler(s->db, STORE_STEPS, on_steps, s);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && *count < max) {
		store_read_row(st, &rows[*count]);
		rows[(*count)++].sequence = sqlite3_column_int64(st, RECORD_COLUMNS);
	}
	sqlite3_reset(st);
	sqlite3_progress_handler(s->db, 0, NULL, NULL);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Returns the result of a reading that ended with `rc`: STORE_OK also if the function of store_stop_if() ended it. */
static store_result ended(store *s, int rc, const char *doing, err *e)
{
	return rc == SQLITE_OK || (rc == SQLITE_INTERRUPT && store_wants_end(s)) ? STORE_OK :
										   store_fail(s, rc, doing, e);
}

store_result store_find(store *s, int64_t from_ms, int64_t to_ms, const row_filter *only,
			bool (*each)(void *ctx, const record *r), void *ctx, err *e)
{
	sqlite3_stmt *st = NULL;
	char last[RECORD_ID_MAX + 1] = "";
	size_t count;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	record *rows = malloc(BATCH_ROWS * sizeof *rows);
	/* Rows of one moment come by their ids, because a row that changes gets another sequence. */
	int rc = rows ? prepare(s, "time_ms >= ?1 AND time_ms < ?2 AND (time_ms > ?1 OR id > ?3)", only, "time_ms, id",
				&st) :
			SQLITE_NOMEM;
	do {
		if (rc != SQLITE_OK)
			break;
		sqlite3_bind_int64(st, 1, from_ms);
		sqlite3_bind_int64(st, 2, to_ms);
		sqlite3_bind_text(st, 3, last, -1, SQLITE_STATIC);
		rc = read_rows(s, st, rows, BATCH_ROWS, &count);
		s->found += (int64_t)count;
		/* A batch may take too few steps for SQLite to call on_steps(). */
		if (rc == SQLITE_OK && on_steps(s))
			rc = SQLITE_INTERRUPT;
		if (rc == SQLITE_OK && count) {
			from_ms = rows[count - 1].time_ms;
			memcpy(last, rows[count - 1].id, sizeof last);
		}
		for (size_t i = 0; rc == SQLITE_OK && i < count; i++)
			if (!each(ctx, &rows[i]))
				goto out;
	} while (rc == SQLITE_OK && count == BATCH_ROWS);
out:
	sqlite3_finalize(st);
	free(rows);
	return ended(s, rc, "reading the rows", e);
}

store_result store_export(store *s, int64_t from_ms, int64_t to_ms, bool (*each)(void *ctx, const record *r), void *ctx,
			  err *e)
{
	return store_find(s, from_ms, to_ms, NULL, each, ctx, e);
}

store_result store_last(store *s, int64_t from_ms, int64_t to_ms, const row_filter *only, size_t max,
			bool (*each)(void *ctx, const record *r), void *ctx, err *e)
{
	sqlite3_stmt *st = NULL;
	size_t count = 0;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	record *rows = calloc(max ? max : 1, sizeof *rows);
	int rc = rows ? prepare(s, "time_ms >= ?1 AND time_ms < ?2", only, "time_ms DESC, id DESC", &st) : SQLITE_NOMEM;
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, from_ms);
		sqlite3_bind_int64(st, 2, to_ms);
		rc = read_rows(s, st, rows, max, &count);
	}
	sqlite3_finalize(st);
	while (rc == SQLITE_OK && count && each(ctx, &rows[count - 1]))
		count--;
	free(rows);
	return ended(s, rc, "reading the last rows", e);
}

store_result store_newer(store *s, int64_t *after, const row_filter *only, bool (*each)(void *ctx, const record *r),
			 void *ctx, err *e)
{
	record rows[16];
	sqlite3_stmt *st = NULL;
	int64_t upto = 0;
	size_t count = 0;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	/* What the filter holds back is not looked at again. */
	int rc = store_int(s, "SELECT max(rowid) FROM requests", &upto);
	if (rc == SQLITE_OK)
		rc = prepare(s, "rowid > ?1 AND rowid <= ?2", only, "rowid", &st);
	while (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, *after);
		sqlite3_bind_int64(st, 2, upto);
		rc = read_rows(s, st, rows, sizeof rows / sizeof rows[0], &count);
		for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
			*after = rows[i].sequence;
			if (!each(ctx, &rows[i]))
				goto out;
		}
		if (rc == SQLITE_OK && count < sizeof rows / sizeof rows[0]) {
			*after = upto > *after ? upto : *after;
			break;
		}
	}
out:
	sqlite3_finalize(st);
	return ended(s, rc, "reading the new rows", e);
}

/* ---- sums */

typedef struct adding {
	store_group by;
	rollup sums;
	bool failed; /* out of memory */
} adding;

static bool add_row(void *ctx, const record *r)
{
	static const int kinds[] = {
		[GROUP_NONE] = KIND_ALL,        [GROUP_MODEL] = KIND_MODEL,   [GROUP_ROUTE] = KIND_ROUTE,
		[GROUP_PROJECT] = KIND_PROJECT, [GROUP_CLIENT] = KIND_CLIENT, [GROUP_MEMBER] = KIND_MEMBER,
		[GROUP_DAY] = KIND_ALL,         [GROUP_HOUR] = KIND_ALL
	};
	adding *a = ctx;
	char room[ROLLUP_LABEL_MAX + 1];
	int64_t hour = a->by == GROUP_HOUR ? store_hour_of(store_time_of(r)) :
		       a->by == GROUP_DAY  ? store_floor(store_hour_of(store_time_of(r)), DAY) :
					     0;
	/* A cell of KIND_MEMBER has a copy of its label, so the row need not stay. */
	rollup_cell *c = rollup_cell_of(&a->sums, hour, KIND_MEMBER, rollup_label(r, kinds[a->by], room));

	if (c)
		store_sums_add(&c->sums, r);
	a->failed = !c;
	return c != NULL;
}

/* The order of store_report(). */
static int by_cost(const void *a, const void *b)
{
	const store_sums *x = &((const rollup_cell *)a)->sums, *y = &((const rollup_cell *)b)->sums;

	if (x->cost != y->cost)
		return x->cost < y->cost ? 1 : -1;
	if (x->requests != y->requests)
		return x->requests < y->requests ? 1 : -1;
	return strcmp(x->label, y->label);
}

static int by_hour(const void *a, const void *b)
{
	const rollup_cell *x = a, *y = b;

	return (x->hour > y->hour) - (x->hour < y->hour);
}

store_result store_report_found(store *s, store_group by, int64_t from_ms, int64_t to_ms, const row_filter *only,
				bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e)
{
	bool in_time = by == GROUP_DAY || by == GROUP_HOUR;
	adding a = { .by = by };

	/* The first and the last hour have the rows of clocks before 1970 and after 9999. */
	store_result result = store_find(s, from_ms <= 0 ? INT64_MIN : from_ms, to_ms, only, add_row, &a, e);
	if (a.failed)
		result = store_fail(s, SQLITE_NOMEM, "adding up rows", e);
	for (size_t i = 0; i < a.sums.count; i++) {
		rollup_cell *c = &a.sums.cells[i];
		if (in_time)
			store_bucket_label(c->sums.label, sizeof c->sums.label, c->hour, by == GROUP_HOUR);
		else
			snprintf(c->sums.label, sizeof c->sums.label, "%.*s", (int)c->label.len,
				 c->label.len ? c->label.ptr : "");
	}
	if (result == STORE_OK && a.sums.count)
		qsort(a.sums.cells, a.sums.count, sizeof *a.sums.cells, in_time ? by_hour : by_cost);
	for (size_t i = 0; result == STORE_OK && i < a.sums.count && each(ctx, &a.sums.cells[i].sums); i++)
		;
	rollup_free(&a.sums);
	return result;
}

/* SPDX-License-Identifier: MIT
 *
 * A page of the list of requests. Facets tell which hours have rows that match, and how many, so that only the rows of
 * the hours that a page shows are read. */
#include <stdlib.h>

#include "base/list.h"
#include "ledger/store_facets.h"
#include "ledger/store_impl.h"

/* A stretch of time. */
typedef struct stretch {
	int64_t from_ms, to_ms;
	int64_t matching; /* rows that match; -1: not known */
	int64_t rows;     /* that have to be looked at to know it, about */
} stretch;

typedef struct paging {
	store *s;
	const store_page_question *q;
	bool (*each)(void *ctx, const record *r);
	void *ctx;
	stretch *all; /* by time, the first ones of the page first */
	size_t count, room;
	int64_t unit_ms; /* of the facets that are being read */
	int64_t skip, left;
	bool failed, ended; /* out of memory; `each` returned false */
} paging;

static stretch *add_stretch(paging *p, int64_t from_ms, int64_t to_ms)
{
	stretch *all = list_grow(p->all, &p->room, p->count, sizeof *all);

	p->failed |= !all;
	if (!all)
		return NULL;
	p->all = all;
	all[p->count] = (stretch){ .from_ms = from_ms, .to_ms = to_ms };
	return &all[p->count++];
}

static bool take_facet(void *ctx, const store_facet *f)
{
	paging *p = ctx;
	stretch *last = p->count ? &p->all[p->count - 1] : NULL;

	if (!last || last->from_ms != f->time_ms)
		last = add_stretch(p, f->time_ms, f->time_ms + p->unit_ms);
	if (!last)
		return false;
	if (!f->label)
		last->matching = -1;
	else if (last->matching >= 0)
		last->matching += f->sums->requests;
	last->rows += f->sums->requests;
	return true;
}

/* Reads which hours, or days, from `from_ms` to `to_ms` have rows that match. */
static store_result read_facets(paging *p, facet_unit unit, int64_t from_ms, int64_t to_ms, err *e)
{
	store_facets_told told;
	store_facet_question q = {
		.unit = unit, .from_ms = from_ms, .to_ms = to_ms, .only = p->q->only, .by = FACET_NONE, .untold = true
	};

	p->unit_ms = (unit == FACET_DAYS ? DAY : HOUR) * 1000LL;
	store_result result = store_facets(p->s, &q, take_facet, p, &told, e);
	return result == STORE_OK && p->failed ? store_fail(p->s, SQLITE_NOMEM, "reading the hours of rows", e) :
						 result;
}

static int prepare(paging *p, const char *what, const char *more, sqlite3_stmt **st)
{
	enum { FIXED = 4 };
	const row_filter *only = p->q->only;
	char sql[SQL_MAX];
	filter_sql filter;

	filter_make(&filter, only, '?', FIXED + 1);
	/* The plus has SQLite use the index of ids. */
	snprintf(sql, sizeof sql, "SELECT %s FROM requests WHERE %stime_ms >= ?1 AND %stime_ms < ?2%s%s", what,
		 only && only->id ? "+" : "", only && only->id ? "+" : "", filter.where, more);
	int rc = sqlite3_prepare_v2(p->s->db, sql, -1, st, NULL);
	for (size_t i = 0; rc == SQLITE_OK && i < filter.count; i++)
		rc = sqlite3_bind_text(*st, FIXED + 1 + (int)i, filter.values[i], -1, SQLITE_TRANSIENT);
	return rc;
}

/* Counts the rows that match. */
static int count_rows(sqlite3_stmt *st, int64_t from_ms, int64_t to_ms, int64_t *count)
{
	sqlite3_bind_int64(st, 1, from_ms);
	sqlite3_bind_int64(st, 2, to_ms);
	int rc = sqlite3_step(st);
	*count = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_reset(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Gives the rows of a stretch that belong to the page. */
static int give_rows(paging *p, sqlite3_stmt *st, const stretch *of)
{
	int rc;

	sqlite3_bind_int64(st, 1, of->from_ms);
	sqlite3_bind_int64(st, 2, of->to_ms);
	sqlite3_bind_int64(st, 3, p->left);
	sqlite3_bind_int64(st, 4, p->skip);
	p->skip = 0;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && !p->ended) {
		record r;
		memset(&r, 0, sizeof r);
		store_read_row(st, &r);
		p->left--;
		p->ended = !p->each(p->ctx, &r);
	}
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Goes along the stretches, and gives the page. */
static int walk(paging *p, store_page_told *told)
{
	char names[SQL_LIST];
	sqlite3_stmt *rows = NULL, *count = NULL;
	int64_t looked = 0;

	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	int rc = prepare(p, names,
			 p->q->oldest_first ? " ORDER BY time_ms, id LIMIT ?3 OFFSET ?4" :
					      " ORDER BY time_ms DESC, id DESC LIMIT ?3 OFFSET ?4",
			 &rows);
	if (rc == SQLITE_OK)
		rc = prepare(p, "count(*)", "", &count);
	for (size_t i = 0; rc == SQLITE_OK && i < p->count; i++) {
		stretch *at = &p->all[p->q->oldest_first ? i : p->count - 1 - i];
		if (at->matching < 0 && looked && looked + at->rows > STORE_PAGE_LOOKED) {
			told->stopped |= p->left > 0;
			told->total = -1;
			break;
		}
		if (at->matching < 0) {
			looked += at->rows;
			rc = count_rows(count, at->from_ms, at->to_ms, &at->matching);
		}
		told->total += at->matching;
		if (at->matching <= p->skip)
			p->skip -= at->matching;
		else if (rc == SQLITE_OK && p->left > 0 && !p->ended)
			rc = give_rows(p, rows, at);
	}
	sqlite3_finalize(rows);
	sqlite3_finalize(count);
	return rc;
}

/* Makes stretches of the hours from `from_ms` to `to_ms` that have rows. Without a filter the rows of a whole hour
 * match; else nothing tells here how many do. */
static int add_hours(paging *p, int64_t from_ms, int64_t to_ms)
{
	const bool all = filter_is_empty(p->q->only);
	sqlite3_stmt *st = NULL;
	int rc = from_ms < to_ms ? store_prepare(p->s,
						 "SELECT bucket, requests FROM hourly WHERE kind = 0 AND bucket >= ?1"
						 " AND bucket < ?2 ORDER BY bucket",
						 &st) :
				   SQLITE_DONE;

	if (st) {
		sqlite3_bind_int64(st, 1, store_hour_of(from_ms));
		sqlite3_bind_int64(st, 2, store_ceil(to_ms, HOUR * 1000LL, HOUR));
	}
	while (st && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		int64_t begin = sqlite3_column_int64(st, 0) * 1000, end = begin + HOUR * 1000LL;
		stretch *next = add_stretch(p, begin < from_ms ? from_ms : begin, end > to_ms ? to_ms : end);
		if (!next) {
			rc = SQLITE_NOMEM;
			break;
		}
		next->rows = sqlite3_column_int64(st, 1);
		next->matching = all && next->from_ms == begin && next->to_ms == end ? next->rows : -1;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Adds one stretch, in which nothing tells how many rows match. */
static int add_whole(paging *p, int64_t from_ms, int64_t to_ms)
{
	stretch *all = add_stretch(p, from_ms, to_ms);

	if (all)
		all->matching = -1;
	return all ? SQLITE_OK : SQLITE_NOMEM;
}

/* Adds the rows that retention has kept although it removed others of their time, because they are still to be shipped.
 * Counts them here, because sums and facets also count the rows that were removed. Makes a stretch of each hour,
 * because the rows may be millions, and walk() can stop between two stretches only. */
static int add_kept(paging *p, int64_t from_ms, int64_t to_ms)
{
	const int64_t hour = HOUR * 1000LL;
	sqlite3_stmt *earliest = NULL, *count = NULL;
	int rc = store_prepare(
		p->s, "SELECT time_ms FROM requests WHERE time_ms >= ?1 AND time_ms < ?2 ORDER BY time_ms LIMIT 1",
		&earliest);

	if (rc == SQLITE_OK)
		rc = store_prepare(p->s, "SELECT count(*) FROM requests WHERE time_ms >= ?1 AND time_ms < ?2", &count);
	while (rc == SQLITE_OK) {
		sqlite3_bind_int64(earliest, 1, from_ms);
		sqlite3_bind_int64(earliest, 2, to_ms);
		rc = sqlite3_step(earliest);
		if (rc != SQLITE_ROW)
			break;
		from_ms = sqlite3_column_int64(earliest, 0);
		sqlite3_reset(earliest);
		int64_t end = smaller(store_floor(from_ms, hour) + hour, to_ms);
		stretch *next = add_stretch(p, from_ms, end);
		rc = next ? count_rows(count, from_ms, end, &next->rows) : SQLITE_NOMEM;
		if (rc == SQLITE_OK)
			next->matching = filter_is_empty(p->q->only) ? next->rows : -1;
		from_ms = end;
	}
	sqlite3_finalize(earliest);
	sqlite3_finalize(count);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Finds the stretches from `from_ms` to `to_ms` that have rows. The index of ids finds an id; without a filter the sums
 * of hours tell. Else there are, from old to new: rows that were kept where others were pruned; rows of an hour of
 * which a part was pruned, or without facets; days with facets; hours with facets. */
static store_result find_stretches(paging *p, int64_t from_ms, int64_t to_ms, err *e)
{
	const int64_t hour = HOUR * 1000LL, day = DAY * 1000LL;
	const bool every = filter_is_empty(p->q->only), has_id = !every && p->q->only->id;
	int64_t pruned = 0, hours = 0, whole = 0, first = to_ms;

	int rc = store_pruned_before(p->s, &pruned);
	if (rc == SQLITE_OK && !has_id) {
		pruned = smaller(larger(from_ms, pruned), to_ms);
		rc = from_ms < pruned ? add_kept(p, from_ms, pruned) : SQLITE_OK;
		from_ms = pruned;
	}
	if (rc == SQLITE_OK && !every && !has_id) {
		rc = facets_bounds(p->s, &hours, &whole);
		first = larger(store_ceil(from_ms, hour, hour), whole);
		if (first < hours)
			first = smaller(store_ceil(first, day, day), hours);
		first = smaller(first, to_ms);
	}
	if (rc == SQLITE_OK)
		rc = has_id ? add_whole(p, from_ms, to_ms) : add_hours(p, from_ms, first);
	if (rc != SQLITE_OK)
		return store_fail(p->s, rc, "reading the hours of rows", e);
	store_result result = first < hours ? read_facets(p, FACET_DAYS, first, smaller(hours, to_ms), e) : STORE_OK;
	first = larger(first, hours);
	return result == STORE_OK && first < to_ms ? read_facets(p, FACET_HOURS, first, to_ms, e) : result;
}

store_result store_page(store *s, const store_page_question *q, bool (*each)(void *ctx, const record *r), void *ctx,
			store_page_told *told, err *e)
{
	paging p = { .s = s, .q = q, .each = each, .ctx = ctx, .skip = q->offset, .left = q->limit };

	*told = (store_page_told){ .total = 0 };
	facets_round(q->from_ms, q->to_ms, &told->from_ms, &told->to_ms);
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_exec(s, "BEGIN");
	if (rc == SQLITE_OK)
		result = find_stretches(&p, told->from_ms, told->to_ms, e);
	if (rc == SQLITE_OK && result == STORE_OK)
		rc = walk(&p, told);
	free(p.all);
	if (rc == SQLITE_OK && result == STORE_OK && !sqlite3_get_autocommit(s->db))
		rc = store_exec(s, "COMMIT");
	return rc == SQLITE_OK ? result : store_fail(s, rc, "reading a page of rows", e);
}

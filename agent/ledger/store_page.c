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
} stretch;

typedef struct paging {
	store *s;
	const store_page_question *q;
	bool (*each)(void *ctx, const record *r);
	void *ctx;
	stretch *all; /* by time, the first ones of the page first */
	size_t count, room;
	int64_t unit_ms;       /* of the facets that are being read */
	bool by_id;            /* the index of ids finds the rows */
	int64_t counted, read; /* rows that were looked at to count those that match, and for the page */
	int64_t skip, left;
	bool failed, ended; /* out of memory; `each` returned false */
	bool stopped;       /* STORE_PAGE_READ rows were looked at */
} paging;

/* Of prepare(): the count of rows that match, the time of the last row of the page, its rows. */
typedef struct statements {
	sqlite3_stmt *count, *end, *rows;
} statements;

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

/* The SQL function page_look(matches, time_ms), which a statement of this file calls for each row that it looks at.
 * Returns `matches`; fails once as many rows were looked at as may be. */
void page_look(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	store_look *look = sqlite3_user_data(context);

	(void)argc;
	look->over = look->rows >= look->most;
	if (look->over) {
		sqlite3_result_error(context, "enough rows were looked at", -1);
		return;
	}
	look->rows++;
	if (sqlite3_value_int(argv[0])) {
		look->matching++;
		look->last_ms = sqlite3_value_int64(argv[1]);
	}
	sqlite3_result_value(context, argv[0]);
}

/* Prepares "SELECT `what` FROM requests", those of the filter in a stretch, `more`. */
static int prepare(paging *p, const char *what, const char *more, sqlite3_stmt **st)
{
	enum { FIXED = 4 };
	const char *period = "time_ms >= ?1 AND time_ms < ?2";
	const row_filter id = { .id = p->by_id ? p->q->only->id : NULL };
	char sql[SQL_MAX];
	filter_sql filter, ids;

	filter_make(&filter, p->q->only, '?', FIXED + 1);
	filter_make(&ids, &id, '?', FIXED + 1 + (int)filter.count);
	/* One index finds the rows, and page_look() sees each row that it finds. */
	if (p->by_id)
		snprintf(sql, sizeof sql, "SELECT %s FROM requests WHERE true%s AND page_look(%s%s, time_ms)%s", what,
			 ids.where, period, filter.where, more);
	else
		snprintf(sql, sizeof sql, "SELECT %s FROM requests WHERE %s AND page_look(true%s, time_ms)%s", what,
			 period, filter.where, more);
	int rc = sqlite3_prepare_v2(p->s->db, sql, -1, st, NULL);
	for (size_t i = 0; rc == SQLITE_OK && i < filter.count + ids.count; i++)
		rc = sqlite3_bind_text(*st, FIXED + 1 + (int)i,
				       i < filter.count ? filter.values[i] : ids.values[i - filter.count], -1,
				       SQLITE_TRANSIENT);
	return rc;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Begins a statement of prepare(), which may look at `most` rows. */
static void begin(paging *p, sqlite3_stmt *st, const stretch *of, int64_t most)
{
	p->s->look = (store_look){ .most = most };
	sqlite3_bind_int64(st, 1, of->from_ms);
	sqlite3_bind_int64(st, 2, of->to_ms);
}

/* Counts the rows of a stretch that match, unless they are too many to be looked at. */
static int count_rows(paging *p, sqlite3_stmt *st, stretch *of)
{
	begin(p, st, of, STORE_PAGE_COUNTED - p->counted);
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		of->matching = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	p->counted += p->s->look.rows;
	return rc == SQLITE_ROW || p->s->look.over ? SQLITE_OK : rc;
}

/* Sets `*of` to the part of the stretch in which the page's rows are. This look for the page's last row comes first,
 * because SQLite gives the rows of one moment, in the order of their ids, only when it has found a matching row of
 * another moment, and that one may be far away. */
static int find_part(paging *p, sqlite3_stmt *st, stretch *of, int64_t most)
{
	begin(p, st, of, STORE_PAGE_READ - p->read);
	sqlite3_bind_int64(st, 3, 1);
	sqlite3_bind_int64(st, 4, p->skip + most - 1);
	int rc = sqlite3_step(st);
	sqlite3_reset(st);
	const store_look *look = &p->s->look;
	p->read += look->rows;
	p->stopped = look->over;
	if (!look->matching)
		of->to_ms = of->from_ms;
	else if (p->q->oldest_first)
		of->to_ms = look->last_ms + 1;
	else
		of->from_ms = look->last_ms;
	return rc == SQLITE_ROW || rc == SQLITE_DONE || look->over ? SQLITE_OK : rc;
}

/* Gives the rows of a stretch that belong to the page. */
static int give_rows(paging *p, const statements *st, stretch of)
{
	int64_t most = of.matching < 0 ? p->left : smaller(p->left, of.matching - p->skip);
	int rc = p->by_id ? SQLITE_OK : find_part(p, st->end, &of, most);

	if (rc != SQLITE_OK)
		return rc;
	begin(p, st->rows, &of, STORE_PAGE_READ);
	sqlite3_bind_int64(st->rows, 3, most);
	sqlite3_bind_int64(st->rows, 4, p->skip);
	while ((rc = sqlite3_step(st->rows)) == SQLITE_ROW && !p->ended) {
		record r;
		memset(&r, 0, sizeof r);
		store_read_row(st->rows, &r);
		p->left--;
		p->ended = !p->each(p->ctx, &r);
	}
	sqlite3_reset(st->rows);
	p->stopped |= p->s->look.over;
	p->skip = larger(p->skip - p->s->look.matching, 0);
	return rc == SQLITE_ROW || rc == SQLITE_DONE || p->s->look.over ? SQLITE_OK : rc;
}

static int prepare_all(paging *p, statements *st)
{
	char names[SQL_LIST];
	const bool up = p->q->oldest_first;

	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	int rc = prepare(p, "count(*)", "", &st->count);
	if (rc == SQLITE_OK)
		rc = prepare(p, "time_ms",
			     up ? " ORDER BY time_ms LIMIT ?3 OFFSET ?4" : " ORDER BY time_ms DESC LIMIT ?3 OFFSET ?4",
			     &st->end);
	return rc != SQLITE_OK ? rc :
				 prepare(p, names,
					 up ? " ORDER BY time_ms, id LIMIT ?3 OFFSET ?4" :
					      " ORDER BY time_ms DESC, id DESC LIMIT ?3 OFFSET ?4",
					 &st->rows);
}

/* Goes along the stretches, and gives the page. */
static int walk(paging *p, store_page_told *told)
{
	statements st = { .count = NULL };
	int rc = prepare_all(p, &st);

	for (size_t i = 0; rc == SQLITE_OK && i < p->count; i++) {
		stretch *at = &p->all[p->q->oldest_first ? i : p->count - 1 - i];
		bool full = p->left <= 0 || p->ended;
		if (at->matching < 0 && told->total >= 0)
			rc = count_rows(p, st.count, at);
		if (at->matching < 0)
			told->total = -1;
		if (told->total < 0 && (full || p->stopped))
			break;
		told->total += told->total < 0 ? 0 : at->matching;
		if (at->matching >= 0 && at->matching <= p->skip)
			p->skip -= at->matching;
		else if (rc == SQLITE_OK && !full && !p->stopped)
			rc = give_rows(p, &st, *at);
	}
	told->stopped = p->stopped;
	if (told->stopped)
		told->total = -1;
	sqlite3_finalize(st.count);
	sqlite3_finalize(st.end);
	sqlite3_finalize(st.rows);
	return rc;
}

/* Adds one stretch, in which nothing tells how many rows match. */
static int add_whole(paging *p, int64_t from_ms, int64_t to_ms)
{
	stretch *all = from_ms < to_ms ? add_stretch(p, from_ms, to_ms) : NULL;

	if (all)
		all->matching = -1;
	return all || from_ms >= to_ms ? SQLITE_OK : SQLITE_NOMEM;
}

/* Makes stretches of the hours from `from_ms` to `to_ms` that have rows, all of which match. */
static int add_hours(paging *p, int64_t from_ms, int64_t to_ms)
{
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
		int64_t begin_ms = sqlite3_column_int64(st, 0) * 1000, end_ms = begin_ms + HOUR * 1000LL;
		stretch *next = add_stretch(p, larger(begin_ms, from_ms), smaller(end_ms, to_ms));
		if (!next) {
			rc = SQLITE_NOMEM;
			break;
		}
		/* Of a part of an hour the sum says too much: retention has removed the rest. */
		bool whole = next->from_ms == begin_ms && next->to_ms == end_ms;
		next->matching = whole ? sqlite3_column_int64(st, 1) : -1;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Finds the rows by the index of ids, which has them in no order of time. If these are too many, walk() finds them by
 * time. */
static int find_ids(paging *p, int64_t from_ms, int64_t to_ms)
{
	sqlite3_stmt *count = NULL;
	int rc = add_whole(p, from_ms, to_ms);

	p->by_id = true;
	if (rc == SQLITE_OK)
		rc = prepare(p, "count(*)", "", &count);
	if (rc == SQLITE_OK && p->count)
		rc = count_rows(p, count, p->all);
	sqlite3_finalize(count);
	p->by_id = p->count && p->all->matching >= 0;
	return rc;
}

/* Finds the stretches from `from_ms` to `to_ms` that have rows. The index of ids finds an id; without a filter the sums
 * of hours tell. Else there are, from old to new: rows that were kept, to be shipped, although others of their time
 * were pruned, which sums and facets still count; rows of an hour of which a part was pruned, or without facets; days
 * with facets; hours with facets. */
static store_result find_stretches(paging *p, int64_t from_ms, int64_t to_ms, err *e)
{
	const int64_t hour = HOUR * 1000LL, day = DAY * 1000LL;
	const bool every = filter_is_empty(p->q->only), has_id = !every && p->q->only->id;
	int64_t pruned = 0, hours = 0, whole = 0, first = to_ms;

	int rc = store_pruned_before(p->s, &pruned);
	if (rc == SQLITE_OK && !has_id) {
		pruned = smaller(larger(from_ms, pruned), to_ms);
		rc = add_whole(p, from_ms, pruned);
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
		rc = has_id ? find_ids(p, from_ms, to_ms) :
		     every  ? add_hours(p, from_ms, first) :
			      add_whole(p, from_ms, first);
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

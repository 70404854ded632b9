/* SPDX-License-Identifier: MIT
 *
 * Facets of the rows of an older ledger: an hour at a time, the newest first. An hour may have hundreds of thousands of
 * rows, which nobody else could write meanwhile. So they are read some at a time, without a lock; the last step, which
 * has the lock, adds the rows that came or changed since, and begins anew if one that was counted has changed. */
#include <stdlib.h>

#include "ledger/store_impl.h"

enum { TRIES = 3 /* to count an hour without the lock */ };

/* Sets `*hour` to that of the newest row before the hour `before`; -1: there is none. */
static int hour_before(store *s, int64_t before, int64_t *hour)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(s, "SELECT max(time_ms) FROM requests WHERE time_ms < ?1", &st);

	*hour = -1;
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, before > INT64_MAX / 1000 ? INT64_MAX : before * 1000);
		rc = sqlite3_step(st);
	}
	if (rc == SQLITE_ROW && sqlite3_column_type(st, 0) != SQLITE_NULL)
		*hour = store_hour_of(sqlite3_column_int64(st, 0));
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Sets `*hour` to the one that is filled next; -1: there is none. `*first`: the first hour of which no row was pruned:
 * of one before it nothing can be told. */
static int next_hour(store *s, int64_t *hour, int64_t *first)
{
	int64_t pruned = 0, from = 0;
	int rc = store_pruned_before(s, &pruned);

	if (rc == SQLITE_OK)
		rc = store_int(s, "SELECT value FROM meta WHERE key = 'facets_from'", &from);
	if (rc == SQLITE_OK)
		rc = hour_before(s, from, hour);
	*first = store_ceil(pruned, HOUR * 1000LL, HOUR);
	if (*hour < *first)
		*hour = -1;
	return rc;
}

/* Tells whether rows have got other numbers since `fill->epoch` was read, which is read anew. */
static int read_epoch(store *s, facet_filling *fill, bool *other)
{
	char was[sizeof fill->epoch];
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(s, "SELECT value FROM meta WHERE key = 'epoch'", &st);

	memcpy(was, fill->epoch, sizeof was);
	fill->epoch[0] = '\0';
	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
		store_copy_text(fill->epoch, sizeof fill->epoch, st, 0);
	sqlite3_finalize(st);
	*other = strcmp(was, fill->epoch) != 0;
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int begin(store *s, facet_filling *fill, int64_t hour)
{
	bool other;

	rollup_clear(&fill->cells);
	fill->tries = fill->hour == hour ? fill->tries + 1 : 0;
	fill->hour = hour;
	fill->going = true;
	fill->count = 0;
	fill->time_ms = hour * 1000;
	fill->sequence = -1;
	int rc = read_epoch(s, fill, &other);
	return rc == SQLITE_OK ? store_int(s, "SELECT max(rowid) FROM requests", &fill->upto) : rc;
}

/* Adds at most `max` rows of the hour that lie behind the place of `fill` and have a sequence from `low` to `high`. */
static int add_rows(store *s, facet_filling *fill, int64_t low, int64_t high, int64_t max, int64_t *added)
{
	char names[SQL_LIST], sql[SQL_MAX], label[FACET_LABEL_MAX + 1];
	sqlite3_stmt *st = NULL;
	record r;

	*added = 0;
	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql,
		 "SELECT %s, rowid FROM requests WHERE time_ms >= ?1 AND time_ms < ?2 AND (time_ms > ?1 OR rowid > ?3)"
		 " AND +rowid >= ?4 AND +rowid <= ?5 ORDER BY time_ms, rowid LIMIT ?6",
		 names);
	int rc = store_prepare(s, sql, &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, fill->time_ms);
		sqlite3_bind_int64(st, 2, (fill->hour + HOUR) * 1000);
		sqlite3_bind_int64(st, 3, fill->sequence);
		sqlite3_bind_int64(st, 4, low);
		sqlite3_bind_int64(st, 5, high);
		sqlite3_bind_int64(st, 6, max);
	}
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		memset(&r, 0, sizeof r);
		store_read_row(st, &r);
		/* The cell has a copy of its label. */
		rollup_cell *c = rollup_cell_of(&fill->cells, fill->hour, KIND_FACET,
						slice_of(label, facet_label(&r, label)));
		if (c)
			store_sums_add(&c->sums, &r);
		rc = c && rollup_add_times(c, &r) ? SQLITE_OK : SQLITE_NOMEM;
		fill->time_ms = r.time_ms;
		fill->sequence = sqlite3_column_int64(st, RECORD_COLUMNS);
		++*added;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Sets `*same` if the rows that were counted are those that the hour has, up to the sequence `fill->upto`. */
static int still_same(store *s, facet_filling *fill, bool *same)
{
	sqlite3_stmt *st = NULL;
	bool other = false;
	int rc = read_epoch(s, fill, &other);

	if (rc == SQLITE_OK)
		rc = store_prepare(
			s, "SELECT count(*) FROM requests WHERE time_ms >= ?1 AND time_ms < ?2 AND +rowid <= ?3", &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, fill->hour * 1000);
		sqlite3_bind_int64(st, 2, (fill->hour + HOUR) * 1000);
		sqlite3_bind_int64(st, 3, fill->upto);
		rc = sqlite3_step(st);
	}
	*same = rc == SQLITE_ROW && !other && sqlite3_column_int64(st, 0) == fill->count;
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* The last step of an hour, in a transaction that writes. */
static int end_hour(store *s, facet_filling *fill)
{
	int64_t hour = -1, first = 0, low = fill->upto + 1, added;
	bool same = false;
	int rc = next_hour(s, &hour, &first);

	fill->going = false;
	/* A row of a newer hour has come, or another process has filled this one. */
	if (rc != SQLITE_OK || hour != fill->hour)
		return rc;
	rc = still_same(s, fill, &same);
	if (rc != SQLITE_OK || (!same && fill->tries < TRIES))
		return rc;
	if (!same) {
		rollup_clear(&fill->cells);
		low = INT64_MIN;
	}
	fill->time_ms = hour * 1000;
	fill->sequence = INT64_MIN;
	rc = add_rows(s, fill, low, INT64_MAX, -1, &added);
	s->facets_from = hour;
	if (rc == SQLITE_OK)
		rc = facets_keep_bound(s, "facets_from", hour);
	return rc == SQLITE_OK ? facets_log_fold(s, fill->cells.cells, fill->cells.count) : rc;
}

/* There is no hour left. */
static int end_fill(store *s, bool *more)
{
	int64_t hour = -1, first = 0;
	int rc = next_hour(s, &hour, &first);

	if (rc != SQLITE_OK || hour >= 0)
		return rc;
	*more = false;
	rc = facets_keep_bound(s, "facets_from", first < s->facets_from ? first : s->facets_from);
	return rc == SQLITE_OK ? store_exec(s, "DELETE FROM meta WHERE key = 'facets_fill'") : rc;
}

int facets_fill(store *s, bool *more)
{
	facet_filling *fill = &s->filling;
	int64_t left = 0, hour = -1, first = 0, added = 0;
	int rc = store_int(s, "SELECT count(*) FROM meta WHERE key = 'facets_fill'", &left);

	*more = left > 0;
	if (rc == SQLITE_OK && left && !fill->going) {
		rc = next_hour(s, &hour, &first);
		if (rc == SQLITE_OK && hour >= 0)
			rc = begin(s, fill, hour);
	}
	if (rc == SQLITE_OK && left && fill->going) {
		rc = add_rows(s, fill, INT64_MIN, fill->upto, STORE_FILL_ROWS, &added);
		fill->count += added;
	}
	if (rc != SQLITE_OK || !left || added == STORE_FILL_ROWS) {
		fill->going &= rc == SQLITE_OK && left;
		return rc;
	}
	rc = store_begin(s);
	/* While the database is locked, what was counted is kept for the next call. */
	if (rc == SQLITE_OK) {
		rc = fill->going ? end_hour(s, fill) : end_fill(s, more);
		fill->going = false;
		rollup_clear(&fill->cells);
	}
	return store_end(s, NULL, rc);
}

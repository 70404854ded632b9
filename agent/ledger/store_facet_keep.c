/* SPDX-License-Identifier: MIT
 *
 * Facets in `hourly` and `daily`: adding to them, removing those of old hours. */
#include "ledger/store_facets.h"

#include <stdlib.h>

#include "ledger/store_impl.h"

/* Parameters of the statements: kind, bucket, label, then the sums. */
enum { AT_SUMS = 4, AT_LAST = AT_SUMS + SUMS_COUNT, AT_TIMES };

static bool add_blob(store_times *t, sqlite3_value *value)
{
	const void *bytes = sqlite3_value_blob(value);

	return times_decode(t, slice_of(bytes, (size_t)sqlite3_value_bytes(value)));
}

void facets_times_sum(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	store *s = sqlite3_user_data(context);
	store_times t = { NULL, 0, 0 };

	(void)argc;
	if (sqlite3_value_type(argv[1]) == SQLITE_NULL) {
		sqlite3_result_value(context, argv[0]);
		return;
	}
	/* Damaged bytes must not keep every later record out. `ledger verify` tells of them. */
	bool ok = add_blob(&t, argv[0]);
	if (!ok)
		times_deinit(&t);
	if (add_blob(&t, argv[1]))
		sqlite3_result_blob(context, s->times_out, (int)times_encode(&t, s->times_out), SQLITE_TRANSIENT);
	else
		sqlite3_result_error_nomem(context);
	times_deinit(&t);
}

int facets_prepare(store *s)
{
	char names[SQL_LIST], values[SQL_LIST], sql[SQL_MAX];
	int rc = store_prepare(s,
			       "SELECT (SELECT value FROM meta WHERE key = 'facets_from'),"
			       " (SELECT value FROM meta WHERE key = 'facet_hours_from')",
			       &s->statements[ST_FACET_BOUNDS]);

	sql_list(names, sizeof names, SUMS_COUNT, sums_name, "$");
	sql_list(values, sizeof values, SUMS_COUNT, sums_name, "?");
	for (int daily = 0; rc == SQLITE_OK && daily < 2; daily++) {
		const char *table = daily ? "daily" : "hourly";
		snprintf(sql, sizeof sql,
			 "INSERT INTO %s (kind, bucket, label, %s, last_ms, times) VALUES (?,?,?,%s,?,?)", table, names,
			 values);
		rc = store_prepare(s, sql, &s->statements[daily ? ST_FACET_DAILY_INSERT : ST_FACET_HOURLY_INSERT]);
		size_t len = (size_t)snprintf(sql, sizeof sql, "UPDATE %s SET ", table);
		for (size_t i = 0; i < SUMS_COUNT; i++)
			len += (size_t)snprintf(sql + len, sizeof sql - len, "%s = %s + ?%zu, ", sums_name(i),
						sums_name(i), i + AT_SUMS);
		snprintf(sql + len, sizeof sql - len,
			 "last_ms = max(last_ms, ?%d), times = times_sum(times, ?%d)"
			 " WHERE kind = ?1 AND bucket = ?2 AND label = ?3",
			 (int)AT_LAST, (int)AT_TIMES);
		if (rc == SQLITE_OK)
			rc = store_prepare(s, sql,
					   &s->statements[daily ? ST_FACET_DAILY_UPDATE : ST_FACET_HOURLY_UPDATE]);
	}
	return rc == SQLITE_OK ? facets_log_prepare(s) : rc;
}

int facets_begin(store *s)
{
	sqlite3_stmt *st = s->statements[ST_FACET_BOUNDS];
	int rc = sqlite3_step(st);

	s->facets_from = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	s->facet_hours_from = rc == SQLITE_ROW ? sqlite3_column_int64(st, 1) : 0;
	sqlite3_reset(st);
	/* Another process may have added facets. */
	if (s->facets_sequence != s->sequence)
		s->facets_day = s->log_cells = -1;
	s->facets_sequence = -1;
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* ---- writing */

/* Runs an UPDATE or INSERT for the facet `label`. `*there`: it changed a row. */
static int put(store *s, statement which, int64_t bucket, slice label, const rollup_cell *c, bool *there)
{
	sqlite3_stmt *st = s->statements[which];
	store_sums sums = c->sums;

	sqlite3_bind_int(st, 1, KIND_FACET);
	sqlite3_bind_int64(st, 2, bucket);
	sqlite3_bind_text(st, 3, label.ptr, (int)label.len, SQLITE_STATIC);
	for (size_t i = 0; i < SUMS_COUNT; i++)
		sqlite3_bind_int64(st, (int)i + AT_SUMS, *sums_column(&sums, i));
	sqlite3_bind_int64(st, AT_LAST, c->last_ms);
	if (c->times.count)
		sqlite3_bind_blob(st, AT_TIMES, s->times_in, (int)times_encode(&c->times, s->times_in), SQLITE_STATIC);
	else
		sqlite3_bind_null(st, AT_TIMES);
	int rc = store_run(st);
	*there = rc == SQLITE_OK && sqlite3_changes(s->db) > 0;
	return rc;
}

static int put_or_insert(store *s, statement updating, statement inserting, int64_t bucket, slice label,
			 const rollup_cell *c)
{
	bool there = false;
	int rc = put(s, updating, bucket, label, c, &there);

	return rc == SQLITE_OK && !there ? put(s, inserting, bucket, label, c, &there) : rc;
}

static int put_hour(store *s, const rollup_cell *c, slice label)
{
	return c->hour < s->facet_hours_from ?
		       SQLITE_OK :
		       put_or_insert(s, ST_FACET_HOURLY_UPDATE, ST_FACET_HOURLY_INSERT, c->hour, label, c);
}

/* Reads how many facets the day has, if that is not known. */
static int count_facets(store *s, int64_t day)
{
	sqlite3_stmt *st = s->statements[ST_LABELS];

	if (s->facets_day == day)
		return SQLITE_OK;
	sqlite3_bind_int(st, 1, KIND_FACET);
	sqlite3_bind_int64(st, 2, day);
	int rc = sqlite3_step(st);
	s->facets_count = sqlite3_column_int64(st, 0);
	s->facets_day = rc == SQLITE_ROW ? day : -1;
	sqlite3_reset(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Adds `count` cells of one facet and day. */
static int write_facet(store *s, const rollup_cell *cells, size_t count)
{
	int64_t day = store_floor(cells->hour, DAY);
	rollup_cell all = *cells;
	bool there = false, ok;

	all.times = (store_times){ NULL, 0, 0 };
	ok = times_merge(&all.times, &cells->times);
	for (size_t i = 1; ok && i < count; i++)
		ok = rollup_merge(&all, &cells[i]);
	int rc = ok ? put(s, ST_FACET_DAILY_UPDATE, day, cells->label, &all, &there) : SQLITE_NOMEM;
	if (rc == SQLITE_OK && !there) {
		rc = count_facets(s, day);
		if (rc == SQLITE_OK && s->facets_count >= STORE_FACETS_PER_DAY) {
			/* They are many, so they are added up before they are written. */
			for (size_t i = 0; ok && i < count; i++) {
				rollup_cell *c = rollup_cell_of(&s->untold, cells[i].hour, KIND_FACET, STORE_OTHER);
				ok = c && rollup_merge(c, &cells[i]);
			}
			times_deinit(&all.times);
			return ok ? SQLITE_OK : SQLITE_NOMEM;
		}
		s->facets_count++;
		if (rc == SQLITE_OK)
			rc = put(s, ST_FACET_DAILY_INSERT, day, cells->label, &all, &there);
	}
	times_deinit(&all.times);
	for (size_t i = 0; rc == SQLITE_OK && i < count; i++)
		rc = put_hour(s, &cells[i], cells[i].label);
	return rc;
}

int facets_write(store *s, const rollup_cell *cells, size_t count)
{
	int rc = SQLITE_OK;

	rollup_clear(&s->untold);
	for (size_t begin = 0, end; rc == SQLITE_OK && begin < count; begin = end) {
		const rollup_cell *first = &cells[begin];
		int64_t day = store_floor(first->hour, DAY);

		for (end = begin + 1; end < count && store_floor(cells[end].hour, DAY) == day &&
				      slice_eq(cells[end].label, first->label);
		     end++)
			;
		rc = write_facet(s, first, end - begin);
	}
	for (size_t i = 0; rc == SQLITE_OK && i < s->untold.count; i++) {
		const rollup_cell *c = &s->untold.cells[i];
		rc = put_or_insert(s, ST_FACET_DAILY_UPDATE, ST_FACET_DAILY_INSERT, store_floor(c->hour, DAY),
				   STORE_OTHER, c);
		if (rc == SQLITE_OK)
			rc = put_hour(s, c, STORE_OTHER);
	}
	return rc;
}

int facets_keep_bound(store *s, const char *key, int64_t value)
{
	char sql[128];

	snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO meta VALUES ('%s', %lld)", key, (long long)value);
	return store_exec(s, sql);
}

/* ---- older hours */

int facets_forget(store *s, int64_t now_ms, bool *more)
{
	int64_t next_day = store_floor(now_ms / 1000, DAY) + DAY,
		keep = next_day - (int64_t)(STORE_FACET_HOURS_DAYS + 1) * DAY, first = 0;
	char sql[160];
	int rc = SQLITE_OK;

	*more = false;
	if (keep <= 0)
		return rc;
	/* After a clock that was ahead is right again, facets of hours begin anew with the next day. */
	int64_t from = s->facet_hours_from > next_day ? next_day : keep > s->facet_hours_from ? keep : -1;
	if (from >= 0) {
		s->facet_hours_from = from;
		rc = facets_keep_bound(s, "facet_hours_from", from);
	}
	snprintf(sql, sizeof sql, "SELECT min(bucket) FROM hourly WHERE kind = %d AND bucket >= 0", KIND_FACET);
	if (rc == SQLITE_OK)
		rc = store_int(s, sql, &first);
	int64_t end = store_floor(first, DAY) + DAY;
	if (rc != SQLITE_OK || end > s->facet_hours_from)
		return rc;
	snprintf(sql, sizeof sql, "DELETE FROM hourly WHERE kind = %d AND bucket < %lld", KIND_FACET, (long long)end);
	*more = end < s->facet_hours_from && first > 0;
	return store_exec(s, sql);
}

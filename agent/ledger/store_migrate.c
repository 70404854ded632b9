/* SPDX-License-Identifier: MIT
 *
 * The version of the schema: checks it, makes it, and turns an older one into the newest. */
#include "ledger/store_impl.h"

#include <stdlib.h>

store_result store_check_version(store *s, int64_t *version, bool *is_new, err *e)
{
	int64_t application = 0, tables = 0;
	int rc = store_int(s, "PRAGMA application_id", &application);

	if (rc == SQLITE_OK)
		rc = store_int(s, "PRAGMA user_version", version);
	if (rc == SQLITE_OK)
		rc = store_int(s, "SELECT count(*) FROM sqlite_master", &tables);
	if (rc != SQLITE_OK)
		return store_fail(s, rc, "reading it", e);
	*is_new = tables == 0 && *version == 0 && application == 0;
	if (!*is_new && application != STORE_APPLICATION_ID) {
		err_set(e, "ledger %s: an SQLite database, but not a ledger of spoa-llm", s->path);
		return STORE_ERROR;
	}
	if (*version > STORE_SCHEMA_VERSION) {
		err_set_kind(
			e, ERR_NEWER,
			"ledger %s: a newer spoa-llm wrote it, with schema version %lld; this one knows versions up to "
			"%d: use the newer one, restore a backup of before, or name another directory",
			s->path, (long long)*version, STORE_SCHEMA_VERSION);
		return STORE_NEWER;
	}
	return STORE_OK;
}

/* Migrates each version in a transaction of its own, so that an interrupted migration goes on where it stopped. A new
 * file gets all of them in one, so that no reader finds an older one. */
store_result store_migrate(store *s, err *e)
{
	int64_t first = -1; /* the version that the file had */

	for (;;) {
		int64_t version = 0, next;
		bool is_new = false;
		int rc = store_exec(s, "BEGIN IMMEDIATE");
		if (rc != SQLITE_OK)
			return store_fail(s, rc, "opening it to write", e);
		store_result result = store_check_version(s, &version, &is_new, e);
		if (result != STORE_OK || version == STORE_SCHEMA_VERSION) {
			if (s->db && !sqlite3_get_autocommit(s->db))
				store_exec(s, "ROLLBACK");
			return result;
		}
		char mark[128];
		next = version ? version + 1 : STORE_SCHEMA_VERSION;
		snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %lld",
			 STORE_APPLICATION_ID, (long long)next);
		for (size_t i = 0; rc == SQLITE_OK && i < sizeof store_schema / sizeof store_schema[0]; i++)
			if (store_schema[i].version > version && store_schema[i].version <= next)
				rc = store_exec(s, store_schema[i].sql);
		if (rc == SQLITE_OK)
			rc = store_exec(s, mark);
		if (rc == SQLITE_OK)
			rc = store_exec(s, "COMMIT");
		if (rc != SQLITE_OK)
			return store_fail(s, rc, version ? "migrating its schema" : "making its schema", e);
		first = first < 0 ? version : first;
		s->migrated_from = (int)first;
	}
}

int store_migrated_from(const store *s)
{
	return s->migrated_from;
}

/* ---- version 2: what requests with estimated tokens saved */

enum { CATCH_UP_ROWS = 500 }; /* in memory at a time */

#define ESTIMATED_ARE_0 "estimated_saved_compression = 0, estimated_saved_cache = 0, estimated_saved_routing = 0"
#define EVERY_KIND "kind IN (0, 1, 2, 3, 4, 5)"

_Static_assert(KIND_FACET == 6, "EVERY_KIND has every kind but facets, which came later");

typedef struct catch_up {
	store *s;
	int64_t day;
	sqlite3_stmt *rows, *hours, *add_hour, *add_day;
	record *batch;
	size_t count;
	rollup cells;
} catch_up;

/* Adds the three sums to the row of `hourly` or `daily` that `st` is for. `*there`: it has that row. */
static int add_to(store *s, sqlite3_stmt *st, int kind, int64_t bucket, slice label, const store_sums *sums,
		  bool *there)
{
	sqlite3_bind_int(st, 1, kind);
	sqlite3_bind_int64(st, 2, bucket);
	sqlite3_bind_text(st, 3, label.len ? label.ptr : "", (int)label.len, SQLITE_STATIC);
	sqlite3_bind_int64(st, 4, sums->estimated_saved_compression);
	sqlite3_bind_int64(st, 5, sums->estimated_saved_cache);
	sqlite3_bind_int64(st, 6, sums->estimated_saved_routing);
	int rc = store_run(st);
	*there = rc == SQLITE_OK && sqlite3_changes(s->db) > 0;
	return rc;
}

/* Adds the batch to the sums of its hours. A label without sums of its own is part of `other`. */
static int add_batch(catch_up *c)
{
	char room[ROLLUP_LABEL_MAX + 1];
	int rc = SQLITE_OK;
	bool there;

	rollup_clear(&c->cells);
	for (size_t i = 0; i < c->count; i++)
		for (int kind = 0; kind < KIND_FACET; kind++) {
			const record *r = &c->batch[i];
			rollup_cell *cell = rollup_cell_of(&c->cells, store_hour_of(r->time_ms), kind,
							   rollup_label(r, kind, room));
			if (!cell)
				return SQLITE_NOMEM;
			rollup_add_estimated(&cell->sums, r);
		}
	for (size_t i = 0; rc == SQLITE_OK && i < c->cells.count; i++) {
		const rollup_cell *cell = &c->cells.cells[i];
		rc = add_to(c->s, c->add_hour, cell->kind, cell->hour, cell->label, &cell->sums, &there);
		if (rc == SQLITE_OK && !there)
			rc = add_to(c->s, c->add_hour, cell->kind, cell->hour, STORE_OTHER, &cell->sums, &there);
	}
	c->count = 0;
	return rc;
}

/* Counts the hours of the day whose rows are all there. */
static int count_hours(catch_up *c, int64_t pruned_ms)
{
	int64_t first = store_ceil(pruned_ms, HOUR * 1000LL, HOUR), end = c->day + DAY;
	char sql[256];

	if (first < c->day)
		first = c->day;
	if (first >= end)
		return SQLITE_OK;
	snprintf(sql, sizeof sql,
		 "UPDATE hourly SET " ESTIMATED_ARE_0 " WHERE " EVERY_KIND " AND bucket >= %lld AND bucket < %lld",
		 (long long)first, (long long)end);
	int rc = store_exec(c->s, sql);
	if (rc != SQLITE_OK)
		return rc;
	sqlite3_bind_int64(c->rows, 1, first * 1000);
	sqlite3_bind_int64(c->rows, 2, end * 1000);
	while ((rc = sqlite3_step(c->rows)) == SQLITE_ROW) {
		store_read_row(c->rows, &c->batch[c->count++]);
		if (c->count == CATCH_UP_ROWS && (rc = add_batch(c)) != SQLITE_OK)
			return rc;
	}
	return rc == SQLITE_DONE ? add_batch(c) : rc;
}

/* Adds up the hours of the day. */
static int count_day(catch_up *c)
{
	char sql[256];
	bool there;

	snprintf(sql, sizeof sql, "UPDATE daily SET " ESTIMATED_ARE_0 " WHERE " EVERY_KIND " AND bucket = %lld",
		 (long long)c->day);
	int rc = store_exec(c->s, sql);
	if (rc != SQLITE_OK)
		return rc;
	sqlite3_bind_int64(c->hours, 1, c->day);
	while ((rc = sqlite3_step(c->hours)) == SQLITE_ROW) {
		store_sums sums = { .estimated_saved_compression = sqlite3_column_int64(c->hours, 2),
				    .estimated_saved_cache = sqlite3_column_int64(c->hours, 3),
				    .estimated_saved_routing = sqlite3_column_int64(c->hours, 4) };
		slice label = slice_cstr((const char *)sqlite3_column_text(c->hours, 1));
		rc = add_to(c->s, c->add_day, sqlite3_column_int(c->hours, 0), c->day, label, &sums, &there);
		if (rc != SQLITE_OK)
			return rc;
	}
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int catch_up_prepare(catch_up *c)
{
	static const char add[] = "UPDATE %s SET estimated_saved_compression = estimated_saved_compression + ?4,"
				  " estimated_saved_cache = estimated_saved_cache + ?5,"
				  " estimated_saved_routing = estimated_saved_routing + ?6"
				  " WHERE kind = ?1 AND bucket = ?2 AND label = ?3";
	char names[SQL_LIST], sql[SQL_MAX];

	c->batch = malloc(CATCH_UP_ROWS * sizeof *c->batch);
	if (!c->batch)
		return SQLITE_NOMEM;
	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql,
		 "SELECT %s FROM requests WHERE time_ms >= ? AND time_ms < ? AND usage = %d"
		 " AND (saved_compression <> 0 OR saved_cache <> 0 OR saved_routing <> 0)",
		 names, USAGE_ESTIMATED);
	int rc = store_prepare(c->s, sql, &c->rows);
	if (rc == SQLITE_OK)
		rc = store_prepare(c->s,
				   "SELECT kind, label, estimated_saved_compression, estimated_saved_cache,"
				   " estimated_saved_routing FROM hourly WHERE " EVERY_KIND
				   " AND bucket >= ?1 AND bucket < ?1 + 86400 AND estimated_requests > 0",
				   &c->hours);
	for (int daily = 0; rc == SQLITE_OK && daily < 2; daily++) {
		snprintf(sql, sizeof sql, add, daily ? "daily" : "hourly");
		rc = store_prepare(c->s, sql, daily ? &c->add_day : &c->add_hour);
	}
	return rc;
}

static int catch_up_day(store *s, int64_t day)
{
	catch_up c = { .s = s, .day = day };
	int64_t pruned = 0;
	char sql[128];

	int rc = store_pruned_before(s, &pruned);
	if (rc == SQLITE_OK)
		rc = catch_up_prepare(&c);
	if (rc == SQLITE_OK)
		rc = count_hours(&c, pruned);
	if (rc == SQLITE_OK)
		rc = count_day(&c);
	sqlite3_finalize(c.rows);
	sqlite3_finalize(c.hours);
	sqlite3_finalize(c.add_hour);
	sqlite3_finalize(c.add_day);
	rollup_free(&c.cells);
	free(c.batch);
	snprintf(sql, sizeof sql, "UPDATE meta SET value = %lld WHERE key = 'estimates_before'", (long long)day);
	return rc == SQLITE_OK ? store_exec(s, sql) : rc;
}

int store_catching_up(store *s, bool *waits)
{
	int64_t count = 0;
	int rc = store_int(s, "SELECT count(*) FROM meta WHERE key = 'estimates_before'", &count);

	*waits = count > 0;
	return rc;
}

/* Counts what the estimates of one more day saved. */
static int estimates_catch_up(store *s)
{
	int64_t day = 0;
	int rc = store_run(s->statements[ST_BEGIN]);

	if (rc == SQLITE_OK)
		rc = store_int(s,
			       "SELECT coalesce(max(bucket), -1) FROM daily WHERE kind = 0 AND estimated_requests > 0"
			       " AND bucket < (SELECT value FROM meta WHERE key = 'estimates_before')",
			       &day);
	if (rc == SQLITE_OK)
		rc = day >= 0 ? catch_up_day(s, day) : store_exec(s, "DELETE FROM meta WHERE key = 'estimates_before'");
	if (rc == SQLITE_OK)
		rc = store_run(s->statements[ST_COMMIT]);
	return rc;
}

store_result store_catch_up(store *s, bool *more, err *e)
{
	*more = false;
	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_catching_up(s, more);
	if (rc == SQLITE_OK && !*more)
		rc = facets_fill(s, more);
	else if (rc == SQLITE_OK)
		rc = estimates_catch_up(s);
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "counting rows of an older version", e);
}

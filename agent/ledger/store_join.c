/* SPDX-License-Identifier: MIT
 *
 * Joins the reports of the tap with the rows of their requests. */
#include "ledger/store_impl.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"

int join_prepare(store *s)
{
	static const char *const fixed[] = {
		[ST_REPORT] = "SELECT time_ms, ended, status, final, content, tier, first, last FROM reports"
			      " WHERE id = ?1",
		/* Of two reports of one answer the one that may be exact stays, else the first one. */
		[ST_REPORT_INSERT] =
			"INSERT INTO reports (id, time_ms, ended, status, final, content, tier, first, last)"
			" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO UPDATE"
			" SET ended = ?3, status = ?4, final = ?5, content = ?6, tier = ?7, first = ?8, last = ?9"
			" WHERE final < ?5",
		[ST_REPORT_DELETE] = "DELETE FROM reports WHERE id = ?1",
		[ST_REPORT_LIMIT] = "DELETE FROM reports WHERE rowid <= (SELECT max(rowid) FROM reports) - ?1",
	};
	char names[SQL_LIST], sql[SQL_MAX];
	int rc = SQLITE_OK;

	for (size_t i = ST_REPORT; rc == SQLITE_OK && i <= ST_REPORT_LIMIT; i++)
		rc = store_prepare(s, fixed[i], &s->statements[i]);
	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql, "SELECT %s FROM requests WHERE id = ?1", names);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, sql, &s->statements[ST_ROW]);
	/* The id and the time, the first two columns, stay as they are; the sequence changes. */
	size_t len = (size_t)snprintf(sql, sizeof sql, "UPDATE requests SET rowid = ?%d", RECORD_COLUMNS + 1);
	for (size_t i = 2; i < RECORD_COLUMNS; i++)
		len += (size_t)snprintf(sql + len, sizeof sql - len, ", %s = ?%zu", row_name(i), i + 1);
	snprintf(sql + len, sizeof sql - len, " WHERE id = ?1");
	return rc == SQLITE_OK ? store_prepare(s, sql, &s->statements[ST_ROW_UPDATE]) : rc;
}

record *join_keep(store *s)
{
	record **kept = list_grow(s->kept, &s->kept_room, s->kept_count, sizeof *kept);

	if (!kept)
		return NULL;
	s->kept = kept;
	record *r = calloc(1, sizeof *r);
	if (r)
		kept[s->kept_count++] = r;
	return r;
}

static int read_row(store *s, const char *id, record *r, bool *there)
{
	sqlite3_stmt *st = s->statements[ST_ROW];

	sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
	int rc = sqlite3_step(st);
	*there = rc == SQLITE_ROW;
	if (*there)
		store_read_row(st, r);
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Changes the row of `report`, and the sums by as much. `*there`: there is such a row. */
static int join_row(store *s, const store_join *join, const tap_report *report, store_added *added, bool *there)
{
	record was;

	memset(&was, 0, sizeof was);
	int rc = read_row(s, report->id, &was, there);
	if (rc != SQLITE_OK || !*there)
		return rc;
	record *is = join_keep(s);
	if (!is)
		return SQLITE_NOMEM;
	memcpy(is, &was, sizeof was);
	join->apply(join->ctx, is, report);
	is->charged = spending_charge(is, was.charged > 0 ? was.charged + was.cost : 0);
	/* A report that comes again, as from the journal, changes nothing. */
	if (memcmp(is, &was, sizeof was) == 0)
		return SQLITE_OK;
	added->joined++;
	added->usage[was.usage]--;
	added->usage[is->usage]++;
	store_bind_row(s->statements[ST_ROW_UPDATE], is);
	sqlite3_bind_int64(s->statements[ST_ROW_UPDATE], RECORD_COLUMNS + 1, ++s->sequence);
	rc = store_run(s->statements[ST_ROW_UPDATE]);
	bool ok = rollup_change(&s->batch, &was, is) && spending_change(s, &was, is);
	return rc != SQLITE_OK || ok ? rc : SQLITE_NOMEM;
}

static int read_report(store *s, const char *id, tap_report *r, bool *there)
{
	sqlite3_stmt *st = s->statements[ST_REPORT];

	memset(r, 0, sizeof *r);
	sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
	int rc = sqlite3_step(st);
	*there = rc == SQLITE_ROW;
	if (*there) {
		int end = sqlite3_column_int(st, 1);
		snprintf(r->id, sizeof r->id, "%s", id);
		r->time_ms = sqlite3_column_int64(st, 0);
		r->end = end >= TAP_END_WHOLE && end <= TAP_END_LOST ? (tap_end)end : TAP_END_LOST;
		r->status = sqlite3_column_int(st, 2);
		r->final = sqlite3_column_int(st, 3) != 0;
		r->content = sqlite3_column_int64(st, 4);
		store_copy_text(r->tier, sizeof r->tier, st, 5);
		store_copy_text(r->first, sizeof r->first, st, 6);
		store_copy_text(r->last, sizeof r->last, st, 7);
	}
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int join_waiting(store *s, const store_join *join, const char *id, store_added *added)
{
	tap_report report;
	bool there, row;
	int rc = read_report(s, id, &report, &there);

	if (rc != SQLITE_OK || !there)
		return rc;
	rc = join_row(s, join, &report, added, &row);
	if (rc != SQLITE_OK || !row)
		return rc;
	sqlite3_bind_text(s->statements[ST_REPORT_DELETE], 1, report.id, -1, SQLITE_STATIC);
	return store_run(s->statements[ST_REPORT_DELETE]);
}

int join_report(store *s, const store_join *join, const tap_report *r, store_added *added)
{
	sqlite3_stmt *st = s->statements[ST_REPORT_INSERT];
	bool there = false;
	int rc = join ? join_row(s, join, r, added, &there) : SQLITE_OK;

	if (rc != SQLITE_OK || there)
		return rc;
	sqlite3_bind_text(st, 1, r->id, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, r->time_ms);
	sqlite3_bind_int(st, 3, (int)r->end);
	sqlite3_bind_int(st, 4, r->status);
	sqlite3_bind_int(st, 5, r->final);
	sqlite3_bind_int64(st, 6, r->content);
	sqlite3_bind_text(st, 7, r->tier, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 8, r->first, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 9, r->last, -1, SQLITE_STATIC);
	return store_run(st);
}

int join_limit(store *s, store_added *added)
{
	sqlite3_bind_int(s->statements[ST_REPORT_LIMIT], 1, STORE_REPORTS);
	int rc = store_run(s->statements[ST_REPORT_LIMIT]);

	if (rc == SQLITE_OK)
		added->orphans += (size_t)sqlite3_changes(s->db);
	return rc;
}

/* ---- reports that waited */

/* Joins some of the reports whose rows are there. */
static int tidy_some(store *s, const store_join *join, store_added *added, bool *more)
{
	char(*ids)[RECORD_ID_MAX + 1] = malloc(STORE_TIDY_ROWS * sizeof *ids);
	sqlite3_stmt *st = NULL;
	int count = 0;
	int rc = ids ? store_prepare(s, "SELECT id FROM reports WHERE id IN (SELECT id FROM requests) LIMIT ?1", &st) :
		       SQLITE_NOMEM;

	if (rc == SQLITE_OK) {
		sqlite3_bind_int(st, 1, STORE_TIDY_ROWS);
		while ((rc = sqlite3_step(st)) == SQLITE_ROW && count < STORE_TIDY_ROWS)
			store_copy_text(ids[count++], sizeof ids[0], st, 0);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	sqlite3_finalize(st);
	for (int i = 0; rc == SQLITE_OK && i < count; i++)
		rc = join_waiting(s, join, ids[i], added);
	*more = count == STORE_TIDY_ROWS;
	free(ids);
	return rc;
}

static int remove_old(store *s, int64_t before_ms, store_added *added)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(s, "DELETE FROM reports WHERE time_ms < ?1", &st);

	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, before_ms);
		rc = store_run(st);
	}
	if (rc == SQLITE_OK)
		added->orphans += (size_t)sqlite3_changes(s->db);
	sqlite3_finalize(st);
	return rc;
}

store_result store_tidy(store *s, const store_join *join, int64_t before_ms, store_added *added, bool *more, err *e)
{
	store_added done = { .rows = 0 };

	*added = done;
	*more = false;
	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_begin(s);
	if (rc == SQLITE_OK)
		rc = tidy_some(s, join, &done, more);
	if (rc == SQLITE_OK && !*more)
		rc = remove_old(s, before_ms, &done);
	if (rc == SQLITE_OK && !*more)
		rc = facets_forget(s, clock_wall_ms(), more);
	rc = store_end(s, join, rc);
	if (rc != SQLITE_OK) {
		*more = false;
		return store_fail(s, rc, "joining reports with rows", e);
	}
	*added = done;
	return STORE_OK;
}

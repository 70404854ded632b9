/* SPDX-License-Identifier: MIT
 *
 * Adding records to the database. */
#include "ledger/store_impl.h"

#include <stdlib.h>

#include "base/clock.h"

int store_pruned_before(store *s, int64_t *time_ms)
{
	sqlite3_stmt *st = s->statements[ST_PRUNED];
	int rc = sqlite3_step(st);

	*time_ms = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

void store_bind_row(sqlite3_stmt *st, const record *r)
{
	for (int i = 0; i < RECORD_COLUMNS; i++) {
		const record_column *c = &record_columns[i];
		const void *field = column_of(r, c);
		int at = i + 1;

		switch (c->kind) {
		case COLUMN_TEXT:
			sqlite3_bind_text(st, at, field, -1, SQLITE_STATIC);
			break;
		case COLUMN_TIME:
			sqlite3_bind_int64(st, at, store_time_of(r));
			break;
		case COLUMN_STATUS:
			sqlite3_bind_int(st, at, r->status);
			break;
		case COLUMN_FLAG:
			sqlite3_bind_int(st, at, *(const bool *)field);
			break;
		case COLUMN_COUNT:
			if (*(const int64_t *)field < 0)
				sqlite3_bind_null(st, at);
			else
				sqlite3_bind_int64(st, at, *(const int64_t *)field);
			break;
		case COLUMN_NUMBER:
		case COLUMN_MONEY:
		case COLUMN_COST:
			sqlite3_bind_int64(st, at, *(const int64_t *)field);
			break;
		case COLUMN_USAGE:
			sqlite3_bind_int(st, at, (int)r->usage);
			break;
		case COLUMN_PRICE:
			sqlite3_bind_int(st, at, (int)r->price);
			break;
		case COLUMN_TAP:
			sqlite3_bind_int(st, at, (int)r->tap);
			break;
		}
	}
}

int store_begin(store *s)
{
	rollup_clear(&s->batch);
	rollup_clear(&s->spending);
	s->settled_count = 0;
	s->rows.count = 0;
	int rc = store_run(s->statements[ST_BEGIN]);
	if (rc == SQLITE_OK)
		rc = changes_begin(s);
	return rc == SQLITE_OK ? facets_begin(s) : rc;
}

int store_end(store *s, const store_join *join, int rc)
{
	if (rc == SQLITE_OK)
		rc = rollup_write(s, &s->batch);
	if (rc == SQLITE_OK)
		rc = spending_write(s);
	if (rc == SQLITE_OK)
		rc = changes_end(s);
	if (rc == SQLITE_OK)
		rc = store_run(s->statements[ST_COMMIT]);
	if (rc == SQLITE_OK && join && join->settled)
		spending_tell(s, join);
	if (rc == SQLITE_OK)
		s->facets_sequence = s->sequence;
	while (s->kept_count)
		free(s->kept[--s->kept_count]);
	return rc;
}

/* Returns `r`, or a copy that takes what was reserved for it of the budget. NULL: out of memory. */
static const record *with_charge(store *s, const record *r, const store_join *join)
{
	int64_t nano = join && join->reserved && r->keyed ? spending_charge(r, join->reserved(join->ctx, r)) : 0;

	if (nano == r->charged)
		return r;
	record *copy = join_keep(s);
	if (copy) {
		memcpy(copy, r, sizeof *copy);
		copy->charged = nano;
	}
	return copy;
}

/* Adds what the new row `r` says to sums and spending, and joins its report. Returns an SQLite result code. */
static int add_row(store *s, const record *r, const store_join *join, store_added *added)
{
	added->rows++;
	added->usage[r->usage]++;
	if (!rollup_add(&s->batch, r) || !spending_change(s, NULL, r))
		return SQLITE_NOMEM;
	return join && r->tap == TAP_MISSING ? join_waiting(s, join, r->id, added) : SQLITE_OK;
}

/* Inserts the records that were taken, those of them whose id is new. Returns an SQLite result code. */
static int add_rows(store *s, const store_join *join, store_added *added)
{
	int rc = rows_insert(s);

	for (size_t i = 0; rc == SQLITE_OK && i < s->rows.count; i++) {
		const record *r = s->rows.each[i].r;
		if (s->rows.each[i].there)
			rc = add_row(s, r, join, added);
		else if (!spending_same(s, r))
			rc = SQLITE_NOMEM;
	}
	return rc;
}

/* Whether the row of a record of `time_ms` may have been there, and was pruned. `pruned` lies ahead of `now` if the
 * clock is behind, or if it was ahead for longer than rows are kept. By the clock as it is now, rows are kept for a day
 * at least. */
static bool may_be_pruned(int64_t time_ms, int64_t pruned, int64_t now)
{
	const int64_t day = DAY * 1000LL;

	return time_ms < pruned && (pruned <= now || time_ms > now || time_ms < now - day);
}

store_result store_add(store *s, const store_batch *b, const store_join *join, store_added *added, err *e)
{
	const int64_t now = clock_wall_ms();
	int64_t pruned = 0;
	uint64_t skipped = 0;
	store_added done = { .rows = 0 };

	*added = done;
	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK || b->count + b->reports_count == 0)
		return result;
	int rc = store_begin(s);
	if (rc == SQLITE_OK)
		rc = store_pruned_before(s, &pruned);
	for (size_t i = 0; rc == SQLITE_OK && i < b->count; i++) {
		if (!b->fresh && may_be_pruned(store_time_of(&b->records[i]), pruned, now)) {
			skipped++;
			rc = spending_same(s, &b->records[i]) ? SQLITE_OK : SQLITE_NOMEM;
		} else {
			const record *r = with_charge(s, &b->records[i], join);
			rc = r && rows_take(s, r) ? SQLITE_OK : SQLITE_NOMEM;
		}
	}
	if (rc == SQLITE_OK)
		rc = add_rows(s, join, &done);
	for (size_t i = 0; rc == SQLITE_OK && i < b->reports_count; i++)
		rc = join_report(s, join, &b->reports[i], &done);
	if (rc == SQLITE_OK && b->reports_count)
		rc = join_limit(s, &done);
	rc = store_end(s, join, rc);
	if (rc != SQLITE_OK)
		return store_fail(s, rc, "adding records", e);
	s->skipped += skipped;
	*added = done;
	return STORE_OK;
}

store_result store_insert(store *s, const record *records, size_t count, size_t *inserted, err *e)
{
	store_batch b = { .records = records, .count = count };
	store_added added;

	store_result result = store_add(s, &b, NULL, &added, e);
	*inserted = added.rows;
	return result;
}

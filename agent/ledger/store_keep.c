/* SPDX-License-Identifier: MIT
 *
 * Keeps the database: removes old rows, gives their room back, brings commits to the disk. */
#include "ledger/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "base/clock.h"

store_result store_sync(store *s, err *e)
{
	sqlite3_file *wal = NULL;

	if (!s->db)
		return STORE_OK;
	int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
	/* SQLite's own handle, because its first sync brings the directory to the disk too. */
	if (rc == SQLITE_OK && wal && wal->pMethods)
		rc = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
	if (rc == SQLITE_OK)
		return STORE_OK;
	/* SQLite's last error is not that of the file. */
	err_set(e, "ledger %s: bringing it to the disk: %s", s->path, sqlite3_errstr(rc));
	return STORE_ERROR;
}

store_result store_checkpoint(store *s, err *e)
{
	int all = 0, done = 0;

	if (!s->db)
		return STORE_OK;
	int rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_PASSIVE, &all, &done);
	if (rc == SQLITE_OK && done < all)
		rc = SQLITE_BUSY;
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "bringing it to the disk", e);
}

/* ---- prune */

/* Sets `*end_ms` to the time before which about STORE_PRUNE_ROWS rows with a sequence up to `upto` lie, at most
 * `before_ms`. Rows of the same millisecond stay together, so that "everything before `*end_ms`" is true of what is
 * removed. */
static int batch_end(store *s, int64_t before_ms, int64_t upto, int64_t *end_ms)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(s,
			       "SELECT (SELECT time_ms FROM requests WHERE +rowid <= ?3 ORDER BY time_ms LIMIT 1),"
			       " (SELECT time_ms FROM requests WHERE time_ms < ?1 AND +rowid <= ?3 ORDER BY time_ms"
			       " LIMIT 1 OFFSET ?2)",
			       &st);

	*end_ms = before_ms;
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, before_ms);
		sqlite3_bind_int(st, 2, STORE_PRUNE_ROWS);
		sqlite3_bind_int64(st, 3, upto);
		rc = sqlite3_step(st);
	}
	if (rc == SQLITE_ROW && sqlite3_column_type(st, 1) != SQLITE_NULL) {
		int64_t oldest = sqlite3_column_int64(st, 0);
		*end_ms = sqlite3_column_int64(st, 1);
		*end_ms += *end_ms == oldest;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Runs `sql`, which has one or two parameters, `value` and `other`. */
static int run_with(store *s, const char *sql, int64_t value, int64_t other)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(s, sql, &st);

	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, value);
		if (sqlite3_bind_parameter_count(st) > 1)
			sqlite3_bind_int64(st, 2, other);
		rc = store_run(st);
	}
	sqlite3_finalize(st);
	return rc;
}

/* Sets `*last_ms` to the time of the last row that is removed. store_add() takes no record up to that time again, and
 * takes all later ones: if the clock was months ahead, all rows are old by it, but those that come once it is right
 * must not be skipped. */
static int last_removed(store *s, int64_t end_ms, int64_t upto, int64_t *last_ms)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(
		s, "SELECT time_ms FROM requests WHERE time_ms < ?1 AND +rowid <= ?2 ORDER BY time_ms DESC LIMIT 1",
		&st);

	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, end_ms);
		sqlite3_bind_int64(st, 2, upto);
		rc = sqlite3_step(st);
	}
	if (rc == SQLITE_ROW)
		*last_ms = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

store_result store_prune(store *s, int64_t before_ms, int64_t upto, int64_t *removed, err *e)
{
	int64_t now = clock_wall_ms(), end_ms = 0, last_ms = 0, first = 0;

	*removed = 0;
	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK)
		return result;
	/* store_insert() skips records from before this time: a mistyped time in the future would stop the ledger. */
	if (before_ms > now)
		before_ms = now;
	int rc = store_run(s->statements[ST_BEGIN]);
	if (rc == SQLITE_OK)
		rc = store_int(s, "SELECT min(rowid) FROM requests", &first);
	/* Where none may be removed, do not look through all that are old enough. */
	if (rc == SQLITE_OK && first <= upto)
		rc = batch_end(s, before_ms, upto, &end_ms);
	if (rc == SQLITE_OK && first <= upto)
		rc = last_removed(s, end_ms, upto, &last_ms);
	if (rc == SQLITE_OK && first <= upto)
		rc = run_with(s, "DELETE FROM requests WHERE time_ms < ?1 AND +rowid <= ?2", end_ms, upto);
	int64_t count = rc == SQLITE_OK && first <= upto ? sqlite3_changes64(s->db) : 0;
	if (rc == SQLITE_OK && count)
		rc = run_with(s,
			      "INSERT INTO meta VALUES ('pruned_before', ?) ON CONFLICT (key) DO UPDATE"
			      " SET value = max(value, excluded.value)",
			      last_ms + 1, 0);
	if (rc == SQLITE_OK)
		rc = spending_prune(s, end_ms, now);
	if (rc == SQLITE_OK)
		rc = store_run(s->statements[ST_COMMIT]);
	if (rc != SQLITE_OK)
		return store_fail(s, rc, "removing old rows", e);
	*removed = count;
	return STORE_OK;
}

store_result store_prunable(store *s, int64_t before_ms, int64_t upto, int64_t *rows, err *e)
{
	int64_t now = clock_wall_ms();
	sqlite3_stmt *st = NULL;

	*rows = 0;
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_prepare(s, "SELECT count(*) FROM requests WHERE time_ms < ?1 AND +rowid <= ?2", &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, before_ms < now ? before_ms : now);
		sqlite3_bind_int64(st, 2, upto);
		rc = sqlite3_step(st);
	}
	if (rc == SQLITE_ROW)
		*rows = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? STORE_OK : store_fail(s, rc, "counting old rows", e);
}

/* What a row takes beside its texts: its numbers, its header, and its places in two indexes. The id stands twice. */
enum { ROW_BYTES = 120, ROWS_WEIGHED = 500 };

store_result store_waiting(store *s, int64_t before_ms, int64_t after, store_waits *waits, err *e)
{
	char texts[SQL_LIST] = "length(id)", sql[SQL_MAX];
	sqlite3_stmt *st = NULL;

	*waits = (store_waits){ .rows = 0 };
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	/* The size of some rows, and not that of the file, because sums take a part of it that does not go with rows.
	 */
	for (size_t i = 0, len = strlen(texts); i < RECORD_COLUMNS; i++)
		if (record_columns[i].kind == COLUMN_TEXT)
			len += (size_t)snprintf(texts + len, sizeof texts - len, " + length(CAST(%s AS BLOB))",
						row_name(i));
	snprintf(sql, sizeof sql,
		 "SELECT count(*), max(rowid), (SELECT avg(%s) FROM (SELECT * FROM requests WHERE time_ms < ?1"
		 " AND +rowid > ?2 LIMIT %d)) FROM requests WHERE time_ms < ?1 AND +rowid > ?2",
		 texts, ROWS_WEIGHED);
	int rc = store_prepare(s, sql, &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, before_ms);
		sqlite3_bind_int64(st, 2, after);
		rc = sqlite3_step(st);
	}
	if (rc == SQLITE_ROW) {
		waits->rows = sqlite3_column_int64(st, 0);
		waits->last = sqlite3_column_int64(st, 1);
		waits->bytes = (int64_t)((double)waits->rows * (sqlite3_column_double(st, 2) + ROW_BYTES));
	}
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? STORE_OK : store_fail(s, rc, "counting the rows that wait", e);
}

/* ---- room */

store_result store_shrink(store *s, int64_t keep, bool *more, err *e)
{
	int64_t unused = 0, pages = 0, able = 0;
	char sql[64];

	*more = false;
	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_int(s, "PRAGMA auto_vacuum", &able);
	if (rc == SQLITE_OK)
		rc = store_int(s, "PRAGMA page_count", &pages);
	if (rc == SQLITE_OK)
		rc = store_int(s, "PRAGMA freelist_count", &unused);
	int64_t kept = keep ? pages / keep : 0, surplus = unused - kept;
	if (rc == SQLITE_OK && able && surplus > 0) {
		int64_t batch = surplus < STORE_SHRINK_PAGES ? surplus : STORE_SHRINK_PAGES;
		snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%lld)", (long long)batch);
		rc = store_exec(s, sql);
		*more = surplus > batch;
	}
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "giving unused room back", e);
}

store_result store_room(store *s, int64_t *bytes, int64_t *unused, err *e)
{
	int64_t size = 0, pages = 0, free_pages = 0;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_int(s, "PRAGMA page_size", &size);
	if (rc == SQLITE_OK)
		rc = store_int(s, "PRAGMA page_count", &pages);
	if (rc == SQLITE_OK)
		rc = store_int(s, "PRAGMA freelist_count", &free_pages);
	*bytes = pages * size;
	*unused = free_pages * size;
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "reading its size", e);
}

static int on_steps(void *ctx)
{
	store_tell(ctx, 0, 0);
	return store_wants_end(ctx);
}

typedef struct numbers {
	int64_t first, last, count;
} numbers;

static int read_numbers(store *s, numbers *n)
{
	int rc = store_int(s, "SELECT min(rowid) FROM requests", &n->first);

	if (rc == SQLITE_OK)
		rc = store_int(s, "SELECT max(rowid) FROM requests", &n->last);
	return rc == SQLITE_OK ? store_int(s, "SELECT count(*) FROM requests", &n->count) : rc;
}

store_result store_compact(store *s, err *e)
{
	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK)
		return result;
	numbers before = { 0 }, after = { 0 };
	int rc = read_numbers(s, &before);
	sqlite3_progress_handler(s->db, STORE_STEPS, on_steps, s);
	if (rc == SQLITE_OK && store_wants_end(s))
		rc = SQLITE_INTERRUPT;
	if (rc == SQLITE_OK)
		rc = store_exec(s, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM");
	sqlite3_progress_handler(s->db, 0, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = read_numbers(s, &after);
	/* SQLite does not promise that rows keep their numbers. New numbers have no gaps, so the first, the last and
	 * the count tell whether they are new. */
	if (rc == SQLITE_OK && memcmp(&before, &after, sizeof before) != 0)
		rc = identity_new_epoch(s);
	if (rc != SQLITE_OK)
		return store_fail(s, rc, "compacting it", e);
	/* The file is cut when the write-ahead log is written back. If a reader keeps the log, the agent does it later.
	 */
	store_exec(s, "PRAGMA wal_checkpoint(TRUNCATE)");
	return STORE_OK;
}

/* ---- a copy */

enum { COPY_PAGES = 2000 }; /* between two calls of the progress */

store_result store_copy(const char *from, const char *to, store_progress tell, void *ctx, bool (*stop)(void), err *e)
{
	store s = { .path = (char *)(uintptr_t)from, .any_version = true, .progress = tell, .progress_ctx = ctx };
	sqlite3 *copy = NULL;
	sqlite3_backup *b = NULL;
	int64_t page = 0;

	store_result result = store_ready(&s, e);
	if (result != STORE_OK)
		return result;
	/* SQLite would make the file readable for everybody. */
	int fd = open(to, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		int why = errno;
		err_set(e, "%s: %s", to, strerror(why));
		store_close_db(&s);
		return why == ENOSPC || why == EDQUOT ? STORE_FULL : STORE_ERROR;
	}
	close(fd);
	/* One transaction, so that the copy is of one moment. */
	int rc = store_exec(&s, "BEGIN; SELECT count(*) FROM meta");
	if (rc == SQLITE_OK)
		rc = sqlite3_open_v2(to, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
	if (rc == SQLITE_OK) {
		b = sqlite3_backup_init(copy, "main", s.db, "main");
		rc = b ? SQLITE_OK : sqlite3_errcode(copy);
	}
	if (rc == SQLITE_OK)
		rc = store_int(&s, "PRAGMA page_size", &page);
	while (b && rc == SQLITE_OK) {
		rc = stop && stop() ? SQLITE_INTERRUPT : sqlite3_backup_step(b, COPY_PAGES);
		int all = sqlite3_backup_pagecount(b);
		store_tell(&s, page * (all - sqlite3_backup_remaining(b)), page * all);
	}
	sqlite3_backup_finish(b);
	sqlite3_close(copy);
	if (rc == SQLITE_FULL) { /* only the copy is written */
		err_set(e, "%s: the disk is full", to);
		result = STORE_FULL;
	} else if (rc != SQLITE_DONE) {
		result = store_fail(&s, rc, "copying it", e);
	}
	store_close_db(&s);
	return result;
}

/* SPDX-License-Identifier: MIT
 *
 * Which copy of which ledger a database is, and its rows in the order in which they changed: what `spoa-llm ship`
 * reads. A row's rowid is its sequence. */
#include "ledger/store_impl.h"

#include <sys/stat.h>

/* SQLite's random numbers begin with the kernel's. The 4 and the 8 are those of a random UUID. */
#define NEW_UUID \
	"lower(printf('%s-%s-4%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)), substr(hex(randomblob(2)), 2)," \
	" substr(hex(randomblob(2)), 2), hex(randomblob(6))))"
#define NEW_EPOCH "lower(hex(randomblob(8)))"

int changes_prepare(store *s)
{
	int rc = store_prepare(s,
			       "SELECT max(coalesce((SELECT value FROM meta WHERE key = 'sequence'), 0),"
			       " coalesce((SELECT max(rowid) FROM requests), 0))",
			       &s->statements[ST_SEQUENCE]);

	if (rc == SQLITE_OK)
		rc = store_prepare(s, "INSERT OR REPLACE INTO meta VALUES ('sequence', ?1)",
				   &s->statements[ST_SEQUENCE_KEEP]);
	return rc;
}

int changes_begin(store *s)
{
	sqlite3_stmt *st = s->statements[ST_SEQUENCE];
	int rc = sqlite3_step(st);

	s->sequence = s->sequence_kept = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_reset(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int changes_end(store *s)
{
	if (s->sequence == s->sequence_kept)
		return SQLITE_OK;
	sqlite3_bind_int64(s->statements[ST_SEQUENCE_KEEP], 1, s->sequence);
	return store_run(s->statements[ST_SEQUENCE_KEEP]);
}

/* ---- which copy of which ledger */

int identity_ensure(store *s)
{
	int64_t there = 0;
	int rc = store_int(s, "SELECT count(*) FROM meta WHERE key IN ('uuid', 'epoch')", &there);

	if (rc != SQLITE_OK || there == 2)
		return rc;
	return store_exec(s, "INSERT OR IGNORE INTO meta VALUES ('uuid', " NEW_UUID "), ('epoch', " NEW_EPOCH ")");
}

int identity_new_epoch(store *s)
{
	return store_exec(s, "BEGIN IMMEDIATE; INSERT OR REPLACE INTO meta VALUES ('epoch', " NEW_EPOCH ");"
			     " DELETE FROM meta WHERE key = 'shipped'; COMMIT");
}

store_result store_new_epoch(store *s, err *e)
{
	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK)
		return result;
	int rc = identity_new_epoch(s);
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "making it another copy", e);
}

store_result store_identity(store *s, store_id *id, err *e)
{
	sqlite3_stmt *st = NULL;

	memset(id, 0, sizeof *id);
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_prepare(s,
			       "SELECT (SELECT value FROM meta WHERE key = 'uuid'),"
			       " (SELECT value FROM meta WHERE key = 'epoch'),"
			       " max(coalesce((SELECT value FROM meta WHERE key = 'sequence'), 0),"
			       " coalesce((SELECT max(rowid) FROM requests), 0))",
			       &st);
	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		store_copy_text(id->uuid, sizeof id->uuid, st, 0);
		store_copy_text(id->epoch, sizeof id->epoch, st, 1);
		id->sequence = sqlite3_column_int64(st, 2);
	}
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? STORE_OK : store_fail(s, rc, "reading which ledger it is", e);
}

store_result store_shipped(store *s, int64_t *sequence, err *e)
{
	*sequence = 0;
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_int(s, "SELECT value FROM meta WHERE key = 'shipped'", sequence);
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "reading what was shipped", e);
}

store_result store_keep_shipped(store *s, int64_t sequence, err *e)
{
	char sql[128];
	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK)
		return result;
	snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO meta VALUES ('shipped', %lld)", (long long)sequence);
	int rc = store_exec(s, sql);
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "noting what was shipped", e);
}

store_result store_settings_read(store *s, store_settings *out, err *e)
{
	sqlite3_stmt *st = NULL;

	memset(out, 0, sizeof *out);
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_prepare(s,
			       "SELECT (SELECT value FROM meta WHERE key = 'routes_hash'),"
			       " (SELECT value FROM meta WHERE key = 'clients_hash')",
			       &st);
	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		store_copy_text(out->routes, sizeof out->routes, st, 0);
		store_copy_text(out->clients, sizeof out->clients, st, 1);
	}
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? STORE_OK : store_fail(s, rc, "reading the hashes of routes and clients", e);
}

store_result store_settings_keep(store *s, const store_settings *settings, err *e)
{
	sqlite3_stmt *st = NULL;

	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_prepare(s, "INSERT OR REPLACE INTO meta VALUES ('routes_hash', ?1), ('clients_hash', ?2)", &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_text(st, 1, settings->routes, -1, SQLITE_STATIC);
		sqlite3_bind_text(st, 2, settings->clients, -1, SQLITE_STATIC);
		rc = sqlite3_step(st);
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? STORE_OK : store_fail(s, rc, "noting the hashes of routes and clients", e);
}

void store_share(const char *path)
{
	static const char *const beside[] = { "", "-wal", "-shm" };
	char file[4096];

	for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
		struct stat st;
		snprintf(file, sizeof file, "%s%s", path, beside[i]);
		if (stat(file, &st) == 0 && !(st.st_mode & S_IRGRP) && chmod(file, (st.st_mode & 07777) | S_IRGRP) != 0)
			return;
	}
}

/* ---- rows as they changed */

store_result store_changes(store *s, int64_t after, size_t max, bool (*each)(void *ctx, const record *r), void *ctx,
			   err *e)
{
	char names[SQL_LIST], sql[SQL_MAX];
	sqlite3_stmt *st = NULL;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql, "SELECT %s, rowid FROM requests WHERE rowid > ?1 ORDER BY rowid LIMIT ?2", names);
	int rc = store_prepare(s, sql, &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, after);
		sqlite3_bind_int64(st, 2, (int64_t)max);
	}
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		record r;
		memset(&r, 0, sizeof r);
		store_read_row(st, &r);
		r.sequence = sqlite3_column_int64(st, RECORD_COLUMNS);
		rc = each(ctx, &r) ? SQLITE_OK : SQLITE_DONE;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? STORE_OK : store_fail(s, rc, "reading the rows that changed", e);
}

store_result store_at(store *s, int64_t sequence, const char *id, store_place *place, err *e)
{
	sqlite3_stmt *st = NULL;

	memset(place, 0, sizeof *place);
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_prepare(
		s,
		"SELECT (SELECT id FROM requests WHERE rowid = ?1), (SELECT rowid FROM requests WHERE id = ?2),"
		" (SELECT min(rowid) FROM requests), (SELECT min(time_ms) FROM requests WHERE rowid ="
		" (SELECT min(rowid) FROM requests WHERE rowid > ?1)), (SELECT max(rowid) FROM requests),"
		" (SELECT value FROM meta WHERE key = 'pruned_before')",
		&st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, sequence);
		sqlite3_bind_text(st, 2, id, -1, SQLITE_STATIC);
		rc = sqlite3_step(st);
	}
	if (rc == SQLITE_ROW) {
		store_copy_text(place->id, sizeof place->id, st, 0);
		place->of_id = sqlite3_column_int64(st, 1);
		place->first = sqlite3_column_int64(st, 2);
		place->next_ms = sqlite3_column_int64(st, 3);
		place->last = sqlite3_column_int64(st, 4);
		place->pruned_ms = sqlite3_column_int64(st, 5);
	}
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? STORE_OK : store_fail(s, rc, "reading where it is", e);
}

store_result store_first_since(store *s, int64_t since_ms, int64_t *sequence, err *e)
{
	sqlite3_stmt *st = NULL;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	/* The plus keeps SQLite from walking along the rowids instead of the index of times. */
	int rc = store_prepare(s,
			       "SELECT coalesce((SELECT min(+rowid) FROM requests WHERE time_ms >= ?1), 1 +"
			       " max(coalesce((SELECT value FROM meta WHERE key = 'sequence'), 0),"
			       " coalesce((SELECT max(rowid) FROM requests), 0)))",
			       &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, since_ms);
		rc = sqlite3_step(st);
	}
	if (rc == SQLITE_ROW)
		*sequence = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? STORE_OK : store_fail(s, rc, "looking for the first row since a time", e);
}

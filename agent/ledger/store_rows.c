/* SPDX-License-Identifier: MIT
 *
 * The records of a batch as a table that SQLite reads, so that one statement inserts all of them: to begin and to end a
 * statement costs as much as a third of a row, and a cursor that stays open knows where the next row belongs. */
#include "ledger/store_impl.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct rows_table {
	sqlite3_vtab base;
	const store_rows *rows;
} rows_table;

typedef struct rows_cursor {
	sqlite3_vtab_cursor base;
	size_t at;
} rows_cursor;

static int rows_connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out, char **problem)
{
	char names[SQL_LIST], sql[SQL_LIST + 64];
	(void)argc, (void)argv, (void)problem;

	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql, "CREATE TABLE batch (%s, sequence)", names);
	int rc = sqlite3_declare_vtab(db, sql);
	rows_table *t = rc == SQLITE_OK ? calloc(1, sizeof *t) : NULL;
	if (!t)
		return rc == SQLITE_OK ? SQLITE_NOMEM : rc;
	t->rows = aux;
	*out = &t->base;
	return SQLITE_OK;
}

static int rows_disconnect(sqlite3_vtab *table)
{
	free(table);
	return SQLITE_OK;
}

/* All rows are read, in their order. */
static int rows_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
	(void)table, (void)info;
	return SQLITE_OK;
}

static int rows_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
	rows_cursor *c = calloc(1, sizeof *c);
	(void)table;

	if (!c)
		return SQLITE_NOMEM;
	*out = &c->base;
	return SQLITE_OK;
}

static int rows_close(sqlite3_vtab_cursor *cursor)
{
	free(cursor);
	return SQLITE_OK;
}

static rows_cursor *of(sqlite3_vtab_cursor *cursor)
{
	return (rows_cursor *)(void *)cursor;
}

static const store_rows *rows_of(const sqlite3_vtab_cursor *cursor)
{
	return ((const rows_table *)(const void *)cursor->pVtab)->rows;
}

static int rows_filter(sqlite3_vtab_cursor *cursor, int plan, const char *name, int argc, sqlite3_value **argv)
{
	(void)plan, (void)name, (void)argc, (void)argv;
	of(cursor)->at = 0;
	return SQLITE_OK;
}

static int rows_next(sqlite3_vtab_cursor *cursor)
{
	of(cursor)->at++;
	return SQLITE_OK;
}

static int rows_eof(sqlite3_vtab_cursor *cursor)
{
	return of(cursor)->at >= rows_of(cursor)->count;
}

static int rows_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int i)
{
	const store_rows *rows = rows_of(cursor);
	size_t at = of(cursor)->at;

	if (i == RECORD_COLUMNS) {
		sqlite3_result_int64(context, rows->first + (int64_t)at);
		return SQLITE_OK;
	}
	const record *r = rows->each[at].r;
	const record_column *c = &record_columns[i];
	const void *field = column_of(r, c);
	switch (c->kind) {
	case COLUMN_TEXT:
		sqlite3_result_text(context, field, (int)strlen(field), SQLITE_STATIC);
		break;
	case COLUMN_TIME:
		sqlite3_result_int64(context, store_time_of(r));
		break;
	case COLUMN_STATUS:
		sqlite3_result_int(context, r->status);
		break;
	case COLUMN_FLAG:
		sqlite3_result_int(context, *(const bool *)field);
		break;
	case COLUMN_COUNT:
		/* A result that is not set is NULL. */
		if (*(const int64_t *)field >= 0)
			sqlite3_result_int64(context, *(const int64_t *)field);
		break;
	case COLUMN_NUMBER:
	case COLUMN_MONEY:
	case COLUMN_COST:
		sqlite3_result_int64(context, *(const int64_t *)field);
		break;
	case COLUMN_USAGE:
		sqlite3_result_int(context, (int)r->usage);
		break;
	case COLUMN_PRICE:
		sqlite3_result_int(context, (int)r->price);
		break;
	case COLUMN_TAP:
		sqlite3_result_int(context, (int)r->tap);
		break;
	}
	return SQLITE_OK;
}

static int rows_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out)
{
	*out = (sqlite3_int64)of(cursor)->at;
	return SQLITE_OK;
}

static const sqlite3_module module = {
	.xConnect = rows_connect,
	.xBestIndex = rows_best_index,
	.xDisconnect = rows_disconnect,
	.xOpen = rows_open,
	.xClose = rows_close,
	.xFilter = rows_filter,
	.xNext = rows_next,
	.xEof = rows_eof,
	.xColumn = rows_column,
	.xRowid = rows_rowid,
};

int rows_prepare(store *s)
{
	char names[SQL_LIST], sql[SQL_MAX];
	int rc = sqlite3_create_module(s->db, "batch", &module, &s->rows);

	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	/* DO NOTHING is for an id that is there already; any other conflict is an error. */
	snprintf(sql, sizeof sql,
		 "INSERT INTO requests (%s, rowid) SELECT %s, sequence FROM batch WHERE true"
		 " ON CONFLICT (id) DO NOTHING",
		 names, names);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, sql, &s->statements[ST_INSERT]);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT id FROM requests WHERE rowid = ?", &s->statements[ST_INSERTED]);
	return rc;
}

bool rows_take(store *s, const record *r)
{
	store_rows *rows = &s->rows;

	if (rows->count == rows->room) {
		size_t room = rows->room ? rows->room * 2 : 64;
		void *each = realloc(rows->each, room * sizeof *rows->each);
		if (!each)
			return false;
		rows->each = each;
		rows->room = room;
	}
	rows->each[rows->count++].r = r;
	return true;
}

/* Sets `*there` to whether the `i`th record was inserted. No row had its sequence before. */
static int is_there(store *s, size_t i, bool *there)
{
	sqlite3_stmt *st = s->statements[ST_INSERTED];

	sqlite3_bind_int64(st, 1, s->rows.first + (int64_t)i);
	int rc = sqlite3_step(st);
	*there = rc == SQLITE_ROW;
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int rows_insert(store *s)
{
	store_rows *rows = &s->rows;

	if (!rows->count)
		return SQLITE_OK;
	rows->first = s->sequence + 1;
	int rc = store_run(s->statements[ST_INSERT]);
	bool all = rc == SQLITE_OK && (size_t)sqlite3_changes(s->db) == rows->count;
	for (size_t i = 0; rc == SQLITE_OK && i < rows->count; i++) {
		rows->each[i].there = true;
		if (!all)
			rc = is_there(s, i, &rows->each[i].there);
		if (rows->each[i].there)
			s->sequence = rows->first + (int64_t)i;
	}
	return rc;
}

/* SPDX-License-Identifier: MIT
 *
 * What store.c, store_rollup.c and store_read.c share; nobody else includes it. */
#ifndef LEDGER_STORE_IMPL_H
#define LEDGER_STORE_IMPL_H

#include <sqlite3.h>

#include "ledger/columns.h"
#include "ledger/store.h"
#include "ledger/store_schema.h"

enum { HOUR = 3600, DAY = 86400 }; /* seconds, as buckets are */

/* The kinds of sums, as in the tables. */
enum { KIND_ALL, KIND_MODEL, KIND_ROUTE, KIND_PROJECT, KIND_CLIENT, KIND_COUNT };

/* The label of what is beyond STORE_LABELS_PER_DAY. */
#define STORE_OTHER SLICE("other")

/* store_sums as columns. */
#define STORE_SUMS_COUNT_ONE(name) +1
enum { SUMS_COUNT = 0 STORE_SUMS(STORE_SUMS_COUNT_ONE) };
int64_t *sums_column(store_sums *sums, size_t i);
const char *sums_name(size_t i);
void sums_merge(store_sums *to, const store_sums *from);

enum { SQL_LIST = 1024, SQL_MAX = 6144 }; /* bytes of what sql_list() writes, of a statement */

typedef enum statement {
	ST_BEGIN,
	ST_BEGIN_READ,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_PRUNED,
	ST_LABELS,
	ST_INSERT,
	ST_DAILY_UPDATE,
	ST_DAILY_INSERT,
	ST_HOURLY_UPDATE,
	ST_HOURLY_INSERT,
	ST_WRITER_COUNT,
} statement;

/* The sums of one hour, kind and label, while a batch is added up. */
typedef struct rollup_cell {
	uint32_t hash;
	int kind;
	int64_t hour;
	slice label; /* not ours */
	bool seen;   /* for store_verify() */
	store_sums sums;
} rollup_cell;

/* Cells by (hour, kind, label); grows with the batch and is kept for the next. */
typedef struct rollup {
	rollup_cell *cells;
	size_t count, cap;
	uint32_t *slots; /* index + 1 into cells; 0: free. Twice as many as cells, a power of two */
	size_t slot_count;
} rollup;

struct store {
	sqlite3 *db; /* NULL: to be opened */
	char *path;
	bool writer;
	sqlite3_stmt *statements[ST_WRITER_COUNT];
	rollup batch;
	uint64_t skipped;
};

/* ---- store.c */

/* The database is open, and the file is still the one at the path. */
store_result store_ready(store *s, err *e);
store_result store_ready_to_write(store *s, err *e);
/* For the result code of a call that failed. `doing`: for the text, as "adding records". Ends an open transaction;
 * where the file itself may be the trouble it is closed, to be opened anew by the next call. */
store_result store_fail(store *s, int rc, const char *doing, err *e);
int store_prepare(store *s, const char *sql, sqlite3_stmt **out);
/* Writes `pattern` `count` times to `out`, with ", " between; a $ in it stands for the name of that column. */
void sql_list(char *out, size_t room, size_t count, const char *(*name)(size_t i), const char *pattern);
const char *row_name(size_t i); /* of a column of `requests` */
/* Steps a statement that gives no row and resets it. SQLITE_OK or an error. */
int store_run(sqlite3_stmt *st);
int store_exec(store *s, const char *sql);
/* The rows before it have been pruned; 0 at first. */
int store_pruned_before(store *s, int64_t *time_ms);
/* The largest multiple of `unit` that is not above `t`. */
int64_t store_floor(int64_t t, int64_t unit);
int64_t store_hour_of(int64_t time_ms); /* as a bucket */
/* When a record arrived, from 1970 to 9999: what is outside is stored as the nearest of both. */
int64_t store_time_of(const record *r);

/* ---- store_rollup.c */

void rollup_clear(rollup *r);
void rollup_free(rollup *r);
/* The cell of that hour, kind and label, made if there is none. NULL: out of memory. */
rollup_cell *rollup_cell_of(rollup *r, int64_t hour, int kind, slice label);
/* NULL: there is none. */
rollup_cell *rollup_find(rollup *r, int64_t hour, int kind, slice label);
slice rollup_label(const record *r, int kind);
/* Adds a record under all kinds. `r` has to stay as it is until rollup_clear(). */
bool rollup_add(rollup *roll, const record *r);
/* Into hourly and daily, in the open transaction. An SQLite result code. */
int rollup_write(store *s, rollup *r);

#endif

/* SPDX-License-Identifier: MIT
 *
 * For the files store*.c only. */
#ifndef LEDGER_STORE_IMPL_H
#define LEDGER_STORE_IMPL_H

#include <sqlite3.h>

#include "ledger/columns.h"
#include "ledger/store.h"
#include "ledger/store_facets.h"
#include "ledger/store_schema.h"

enum { HOUR = 3600, DAY = 86400 }; /* in seconds, as the buckets of `hourly` and `daily` */

/* What sums are kept for; the numbers are those in the column `kind`. */
enum { KIND_ALL, KIND_MODEL, KIND_ROUTE, KIND_PROJECT, KIND_CLIENT, KIND_MEMBER, KIND_FACET, KIND_COUNT };

/* How many labels of a kind and day have sums of their own. */
#define STORE_LABELS_OF(kind) ((kind) == KIND_FACET ? (size_t)STORE_FACETS_PER_DAY : (size_t)STORE_LABELS_PER_DAY)

/* The label of sums for further labels. */
#define STORE_OTHER SLICE("other")

/* The fields of store_sums as columns: their number, the `i`th field, its name. */
#define STORE_SUMS_COUNT_ONE(name) +1
enum { SUMS_COUNT = 0 STORE_SUMS(STORE_SUMS_COUNT_ONE) };
int64_t *sums_column(store_sums *sums, size_t i);
const char *sums_name(size_t i);

enum {
	SQL_LIST = 1024, /* bytes of a list that sql_list() writes */
	SQL_MAX = 6144,  /* bytes of a statement */
};

typedef enum statement {
	ST_BEGIN,
	ST_COMMIT,
	ST_PRUNED,
	ST_LABELS,
	ST_INSERT,
	ST_INSERTED,
	ST_DAILY_UPDATE,
	ST_DAILY_INSERT,
	ST_HOURLY_UPDATE,
	ST_HOURLY_INSERT,
	ST_FACET_DAILY_UPDATE,
	ST_FACET_DAILY_INSERT,
	ST_FACET_HOURLY_UPDATE,
	ST_FACET_HOURLY_INSERT,
	ST_FACET_BOUNDS,
	ST_FACET_LOG,
	ST_FACET_LOG_CELLS,
	ST_ROW,
	ST_ROW_UPDATE,
	ST_REPORT,
	ST_REPORT_INSERT,
	ST_REPORT_DELETE,
	ST_REPORT_LIMIT,
	ST_SPENDING,
	ST_SEQUENCE,
	ST_SEQUENCE_KEEP,
	ST_WRITER_COUNT,
} statement;

/* The sums of one hour, kind and label in a batch. */
typedef struct rollup_cell {
	uint32_t hash;
	int kind;
	int64_t hour;
	slice label;      /* points into a record, or to `own` */
	char *own;        /* of KIND_MEMBER and KIND_FACET, whose labels are made; NULL: none */
	const record *of; /* of s->batch, KIND_FACET: a record of this facet, which has its labels */
	bool seen;        /* store_verify() has found it in `hourly` */
	store_sums sums;
	store_times times; /* of KIND_FACET, as is `last_ms`, the time of its last request */
	int64_t last_ms;
} rollup_cell;

/* A hash table of cells by hour, kind and label. Its memory is kept for the next batch. */
typedef struct rollup {
	rollup_cell *cells;
	size_t count, cap;
	uint32_t *slots;   /* index in `cells` + 1; 0: free */
	size_t slot_count; /* 2 x cap, a power of two */
} rollup;

/* A request whose row is there now, and what that has added to what was spent. */
typedef struct settled {
	const record *r; /* of the batch, or kept */
	int64_t nano;
} settled;

/* How many rows a statement of store_page() looks at. */
typedef struct store_look {
	int64_t most, rows, matching;
	int64_t last_ms; /* time of the last one that matched */
	bool over;       /* there were more than `most` */
} store_look;

/* An hour of an older ledger whose facets are being made. */
typedef struct facet_filling {
	bool going;
	rollup cells;
	int64_t hour, count;       /* rows that are in `cells` */
	int64_t time_ms, sequence; /* of the last of them */
	int64_t upto;              /* the ledger's last sequence when it began */
	char epoch[40];
	int tries;
} facet_filling;

/* Records that one statement inserts; the first one as the row `first`, and each other as the next one. */
typedef struct store_rows {
	struct {
		const record *r;
		bool there; /* it was inserted; its id was new */
	} * each;
	size_t count, room;
	int64_t first;
} store_rows;

struct store {
	sqlite3 *db; /* NULL: to be opened */
	char *path;
	bool writer;
	bool any_version; /* a reader takes an older schema too */
	bool frozen;      /* a reader that would not notice a writer: see open_reader() */
	store_progress progress;
	bool (*stop)(void); /* NULL: nobody ends a long call */
	void *progress_ctx;
	sqlite3_stmt *statements[ST_WRITER_COUNT];
	rollup batch;
	rollup untold;    /* facets of `batch` that get no sums of their own */
	rollup spending;  /* of days instead of hours: cost, `input` has all tokens, requests */
	settled *settled; /* what this transaction settles */
	size_t settled_count, settled_room;
	store_rows rows;
	record **kept; /* rows of this transaction that `batch` points to */
	size_t kept_count, kept_room;
	int64_t sequence, sequence_kept;       /* the last one that is used, and that in `meta`; within a transaction */
	int64_t facets_from, facet_hours_from; /* as `meta` has them; within a transaction */
	int64_t facets_day, facets_count;      /* the day that had so many facets */
	int64_t facets_sequence;               /* when this was the last sequence */
	int64_t log_cells;                     /* in the table `facet_log`; -1: not known */
	unsigned char *log_bytes;              /* room for a row of it */
	size_t log_room;
	facet_filling filling;
	store_look look;
	int64_t found; /* rows that store_find() has read; it tells them as progress */
	unsigned char times_in[TIMES_ENCODED_MAX],
		times_out[TIMES_ENCODED_MAX]; /* too large for the stack of each call */
	uint64_t skipped;
	int migrated_from; /* schema version; 0: store_open() migrated nothing */
};

/* ---- store.c */

/* Opens the database if it is not open, or if another file stands at its path now. */
MUST_CHECK store_result store_ready(store *s, err *e);
/* The same for a call that writes; STORE_ERROR if `s` is a reader. */
MUST_CHECK store_result store_ready_to_write(store *s, err *e);
/* Closes the file; the next call opens it again. */
void store_close_db(store *s);
/* Tells the caller's store_progress, if there is one. */
void store_tell(store *s, int64_t done, int64_t all);
/* Returns 1 if somebody wants the long call of the store `ctx` to end: a handler for sqlite3_progress_handler(). */
int store_wants_end(void *ctx);
/* How many instructions of SQLite are between two calls of such a handler: some milliseconds. */
enum { STORE_STEPS = 100000 };
/* Ends a call that failed with the SQLite result code `rc` while `doing` (as "adding records"): writes `e`, rolls back
 * an open transaction, and closes the file if it may be the cause, for the next call to open it again. */
store_result store_fail(store *s, int rc, const char *doing, err *e);
int store_prepare(store *s, const char *sql, sqlite3_stmt **out);
/* Writes `pattern` `count` times to `out`, with ", " between; a $ in it stands for the name of that column. */
void sql_list(char *out, size_t room, size_t count, const char *(*name)(size_t i), const char *pattern);
const char *row_name(size_t i); /* of a column of `requests` */
/* Runs a statement that returns no rows, and resets it. Returns SQLITE_OK or an error. */
int store_run(sqlite3_stmt *st);
int store_exec(store *s, const char *sql);
/* Sets `*out` to the first column of the first row that `sql` returns; 0: there is none. */
int store_int(store *s, const char *sql, int64_t *out);
/* Returns the largest multiple of `unit` that is not above `t`. */
int64_t store_floor(int64_t t, int64_t unit);
/* Returns the bucket of the hour that `time_ms` is in. */
int64_t store_hour_of(int64_t time_ms);
/* Returns the time of a record, moved to the nearest one from 1970 to 9999 if it lies outside. */
int64_t store_time_of(const record *r);

/* ---- store_add.c */

/* Sets `*time_ms` to the time before which rows were pruned; 0: none were. */
int store_pruned_before(store *s, int64_t *time_ms);
/* Begins a transaction in which sums change, and ends it: writes the sums, commits if `rc` is SQLITE_OK, and tells
 * `join`, if that is not NULL, what was settled. Return an SQLite result code. */
int store_begin(store *s);
int store_end(store *s, const store_join *join, int rc);
/* Binds the columns of `r` to the parameters of a statement, in the order of record_columns[]. Texts are not copied, so
 * `r` has to stay as long as the statement is used. */
void store_bind_row(sqlite3_stmt *st, const record *r);

/* ---- store_rows.c */

/* Prepares the statements of this file. */
int rows_prepare(store *s);
/* Adds `r` to the rows to be inserted; it has to stay until the end of the transaction. False: out of memory. */
MUST_CHECK bool rows_take(store *s, const record *r);
/* Inserts the rows whose id is new, with the sequences behind the last one, and notes which ones were. Returns an
 * SQLite result code. */
int rows_insert(store *s);

/* ---- store_join.c */

/* Prepares the statements of this file. The following ones change rows and sums in the open transaction. All return an
 * SQLite result code. */
int join_prepare(store *s);
/* Returns a record that stays until the end of the transaction. NULL: out of memory. */
record *join_keep(store *s);
/* Joins the report that waits for the row `id`, if one does. */
int join_waiting(store *s, const store_join *join, const char *id, store_added *added);
/* Joins `report` with its row, or lets it wait. */
int join_report(store *s, const store_join *join, const tap_report *report, store_added *added);
/* Removes the oldest reports if too many wait. */
int join_limit(store *s, store_added *added);

/* ---- store_spending.c */

int spending_prepare(store *s);
/* Returns how many nano-dollars of its budgets `r` takes beside its cost, if `reserved` were reserved for it: what its
 * cost leaves of them if record_is_settled() is false, else 0. */
int64_t spending_charge(const record *r, int64_t reserved);
/* Adds to the spending of the record's client and project what `is` has more than `was` (NULL: nothing), and notes that
 * the request is to be settled. `is` has to stay until the end of the transaction. False: out of memory. */
MUST_CHECK bool spending_change(store *s, const record *was, const record *is);
/* Notes a request whose row was there before. False: out of memory. */
MUST_CHECK bool spending_same(store *s, const record *r);
/* Adds what changed to the table. Returns an SQLite result code. */
int spending_write(store *s);
/* Tells `join` of each request that the transaction settled. */
void spending_tell(store *s, const store_join *join);
/* Removes the oldest days that lie before `upto_ms` and are older than two years by `now_ms`, at most STORE_PRUNE_ROWS
 * rows. Returns an SQLite result code. */
int spending_prune(store *s, int64_t upto_ms, int64_t now_ms);
/* Compares the table with the rows from `from_ms` on, the beginning of a day: calls `each` for each client or project
 * and day that differ, until `each` returns false. Returns an SQLite result code. */
int spending_compare(store *s, int64_t from_ms, bool (*each)(void *ctx, int kind, const char *name, int64_t day),
		     void *ctx);

/* ---- store_changes.c */

/* Prepares the statements of this file. All return an SQLite result code. */
int changes_prepare(store *s);
/* Reads the ledger's last sequence into s->sequence, at the beginning of a transaction; a row that comes or changes
 * takes the next one as its rowid. changes_end() keeps the last one, so that none is used twice even if all rows are
 * pruned. */
int changes_begin(store *s);
int changes_end(store *s);
/* Gives the ledger a UUID and an epoch, if it has none. */
int identity_ensure(store *s);
/* Gives the ledger another epoch. */
int identity_new_epoch(store *s);

/* ---- store_migrate.c */

/* Reads the schema's version. STORE_NEWER or STORE_ERROR: this program cannot use the file. */
store_result store_check_version(store *s, int64_t *version, bool *is_new, err *e);
/* Makes the newest schema of an older one, or of an empty file. */
store_result store_migrate(store *s, err *e);
/* `*waits`: store_catch_up() has days left, so the last three sums of hours are upper bounds. Returns an SQLite result
 * code. */
int store_catching_up(store *s, bool *waits);

/* ---- store_read.c */

/* Returns when the first hour or day begins that does not begin before `t`, in seconds. Its length is `unit` in the
 * unit of `t`, and `seconds` in seconds. */
int64_t store_ceil(int64_t t, int64_t unit, int64_t seconds);
/* Writes the time of an hour or day as text. */
void store_bucket_label(char *out, size_t room, int64_t bucket, bool hour);
/* Copies the text of a column to `out`, cut at `room`. */
void store_copy_text(char *out, size_t room, sqlite3_stmt *st, int column);
/* Reads the columns of `requests`, in the order of record_columns[], into `r`. */
void store_read_row(sqlite3_stmt *st, record *r);

/* ---- store_page.c */

/* The SQL function page_look(), whose context is a store_look. */
void page_look(sqlite3_context *context, int argc, sqlite3_value **argv);

/* ---- store_facets.c */

/* Sets `*from` and `*to` to the hours that begin from `from_ms` to `to_ms`, in milliseconds. */
void facets_round(int64_t from_ms, int64_t to_ms, int64_t *from, int64_t *to);
/* Sets `*hours_ms` to the beginning of the day from which on there are facets of hours, and `*whole_ms` to that of the
 * hour from which on facets have all requests; 0: from the first on. Returns an SQLite result code. */
int facets_bounds(store *s, int64_t *hours_ms, int64_t *whole_ms);

/* ---- store_facet_log.c */

enum { STORE_FACET_LOG = 4096 }; /* cells that wait in the table `facet_log`, at most */
/* Adds the cells in `bytes` to `to`. False: the bytes are damaged, or out of memory. */
MUST_CHECK bool facets_log_read(rollup *to, slice bytes);
/* Return an SQLite result code. facets_log_load() adds what waits to `to`; facets_log_fold() adds cells of KIND_FACET
 * and what waits to `hourly` and `daily`; facets_log_add() lets the cells wait, or, once STORE_FACET_LOG would wait,
 * does what facets_log_fold() does. */
int facets_log_prepare(store *s);
int facets_log_load(store *s, rollup *to);
int facets_log_fold(store *s, const rollup_cell *cells, size_t count);
int facets_log_add(store *s, const rollup_cell *cells, size_t count);

/* ---- store_facet_keep.c */

/* The SQL function times_sum(): both histograms of times together. */
void facets_times_sum(sqlite3_context *context, int argc, sqlite3_value **argv);
/* Prepares the statements of this file. The others return an SQLite result code, too. */
int facets_prepare(store *s);
/* Reads at the beginning of a transaction from when on there are facets. */
int facets_begin(store *s);
/* Adds cells of KIND_FACET, in the order of rollup_write(), to `hourly` and `daily`. */
int facets_write(store *s, const rollup_cell *cells, size_t count);
/* Notes one of the hours that facets_begin() reads. */
int facets_keep_bound(store *s, const char *key, int64_t value);
/* Removes facets of hours that are too old by `now_ms`, at most those of a day. `*more`: there are others. */
int facets_forget(store *s, int64_t now_ms, bool *more);

/* ---- store_verify_file.c */

typedef struct file_check file_check;
/* Begins the check beside what the caller does. NULL: out of memory. */
file_check *file_check_begin(const store *s);
/* Waits for the check, calls `tell` meanwhile, and `found` with each problem. Takes over `in`, which may be NULL.
 * Returns an SQLite result code. */
int file_check_end(file_check *in, store *s, void (*tell)(void *ctx), void (*found)(void *ctx, const char *text),
		   void *ctx);

/* ---- store_facet_fill.c */

enum { STORE_FILL_ROWS = 5000 }; /* that one call of facets_fill() reads, about */
/* Makes the facets of some more rows of an older ledger. `*more`: there may be others. */
int facets_fill(store *s, bool *more);

/* ---- store_rollup.c */

void rollup_clear(rollup *r);
void rollup_free(rollup *r);
/* Returns the cell of that hour, kind and label; makes it if there is none. NULL: out of memory. */
rollup_cell *rollup_cell_of(rollup *r, int64_t hour, int kind, slice label);
/* NULL: there is no such cell. */
rollup_cell *rollup_find(rollup *r, int64_t hour, int kind, slice label);
enum {
	ROLLUP_LABEL_MAX = FACET_LABEL_MAX
}; /* KIND_FACET has the longest labels; those of KIND_MEMBER are ROUTE/MEMBER */
/* Returns the label that a record has for `kind`, in the record or in `room`. */
slice rollup_label(const record *r, int kind, char room[ROLLUP_LABEL_MAX + 1]);
/* Adds a record to the cell of its facet, which points to the record: `r` has to stay until rollup_clear(). False: out
 * of memory. */
MUST_CHECK bool rollup_add(rollup *roll, const record *r);
/* Adds to what a cell of KIND_FACET has beside sums. False: out of memory. */
MUST_CHECK bool rollup_add_times(rollup_cell *c, const record *r);
/* Adds all of `from` to `to`. False: out of memory. */
MUST_CHECK bool rollup_merge(rollup_cell *to, const rollup_cell *from);
/* Puts the cells in the order in which they are written: by kind, day, label and hour. rollup_find() fails from then
 * on. */
void rollup_sort(rollup *r);
/* Adds what the sums of the row `is` have more than those of `was`, the same row before. `is` has to stay, as above. */
MUST_CHECK bool rollup_change(rollup *roll, const record *was, const record *is);
/* Adds what a record with estimated tokens saved. */
void rollup_add_estimated(store_sums *sums, const record *r);
/* Makes the sums of each other kind and label from the facets, adds them to `hourly` and `daily`, and has
 * facets_log_add() add the facets, in the open transaction. `r` has facets only; call this once. Returns an SQLite
 * result code. */
MUST_CHECK int rollup_write(store *s, rollup *r);

#endif

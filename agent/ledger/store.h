/* SPDX-License-Identifier: MIT
 *
 * The ledger in SQLite: a row for each ended request, and sums by hour and by day, which the transaction that adds rows
 * keeps up to date. The database is in WAL mode: any number of readers, also of other processes, read while the agent
 * writes. What a store remembers from an earlier transaction it checks when the next one begins, so a second writer
 * (ledger import, ledger prune) is safe: it waits for the lock.
 *
 * A report of the tap changes the row of its request, and the sums of that row's hour and day by as much. If the row
 * has not come yet, the report waits in the table `reports`.
 *
 * The table `spending` has what clients with a key, and their projects, spent on each day; the transaction that adds or
 * changes a row keeps it up to date. What rows that are pruned have spent stays in it for two years.
 *
 * Tables (see store_schema.h): `requests` has the rows. `hourly` and `daily` have the sums of an hour or a day (UTC):
 * one of all requests, and one for each model, route, project, client, and member of a pool. So an hour has at most 5 x
 * (STORE_LABELS_PER_DAY + 1) + 1 of these. Beside them stand facets, the sums of the combinations of labels that occur
 * (store_facets.h); they have a limit too, because 40 models x 20 routes x 50 projects x 20 clients may make as many as
 * there are rows. The views `ledger`, `ledger_hourly` and `ledger_daily` are for a person with the sqlite3 shell. A
 * member's label is ROUTE/MEMBER; requests that went to no pool have the label "". After the first STORE_LABELS_PER_DAY
 * labels of a kind and day, further ones are summed as `other`; the row keeps the true label.
 *
 * A call after STORE_CORRUPT or STORE_ERROR, or after the file was moved away, opens the file again: a caller that
 * tries again recovers when the cause is gone. A store is for one thread at a time. */
#ifndef LEDGER_STORE_H
#define LEDGER_STORE_H

#include "base/err.h"
#include "base/must_check.h"
#include "ledger/filter.h"
#include "ledger/tap_report.h"

enum {
	STORE_BUSY_MS = 100,    /* how long to wait for a locked database before STORE_BUSY */
	STORE_CACHE_KIB = 4096, /* SQLite's page cache of each store */
	STORE_LABELS_PER_DAY =
		1000,             /* models that have sums of their own; as many routes, projects, clients, members */
	STORE_PRUNE_ROWS = 2000,  /* rows that one transaction removes, and more of them in one millisecond */
	STORE_SHRINK_PAGES = 500, /* pages that one transaction gives back */
	STORE_REPORTS = 100000,   /* reports that wait for their rows; beyond it the oldest ones are removed */
	STORE_TIDY_ROWS = 500,    /* waiting reports that one transaction joins with their rows */
};

typedef struct store store;

typedef enum store_result {
	STORE_OK,
	STORE_BUSY,    /* another process has locked the database: try again */
	STORE_FULL,    /* the disk is full */
	STORE_CORRUPT, /* the file is damaged: it stays as it is, and a person has to look at it */
	STORE_NEWER,   /* a newer version of this program wrote it; the error's kind is ERR_NEWER */
	STORE_ERROR,   /* any other failure of SQLite or the disk */
} store_result;

const char *store_result_name(store_result result); /* ok, busy, full, corrupt, newer, error */

/* Opens the database at `path`. A `writer` creates the file (0640) if it is not there, and makes or migrates the
 * schema. A reader changes nothing; while no agent runs, it may lack the right to write to the directory. NULL:
 * `*result` and `e` say why. */
MUST_CHECK store *store_open(const char *path, bool writer, store_result *result, err *e);
void store_close(store *s);

/* Is told now and then how far a long call is; `all` is an estimate, and 0 if there is none. */
typedef void (*store_progress)(void *ctx, int64_t done, int64_t all);
/* Has store_verify() and store_compact() tell `tell` how far they are, and functions that read rows how many they have
 * read. */
void store_on_progress(store *s, store_progress tell, void *ctx);
/* Has store_verify() and store_compact() end, with STORE_ERROR, soon after `wanted` returns true, and store_find(),
 * store_last() and store_newer(), with STORE_OK. Threads that they start call `wanted` too. After a verification that
 * was ended the process has to end soon: a thread may still read the file. */
void store_stop_if(store *s, bool (*wanted)(void));

/* What the caller does beside the store. */
typedef struct store_join {
	/* Makes of `r` what `report` tells of it: sets counts, money and r->tap, and nothing else. */
	void (*apply)(void *ctx, record *r, const tap_report *report);
	/* Returns what is reserved for `r`: if its usage is not known, its row takes as much of the budget. NULL:
	 * nothing is. */
	int64_t (*reserved)(void *ctx, const record *r);
	/* Is told, once a transaction is committed, of each record and each changed row in it, also of those that were
	 * there before: `nano` is what was added to the spending of its client and project; 0: nothing was. May be
	 * NULL.
	 */
	void (*settled)(void *ctx, const record *r, int64_t nano);
	void *ctx;
} store_join;

/* Sets `*nano` to what requests with the key of that client, or of a client of that project, took of the budget on the
 * day that begins at `from_s`, in seconds, and later. */
MUST_CHECK store_result store_spent(store *s, bool project, slice name, int64_t from_s, int64_t *nano, err *e);

/* When the day, the week and the month of now began (UTC), and those before them, in seconds. */
typedef struct store_periods {
	int64_t first_s[3], before_s[3];
} store_periods;
/* What requests with the key of a client, or of a client of a project, spent in these periods, and in those before. */
typedef struct store_spending {
	bool project;
	const char *name;
	int64_t nano[3], before[3];
} store_spending;
/* Calls `each` with the clients and projects of the requests whose sequence is above `after` (-1: with all that spent
 * anything in these periods), until `each` returns false. */
MUST_CHECK store_result store_spendings(store *s, int64_t after, const store_periods *periods,
					bool (*each)(void *ctx, const store_spending *account), void *ctx, err *e);
/* What a client or project spent on other gateways of the fleet in the period that ends at `until_s`, and what the
 * agent withholds of the budget because it does not know what they spend. */
typedef struct store_elsewhere {
	bool project;
	const char *name;
	int64_t until_s, nano, withheld;
} store_elsewhere;
/* Notes `items`, and how many gateways the fleet has. */
MUST_CHECK store_result store_keep_elsewhere(store *s, const store_elsewhere *items, size_t count, int64_t gateways,
					     err *e);
/* Read what was noted: for the account and period that `item` names; how many gateways there were. 0: nothing was. */
MUST_CHECK store_result store_elsewhere_of(store *s, store_elsewhere *item, err *e);
MUST_CHECK store_result store_gateways(store *s, int64_t *gateways, err *e);

/* What one transaction takes in. */
typedef struct store_batch {
	const record *records;
	size_t count;
	const tap_report *reports;
	size_t reports_count;
	bool fresh; /* no record of the batch has been stored before, so none has a row that was pruned */
} store_batch;

/* What one transaction has done. */
typedef struct store_added {
	size_t rows;                     /* that are new */
	int64_t usage[USAGE_STREAM + 1]; /* how many more rows have this usage than before */
	size_t joined;                   /* reports that changed their row */
	size_t orphans;                  /* reports that were removed without having found it */
} store_added;

/* Takes in `batch`, in one transaction, all or nothing. Inserts the records whose ids are not in the database yet, and
 * adds those to the sums. Of a batch that is not fresh, a record from before the time up to which rows were pruned is
 * skipped, because its row may have been there. Joins each report with its row; so does the record with a report that
 * waits. Without `join`, NULL, reports wait until store_tidy(). It makes no difference how often, and in which order, a
 * record and its report come.
 */
MUST_CHECK store_result store_add(store *s, const store_batch *batch, const store_join *join, store_added *added,
				  err *e);
/* Does the same with records alone, whose reports wait until store_tidy(). Sets `*inserted` to how many were new. */
MUST_CHECK store_result store_insert(store *s, const record *records, size_t count, size_t *inserted, err *e);
/* Joins waiting reports whose rows came without a `join`, and removes those that came before `before_ms`. `*more`: call
 * it again. */
MUST_CHECK store_result store_tidy(store *s, const store_join *join, int64_t before_ms, store_added *added, bool *more,
				   err *e);
/* Returns how many records store_add() has skipped since store_open(), because rows of their time were pruned. */
uint64_t store_skipped(const store *s);

typedef enum store_group {
	GROUP_NONE,
	GROUP_MODEL,
	GROUP_ROUTE,
	GROUP_PROJECT,
	GROUP_CLIENT,
	GROUP_MEMBER,
	GROUP_DAY,
	GROUP_HOUR,
	GROUP_GATEWAY, /* of a fleet (ship/fleet_read.h), not of a store */
} store_group;

/* The sums of a group of requests. A count that is not known (-1) adds nothing; a sum that would overflow stays at the
 * largest value. */
typedef struct store_sums {
	/* A day as YYYY-MM-DD, an hour as YYYY-MM-DDTHH:00Z, "" for GROUP_NONE. */
	char label[RECORD_MODEL_MAX + 1];
	int64_t requests, streams;
	int64_t refused; /* by the gateway, with a code */
	int64_t failed;  /* not refused, and: an error status, no status, or ended early by the server or HAProxy */
	int64_t input, output, cache_read, cache_write, saved;
	int64_t cost, saved_compression, saved_cache, saved_routing;
	int64_t bytes_in, bytes_out;
	/* These requests, tokens and costs are in the sums above, too. */
	int64_t estimated_requests, estimated_output, estimated_cost;
	int64_t partial_requests;
	int64_t unpriced_requests, unpriced_tokens; /* input, output, cache reads and writes together */
	int64_t unknown_requests;                   /* with USAGE_UNKNOWN */
	int64_t partly_priced_requests;             /* with PRICE_PARTIAL: their cost is rough */
	int64_t untold_requests;                    /* with TAP_UNTOLD: streams that tell no usage */
	int64_t estimated_saved_compression, estimated_saved_cache, estimated_saved_routing;
} store_sums;

/* Adds a record to `sums`, as store_insert() adds it to the sums of an hour. */
void store_sums_add(store_sums *sums, const record *r);
/* Adds each sum of `from` to that of `to`. */
void store_sums_merge(store_sums *to, const store_sums *from);

/* Calls `each` with the sums of each group of the hours that begin in [from_ms, to_ms) (0 and INT64_MAX: of all hours),
 * until `each` returns false. Groups come with the most expensive first, then by most requests, then by name; days and
 * hours by time. Days and hours without a request are left out; GROUP_NONE is always one group. */
MUST_CHECK store_result store_report(store *s, store_group by, int64_t from_ms, int64_t to_ms,
				     bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e);
/* Calls `each` with the sums of each label of each hour, or day if `days`, that begins in [from_ms, to_ms), until
 * `each` returns false: by time, and within an hour or day in the order of store_report(). */
MUST_CHECK store_result store_series(store *s, store_group by, bool days, int64_t from_ms, int64_t to_ms,
				     bool (*each)(void *ctx, int64_t time_ms, const store_sums *sums), void *ctx,
				     err *e);
/* Finds the last rows between which less than or just `pause_ms` passed: sets `*first_ms` and `*last_ms` to the times
 * of the first and the last of them. No rows: both are 0. */
MUST_CHECK store_result store_session(store *s, int64_t pause_ms, int64_t *first_ms, int64_t *last_ms, err *e);
/* Calls `each` with the rows of requests that arrived in [from_ms, to_ms), oldest first, until `each` returns false.
 * `each` may be slow: no lock is held meanwhile. store_find(): with those that `only` lets through. */
MUST_CHECK store_result store_export(store *s, int64_t from_ms, int64_t to_ms, bool (*each)(void *ctx, const record *r),
				     void *ctx, err *e);
MUST_CHECK store_result store_find(store *s, int64_t from_ms, int64_t to_ms, const row_filter *only,
				   bool (*each)(void *ctx, const record *r), void *ctx, err *e);
/* Calls `each` with the last `max` of these rows, oldest first. */
MUST_CHECK store_result store_last(store *s, int64_t from_ms, int64_t to_ms, const row_filter *only, size_t max,
				   bool (*each)(void *ctx, const record *r), void *ctx, err *e);
/* Calls `each` with the rows that `only` lets through and whose sequence is above `*after`, by their sequences; moves
 * `*after` to the last row that it has looked at. */
MUST_CHECK store_result store_newer(store *s, int64_t *after, const row_filter *only,
				    bool (*each)(void *ctx, const record *r), void *ctx, err *e);
/* As store_report(), of the rows that `only` lets through: it reads the rows, and so knows nothing of those that were
 * pruned. */
MUST_CHECK store_result store_report_found(store *s, store_group by, int64_t from_ms, int64_t to_ms,
					   const row_filter *only, bool (*each)(void *ctx, const store_sums *sums),
					   void *ctx, err *e);
/* Sets `*before_ms` to the time before which rows were pruned; 0: none were. */
MUST_CHECK store_result store_pruned(store *s, int64_t *before_ms, err *e);
/* Brings an older ledger up to date, a piece at each call; `*more`: call it again. First it counts, a day at a time,
 * how much of the three savings comes from requests with estimated tokens, a sum that schema version 2 has begun. Until
 * then the whole savings of each hour with such a request count as estimated, and for ever where the hour's rows were
 * pruned. Then it makes the facets, which schema version 6 has begun, of the rows that are there. */
MUST_CHECK store_result store_catch_up(store *s, bool *more, err *e);
/* Returns the schema version that the database had before store_open() migrated it; 0: it did not. */
int store_migrated_from(const store *s);
/* Brings to the disk what store_insert() and the others have committed, which a loss of power could undo until then. */
MUST_CHECK store_result store_sync(store *s, err *e);
/* Writes all of the write-ahead log into the database, and brings that to the disk. STORE_BUSY: somebody still reads
 * the database as it was before. */
MUST_CHECK store_result store_checkpoint(store *s, err *e);

/* Which copy of which ledger a database is. A ledger is its UUID. Copies of it, of which one is not what became of the
 * other, have different epochs. */
typedef struct store_id {
	char uuid[37], epoch[17];
	int64_t sequence; /* of the last change */
} store_id;

MUST_CHECK store_result store_identity(store *s, store_id *id, err *e);
/* Draws a new epoch, for a copy of a ledger that takes the ledger's place. */
MUST_CHECK store_result store_new_epoch(store *s, err *e);
/* Calls `each` with at most `max` rows whose sequence is above `after`, by their sequences, until `each` returns false.
 * A row that changed has a new sequence, and comes once. `each` has to be quick: the database is being read. */
MUST_CHECK store_result store_changes(store *s, int64_t after, size_t max, bool (*each)(void *ctx, const record *r),
				      void *ctx, err *e);
/* Where the row with a sequence, and that with an id, are. */
typedef struct store_place {
	char id[RECORD_ID_MAX + 1]; /* of the row with that sequence; "": there is none */
	int64_t of_id;              /* sequence of the row with that id; 0: there is none */
	int64_t first, last;        /* sequences of the rows; 0: there are none */
	int64_t next_ms;            /* time of the first row after that sequence; 0: there is none */
	int64_t pruned_ms;          /* rows of before that time were removed */
} store_place;
MUST_CHECK store_result store_at(store *s, int64_t sequence, const char *id, store_place *place, err *e);
/* Sets `*sequence` to that of the first row that arrived since `since_ms`; if there is none, to the next one that a row
 * will have. */
MUST_CHECK store_result store_first_since(store *s, int64_t since_ms, int64_t *sequence, err *e);
/* The sequence up to which rows were shipped, as store_keep_shipped() noted it; 0: none were. A new epoch forgets it.
 */
MUST_CHECK store_result store_shipped(store *s, int64_t *sequence, err *e);
MUST_CHECK store_result store_keep_shipped(store *s, int64_t sequence, err *e);
/* Hashes of the routes and clients by which the agent decides, kept in the ledger for whoever reads it. "": not known.
 */
typedef struct store_settings {
	char routes[17], clients[17];
} store_settings;
MUST_CHECK store_result store_settings_read(store *s, store_settings *out, err *e);
MUST_CHECK store_result store_settings_keep(store *s, const store_settings *settings, err *e);
/* Lets the group of the ledger's files read them: `spoa-llm ship` does. */
void store_share(const char *path);

/* Removes the oldest of the rows older than `before_ms` whose sequence is not above `upto`, about STORE_PRUNE_ROWS:
 * call it until `*removed` is 0. Their sums stay, those of `spending` for two years. The database notes up to which
 * time rows were removed. The file keeps its size: see store_shrink(). */
MUST_CHECK store_result store_prune(store *s, int64_t before_ms, int64_t upto, int64_t *removed, err *e);
/* Rows that are old enough to be removed, and have to wait for that. */
typedef struct store_waits {
	int64_t rows, bytes; /* bytes of the file that they take, an estimate */
	int64_t last;        /* the largest of their sequences */
} store_waits;
/* Counts the rows older than `before_ms` whose sequence is above `after`. */
MUST_CHECK store_result store_waiting(store *s, int64_t before_ms, int64_t after, store_waits *waits, err *e);
/* Counts what store_prune() would remove in all its calls. */
MUST_CHECK store_result store_prunable(store *s, int64_t before_ms, int64_t upto, int64_t *rows, err *e);
/* Gives a batch of unused pages back to the file system, if more than one in `keep` is unused (0: if any is); `*more`:
 * call it again. Does nothing to a ledger that was made without this ability: see store_compact(). The file becomes
 * smaller with SQLite's next checkpoint. */
MUST_CHECK store_result store_shrink(store *s, int64_t keep, bool *more, err *e);
/* What store_compact() would find: bytes of the file, and those of them that are unused. */
MUST_CHECK store_result store_room(store *s, int64_t *bytes, int64_t *unused, err *e);
/* Writes the database anew without its unused pages, and lets store_shrink() give pages back from then on. Another
 * writer gets STORE_BUSY meanwhile, readers read on. Needs room for two more copies of what is used: one in
 * $SQLITE_TMPDIR, one in the write-ahead log. */
MUST_CHECK store_result store_compact(store *s, err *e);
/* Copies the ledger at `from`, as it is at one moment and with its write-ahead log, to the file `to`, which is empty or
 * not there. Its schema may be older; opening the copy as a writer migrates it. A writer of `from` is not held up. */
MUST_CHECK store_result store_copy(const char *from, const char *to, store_progress tell, void *ctx, bool (*stop)(void),
				   err *e);
/* Checks the file by SQLite's integrity check; for each hour whose rows are not pruned, that its sums equal its rows;
 * and for each day that its sums equal those of its hours. Calls `each` with one line for each problem, and sets
 * `*problems` to their number. */
MUST_CHECK store_result store_verify(store *s, void (*each)(void *ctx, const char *problem), void *ctx,
				     size_t *problems, err *e);

#endif

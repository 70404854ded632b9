/* SPDX-License-Identifier: MIT
 *
 * The ledger in SQLite: rows of ended requests, and sums by hour and by day kept up in the same transaction. WAL; any
 * number of readers, also from other processes while the agent runs. Nothing is remembered between transactions, so a
 * second writer (ledger import, ledger prune) is safe too: it waits its turn.
 *
 * Tables (store_schema.h has them): `requests`, a row each; `hourly` and `daily`, for each of all, model, route,
 * project and client the sums of an hour or a day (UTC); views `ledger`, `ledger_hourly`, `ledger_daily` for a person
 * with the sqlite3 shell. Sums are kept one label at a time and not for each combination of them: 40 models x 20 routes
 * x 50 projects x 20 clients would make as many sums as rows; so at most 4 x (STORE_LABELS_PER_DAY + 1) + 1 an hour.
 * What combines labels reads `requests`. A label beyond the first STORE_LABELS_PER_DAY of its kind and day is summed as
 * `other`; the row keeps the true one.
 *
 * A store_* call after STORE_CORRUPT or STORE_ERROR, or after the file was moved away, opens the file anew, so a caller
 * that tries again recovers when the cause is gone. One thread at a time. */
#ifndef LEDGER_STORE_H
#define LEDGER_STORE_H

#include "base/err.h"
#include "ledger/record.h"

enum {
	STORE_BUSY_MS = 100,         /* how long a locked database is waited for before STORE_BUSY */
	STORE_CACHE_KIB = 4096,      /* SQLite's page cache, each store */
	STORE_LABELS_PER_DAY = 1000, /* distinct models, routes, projects, clients summed apart, each */
	STORE_PRUNE_ROWS = 10000,    /* removed in one transaction */
};

typedef struct store store;

typedef enum store_result {
	STORE_OK,
	STORE_BUSY,    /* locked by somebody else: try again */
	STORE_FULL,    /* the disk is */
	STORE_CORRUPT, /* needs a person; the file is kept as it is */
	STORE_ERROR,   /* any other failure of SQLite or the disk */
} store_result;

const char *store_result_name(store_result result); /* ok, busy, full, corrupt, error */

/* Opens or creates `path` (0600). `writer`: may write; makes or migrates the schema. A reader makes nothing, and can
 * also read where it may not write and no agent runs. NULL: `*result` and `e` say why. */
store *store_open(const char *path, bool writer, store_result *result, err *e);
void store_close(store *s);

/* One transaction: inserts the records whose id is not there yet, and adds exactly those to the rollups. `*inserted`:
 * how many. All or nothing. A record older than what was pruned is skipped: whether it was there cannot be known any
 * more. */
store_result store_insert(store *s, const record *records, size_t count, size_t *inserted, err *e);
/* The records skipped for that reason since store_open(). */
uint64_t store_skipped(const store *s);

typedef enum store_group {
	GROUP_NONE,
	GROUP_MODEL,
	GROUP_ROUTE,
	GROUP_PROJECT,
	GROUP_CLIENT,
	GROUP_DAY,
	GROUP_HOUR
} store_group;

/* Sums of a group of requests. Estimated and unpriced parts are also counted apart. Counts that are not known (-1) add
 * nothing. A sum that would overflow stays at the greatest value. */
typedef struct store_sums {
	char label[RECORD_MODEL_MAX +
		   1]; /* of the group; a day as YYYY-MM-DD, an hour as YYYY-MM-DDTHH:00Z; GROUP_NONE: "" */
	int64_t requests, streams;
	int64_t refused; /* by the gateway: with a code */
	int64_t failed;  /* not refused: an error status or none, or cut off by somebody else than the client */
	int64_t input, output, cache_read, cache_write, saved;
	int64_t cost, saved_compression, saved_cache, saved_routing;
	int64_t bytes_in, bytes_out;
	int64_t estimated_requests, estimated_output, estimated_cost; /* of these: derived from bytes */
	int64_t partial_requests;
	int64_t unpriced_requests, unpriced_tokens; /* tokens: input, output, cache reads and writes */
} store_sums;

/* What the rollups do with a record. */
void store_sums_add(store_sums *sums, const record *r);

/* From the rollups, for hours that begin in [from_ms, to_ms) (whole hours; 0 and INT64_MAX: all). Most expensive first
 * (then most requests, then by name); days and hours in order of time, those without a request left out. GROUP_NONE:
 * one, always. `each` returning false stops. */
store_result store_report(store *s, store_group by, int64_t from_ms, int64_t to_ms,
			  bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e);
/* The rows that arrived in [from_ms, to_ms), oldest first. No lock is held while `each` runs, so it may be slow. */
store_result store_export(store *s, int64_t from_ms, int64_t to_ms, bool (*each)(void *ctx, const record *r), void *ctx,
			  err *e);
/* Removes rows older than `before_ms`, at most STORE_PRUNE_ROWS in one transaction; to be called until `*removed` is 0.
 * The rollups stay. The file keeps its size; what is free in it is used again. */
store_result store_prune(store *s, int64_t before_ms, int64_t *removed, err *e);
/* SQLite's integrity check, and: do the rollups equal the rows, hour by hour, where the rows have not been pruned, and
 * the days their hours? Each problem is one line to `each`. */
store_result store_verify(store *s, void (*each)(void *ctx, const char *problem), void *ctx, size_t *problems, err *e);

#endif

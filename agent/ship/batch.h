/* SPDX-License-Identifier: MIT
 *
 * Rows of the local ledger on their way to PostgreSQL: some that follow each other are read, and sent in one
 * transaction, which also moves the gateway's position. */
#ifndef SHIP_BATCH_H
#define SHIP_BATCH_H

#include "base/buf.h"
#include "ledger/store.h"
#include "ship/pq.h"

enum {
	BATCH_ROWS = 5000,
	BATCH_BYTES = 4 << 20,    /* of the COPY's text */
	BATCH_REJECTED = 10000,   /* rows of a gateway in the table `rejected` */
	BATCH_REJECTED_RUN = 100, /* rows that are rejected one after the other: then it is not for what is in them */
};

/* A gateway, and how far PostgreSQL has its rows, as far as this process knows. */
typedef struct place {
	char no[16]; /* as text, for statements */
	int64_t epoch, position;
	char id[RECORD_ID_MAX + 1]; /* of the row at the position, as batch_id() makes it */
	int64_t time_ms;            /* of that row */
	size_t most;     /* rows of a transaction: fewer after one that did not get through, then more again */
	size_t rejected; /* rows that were rejected since the last one that was not */
} place;

typedef struct batch_row {
	size_t begin; /* where its line begins */
	int64_t sequence, time_ms;
	char id[RECORD_ID_MAX + 1];
} batch_row;

typedef struct batch {
	int64_t after; /* the sequence after which it begins; -1: nothing was read */
	buf text;      /* lines of the COPY */
	batch_row *rows;
	size_t count;
	bool more; /* further rows were there */
} batch;

typedef enum batch_result {
	BATCH_OK,
	BATCH_PQ,    /* a statement failed: see the pq_result */
	BATCH_MOVED, /* PostgreSQL has another epoch or position than this process knows: read them again */
} batch_result;

/* What became of the rows that were sent. */
typedef struct batch_sent {
	int64_t added, replaced, dropped, rejected;
} batch_sent;

MUST_CHECK bool batch_init(batch *b, err *e);
void batch_deinit(batch *b);
/* Reads rows of `s` after `after`, and sees to it that the ledger cannot lose them any more: sequences that PostgreSQL
 * has must not be given to other rows after a loss of power. `db` is the ledger's path. */
MUST_CHECK store_result batch_read(batch *b, store *s, const char *db, int64_t after, err *e);
typedef struct batch_beside {
	int64_t behind, lag_ms; /* how many changes are left after these; for how long PostgreSQL has not had all */
	void (*meanwhile)(void *ctx); /* is called once, while PostgreSQL works; may be NULL */
	void *ctx;
} batch_beside;

/* Sends the rows, and moves `at` with each transaction that was committed. Rows that PostgreSQL refuses for what is in
 * them are noted in its table `rejected`, unless it refuses all of them: then that is a failure. */
MUST_CHECK batch_result batch_send(const batch *b, pq *c, place *at, const batch_beside *beside, batch_sent *sent,
				   pq_result *result, err *e);
/* True for the SQLSTATE of a statement that failed for what is in a row: a value that does not fit, a constraint, a
 * limit. */
bool batch_is_rows_fault(const char *state);
/* Copies an id as text that PostgreSQL takes: what is no printable ASCII becomes "?". */
void batch_id(char out[RECORD_ID_MAX + 1], const char *id);

/* Syncs the write-ahead log of the ledger at `db`. SQLite commits without a sync, so that a loss of power could take
 * away what was just read; then the journal would give the rows again, with other sequences. All that is not in the
 * database file yet is in the write-ahead log. */
MUST_CHECK bool batch_settle(const char *db, err *e);

#endif

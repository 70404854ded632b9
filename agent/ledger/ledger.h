/* SPDX-License-Identifier: MIT
 *
 * The ledger: log line -> record -> journal -> SQLite. The caller's thread reads the lines and writes the journal. The
 * tap's reports go the same way, and the store's thread joins each with the record of its request.
 * ledger_open() starts two threads: the store's is the only one to use SQLite, and may be as slow as the disk; the
 * other syncs the journal by the clock. The threads that answer HAProxy use neither.
 *
 * HAProxy may send two copies of a line; each record is kept once. The second copy is recognised by its id. The ids of
 * the last LEDGER_RECENT records are in memory, and mostly the line need not be parsed; older ids are found by the
 * unique key of the database. */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "base/err.h"
#include "base/must_check.h"
#include "ledger/ends.h"
#include "ledger/journal.h"
#include "ledger/price.h"
#include "ledger/store.h"
#include "ledger/tap_report.h"

enum {
	LEDGER_RECENT = 131072, /* ids that are remembered; a power of two */
	LEDGER_QUEUE = 4096, /* records and reports on their way to the store, which reads further ones from the journal
				later */
	LEDGER_BATCH = 1000, /* records in one transaction */
	LEDGER_REPORTS = 250, /* reports of the tap in one transaction */
};

typedef struct ledger ledger;

/* Who keeps the budgets. The store's thread calls these; NULL: there are no budgets. */
typedef struct ledger_budgets {
	int64_t (*reserved)(void *ctx, const record *r);           /* as in store_join */
	void (*settled)(void *ctx, const record *r, int64_t nano); /* as in store_join */
	void (*opened)(void *ctx); /* the database was opened: what was spent has to be read again */
	/* Called about once a second, and soon after ledger_flush(), while the database is open. */
	void (*look)(void *ctx, store *s);
	void *ctx;
} ledger_budgets;

typedef struct ledger_options {
	const char *dir;      /* holds ledger.db and journal/ */
	const char *key;      /* SPOA_LLM_LOG_KEY, which a line has to carry; "": any line is taken */
	uint64_t journal_max; /* bytes */
	int64_t retention_ms; /* how long rows are kept; 0: for ever */
	int64_t backlog;      /* bytes that older rows may take which were not shipped; -1: rows are not shipped */
	ledger_budgets budgets;
} ledger_options;

/* The model that the requests of a route are compared with, for the savings by routing. */
typedef struct ledger_reference {
	char *route;
	char *model;
} ledger_reference;

typedef enum ledger_state {
	LEDGER_OK,
	LEDGER_BEHIND,  /* another process has locked the database; nothing is lost */
	LEDGER_FAILING, /* the disk or the database refuses; the journal keeps the records while it has room */
} ledger_state;

typedef struct ledger_stats {
	ledger_state state;
	char problem[sizeof((err){ 0 }).text];          /* "" for LEDGER_OK */
	uint64_t lines, duplicates, foreign, malformed; /* lines that came in, and those of them that were not kept */
	uint64_t dropped; /* datagrams that the kernel had no room for; copies may have come by a ring */
	uint64_t records; /* given to the journal */
	uint64_t stored;  /* new rows in the database */
	/* The same by where the counts of a row come from. A row whose report came late is counted twice: as it was
	 * before, and as it is. */
	uint64_t usage[USAGE_STREAM + 1];
	uint64_t queued;                     /* waiting for the store's thread */
	uint64_t reports, reports_malformed; /* of the tap that came in; datagrams that are none */
	uint64_t joined;                     /* reports that changed their row */
	uint64_t orphans;   /* reports that were removed, because no log line came, or too many waited for one */
	uint64_t fallbacks; /* requests that were to go through the tap, and did not */
	uint64_t unshipped; /* rows that were removed before they were shipped */
	uint64_t backlog; /* bytes of the old rows that wait to be shipped before they are removed; counted each hour */
	uint64_t commits;
	uint64_t commit_us_last, commit_us_max;
	journal_stats journal;
} ledger_stats;

/* Opens the journal and starts the store's thread, which first stores what the journal still holds. Takes over one
 * reference of `prices`, on failure too. The database need not open: the ledger is then LEDGER_FAILING, keeps records
 * in the journal, and tries again. NULL: the journal cannot be opened, `e` says why. */
MUST_CHECK ledger *ledger_open(const ledger_options *o, price_table *prices, err *e);
/* Writes and stores what is left, and ends the store's thread. What the database refuses stays in the journal. To be
 * called by the thread that called ledger_take(). NULL: does nothing. */
void ledger_close(ledger *l);

/* These five are to be called by one thread only. ledger_take() reads a log line, ledger_take_report() a datagram of
 * the tap with kind "stream"; both are only in memory until ledger_flush() writes the journal and wakes the store's
 * thread. ledger_bad_framing() counts a stream without octet counts, ledger_dropped() counts datagrams that the kernel
 * had no room for. */
void ledger_take(ledger *l, slice line);
void ledger_take_report(ledger *l, slice datagram);
void ledger_bad_framing(ledger *l);
void ledger_dropped(ledger *l, uint64_t count);
void ledger_flush(ledger *l);

/* These may be called by any thread. */

/* Takes over one reference of `prices`; later records are priced by it. */
void ledger_set_prices(ledger *l, price_table *prices);
/* Has the store's thread call `budgets` from its next transaction on. */
void ledger_set_budgets(ledger *l, ledger_budgets budgets);
/* Has the store's thread keep these hashes in the database. */
void ledger_set_settings(ledger *l, const store_settings *settings);
/* Tells that the rows of the ledger `uuid`, in its `epoch`, were shipped up to the sequence `position`. Until it is
 * called, none were. */
void ledger_shipped(ledger *l, const char *uuid, const char *epoch, int64_t position);
/* Copies `references`. False: no memory, nothing changed. */
MUST_CHECK bool ledger_set_references(ledger *l, const ledger_reference *references, size_t count);
ledger_stats ledger_get_stats(ledger *l);
/* Copies what was counted of the requests' ends. */
void ledger_get_ends(ledger *l, ends *out);
/* Returns how many requests HAProxy refused because of `why`. */
uint64_t ledger_refused(ledger *l, end_refusal why);

#endif

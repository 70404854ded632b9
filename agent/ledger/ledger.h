/* SPDX-License-Identifier: MIT
 *
 * The ledger at work: log line -> record -> journal -> SQLite. One thread takes lines in and writes the journal;
 * another, its own, owns SQLite and can be as slow as a disk is. Decisions know nothing of either.
 *
 * Each record is kept once: of the two copies of a line the second is recognised by its bytes, before it is read, while
 * they are less than LEDGER_COPIES records apart; by its id, in memory, up to LEDGER_RECENT; and by the store's key
 * beyond that. */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "base/err.h"
#include "ledger/journal.h"
#include "ledger/price.h"
#include "ledger/store.h"

enum {
	LEDGER_RECENT = 131072, /* ids that are remembered; a power of two, as is... */
	LEDGER_COPIES = 8192,   /* ...this, of lines */
	LEDGER_QUEUE = 4096,    /* records on their way to the store; what is over is read from the journal later */
	LEDGER_BATCH = 1000,    /* records in one transaction */
};

typedef struct ledger ledger;

typedef struct ledger_options {
	const char *dir;      /* holds ledger.db and journal/ */
	const char *key;      /* what a line has to carry; "" takes any */
	uint64_t journal_max; /* bytes */
	int64_t retention_ms; /* how long rows are kept; 0: for ever */
} ledger_options;

/* Which model a route's traffic is compared with. */
typedef struct ledger_reference {
	char *route;
	char *model;
} ledger_reference;

typedef enum ledger_state {
	LEDGER_OK,
	LEDGER_BEHIND,  /* the store is locked, slow, or catching up; nothing is lost */
	LEDGER_FAILING, /* the disk or the database refuses; the journal keeps what it can */
} ledger_state;

typedef struct ledger_stats {
	ledger_state state;
	char problem[160];                              /* where it is not LEDGER_OK */
	uint64_t lines, duplicates, foreign, malformed; /* taken in */
	uint64_t dropped; /* lines the kernel had no room for; a copy may have come another way */
	uint64_t records; /* journaled */
	uint64_t stored;  /* new rows in the store */
	uint64_t queued;  /* on their way to it */
	uint64_t commits;
	uint64_t commit_us_last, commit_us_max;
	journal_stats journal;
} ledger_stats;

/* Opens the journal and starts the store's thread, which first brings in what the journal still holds. Takes over one
 * reference of `prices`. The store may come later: without it the ledger is LEDGER_FAILING, and works. NULL: the
 * journal cannot be had, `e` says why. */
ledger *ledger_open(const ledger_options *o, price_table *prices, err *e);
/* From the thread that took lines in: writes the rest and ends. What the store refuses stays in the journal. */
void ledger_close(ledger *l);

/* One thread only. A line is in memory until ledger_turn() has written the journal. */
void ledger_take(ledger *l, slice line);
void ledger_bad_framing(ledger *l);
void ledger_dropped(ledger *l, uint64_t count); /* lines that never came in; their copies may have */
void ledger_turn(ledger *l);

/* From any thread. Takes over one reference; references are copied. False: no memory, nothing changed. */
void ledger_set_prices(ledger *l, price_table *prices);
bool ledger_set_references(ledger *l, const ledger_reference *references, size_t count);
ledger_stats ledger_get_stats(ledger *l);

#endif

/* SPDX-License-Identifier: MIT
 *
 * For ledger.c, which takes log lines in, and ledger_threads.c, which brings their records to the disk. */
#ifndef LEDGER_LEDGER_IMPL_H
#define LEDGER_LEDGER_IMPL_H

#include <pthread.h>

#include "ledger/ledger.h"
#include "ledger/logline.h"
#include "ledger/recent.h"

/* A record, or a report; the record is not set then. */
typedef struct item {
	record record;
	tap_report *report; /* owned; NULL: it is a record */
	journal_mark after;
} item;

struct ledger {
	char *db_path;
	char *key;
	int64_t retention_ms;
	ledger_budgets budgets, next_budgets; /* the store's thread's; those to come, guarded by settings_lock */
	journal *journal;
	recent ids;
	logline line; /* for ledger_take(); too large for a stack */
	logline_last *last;

	int64_t backlog;
	pthread_mutex_t settings_lock; /* guards the five below */
	store_id shipped;              /* `sequence`: up to where that ledger was shipped; uuid "": not told yet */
	store_settings settings;       /* to be kept in the database; routes "": none */
	price_table *prices;
	ledger_reference *references;
	size_t references_count;

	pthread_mutex_t ends_lock; /* guards `ends`; a mutex of its own, because copying them takes a while */
	ends ends;

	pthread_t store_thread, sync_thread;
	pthread_mutex_t lock;   /* guards everything below */
	pthread_cond_t wake;    /* `wanted` entries are queued, some were missed, or `stop` is set */
	pthread_cond_t stopped; /* `stop` is set; apart from `wake`, so that a queued record does not end a pause */
	item *queue;
	size_t head, count;
	size_t wanted; /* the store's thread waits for so many entries; 0: for any flush */
	bool missed;   /* the journal has entries that the queue had no room for */
	bool stop;
	/* When the store's thread and the intake last showed that nothing holds them up (monotonic clock, ms). */
	int64_t round_ms, flush_ms;
	bool hangs; /* one of them does not, as ledger_look_for_a_hang() found */
	ledger_stats stats;
};

/* Applies `report` to `r` by the current prices, for store_join. `ctx` is the ledger. */
void ledger_join(void *ctx, record *r, const tap_report *report);

/* True if the intake hangs, or the store's thread while entries wait for it, although no call has failed: `text` says
 * so. Logs it once. From any thread. */
bool ledger_look_for_a_hang(ledger *l, char *text, size_t room);

/* The threads of a ledger; the argument is the ledger. They end when `stop` is set: one syncs the journal by the clock,
 * one brings records from the queue and the journal into the database. */
void *ledger_sync_main(void *arg);
void *ledger_store_main(void *arg);

#endif

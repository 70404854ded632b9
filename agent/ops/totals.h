/* SPDX-License-Identifier: MIT
 *
 * The ledger's sums since it was created, by model, route and client, for the metrics. A label that was shown once is
 * shown as long as the process lives, and a label that was added to `other` stays there, so that no counter goes down.
 * A report of the tap may take away from a sum, because the estimate before it was too high. Then the sum stays here as
 * it was until it is exceeded, but for those of savings, which are no counters. */
#ifndef OPS_TOTALS_H
#define OPS_TOTALS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/must_check.h"
#include "ledger/store.h"

enum {
	TOTALS_LABELS =
		100,       /* models, routes, and clients, with sums of their own; further ones are added to `other` */
	TOTALS_FIRST = 80, /* of these, taken from the ledger at the start, most expensive first; the rest is free for
			      new ones */
};

typedef struct totals_group {
	store_sums rows[TOTALS_LABELS + 1]; /* the last is `other` */
	size_t count;                       /* of labels, without `other` */
	bool has_other;
} totals_group;

typedef struct totals {
	bool known; /* false: nothing was read yet */
	totals_group models, routes, clients;
} totals;

typedef struct totals_cache {
	pthread_mutex_t lock; /* of `*now` */
	totals *now;          /* NULL: no ledger is kept */
	char *path;           /* of the database; NULL: no ledger is kept */
	/* only for totals_due() */
	int64_t asked_ms;
	uint64_t asked_commits;
	/* set by totals_refresh() */
	_Atomic int64_t took_ms;
	atomic_bool pending; /* due, and not refreshed yet */
} totals_cache;

/* `path`: the database; NULL or "": no ledger is kept. False: out of memory. */
MUST_CHECK bool totals_init(totals_cache *c, const char *path);
void totals_deinit(totals_cache *c);

/* Should the sums be read now? `commits`: how many transactions this process has made. If true, totals_refresh() or
 * totals_skip() has to follow. */
bool totals_due(totals_cache *c, uint64_t commits);
void totals_refresh(totals_cache *c); /* reads the database, so it can take long */
void totals_skip(totals_cache *c);

/* Locks and returns the sums; NULL: they are not known. Call totals_unlock() in both cases. */
const totals *totals_lock(totals_cache *c);
void totals_unlock(totals_cache *c);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Where the figures of the page come from: the ledger of one gateway, or the PostgreSQL of a fleet. */
#ifndef REPORT_FIGURES_H
#define REPORT_FIGURES_H

#include "base/must_check.h"
#include "ledger/store_facets.h"

/* `by` of a question of a fleet: by gateway. */
#define FIGURES_BY_GATEWAY FACET_BIT(FACET_COUNT)

/* Each function has the contract of the store's function of the same name, and returns 0 or the result of its source.
 * Before a call is tried again, after the database was locked, it calls `again`, so that the caller forgets what
 * `each` was given. */
typedef struct figures_source {
	void *from;
	/* Of all requests. */
	int (*report)(void *from, store_group by, int64_t from_ms, int64_t to_ms,
		      bool (*each)(void *ctx, const store_sums *sums), void (*again)(void *ctx), void *ctx, err *e);
	int (*facets)(void *from, const store_facet_question *q, bool (*each)(void *ctx, const store_facet *f),
		      void (*again)(void *ctx), void *ctx, store_facets_told *told, err *e);
	/* `gateway`: NULL, or in a fleet the name of the row's. */
	int (*page)(void *from, const store_page_question *q,
		    bool (*each)(void *ctx, const record *r, const char *gateway), void (*again)(void *ctx), void *ctx,
		    store_page_told *told, err *e);
} figures_source;

/* Returns the source that reads `s`. */
figures_source figures_of_store(store *s);

/* One group of requests, kept. */
typedef struct figures_group {
	int64_t time_ms;
	char *label; /* owned; NULL: requests that were not told apart */
	store_sums sums;
	int64_t status[6];
	int64_t ms[TIME_KINDS][3]; /* p50, p95, p99; -1: not known */
	int64_t last_ms;
} figures_group;

typedef struct figures_groups {
	figures_group *items;
	size_t count, room;
	bool failed; /* out of memory */
	/* All groups together. */
	figures_group total;
	store_times times;
} figures_groups;

/* Reads the answer to `q` into `l`, which is empty. Returns what the source has returned. */
MUST_CHECK int figures_read(const figures_source *source, const store_facet_question *q, figures_groups *l,
			    store_facets_told *told, err *e);
void figures_groups_deinit(figures_groups *l);

#endif

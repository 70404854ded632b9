/* SPDX-License-Identifier: MIT
 *
 * What the requests of a period cost and saved: read from the store, written for programs and for a person. */
#ifndef REPORT_SAVINGS_H
#define REPORT_SAVINGS_H

#include "base/must_check.h"
#include "ledger/store.h"
#include "report/period.h"
#include "report/print.h"
#include "ship/pq.h"

typedef struct savings_list {
	store_sums *items;
	size_t count, room;
	size_t most; /* 0: no limit */
	bool failed; /* out of memory */
	bool full;   /* there are more than `most` */
} savings_list;

typedef struct savings_report {
	const char *by; /* the name of `group` */
	store_group group;
	bool fleet;      /* of all gateways, not of one */
	row_filter only; /* of these requests; nothing: of all */
	/* The time before which requests were pruned, if they are missing here: only `only` needs the requests. 0: none
	 * are missing. */
	int64_t missing_ms;
	period period;
	int64_t now_ms;
	savings_list rows;
	/* Models with requests of some doubt, and clients with untold ones; savings_order() orders them. */
	savings_list models, clients;
	store_sums total;
	terminal terminal; /* for savings_print() */
} savings_report;

/* What gateways saved: compression and routing. What caching saved is the providers' doing. */
int64_t savings_gateway(const store_sums *s);
/* What all three saved together. */
int64_t savings_all(const store_sums *s);
/* The parts of both that come from requests with estimated tokens. */
int64_t savings_estimated_gateway(const store_sums *s);
int64_t savings_estimated(const store_sums *s);

/* Requests that have no cost, or a rough one, and that a report therefore counts and names apart. UNTOLD: streams that
 * did not tell their usage, which require_stream_usage would refuse. */
enum { DOUBT_UNPRICED, DOUBT_UNKNOWN, DOUBT_PARTLY_PRICED, DOUBT_UNTOLD, SAVINGS_DOUBTS };
typedef struct savings_doubt {
	const char *name;        /* of the list of models in the JSON */
	size_t requests, weight; /* offsets in store_sums: how many requests, and what a list is ordered by */
} savings_doubt;
extern const savings_doubt savings_doubts[SAVINGS_DOUBTS];

/* Orders r->models or r->clients for a doubt, the heaviest first. Returns how many of them have such requests. */
size_t savings_order(const savings_list *l, const savings_doubt *d);

/* Begins a report of all requests of one gateway, or of the `fleet`: `since`, `until` and `by` as the flags of
 * `spoa-llm savings`, each NULL for its default. Borrows `by`. False: `e` says which flag is wrong. */
MUST_CHECK bool savings_prepare(savings_report *r, const char *since, const char *until, const char *by, bool fleet,
				err *e);
/* Reads the figures of one gateway from its ledger; tries again while the database is locked. */
MUST_CHECK store_result savings_read(store *s, savings_report *r, err *e);
/* Reads those of the fleet from PostgreSQL. */
MUST_CHECK pq_result savings_read_fleet(pq *c, savings_report *r, err *e);
/* Writes the report for a program: JSON or CSV. */
void savings_write(FILE *f, const savings_report *r, bool csv);
void savings_deinit(savings_report *r);

/* Prints the report for a person: totals, what is estimated, partial, unknown or unpriced, and a table. Changes
 * `r->rows`, so call it last. */
void savings_print(savings_report *r);

#endif

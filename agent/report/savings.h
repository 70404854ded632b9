/* SPDX-License-Identifier: MIT
 *
 * What the requests of a period cost and saved: read from the store, written for programs and for a person. */
#ifndef REPORT_SAVINGS_H
#define REPORT_SAVINGS_H

#include "base/must_check.h"
#include "ledger/store.h"
#include "report/period.h"
#include "report/print.h"
#include "report/view.h"
#include "ship/pq.h"

typedef struct savings_list {
	store_sums *items;
	size_t count, room;
	size_t most; /* 0: no limit */
	bool failed; /* out of memory */
	bool full;   /* there are more than `most` */
} savings_list;

/* The rows of a report by day or hour are split by at most so many labels; the rest of each is one more part. */
enum { SAVINGS_PARTS = 9 };

/* The requests of a day or an hour with one label. */
typedef struct savings_part {
	int64_t time_ms;
	int name; /* place in part_names; SAVINGS_PARTS: all other labels */
	store_sums sums;
} savings_part;

/* What the month will have cost at its end, if the days to come are as the last ones were. */
typedef struct savings_forecast {
	unsigned from_days; /* how many whole days say so, at most 7; 0: there is no forecast */
	int64_t until_ms;
	int64_t cost, saved_gateway, saved_cache;
} savings_forecast;

typedef struct savings_report {
	const char *by; /* the name of `group` */
	store_group group;
	bool fleet;      /* of all gateways, not of one */
	row_filter only; /* of these requests; nothing: of all */
	/* Requests before this time are missing here, because they were pruned, or because the ledger has no sums by
	 * all their labels. Only reports with `only` or `split` need rows or such sums. 0: none are missing. */
	int64_t missing_ms;
	period period;
	int64_t now_ms;
	savings_list rows;
	/* Models with requests of some doubt, and clients with untold ones; savings_order() orders them. */
	savings_list models, clients;
	store_sums total;
	terminal terminal; /* for savings_print() */

	bool compare, compared; /* to be compared with the period before; `compared`: there is one */
	int64_t whole_ms;       /* with `compare`: `only` does not find requests before this time; 0: it finds all */
	period before;
	store_sums before_total;
	savings_forecast forecast; /* if it is to be compared */

	/* What the page asks for, of savings_prepare_view(). */
	const char *gateway; /* of these gateways of a fleet; NULL: of all */
	const view_label *split;
	char *part_names[SAVINGS_PARTS]; /* owned; the largest first; NULL: there are fewer */
	savings_part *parts;             /* owned; instead of rows */
	size_t parts_count, parts_room;
	int64_t untold; /* requests of the period that were not told apart, and so are missing where there is a filter
			 */
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
/* Begins the report of a question of the page, and reads it. The second returns what the source has returned. */
MUST_CHECK bool savings_prepare_view(savings_report *r, const view_question *q, err *e);
MUST_CHECK int savings_read_view(const figures_source *source, savings_report *r, err *e);
/* Writes the report for a program: JSON or CSV. */
void savings_write(FILE *f, const savings_report *r, bool csv);
void savings_deinit(savings_report *r);

/* Prints the report for a person: totals, what is estimated, partial, unknown or unpriced, and a table. Changes
 * `r->rows`, so call it last. */
void savings_print(savings_report *r);

#endif

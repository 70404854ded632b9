/* SPDX-License-Identifier: MIT
 *
 * Facets: sums of requests by all of their labels together, so that a question about some requests, which a filter
 * names, is answered without reading the rows. A facet of an hour or of a day is the combination of route, backend,
 * model, project, client, member, status and code that requests have in common.
 *
 * After STORE_FACETS_PER_DAY combinations of a day further ones are summed together: their requests are "not told
 * apart". Facets of hours are kept for STORE_FACET_HOURS_DAYS days, those of days as long as other sums. Those of an
 * older ledger are made by store_catch_up() from the rows that are there, the newest hour first. */
#ifndef LEDGER_STORE_FACETS_H
#define LEDGER_STORE_FACETS_H

#include "ledger/store.h"
#include "ledger/store_times.h"

enum {
	STORE_FACETS_PER_DAY = 4096, /* combinations that are told apart */
	STORE_FACET_HOURS_DAYS = 40,
	/* Rows that store_page() looks at, at most: */
	STORE_PAGE_COUNTED = 200000, /* to count those that match, where facets do not tell */
	STORE_PAGE_READ = 500000,    /* to find those of the page */
};

/* The labels of a facet, in the order in which they stand in it. */
typedef enum facet_name {
	FACET_ROUTE,
	FACET_BACKEND,
	FACET_MODEL,
	FACET_PROJECT,
	FACET_CLIENT,
	FACET_MEMBER, /* the name alone */
	FACET_STATUS, /* in decimal; 0: no answer */
	FACET_CODE,   /* of a refusal */
	FACET_LABELS,
	/* Made of others. */
	FACET_STATUS_CLASS = FACET_LABELS, /* 0 (no answer) to 5, in decimal */
	FACET_POOL_MEMBER,                 /* ROUTE/MEMBER, as `savings --by member` has it; "" for no pool */
	FACET_COUNT,
} facet_name;

#define FACET_BIT(f) (1u << (f))
#define FACET_SEPARATOR '\x1f' /* between labels; labels of a ledger have no control characters */
enum {
	FACET_NONE = 0,
	FACET_UPSTREAM = FACET_BIT(FACET_ROUTE) | FACET_BIT(FACET_BACKEND) | FACET_BIT(FACET_MEMBER),
	FACET_REFUSAL = FACET_BIT(FACET_STATUS) | FACET_BIT(FACET_CODE),
	FACET_LABEL_MAX = 800, /* bytes of all labels of a request with their separators */
};

typedef enum facet_unit { FACET_WHOLE, FACET_HOURS, FACET_DAYS } facet_unit;

typedef struct store_facet_question {
	unsigned by; /* FACET_BIT() of each label to group by; FACET_NONE: one group */
	facet_unit unit;
	int64_t from_ms, to_ms;
	/* NULL: all requests. If it has an id, the rows are read: that is one row, or a few. */
	const row_filter *only;
	bool times;  /* read histograms of times too */
	bool counts; /* of the sums only requests, refused, failed and cost are needed: the others may be 0 */
	bool untold; /* with a filter, tell of the requests that were not told apart all the same */
} store_facet_question;

/* The requests of one hour, day or the whole period that have these labels in common. Valid until the call returns. */
typedef struct store_facet {
	int64_t time_ms; /* when the hour or day begins; FACET_WHOLE: 0 */
	/* The labels that were asked for, with FACET_SEPARATOR between them, in the order of `facet_name`. NULL:
	 * requests that were not told apart. */
	const char *label;
	const store_sums *sums; /* its `label` is not set */
	int64_t status[6]; /* requests without an answer, with 1xx, 2xx, 3xx, 4xx, 5xx; any other is in [0]. 0 without a
			      label */
	const store_times *times;
	int64_t last_ms; /* when the last of the requests arrived */
} store_facet;

/* What an answer is about. */
typedef struct store_facets_told {
	/* The period: as `savings` has it, the hours that begin in it. Days that begin in it, where facets of hours are
	 * no longer kept; and none of those, if hours were asked for. */
	int64_t from_ms, to_ms;
	int64_t whole_ms; /* facets have all requests from this time on; 0: from the first on */
	int64_t untold; /* requests of the period that were not told apart: with a filter they are not in the answer */
} store_facets_told;

/* Calls `each` with the groups of the requests that `q->only` lets through, until `each` returns false: by time; then
 * the most expensive first, then by most requests, then by label; what was not told apart comes last. */
MUST_CHECK store_result store_facets(store *s, const store_facet_question *q,
				     bool (*each)(void *ctx, const store_facet *f), void *ctx, store_facets_told *told,
				     err *e);
/* Writes the `i`th label of `label`, counted from 0, to `out`, cut at `room`. */
void facet_part(const char *label, size_t i, char *out, size_t room);
/* Writes all labels of `r`, as a facet has them. Returns their length. */
size_t facet_label(const record *r, char out[FACET_LABEL_MAX + 1]);

/* A page of the list of requests. */
typedef struct store_page_question {
	int64_t from_ms, to_ms;
	const row_filter *only; /* NULL: all requests */
	int64_t offset, limit;
	bool oldest_first;
} store_page_question;

typedef struct store_page_told {
	int64_t from_ms, to_ms; /* as of store_facets() */
	int64_t total;          /* requests that match; -1: not known */
	bool stopped;           /* STORE_PAGE_READ rows were looked at before the page was full */
} store_page_told;

/* Calls `each` with `q->limit` of the rows that match, after the first `q->offset` ones, by time and then id. Hours in
 * which no row matches, and those before the offset, are passed over by their facets. */
MUST_CHECK store_result store_page(store *s, const store_page_question *q, bool (*each)(void *ctx, const record *r),
				   void *ctx, store_page_told *told, err *e);

#endif

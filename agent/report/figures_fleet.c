/* SPDX-License-Identifier: MIT */
#include "report/figures_fleet.h"

#include "ship/fleet_facets.h"
#include "ship/fleet_read.h"

_Static_assert(FIGURES_BY_GATEWAY == FLEET_BY_GATEWAY, "both are a bit behind the labels of a request");

/* These functions try nothing again: the shipper does that, over a new connection (ship/answers.c). */

static int report_of(void *ctx, store_group by, int64_t from_ms, int64_t to_ms,
		     bool (*each)(void *ctx, const store_sums *sums), void (*again)(void *ctx), void *to, err *e)
{
	figures_fleet *from = ctx;

	again(to);
	from->result = fleet_report(from->c, from->gateway, by, from_ms, to_ms, each, to, e);
	return (int)from->result;
}

/* Facets on their way to the caller, who keeps them: others may have written more than there is memory for. */
typedef struct counted {
	bool (*each)(void *ctx, const store_facet *f);
	void *ctx;
	size_t count;
} counted;

enum { GROUPS_MAX = 10 * FIGURES_FLEET_LINES };

static bool count_facet(void *ctx, const store_facet *f)
{
	counted *n = ctx;

	return ++n->count <= GROUPS_MAX && n->each(n->ctx, f);
}

static int facets_of(void *ctx, const store_facet_question *q, bool (*each)(void *ctx, const store_facet *f),
		     void (*again)(void *ctx), void *to, store_facets_told *told, err *e)
{
	figures_fleet *from = ctx;
	counted n = { each, to, 0 };

	again(to);
	from->result = fleet_facets(from->c, from->gateway, q, count_facet, &n, told, e);
	if (from->result == PQ_OK && n.count > GROUPS_MAX) {
		err_set(e, "there are more than %d lines: ask for a shorter period", GROUPS_MAX);
		from->result = PQ_FAILED;
	}
	return (int)from->result;
}

static int page_of(void *ctx, const store_page_question *q,
		   bool (*each)(void *ctx, const record *r, const char *gateway), void (*again)(void *ctx), void *to,
		   store_page_told *told, err *e)
{
	figures_fleet *from = ctx;

	again(to);
	from->result = fleet_page(from->c, from->gateway, q, each, to, told, e);
	return (int)from->result;
}

figures_source figures_of_fleet(figures_fleet *from)
{
	return (figures_source){ from, report_of, facets_of, page_of };
}

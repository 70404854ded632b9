/* SPDX-License-Identifier: MIT
 *
 * The fleet's requests by their labels, and pages of the list, out of PostgreSQL: what store_facets() and store_page()
 * (ledger/store_facets.h) tell of one ledger. All labels are told apart here, and hours are kept as long as days. */
#ifndef SHIP_FLEET_FACETS_H
#define SHIP_FLEET_FACETS_H

#include "ledger/store_facets.h"
#include "ship/pq.h"

/* `by` of a question: by gateway, too, whose name is the last part of the label. */
#define FLEET_BY_GATEWAY FACET_BIT(FACET_COUNT)

/* As store_facets(), of the gateway with the name `gateway`, or those whose names begin with it if it ends with *;
 * NULL: of all. `q->only` has no id. The role of any gateway suffices. */
MUST_CHECK pq_result fleet_facets(pq *c, const char *gateway, const store_facet_question *q,
				  bool (*each)(void *ctx, const store_facet *f), void *ctx, store_facets_told *told,
				  err *e);

/* As store_page(), with the names of the rows' gateways. PQ_REFUSED: the role sees the requests of its own gateway
 * only. */
MUST_CHECK pq_result fleet_page(pq *c, const char *gateway, const store_page_question *q,
				bool (*each)(void *ctx, const record *r, const char *gateway), void *ctx,
				store_page_told *told, err *e);

#endif

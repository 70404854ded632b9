/* SPDX-License-Identifier: MIT
 *
 * What the fleet's requests cost and saved, and the requests themselves, out of PostgreSQL: what store_report() and
 * store_export() (ledger/store.h) tell of one ledger. A reader's role suffices. */
#ifndef SHIP_FLEET_READ_H
#define SHIP_FLEET_READ_H

#include "ledger/store.h"
#include "ship/pq.h"

/* As store_report(); GROUP_GATEWAY, too. A sum beyond 64 bits is the nearest int64_t. `gateway`: as fleet_facets(). */
MUST_CHECK pq_result fleet_report(pq *c, const char *gateway, store_group by, int64_t from_ms, int64_t to_ms,
				  bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e);

/* As store_report_found(). PQ_REFUSED: the rows have to be read, because of an id or because the facets of the period
 * are not made yet, and the role sees those of its own gateway only. */
MUST_CHECK pq_result fleet_report_found(pq *c, store_group by, int64_t from_ms, int64_t to_ms, const row_filter *only,
					bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e);

/* Calls `each` with the rows of requests that arrived in [from_ms, to_ms) and that `only` lets through, and the names
 * of their gateways, oldest first, until `each` returns false. PQ_REFUSED: as above. */
MUST_CHECK pq_result fleet_export(pq *c, int64_t from_ms, int64_t to_ms, const row_filter *only,
				  bool (*each)(void *ctx, const record *r, const char *gateway), void *ctx, err *e);

/* ---- for other readers of rows */

/* PQ_REFUSED: the role sees the requests of its own gateway only; it would take them for those of all. */
MUST_CHECK pq_result fleet_check_reader(pq *c, err *e);
/* Writes the columns of a row of `p`, each with a comma in front. */
void fleet_row_names(char *out, size_t room);
/* Runs a statement that selects the name of a gateway, and fleet_row_names(). */
MUST_CHECK pq_result fleet_each_row(pq *c, const char *sql, size_t count, const char *const *values,
				    bool (*each)(void *ctx, const record *r, const char *gateway), void *ctx, err *e);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The fleet as its owner sees it: schema, roles, gateways, and months of rows. Each function says in `e` what failed.
 */
#ifndef SHIP_FLEET_H
#define SHIP_FLEET_H

#include "ship/pq.h"

/* The roles of gateways and readers have this in front of their NAME. */
#define FLEET_ROLE "spoa_llm_"

/* Makes the schema, or brings it to this program's version, and makes the partitions of the months around now, in one
 * transaction. Sets `*was` and `*is` to the versions; 0: there was none. */
MUST_CHECK pq_result fleet_init(pq *c, int *was, int *is, err *e);
/* Makes the sums by day and the facets of what was there before version 2 of the schema, which nothing else makes: a
 * day of a gateway in each transaction, the newest first. Calls `each` after each of them, until it returns false; the
 * next call goes on from there. */
MUST_CHECK pq_result fleet_fill(pq *c, bool (*each)(void *ctx, const char *gateway, int64_t day_s), void *ctx, err *e);

/* Makes the role of the gateway or `reader` with this name, or gives the role that is there a new password if
 * `replace`. */
MUST_CHECK pq_result fleet_add(pq *c, const char *name, bool reader, bool replace, const char *password, err *e);

/* A row of `gateways`. Texts point into the result. */
typedef struct fleet_gateway {
	int64_t no;
	const char *name, *uuid, *writer; /* writer "": it has retired */
	int64_t epoch, position, rows, behind, lag_ms;
	int64_t seen_ms;  /* when its shipper said something last */
	int64_t quiet_ms; /* how long ago that is, by the server's clock */
	const char *version;
	/* Hashes of its routes and clients; "": not known. Since when they have differed from those of most gateways,
	 * in milliseconds since 1970; 0: they are the same. */
	const char *routes_hash, *clients_hash;
	int64_t routes_since_ms, clients_since_ms;
} fleet_gateway;
/* Calls `each` with all gateways, by name. */
MUST_CHECK pq_result fleet_gateways(pq *c, void (*each)(void *ctx, const fleet_gateway *g), void *ctx, err *e);

/* Frees name and role of the gateway. Sets `*was` to false if there is none of this name that writes. */
MUST_CHECK pq_result fleet_retire(pq *c, const char *name, bool *was, err *e);

/* Calls `each` with the names of the partitions that fleet_drop() would remove. */
MUST_CHECK pq_result fleet_droppable(pq *c, int64_t before_ms, void (*each)(void *ctx, const char *name), void *ctx,
				     err *e);
/* Removes the rows before `before_ms`, the first millisecond of a month, for ever: writers leave such rows out from
 * then on. */
MUST_CHECK pq_result fleet_drop(pq *c, int64_t before_ms, err *e);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Whether the gateways of the fleet have the same routes and the same clients. */
#ifndef SHIP_DRIFT_H
#define SHIP_DRIFT_H

#include "ledger/store.h"
#include "ship/pq.h"

/* Of the other gateways that PostgreSQL has heard of in the last five minutes. */
typedef struct drift {
	int64_t gateways;        /* how many there are */
	int64_t routes, clients; /* how many have other routes, other clients */
} drift;

/* Tells PostgreSQL that this gateway is there and what hashes it has; `even`: and that PostgreSQL has all of its rows.
 * Sets `*d` to how the others differ. */
MUST_CHECK pq_result drift_compare(pq *c, const store_settings *own, bool even, drift *d, err *e);

#endif

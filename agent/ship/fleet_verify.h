/* SPDX-License-Identifier: MIT
 *
 * Is in PostgreSQL what is in the ledgers? fleet_check_sums() compares the sums of hours with the rows there, for all
 * gateways that the role may see. fleet_hours_compare() compares the rows of one gateway with those of its ledger,
 * which only this ledger's host can do. */
#ifndef SHIP_FLEET_VERIFY_H
#define SHIP_FLEET_VERIFY_H

#include "ledger/store.h"
#include "ship/pq.h"

/* Is told of each hour that differs; `hour_s` in seconds. */
typedef void (*fleet_difference)(void *ctx, const char *gateway, int64_t hour_s, const char *problem);

/* Compares the sums of the hours in [from_s, to_s) with the rows of PostgreSQL. Hours whose rows were dropped are left
 * out. */
MUST_CHECK pq_result fleet_check_sums(pq *c, int64_t from_s, int64_t to_s, fleet_difference tell, void *ctx, err *e);

/* A gateway as PostgreSQL has it. */
typedef struct fleet_place {
	bool found;
	char no[16], name[128], ledger_epoch[24], epoch[16];
	int64_t position;
	int64_t kept_since_ms; /* rows before it were dropped */
} fleet_place;
MUST_CHECK pq_result fleet_place_of(pq *c, const char *uuid, fleet_place *place, err *e);

typedef struct fleet_hour {
	int64_t hour; /* in seconds */
	store_sums sums;
	bool waits; /* the ledger has a row of this hour that is not shipped yet */
} fleet_hour;

typedef struct fleet_hours {
	fleet_hour *items;
	size_t count, room;
	bool failed; /* out of memory */
} fleet_hours;

/* Read the hours in [from_s, to_s) that have rows. PostgreSQL is read first, with `place`: what the ledger gets
 * meanwhile has sequences beyond the position, and such hours wait. `*earlier` gets the hours of rows that were sent
 * under an earlier epoch and not again under this one; of their sums only `requests` is set. */
MUST_CHECK pq_result fleet_hours_there(pq *c, const char *uuid, int64_t from_s, int64_t to_s, fleet_place *place,
				       fleet_hours *hours, fleet_hours *earlier, err *e);
MUST_CHECK store_result fleet_hours_here(store *s, int64_t from_s, int64_t to_s, int64_t position, fleet_hours *hours,
					 err *e);
void fleet_hours_free(fleet_hours *h);
/* Compares the hours from `from_s` on. Returns how many wait, and sets `*compared` to how many were compared. */
size_t fleet_hours_compare(const fleet_hours *here, const fleet_hours *there, int64_t from_s, const char *gateway,
			   fleet_difference tell, void *ctx, size_t *compared);

/* Rows that PostgreSQL has of a ledger that lost them, because a backup took its place. */
typedef struct fleet_lost {
	int64_t requests;
	int64_t first_s, last_s; /* hours */
} fleet_lost;
/* Adds up `earlier` from `from_s` on, but for hours of which the ledger still has to send rows. */
fleet_lost fleet_hours_lost(const fleet_hours *here, const fleet_hours *earlier, int64_t from_s);

#define FLEET_RESENT_ALL INT64_MAX

/* What fleet_resend() has done. */
typedef struct fleet_resent {
	int64_t rows, added, replaced,
		dropped;  /* read from the ledger; new there; written again; before kept_since_ms */
	int64_t next_s;   /* the first hour that is not sent again as a whole, in seconds; FLEET_RESENT_ALL */
	pq_result result; /* of PostgreSQL */
} fleet_resent;

/* Sends the rows of the hours in [from_s, to_s) again, and makes the sums of these hours anew. The position stays. A
 * failure of PostgreSQL is in `sent`, and in `e`. It asks `goes_on` after each row, and each day of sums, whether to go
 * on; if not, the hours before sent->next_s are done. */
MUST_CHECK store_result fleet_resend(pq *c, store *s, const fleet_place *place, int64_t from_s, int64_t to_s,
				     bool (*goes_on)(void *ctx, int64_t rows), void *ctx, fleet_resent *sent, err *e);

#endif

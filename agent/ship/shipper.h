/* SPDX-License-Identifier: MIT
 *
 * Sends the rows of the local ledger to PostgreSQL, from where PostgreSQL says that it stands, and goes on until it is
 * stopped. What PostgreSQL refuses, or its being away, only takes time: the ledger keeps everything. */
#ifndef SHIP_SHIPPER_H
#define SHIP_SHIPPER_H

#include "ledger/store.h"
#include "ship/drift.h"

typedef enum ship_state {
	SHIP_CONNECTING, /* no server answers, or the local ledger cannot be read */
	SHIP_REFUSED,    /* a person has to look at it */
	SHIP_BEHIND,     /* rows wait to be sent */
	SHIP_OK,         /* PostgreSQL has all rows */
} ship_state;

/* Copies `text` for a string of JSON: what is not ASCII, a quote or a backslash becomes something else. */
void ship_plain(char *out, size_t room, const char *text);

const char *ship_state_name(ship_state state); /* connecting, refused, behind, ok */

typedef struct ship_status {
	ship_state state;
	char problem[sizeof((err){ 0 }).text]; /* "" for SHIP_BEHIND and SHIP_OK */
	store_id ledger;                       /* uuid "": the ledger was not read yet */
	int64_t epoch, position;               /* in PostgreSQL; epoch 0: not known yet */
	int64_t behind;                        /* changes that PostgreSQL does not have, at most */
	int64_t since_ms;       /* by the monotonic clock: since when it has not had all of them, if `behind` */
	int64_t sent, rejected; /* rows, by this process */
	bool compared;          /* `drift` is known */
	drift drift;            /* as PostgreSQL said last */
} ship_status;

/* Returns for how long PostgreSQL has not had all rows, in milliseconds. */
int64_t ship_lag_ms(const ship_status *status);

typedef struct shipper_settings {
	const char *db;      /* the ledger's path */
	const char *name;    /* of the gateway, for people */
	const char *version; /* of this program */
	pq_settings server;
	int stop_fd; /* readable: the shipper has to end */
	/* Is told when the status has changed, and once a second. */
	void (*tell)(void *ctx, const ship_status *status);
	/* Sends `message` to the agent. False: the agent does not take it now. */
	bool (*say)(void *ctx, slice message);
	void *ctx;
} shipper_settings;

/* Returns when `stop_fd` can be read, or when there is no memory, which `e` says then. */
MUST_CHECK bool shipper_run(const shipper_settings *settings, err *e);

#endif

/* SPDX-License-Identifier: MIT
 *
 * What `spoa-llm ship` says once a second, by datagrams to `fleet_listen`: how far PostgreSQL has the ledger's rows,
 * and what clients and projects spent on other gateways, for the budgets. */
#ifndef SERVE_SHIPPING_H
#define SERVE_SHIPPING_H

#include <pthread.h>

#include "ledger/ledger.h"
#include "ops/host.h"
#include "serve/spending.h"

enum {
	SHIPPING_SILENT_MS = 10 * 1000, /* a shipper that says nothing for so long is gone, or hangs */
	SHIPPING_ALONE_MS = 5 * 1000,   /* this gateway goes on alone if what others spend was not told for so long */
};

typedef struct shipping {
	pthread_mutex_t lock; /* of all below */
	host_fleet last;
	int64_t sent, rejected; /* by earlier processes */
	int64_t pid;
	int64_t heard_ms, began_ms; /* monotonic; heard_ms 0: not yet */
	bool silent;                /* logged */
	spending *spending;         /* NULL: there are no budgets */
	int64_t told_ms;            /* monotonic: when what others spend was told last; 0: not yet */
	bool told_since;            /* since the last report, `last` */
	int64_t pass;               /* the pass whose first message has come; -1: none */
} shipping;

void shipping_init(shipping *s);
void shipping_deinit(shipping *s);
/* Has `to` told what others spend, from the next message on. `to` lives until shipping_deinit(). */
void shipping_keep(shipping *s, spending *to);
/* Takes in what a shipper says, and tells the ledger up to where its rows were shipped. Anything else is left alone. */
void shipping_take(shipping *s, slice datagram, ledger *l);
/* Logs when no shipper says anything any more, or one does again; and has the budgets go on alone if it does not tell
 * what others spend. Call it each second. */
void shipping_look(shipping *s);
/* Tells what is known. From any thread. */
host_fleet shipping_tell(shipping *s);

#endif

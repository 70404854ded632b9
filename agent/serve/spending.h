/* SPDX-License-Identifier: MIT
 *
 * Keeps the budgets: their memory, which the master holds; an account for each client and project with a limit; what
 * the ledger tells of each request that ended; prices for those that begin. */
#ifndef SERVE_SPENDING_H
#define SERVE_SPENDING_H

#include "decide/policy.h"
#include "ledger/ledger.h"
#include "proc/control.h"

typedef struct spending spending;

/* Takes the memory that the master holds, or makes one and has the master hold it. `fleet`: other gateways spend of the
 * same budgets. NULL: `e` says why. */
MUST_CHECK spending *spending_new(control *master, bool fleet, err *e);
/* Releases what this process has of the memory, which the master still holds. No thread may use `s` any more. `s` may
 * be NULL. */
void spending_free(spending *s);
/* Gives the clients of `next`, a policy that nobody else has yet, their accounts, and `next` the prices. Takes over one
 * reference of `prices`, on failure too. False: `e` says why; nothing changed but accounts. */
MUST_CHECK bool spending_equip(spending *s, policy *next, price_table *prices, err *e);
/* Has the keeper use the clients of `p` from now on. Call it when `p` is published. */
void spending_use(spending *s, const policy *p);
/* Returns the functions that the ledger calls. */
ledger_budgets spending_budgets(spending *s);
/* Waits, a second at most, until the ledger has told what the clients of `p` have spent. */
void spending_wait(spending *s, const policy *p);

/* What a client or project spent on other gateways, in a day, its week and its month. */
typedef struct spending_elsewhere {
	bool project;
	char name[RECORD_LABEL_MAX];
	size_t len;
	int64_t nano[3];
} spending_elsewhere;

/* These three are for the thread that hears the shipper: see budget_fleet_told(), budget_fleet_whole(), and
 * budget_fleet_alone(). spending_whole() returns whether this gateway was alone until then; spending_alone() returns
 * the number of gateways, or 0 if it is alone already. They do nothing if there is no fleet. */
void spending_told(spending *s, const spending_elsewhere *a, int64_t day, uint32_t pass);
bool spending_whole(spending *s, uint32_t pass, uint32_t gateways);
int64_t spending_alone(spending *s);
/* Returns how many gateways spend of the same budgets, and sets `*alone`. From any thread. */
int64_t spending_sharers(const spending *s, bool *alone);

#endif

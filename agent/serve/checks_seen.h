/* SPDX-License-Identifier: MIT
 *
 * The checks of /readyz that compare counters with what they were the last time. */
#ifndef SERVE_CHECKS_SEEN_H
#define SERVE_CHECKS_SEEN_H

#include "ledger/ledger.h"
#include "net/spop_threads.h"
#include "ops/host.h"

/* A counter, and when it last changed. */
typedef struct watched {
	uint64_t value;
	int64_t changed_ms; /* monotonic; 0: never */
} watched;

/* What the checks saw the last time. Whoever calls them holds a lock. */
typedef struct checks_seen {
	watched *iterations; /* of each SPOP thread's event loop */
	watched foreign, malformed, dropped, unrecorded, contract_kept, contract_outdated, unguarded, clientless,
		backends_same, backends_differ;
	uint64_t expected; /* the part of `clientless` that was refused while there were clients, for another reason */
} checks_seen;

/* False: out of memory. */
MUST_CHECK bool checks_seen_init(checks_seen *seen, unsigned threads);
void checks_seen_deinit(checks_seen *seen);

void checks_threads(host_check *c, checks_seen *seen, const spop_threads *all, int64_t now);
/* Fails until a request that fits has come, so that a HAProxy with few requests does not seem to be in order.
 * `keyless`: how many requests without a key HAProxy has refused by itself, of which only the log lines tell. */
void checks_contract(host_check *c, checks_seen *seen, const spop_threads *all, const policy *p, uint64_t keyless,
		     int64_t now);
/* Fails as checks_contract() does, for backends that were made for other routes. */
void checks_backends(host_check *c, checks_seen *seen, const spop_threads *all, const policy *p, int64_t now);
void checks_log_lines(host_check *c, checks_seen *seen, const spop_threads *all, const ledger_stats *l, int64_t now);

#endif

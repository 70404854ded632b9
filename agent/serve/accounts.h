/* SPDX-License-Identifier: MIT
 *
 * What clients and projects spent of their budgets, for the admin server: a look at all of them, of which those are
 * kept that have used the largest share. */
#ifndef SERVE_ACCOUNTS_H
#define SERVE_ACCOUNTS_H

#include <pthread.h>

#include "base/must_check.h"
#include "decide/policy.h"
#include "ops/budgets.h"

typedef struct accounts {
	pthread_mutex_t lock; /* of all below */
	host_budgets now;
	const client_table *table; /* whose accounts `now` has; only to be compared */
	int64_t next_ns;           /* of the monotonic clock: when to look again */
} accounts;

void accounts_init(accounts *a);
void accounts_deinit(accounts *a);

/* Sets `*out` to the figures of the clients of `p`, from malloc(); NULL: it has no clients. With very many clients the
 * figures are some seconds old, because looking at all may take only a small part of the time. From any thread. False:
 * out of memory. */
MUST_CHECK bool accounts_read(accounts *a, const policy *p, host_budgets **out);

#endif

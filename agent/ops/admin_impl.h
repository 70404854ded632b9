/* SPDX-License-Identifier: MIT
 *
 * Inside of the admin server: its parts, each with its own lock and header, as admin.c and http.c see them.
 *
 * Threads: one of libmicrohttpd for each listener, which never waits; ADMIN_JOB_THREADS that do what takes long
 * (jobs.h), and one that asks for figures of the fleet, if there is one; and the clock, which wakes each second for
 * samples, events and slow connections. */
#ifndef OPS_ADMIN_IMPL_H
#define OPS_ADMIN_IMPL_H

#include <stdatomic.h>

#include "ops/admin.h"
#include "ops/connections.h"
#include "ops/events.h"
#include "ops/jobs.h"
#include "ops/stats.h"
#include "ops/threads.h"
#include "ops/token.h"
#include "ops/totals.h"

enum { ADMIN_HOST_MAX = 256 };

typedef struct http_listener {
	admin *admin;
	struct MHD_Daemon *daemon;
	bool local;                   /* unix socket */
	char address[ADMIN_HOST_MAX]; /* as configured, in lower case */
	connections connections;
} http_listener;

struct admin {
	ops_host host;
	token admin_token, viewer_token; /* neither has a source: no token is needed */
	http_listener listeners[ADMIN_LISTENERS];
	size_t listeners_count;
	atomic_uint_fast64_t requests;
	stats_ring ring;
	alerts *alerts;
	uint64_t open_files, max_files; /* only for the clock; as of ten seconds ago at most */
	unsigned ticks;                 /* of the clock */
	totals_cache totals;
	jobs jobs;
	jobs fleet_jobs; /* those that wait for `spoa-llm ship`, so that no other one waits for these */
	bool fleet;      /* a thread does them */
	events events;
	threads threads; /* of the jobs, and the clock */

	pthread_mutex_t clock_lock; /* of `clock_stops` */
	pthread_cond_t clock_wake;
	bool clock_stops;
};

/* Returns the JSON of /stats of this moment, from malloc(). NULL: out of memory. */
char *admin_stats(admin *a, size_t *len, uint64_t *ledger_version);

#endif

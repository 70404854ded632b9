/* SPDX-License-Identifier: MIT
 *
 * Inside of the admin server: its parts, each with its own lock and header, as admin.c and http.c see them.
 *
 * Threads: one of libmicrohttpd for each listener, which never waits; those that do what takes long (jobs.h), one or
 * two for each lane; and the clock, which wakes each second for samples, events and slow connections. */
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

/* Jobs wait for those of their own lane only, so that a slow question about one thing holds up no other. */
typedef enum lane {
	LANE_WORK, /* reloads, explain, the sums for the metrics */
	LANE_SAVINGS,
	LANE_OPERATION,
	LANE_REQUESTS, /* lists of requests, which may take long */
	LANE_REQUEST,  /* one request, which is found at once */
	LANE_FLEET,    /* what waits for `spoa-llm ship` */
	LANES,
} lane;

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
	jobs lanes[LANES];
	bool fleet; /* a thread does those of LANE_FLEET */
	events events;
	threads threads; /* of the jobs, and the clock */

	pthread_mutex_t clock_lock; /* of `clock_stops` */
	pthread_cond_t clock_wake;
	bool clock_stops;
};

/* Returns the lane of `j`. */
jobs *admin_lane(admin *a, const job *j);
/* Returns the JSON of /stats of this moment, from malloc(). NULL: out of memory. */
char *admin_stats(admin *a, size_t *len, uint64_t *ledger_version);

#endif

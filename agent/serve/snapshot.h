/* SPDX-License-Identifier: MIT
 *
 * The counters of all SPOP threads, added up for the admin server. */
#ifndef SERVE_SNAPSHOT_H
#define SERVE_SNAPSHOT_H

#include "base/must_check.h"
#include "net/spop_threads.h"
#include "ops/host.h"

/* Gives each route a slot for its counters. A name keeps its slot for the life of the process. Call it for every table
 * before policy_new(), from the main thread only. */
void snapshot_assign_slots(route_table *t);

/* Fills `s`, which is empty but for `ends`, with decisions, refusals, threads, the last refusals and the routes;
 * host_snapshot_deinit() frees it, on failure too. From any thread. False: out of memory. */
MUST_CHECK bool snapshot_take(host_snapshot *s, spop_threads *ts, const policy *p);

#endif

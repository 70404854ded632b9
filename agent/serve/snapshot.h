/* SPDX-License-Identifier: MIT
 *
 * What the worker threads have counted, as the admin server shows it. */
#ifndef SERVE_SNAPSHOT_H
#define SERVE_SNAPSHOT_H

#include "net/spop_threads.h"
#include "ops/host.h"

/* Names each route's counters: the same name has the same slot for the process's whole life. Called on every table
 * before policy_new(). From the main thread only. */
void snapshot_assign_slots(route_table *t);

/* Adds decisions, refusals, threads, the last refusals and the routes to an empty `s`, which host_snapshot_deinit()
 * frees. From any thread. False: out of memory. */
bool snapshot_take(host_snapshot *s, spop_threads *ts, const policy *p);

#endif

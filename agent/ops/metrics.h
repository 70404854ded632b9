/* SPDX-License-Identifier: MIT
 *
 * /metrics in Prometheus's text format, version 0.0.4. */
#ifndef OPS_METRICS_H
#define OPS_METRICS_H

#include "ops/host.h"
#include "ops/totals.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Writes all metrics. `t` NULL: no ledger is kept, or its sums are not known yet. */
void metrics_write(FILE *f, const host_snapshot *s, const host_check *checks, size_t checks_count, const totals *t,
		   uint64_t admin_requests);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The gateways of the fleet, for programs and for the page. */
#ifndef REPORT_FLEET_LIST_H
#define REPORT_FLEET_LIST_H

#include <stdio.h>

#include "ship/pq.h"

/* Writes JSON as `spoa-llm fleet list --json`. Anything but PQ_OK: nothing was written. */
MUST_CHECK pq_result fleet_list_write(pq *c, FILE *f, err *e);

#endif

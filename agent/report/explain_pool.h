/* SPDX-License-Identifier: MIT
 *
 * What `spoa-llm explain` says of a route's pool: the members, and which of them the request is offered to. */
#ifndef REPORT_EXPLAIN_POOL_H
#define REPORT_EXPLAIN_POOL_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "decide/decision.h"

/* Both explain the pool of d->route, for a request for `path`. */
void explain_pool_json(cJSON *json, const policy *p, const decision *d, slice path);
void explain_pool_text(FILE *f, const policy *p, const decision *d, slice path);

#endif

/* SPDX-License-Identifier: MIT
 *
 * What `spoa-llm explain` says of a route's pool: the members, and which of them the request is offered to. */
#ifndef REPORT_EXPLAIN_POOL_H
#define REPORT_EXPLAIN_POOL_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "decide/decision.h"

/* Adds the object `pool` to `json`: the pool of d->route, and what becomes of a request for `path` at each member. If
 * memory runs out, parts are missing, as cJSON does it. */
void explain_pool_json(cJSON *json, const policy *p, const decision *d, slice path);
/* Writes the same to `f` for people, in lines. */
void explain_pool_text(FILE *f, const policy *p, const decision *d, slice path);

#endif

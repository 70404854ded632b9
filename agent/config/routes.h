/* SPDX-License-Identifier: MIT
 *
 * From JSON to a route table. Strict: any error is an error, with its place. Lenient, as the inventor of
 * HEADROOM_UPSTREAM_ROUTES has it: errors become warnings in the log, except that a route whose upstream cannot be
 * used stays and refuses what it matches. */
#ifndef CONFIG_ROUTES_H
#define CONFIG_ROUTES_H

#include <cjson/cJSON.h>

#include "decide/policy.h"
#include "config/locate.h"

/* Adds the routes of `array`, which stands at `where`. */
bool routes_read(route_table *t, const cJSON *array, place where, bool strict, err *e);

/* What only the whole table can show: backends that would serve two upstreams, routes that can never match,
 * credentials that would travel in the clear. Call once targets and routes are there. */
bool routes_check(route_table *t, place where, bool strict, err *e);

/* Reports a member that stands twice in `object`. */
bool json_no_duplicates(const cJSON *object, place where, err *e);

/* A name made of printable ASCII, without quotes and backslashes, that can stand in a log or a metric. */
bool label_valid(const char *text, size_t max);

#endif

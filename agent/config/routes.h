/* SPDX-License-Identifier: MIT
 *
 * From a JSON array to a route table. Strict: each problem is an error, with its place. Lenient, as Headroom reads
 * HEADROOM_UPSTREAM_ROUTES: problems are warnings in the log. Unlike in Headroom, a route whose upstream cannot be used
 * stays in the table and refuses the requests that it matches. */
#ifndef CONFIG_ROUTES_H
#define CONFIG_ROUTES_H

#include <cjson/cJSON.h>

#include "config/locate.h"
#include "decide/policy.h"

/* Reads and checks the entries of `array`, which begins at `where`, and adds them to the table. False: to->e says why
 * that had to stop. */
bool routes_read(route_table *t, const cJSON *array, place where, const problems *to);

/* Checks what only the whole table can show: names and backends that two routes share, routes that can never match,
 * credentials that would travel without TLS. The targets must have been set. False:
 * to->e says why that had to stop. */
bool routes_check(route_table *t, place where, const problems *to);

/* Tells whether `name` can stand in HAProxy's configuration without quotes, as the name of a file of at most `max`
 * bytes. */
bool file_name_valid(const char *name, size_t max);
/* Tells whether `name` can be a "ca_file": an absolute path, or @system-ca. */
bool ca_file_valid(const char *name);
#define A_FILE_NAME "an absolute path of letters, digits and / . _ - + @ : = , ~"

/* Tells whether `text` can stand in a log or a metric: 1 to `max` printable ASCII characters without quotes and
 * backslashes. */
bool label_valid(const char *text, size_t max);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Says in the log what a reload or a new file of clients changed, by name, so that somebody can see afterwards since
 * when requests go elsewhere or a key is good. No credential and no key appears. */
#ifndef SERVE_CHANGES_H
#define SERVE_CHANGES_H

#include "config/config.h"

/* Logs which routes differ between two tables, both in force one after the other. `file` is where the new ones stand;
 * NULL: in a variable or flag. `by`: who asked for it. Logs nothing if all is the same. */
void changes_of_routes(const route_table *before, const route_table *after, const char *file, const char *by);
/* Logs which clients and projects differ, and whose keys do. A table may be NULL: there are no clients. */
void changes_of_clients(const client_table *before, const client_table *after, const char *file, const char *by);
/* Logs which reloadable options differ, but for the routes. Call it before config_reload(). */
void changes_of_options(config *before, config *after, const char *by);

#endif

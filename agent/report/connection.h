/* SPDX-License-Identifier: MIT
 *
 * How HAProxy connects to a route's upstream, where the route says so itself. */
#ifndef REPORT_CONNECTION_H
#define REPORT_CONNECTION_H

#include <cjson/cJSON.h>

#include "config/config.h"
#include "report/findings.h"

enum { CONNECTION_TEXT_MAX = 3 * ROUTE_FILE_MAX };

/* Makes an object of the keys that the route has: `ca_file`, `client_cert`, `alpn`, `sni`, `timeout`,
 * `max_connections`. NULL: it has none, or there is no memory. */
cJSON *connection_json(const route_connect *c);
/* Writes the same as "ca_file PATH, timeout 3600"; "": the route has none. */
void connection_text(const route_connect *c, char out[CONNECTION_TEXT_MAX]);

/* Looks at the files that HAProxy reads for the backends of `c` and of `t`, which was its table: certificates, and
 * /etc/resolv.conf. A file that HAProxy could not use is a problem if HAProxy is on this host (`here`), else a warning.
 */
void connection_files(findings *to, const config *c, const route_table *t, bool here);

#endif

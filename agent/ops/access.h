/* SPDX-License-Identifier: MIT
 *
 * Which HTTP requests are allowed.
 *
 * - Without a token, a TCP listener is on the loopback address, and the Host header has to name it. So a page of
 *   another site that makes its own name resolve to 127.0.0.1 is refused: its requests have that name as Host.
 * - If a token is configured, every request has to carry one, but for the files of the page, /livez and /readyz. The
 *   last two leave out the details if the request has none.
 * - The viewer's token reads. /reload and /explain need the admin's; if only a viewer's is configured, nobody has that.
 * - POST needs the header X-Requested-With, which no form and no simple cross-site request can send, and an Origin, if
 *   there is one, has to name the same host as the Host header. */
#ifndef OPS_ACCESS_H
#define OPS_ACCESS_H

#include "ops/admin_impl.h"

/* Returns how many Host headers there are; a request with more than one is not valid. */
unsigned access_hosts(struct MHD_Connection *c);
/* Does `c` name the listener in its Host header, as far as that is needed? `version` is that of HTTP. */
bool access_host_allowed(const http_listener *l, struct MHD_Connection *c, const char *version);
typedef enum access_role { ACCESS_NONE, ACCESS_VIEWER, ACCESS_ADMIN } access_role;

/* Returns what the token of `c` lets it do; ACCESS_ADMIN if no token is configured. A token that is both the viewer's
 * and the admin's is the viewer's. */
access_role access_role_of(admin *a, struct MHD_Connection *c);
const char *access_role_name(access_role role);
/* Was a POST made by a program or by the dashboard? */
bool access_is_own(struct MHD_Connection *c);
/* Did a page of another site make the browser send this? That page could not read the answer, but could keep the admin
 * server busy. */
bool access_is_foreign(struct MHD_Connection *c);

#endif

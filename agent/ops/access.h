/* SPDX-License-Identifier: MIT
 *
 * Who may ask over HTTP.
 *
 * - Without a token a TCP listener is loopback's, and the Host header has to name it: a page of elsewhere whose name
 * was made to mean 127.0.0.1 has its own name there. With a token such a page has nothing to show.
 * - With a token all data needs it. /livez and /readyz answer everybody, without details; the page's own files hold no
 * data.
 * - POST needs X-Requested-With, which no form and no plain cross-site request can carry, and where there is an Origin
 * it has to be our own. Nothing is ever allowed to other origins. */
#ifndef OPS_ACCESS_H
#define OPS_ACCESS_H

#include "ops/admin_impl.h"

/* Host headers in the request; more than one is no request at all. */
unsigned access_hosts(struct MHD_Connection *c);
bool access_host_allowed(const http_listener *d, struct MHD_Connection *c, const char *version);
bool access_has_token(const admin *a, struct MHD_Connection *c);
/* Of a POST: made by a program or by our own page. */
bool access_is_own(struct MHD_Connection *c);
/* What another site's page makes a browser ask for: it could not read the answer, but it would occupy us. */
bool access_is_foreign(struct MHD_Connection *c);

#endif

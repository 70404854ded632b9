/* SPDX-License-Identifier: MIT
 *
 * Which HTTP requests are allowed.
 *
 * - Without a token, a TCP listener is on the loopback address, and the Host header has to name it. So a page of
 * another site that makes its own name resolve to 127.0.0.1 is refused: its requests have that name as Host.
 * - With a token, everything but /livez and /readyz (without details) and the files of the page needs it.
 * - POST needs the header X-Requested-With, which no form and no simple cross-site request can send, and an Origin, if
 *   there is one, has to be our own. No other origin is ever allowed. */
#ifndef OPS_ACCESS_H
#define OPS_ACCESS_H

#include "ops/admin_impl.h"

/* Returns how many Host headers there are; a request with more than one is not valid. */
unsigned access_hosts(struct MHD_Connection *c);
bool access_host_allowed(const http_listener *l, struct MHD_Connection *c, const char *version);
/* Also true if no token is configured. */
bool access_has_token(const admin *a, struct MHD_Connection *c);
/* Was a POST made by a program or by our own page? */
bool access_is_own(struct MHD_Connection *c);
/* Did a page of another site make the browser send this? That page could not read the answer, but could keep us busy.
 */
bool access_is_foreign(struct MHD_Connection *c);

#endif

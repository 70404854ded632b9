/* SPDX-License-Identifier: MIT
 *
 * The checks of /readyz that need no memory of the last ones. */
#ifndef SERVE_CHECKS_H
#define SERVE_CHECKS_H

#include "config/config.h"
#include "ledger/ledger.h"
#include "ops/host.h"
#include "serve/clients.h"

__attribute__((format(printf, 5, 6))) void checks_set(host_check *c, const char *part, bool ok, bool blocking,
						      const char *fmt, ...);

/* These return how many checks they wrote. */
size_t checks_routes(host_check *c, const policy *p);
/* Fails while no member of some pool can serve, because each of them rests or lacks its credential. */
size_t checks_pools(host_check *c, const policy *p);
/* Fails while the file of clients cannot be used. */
size_t checks_clients(host_check *c, const policy *p, const clients_status *s);
/* The ledger and its journal. */
size_t checks_ledger(host_check *c, const ledger_stats *l);

void checks_tap(host_check *c, const host_tap *t);
void checks_fleet(host_check *c, const host_fleet *f);
void checks_spans(host_check *c, const host_spans *s);

#endif

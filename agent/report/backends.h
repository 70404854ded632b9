/* SPDX-License-Identifier: MIT
 *
 * HAProxy's backends, one for each upstream, so that upstreams are configured in one place. */
#ifndef REPORT_BACKENDS_H
#define REPORT_BACKENDS_H

#include <stdio.h>

#include "base/must_check.h"
#include "config/config.h"

/* Writes to `f` the HAProxy sections for the upstreams of the routes and targets of c->table: the hash of all that
 * follows, name servers, and a backend for each upstream. False: out of memory. */
MUST_CHECK bool backends_write(FILE *f, const config *c);
/* Writes that hash to c->table->backends_hash. False: out of memory. */
MUST_CHECK bool backends_hash(const config *c);

#endif

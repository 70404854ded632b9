/* SPDX-License-Identifier: MIT
 *
 * HAProxy's backends, one for each upstream, so that upstreams are configured in one place. */
#ifndef REPORT_BACKENDS_H
#define REPORT_BACKENDS_H

#include <stdio.h>

#include "base/must_check.h"
#include "decide/policy.h"

/* What the operator configured for all backends. */
typedef struct backends_settings {
	const char *ca_file; /* the CAs by which HAProxy verifies upstreams, or "@system-ca" */
	unsigned addresses;  /* of each family: most that a name's backend uses */
	/* IP[:PORT], or a path: HAProxy reads /etc/resolv.conf. None: HAProxy looks names up when it starts only. */
	const char *const *name_servers;
	size_t name_servers_count;
} backends_settings;

/* Writes to `f` the HAProxy sections for the upstreams of the routes and targets of `t`: name servers and a backend
 * for each upstream. False: out of memory. */
MUST_CHECK bool backends_write(FILE *f, const route_table *t, const backends_settings *s);

#endif

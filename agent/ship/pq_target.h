/* SPDX-License-Identifier: MIT
 *
 * What libpq is told of a server: the URI's parameters, made strict, and the password out of its file.
 *
 * The URI carries no password, because process lists and logs show it. Beyond the host itself, which is reached by a
 * unix socket or a loopback address, TLS verifies the server's certificate and, unless the URI says verify-ca, its
 * name. */
#ifndef SHIP_PQ_TARGET_H
#define SHIP_PQ_TARGET_H

#include <postgresql/libpq-fe.h>

#include "decide/credential.h"
#include "ship/pq.h"

enum { PQ_TARGET_MAX = 64 };

/* What a URI means that names no port, or no host. */
#define PQ_PORT "5432"
#define PQ_SOCKET_DIR "/var/run/postgresql"

typedef struct pq_target {
	/* For PQconnectdbParams(); both end with a NULL. */
	const char *names[PQ_TARGET_MAX + 1], *values[PQ_TARGET_MAX + 1];
	size_t count;
	secret password;
} pq_target;

/* Makes `t` of what PQconninfoParse() found, `options`, which `t` borrows, and of `s`. False: `e` says why
 * not. Release `t` in either case. */
MUST_CHECK bool pq_target_init(pq_target *t, const PQconninfoOption *options, const pq_settings *s, err *e);
/* Returns the value of a parameter; "": it has none. */
const char *pq_target_value(const pq_target *t, const char *name);
void pq_target_deinit(pq_target *t);

#endif

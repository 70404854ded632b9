/* SPDX-License-Identifier: MIT
 *
 * The admin server: health, metrics, dashboard, reload. libmicrohttpd, on a thread of its own, so that nothing that is
 * asked here waits for, or holds up, a decision. */
#ifndef OPS_ADMIN_H
#define OPS_ADMIN_H

#include "ops/host.h"

enum {
	ADMIN_LISTENERS = 8,
	ADMIN_CONNECTIONS = 64,    /* at a time, of one listener */
	ADMIN_BODY_MAX = 64 << 10, /* bytes of a request's body */
	ADMIN_IDLE_S = 10,         /* seconds that a connection may say nothing */
	ADMIN_REQUEST_S = 20, /* and may take for one request, however busy it is meanwhile; for taking the answer three
				 times as long */
	ADMIN_MEMORY = 32 << 10, /* bytes of one connection; a request's head has to fit into it */
	ADMIN_LISTENING = 16,    /* connections at a time that take /events, of all listeners */
	ADMIN_JOBS = 16,         /* requests that wait for the database or a reload */
	ADMIN_JOB_THREADS = 2,
	ADMIN_STOP_S = 2, /* seconds that what is under way has to end */
};

typedef struct admin_listener {
	int fd;              /* listening, non-blocking; stays the caller's, and open until admin_stop() */
	bool local;          /* unix socket */
	const char *address; /* as configured, for the Host check */
} admin_listener;

typedef struct admin_options {
	const char *token_source; /* `env:NAME`, `file:PATH` (read at each request), "": none asked for */
	const char *ledger_db;    /* the database's file, for sums by model and route; NULL: none is kept */
} admin_options;

typedef struct admin admin;

/* NULL: `e` says why. */
admin *admin_start(const admin_listener *listeners, size_t count, const admin_options *o, ops_host host, err *e);
/* False: something of it still waits for a disk after ADMIN_STOP_S. All that it was given has to stay then, until the
 * process ends. */
bool admin_stop(admin *a);

#endif

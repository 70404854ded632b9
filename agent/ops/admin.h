/* SPDX-License-Identifier: MIT
 *
 * The admin server: health, metrics, dashboard, reload. It has threads of its own, so that its requests and the
 * decisions do not wait for each other. */
#ifndef OPS_ADMIN_H
#define OPS_ADMIN_H

#include "base/must_check.h"
#include "ops/host.h"

enum {
	ADMIN_LISTENERS = 8,
	ADMIN_CONNECTIONS = 64,               /* at most at a time, of one listener */
	ADMIN_BODY_MAX = 64 << 10,            /* bytes of a request's body */
	ADMIN_IDLE_S = 10,                    /* seconds that a connection may be silent */
	ADMIN_REQUEST_S = 20,                 /* seconds for one whole request, even if bytes keep coming */
	ADMIN_ANSWER_S = 3 * ADMIN_REQUEST_S, /* seconds for the answer to be taken */
	ADMIN_MEMORY = 32 << 10,              /* bytes of one connection; the head of a request has to fit into it */
	ADMIN_EVENT_STREAMS = 16,             /* connections that take /events, at most at a time, of all listeners */
	ADMIN_JOBS = 16,                      /* requests that wait for the database or a reload, at most at a time */
	ADMIN_STOP_S = 2,                     /* seconds that admin_stop() waits for requests that were begun */
	ADMIN_LAST_ANSWERS_MS = 200,          /* that it then waits for answers that are on their way out */
};

typedef struct admin_listener {
	int fd;              /* listening, non-blocking; the caller keeps it open until admin_stop() */
	bool local;          /* unix socket */
	const char *address; /* as configured, for the Host check */
} admin_listener;

typedef struct admin_options {
	const char *admin_token, *viewer_token; /* `env:NAME` or `file:PATH`; "": there is no such token */
	const char *ledger_db; /* path of the database, for sums by model and route; NULL: no ledger is kept */
	bool fleet;            /* there are figures of a fleet */
} admin_options;

typedef struct admin admin;

/* Serves on `listeners`. Copies everything but the descriptors and what `host` points to. NULL: `e` says why not. */
admin *admin_start(const admin_listener *listeners, size_t count, const admin_options *o, ops_host host, err *e);
/* Accepts no more connections, at once: those that come wait for the process that accepts at the same socket. Those
 * that are there are served. */
void admin_quiesce(admin *a);
/* True: nobody is connected but those who take /events. */
bool admin_is_idle(admin *a);
/* Answers or ends every request and frees `a`. False: a thread still waits for a disk after ADMIN_STOP_S; then `a`, the
 * descriptors and what `host` points to have to stay until the process ends. */
MUST_CHECK bool admin_stop(admin *a);

#endif

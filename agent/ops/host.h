/* SPDX-License-Identifier: MIT
 *
 * What ops/ needs from the rest of the process, so that this folder depends neither on SPOP nor on policies.
 * serve/admin_host.c implements it. The admin server's threads call each function at any time. */
#ifndef OPS_HOST_H
#define OPS_HOST_H

#include <stdio.h>

#include "base/err.h"
#include "ledger/ledger.h"
#include "ops/budgets.h"

/* One counter of decisions with its labels. The texts live as long as the snapshot. */
typedef struct host_decisions {
	const char *route, *protocol, *outcome; /* outcome: passthrough, replace, refused, answered */
	uint64_t count;
} host_decisions;

typedef struct host_refusals {
	const char *code;
	int status;
	uint64_t count;
} host_refusals;

typedef struct host_note { /* one refused request */
	int64_t time_ms;
	int status;
	char code[48], id[64], route[65], backend[RECORD_BACKEND_MAX + 1], member[RECORD_MEMBER_MAX + 1], model[65],
		problem[128];
	bool by_haproxy; /* else by the agent, which names no backend and no member */
} host_note;

typedef struct host_thread {
	uint64_t decisions, connections;
	uint64_t turns; /* iterations of its event loop */
} host_thread;

typedef struct host_route { /* the texts live as long as the snapshot */
	const char *name, *prefix, *path_prefix, *backend, *upstream, *auth,
		*reference_model; /* NULL: none (all but name and auth) */
	bool enabled, usable;     /* usable: it has a backend, and its credential is there */
	int64_t expires_ms;       /* Unix time from which on its credential is missing; 0: nobody said */
} host_route;

typedef struct host_member {                        /* of a pool; the texts live as long as the snapshot */
	const char *route, *name, *upstream, *auth; /* upstream: NULL: none that is valid */
	bool usable;                                /* it has an upstream, and its credential is there */
	int64_t rest_ms;                            /* how long it rests; 0: it does not */
	int rest_status;                            /* of the answer that the rest is for */
} host_member;

/* What taps count. The numbers before TAP_NOW are of all processes `spoa-llm tap` that this process has heard of, each
 * since its start; the others are of those that run, at this moment. */
typedef enum tap_number {
	TAP_STREAMS_TOTAL,
	TAP_BYTES,
	TAP_REPORTS,
	TAP_REPORTS_LOST,
	TAP_CUT_CLIENT,
	TAP_CUT_UPSTREAM,
	TAP_UNREADABLE,
	TAP_FULL,
	TAP_NOW,
	TAP_STREAMS = TAP_NOW,
	TAP_MEMORY,
	TAP_NUMBERS,
} tap_number;

/* Their names in a tap's status, and in /stats. */
extern const char *const tap_number_names[TAP_NUMBERS];

typedef struct host_tap {
	bool kept;         /* reports of taps are taken in */
	bool ever;         /* a tap was heard */
	int64_t silent_ms; /* since the last one was, or since this process started */
	unsigned processes, draining;
	uint64_t numbers[TAP_NUMBERS];
} host_tap;

/* How far the fleet's PostgreSQL has the ledger's rows, as `spoa-llm ship` says. */
typedef struct host_fleet {
	bool kept;         /* a shipper is listened to */
	bool ever, silent; /* one was heard; none is now */
	int64_t silent_ms; /* since one was heard last, or since this process started */
	char state[16];    /* connecting, refused, behind, ok */
	char problem[sizeof((err){ 0 }).text];
	int64_t epoch, position, behind, lag_ms;
	int64_t sent, rejected;
	int64_t gateways; /* other gateways that were heard of in the last five minutes; -1: not known yet */
	int64_t drift_routes, drift_clients; /* of these: how many have other routes, other clients */
	int64_t sharers; /* gateways that spend of the same budgets, this one included; 0: there are no budgets */
	bool alone;      /* what others spend is not known */
	bool figures;    /* ops_host.figures may be asked for those of the fleet */
} host_fleet;

/* Returns "silent", the state that the shipper has said, or "" if it was not heard of yet. */
const char *host_fleet_state(const host_fleet *f);

/* How far an OpenTelemetry collector has the ledger's requests as spans, as `spoa-llm ship` says. */
typedef struct host_spans {
	bool kept;         /* a shipper is listened to for it */
	bool ever, silent; /* one was heard; none is now */
	int64_t silent_ms; /* since one was heard last, or since this process started */
	char state[16];    /* connecting, refused, behind, ok */
	char problem[sizeof((err){ 0 }).text];
	int64_t behind, lag_ms;
	int64_t sent, dropped, unsampled;
} host_spans;

typedef struct host_snapshot {
	const char *version;
	int64_t started_ms; /* Unix time of the worker process */
	uint64_t restarts;  /* of worker processes, after a crash */
	uint64_t reloads, reloads_failed;
	int64_t reloaded_ms; /* 0: never */
	host_route *routes;  /* owned */
	size_t routes_count;
	host_member *members; /* owned; of the enabled routes that have a pool */
	size_t members_count;
	char *texts;               /* owned; the texts of routes and members are in it */
	host_decisions *decisions; /* owned; without those that are 0 */
	size_t decisions_count;
	host_refusals *refusals; /* owned; every code */
	size_t refusals_count;
	host_note *notes; /* owned; newest first */
	size_t notes_count;
	host_thread *threads; /* owned */
	size_t threads_count;
	const uint64_t *latency_bounds_ns; /* latency_count of them */
	uint64_t *latency;                 /* owned; latency_count + 1 buckets, not cumulative */
	size_t latency_count;
	uint64_t latency_sum_ns;
	/* sums of the counters of the same names in net/counters.h */
	uint64_t connections_opened, connections_closed, healthchecks, refused_connections, refused_memory, stalled,
		backpressure, in_flight_limited, frames_in, frames_out, bytes_in, bytes_out, hellos, hellos_short,
		spop_errors, hello_timeouts, accept_pauses, asked_for_more, responses, contract_outdated,
		backends_differ, unrecorded;
	char backends_hash[17]; /* of HAProxy's backends for these routes */
	bool heard;             /* anything came from HAProxy since the start */
	int64_t heard_ms;       /* how long ago the last of it came */
	uint64_t memory;        /* bytes in connections' buffers now */
	uint64_t max_connections, max_memory, max_in_flight;
	/* Of routes that replace the credential; expiring: within CREDENTIAL_SOON_MS. */
	size_t credentials, credentials_missing, credentials_expiring;
	bool ledger_kept;
	uint64_t journal_max;   /* bytes */
	uint64_t fleet_backlog; /* bytes */
	ledger_stats ledger;
	ends *ends; /* owned; NULL: no ledger is kept */
	host_tap tap;
	host_budgets *budgets; /* owned; NULL: the option `clients` is not set */
	host_fleet fleet;
	host_spans spans;
} host_snapshot;

/* One check of /readyz. */
typedef struct host_check {
	const char *part; /* workers, routes, credentials, clients, pools, contract, backends, reload, draining, ledger,
			     journal, log_lines, tap, fleet, spans */
	bool ok;
	bool blocking;    /* if it is not ok, /readyz is 503 */
	char detail[640]; /* room for an error (base/err.h), and what is said around it */
} host_check;

enum { HOST_CHECKS_MAX = 17 };

typedef enum host_result {
	HOST_OK,
	HOST_BAD_REQUEST, /* `e` says what is wrong with the request */
	HOST_NOT_FOUND,   /* `e` says what does not exist */
	HOST_UNAVAILABLE, /* `e` says why there is no answer now */
} host_result;

enum { HOST_PARAMETERS = 32, HOST_NAME_MAX_LEN = 32 }; /* of one question; bytes of the name of one */

typedef struct host_parameter {
	char *name, *value; /* owned */
} host_parameter;

/* A question about figures, as the address has it: each name once, no NUL. */
typedef struct host_question {
	const char *about; /* savings, operation, requests, request, gateways */
	size_t count;
	host_parameter items[HOST_PARAMETERS];
	bool explain; /* whoever asks may ask for decisions, too */
} host_question;

typedef struct ops_host {
	void *ctx;
	/* Fills `out`, which host_snapshot_deinit() releases. False: out of memory. */
	bool (*snapshot)(void *ctx, host_snapshot *out);
	/* Returns how many checks were written. */
	size_t (*checks)(void *ctx, host_check out[HOST_CHECKS_MAX]);
	/* Reloads the configuration and waits until that is done. False: `e` says why nothing changed. */
	bool (*reload)(void *ctx, size_t *routes, err *e);
	/* Writes JSON as `spoa-llm explain --json`. `request`: see explain_json(). */
	host_result (*explain)(void *ctx, const char *request, size_t len, FILE *out, err *e);
	/* Writes the answer to a question about figures. */
	host_result (*figures)(void *ctx, const host_question *q, FILE *out, err *e);
	/* Writes Headroom's GET /stats-history: see headroom_stats_history(). */
	host_result (*stats_history)(void *ctx, const char *series, bool csv, FILE *out, err *e);
} ops_host;

void host_snapshot_deinit(host_snapshot *s);

/* Counts the open file descriptors of this process, and reads their limit; 0: not known. */
void host_open_files(uint64_t *open, uint64_t *most);

#endif

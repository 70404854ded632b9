/* SPDX-License-Identifier: MIT
 *
 * Inside of the admin server: what admin.c, http.c, jobs.c and events.c share.
 *
 * Threads: one of libmicrohttpd for each listener, which never waits for anything; ADMIN_JOB_THREADS that do what takes
 * long (the database, a reload) while the connection is suspended; one that wakes each second for samples, events and
 * connections that take too long. */
#ifndef OPS_ADMIN_IMPL_H
#define OPS_ADMIN_IMPL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "ops/admin.h"
#include "ops/stats.h"
#include "ops/totals.h"

enum { ADMIN_PATH_MAX = 64, ADMIN_HOST_MAX = 256 };

typedef struct http_listener { /* a listener at work */
	admin *admin;
	struct MHD_Daemon *daemon;
	bool local;
	char address[ADMIN_HOST_MAX]; /* lower case */
	size_t connections;           /* connections, under admin.connections_lock */
} http_listener;

/* One connection, for the one thing libmicrohttpd does not watch: how long a request takes in all. */
typedef struct http_connection {
	struct http_connection *next, *prev;
	http_listener *http_listener;
	int fd;
	enum { VISITOR_ASKING, VISITOR_ANSWERED, VISITOR_LISTENING } state;
	int64_t since_ms; /* monotonic: since when it is in that state */
} http_connection;

typedef enum job_kind { JOB_TOTALS, JOB_SAVINGS, JOB_STATS_HISTORY, JOB_EXPLAIN, JOB_RELOAD } job_kind;

typedef struct answer {
	unsigned status;             /* 0: none yet */
	const char *type, *filename; /* static */
	char *text;                  /* owned, from malloc() */
	size_t len;
} answer;

/* One request, from its first line to its end. */
typedef struct request {
	http_listener *http_listener;
	char path[ADMIN_PATH_MAX]; /* as written, without the query; "": longer than any that there is */
	bool begun, too_large, listening;
	char *body;
	size_t body_len;
	answer answer; /* of a job */
} request;

typedef struct job {
	struct job *next;
	job_kind kind;
	struct MHD_Connection *connection; /* suspended; NULL: nobody waits */
	request *request;
	char *texts[3]; /* owned; what the kind needs, NULL: not given */
	size_t len;     /* of texts[0], where that is a request's body */
	bool csv;
} job;

typedef struct listener_of_events listener_of_events;

struct admin {
	ops_host host;
	char *token_source, *ledger_db;
	http_listener listeners[ADMIN_LISTENERS];
	size_t listeners_count;
	atomic_uint_fast64_t requests;

	pthread_mutex_t connections_lock;
	http_connection *connections;

	pthread_mutex_t ring_lock;
	stats_ring ring;

	pthread_mutex_t totals_lock;
	totals *totals; /* NULL: no ledger */

	pthread_mutex_t jobs_lock;
	pthread_cond_t jobs_wake, clock_wake, ended;
	job *jobs, **jobs_end;
	size_t jobs_count;
	bool stopping;
	pthread_t job_threads[ADMIN_JOB_THREADS], clock_thread;
	size_t job_threads_count;
	bool clock_runs;
	size_t running; /* of those threads */
	/* of the clock's thread: when the totals were asked for, and how they stood */
	int64_t totals_asked_ms;
	uint64_t totals_commits;
	_Atomic int64_t totals_took_ms;
	atomic_bool totals_pending;

	pthread_mutex_t events_lock;
	listener_of_events *listening;
	size_t listening_count;
	char *events_text; /* the last /stats */
	size_t events_len;
	uint64_t events_tick, events_ledger;
	bool events_end;
};

/* ---- admin.c: what the clock and the answers share */

/* The JSON of /stats of this moment; NULL: no memory. */
char *admin_stats(admin *a, size_t *len, uint64_t *ledger_version);

/* One that jobs_stop() waits for; it calls admin_thread_ends() last. */
bool admin_thread_start(admin *a, pthread_t *thread, void *(*run)(void *), err *e);
/* Under jobs_lock. */
void admin_thread_ends(admin *a);
/* Joins it where all have ended, and leaves it behind otherwise. */
void admin_thread_end(pthread_t thread, bool ended);

/* ---- jobs.c */

bool jobs_start(admin *a, err *e);
/* Those that wait are answered with 503. False: as admin_stop(). */
bool jobs_stop(admin *a);
/* Takes over `j` and, where it has one, suspends its connection. False: there is no room, `j` is released. */
bool jobs_add(admin *a, job *j);

/* ---- events.c */

/* A response without an end; NULL: there is no room. */
struct MHD_Response *events_open(admin *a, struct MHD_Connection *connection);
/* Takes over `text`, the JSON of /stats. */
void events_publish(admin *a, char *text, size_t len, uint64_t ledger_version);
bool events_wanted(admin *a);
void events_end(admin *a);

/* ---- http.c */

/* libmicrohttpd's callbacks; `cls` is a door. */
void *http_begin(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result http_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
			    const char *version, const char *upload, size_t *upload_len, void **context);
void http_end(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode how);
void http_visit(void *cls, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode what);

#endif

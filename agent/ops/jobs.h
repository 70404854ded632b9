/* SPDX-License-Identifier: MIT
 *
 * Work for an answer that takes long (the database, a reload), done by threads of its own while the connection is
 * suspended. */
#ifndef OPS_JOBS_H
#define OPS_JOBS_H

#include <microhttpd.h>
#include <pthread.h>

#include "ops/host.h"
#include "ops/totals.h"

typedef struct answer {
	unsigned status;             /* 0: none yet */
	const char *type, *filename; /* static */
	char *text;                  /* from malloc(): the body; the error as plain text if `status` is not 200 */
	size_t len;
} answer;

typedef enum job_kind { JOB_TOTALS, JOB_FIGURES, JOB_STATS_HISTORY, JOB_EXPLAIN, JOB_RELOAD } job_kind;

typedef struct job {
	struct job *next;
	job_kind kind;
	struct MHD_Connection *connection; /* resumed when `*answer` is there; NULL: nobody waits */
	answer *answer;                    /* the request's */
	host_question question;            /* FIGURES */
	char *text;                        /* owned. STATS_HISTORY: series; EXPLAIN: the question; NULL: not given */
	size_t len;                        /* of `text` */
	bool csv;
	bool fleet; /* it waits for `spoa-llm ship` */
} job;

typedef struct jobs {
	const ops_host *host;
	totals_cache *totals;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake;
	job *first, **end;
	size_t count;
	bool stopping;
} jobs;

/* Borrows `host` and `cache`. */
void jobs_init(jobs *js, const ops_host *host, totals_cache *cache);
void jobs_deinit(jobs *js);

/* Does jobs until jobs_stop(). Run it in one or more threads; `arg` is the struct jobs. */
void jobs_run(void *arg);

/* Takes over `j` and suspends its connection, if it has one. False: ADMIN_JOBS are waiting already; `j` is released. */
MUST_CHECK bool jobs_add(jobs *js, job *j);

/* Makes jobs_run() return, after it has answered the jobs that wait with 503. */
void jobs_stop(jobs *js);

/* Frees a job that was not added. NULL is ignored. */
void job_free(job *j);

#endif

/* SPDX-License-Identifier: MIT */
#include "ops/jobs.h"

#include <stdlib.h>

#include "ops/admin.h"

void jobs_init(jobs *js, const ops_host *host, totals_cache *cache)
{
	*js = (jobs){ .host = host, .totals = cache };
	js->end = &js->first;
	pthread_mutex_init(&js->lock, NULL);
	pthread_cond_init(&js->wake, NULL);
}

void jobs_deinit(jobs *js)
{
	pthread_mutex_destroy(&js->lock);
	pthread_cond_destroy(&js->wake);
}

void job_free(job *j)
{
	if (!j)
		return;
	/* It may have the key of a client in it. */
	if (j->kind == JOB_EXPLAIN && j->text)
		explicit_bzero(j->text, j->len);
	free(j->text);
	for (size_t i = 0; i < j->question.count; i++) {
		free(j->question.items[i].name);
		free(j->question.items[i].value);
	}
	free(j);
}

/* ---- doing a job */

static unsigned status_of(host_result r)
{
	switch (r) {
	case HOST_OK:
		return MHD_HTTP_OK;
	case HOST_BAD_REQUEST:
		return MHD_HTTP_BAD_REQUEST;
	case HOST_NOT_FOUND:
		return MHD_HTTP_NOT_FOUND;
	case HOST_UNAVAILABLE:
		break;
	}
	return MHD_HTTP_SERVICE_UNAVAILABLE;
}

/* Writes the body of the answer to `f`. Returns the status; if it is not 200, `e` says why. */
static unsigned work(const ops_host *h, const job *j, FILE *f, err *e)
{
	size_t routes = 0;

	switch (j->kind) {
	case JOB_FIGURES:
		return status_of(h->figures(h->ctx, &j->question, f, e));
	case JOB_STATS_HISTORY:
		return status_of(h->stats_history(h->ctx, j->text, j->csv, f, e));
	case JOB_EXPLAIN:
		return status_of(h->explain(h->ctx, j->text ? j->text : "", j->len, f, e));
	case JOB_RELOAD:
		if (!h->reload(h->ctx, &routes, e))
			return MHD_HTTP_UNPROCESSABLE_CONTENT;
		fprintf(f, "{\"reloaded\":true,\"routes\":%zu}\n", routes);
		return MHD_HTTP_OK;
	case JOB_TOTALS:
		break;
	}
	return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static answer answer_error(unsigned status, const char *text)
{
	return (answer){ .status = status, .text = strdup(text) };
}

static answer answer_job(const ops_host *h, const job *j)
{
	answer out = { .type = j->csv ? "text/csv; charset=utf-8" : "application/json" };
	FILE *f = open_memstream(&out.text, &out.len);
	err e = { 0 };

	if (!f)
		return answer_error(MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	out.status = work(h, j, f, &e);
	bool whole = fflush(f) == 0 && !ferror(f);
	fclose(f);
	if (out.status == MHD_HTTP_OK && !whole) {
		out.status = MHD_HTTP_SERVICE_UNAVAILABLE;
		err_memory(&e);
	}
	if (out.status != MHD_HTTP_OK) {
		free(out.text);
		return answer_error(out.status, e.text);
	}
	if (j->csv)
		out.filename = j->kind == JOB_STATS_HISTORY               ? "stats-history.csv" :
			       strcmp(j->question.about, "requests") == 0 ? "requests.csv" :
									    "savings.csv";
	return out;
}

static void do_job(const jobs *js, const job *j, bool stopping)
{
	if (j->kind == JOB_TOTALS && !stopping)
		totals_refresh(js->totals);
	if (!j->connection)
		return;
	*j->answer = stopping ? answer_error(MHD_HTTP_SERVICE_UNAVAILABLE, "the agent is stopping") :
				answer_job(js->host, j);
	MHD_resume_connection(j->connection);
}

/* ---- the queue */

void jobs_run(void *arg)
{
	jobs *js = arg;

	pthread_mutex_lock(&js->lock);
	for (;;) {
		while (!js->first && !js->stopping)
			pthread_cond_wait(&js->wake, &js->lock);
		job *j = js->first;
		if (!j)
			break;
		js->first = j->next;
		if (!js->first)
			js->end = &js->first;
		js->count--;
		bool stopping = js->stopping;
		pthread_mutex_unlock(&js->lock);
		do_job(js, j, stopping);
		job_free(j);
		pthread_mutex_lock(&js->lock);
	}
	pthread_mutex_unlock(&js->lock);
}

bool jobs_add(jobs *js, job *j)
{
	pthread_mutex_lock(&js->lock);
	bool room = !js->stopping && js->count < ADMIN_JOBS;
	if (room) {
		/* Before a thread can take the job, which resumes the connection. */
		if (j->connection)
			MHD_suspend_connection(j->connection);
		j->next = NULL;
		*js->end = j;
		js->end = &j->next;
		js->count++;
		pthread_cond_signal(&js->wake);
	}
	pthread_mutex_unlock(&js->lock);
	if (!room)
		job_free(j);
	return room;
}

void jobs_stop(jobs *js)
{
	pthread_mutex_lock(&js->lock);
	js->stopping = true;
	pthread_cond_broadcast(&js->wake);
	pthread_mutex_unlock(&js->lock);
}

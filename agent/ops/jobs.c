/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "ops/admin_impl.h"

static void job_free(job *j)
{
	for (size_t i = 0; i < sizeof j->texts / sizeof j->texts[0]; i++)
		free(j->texts[i]);
	free(j);
}

static void write_error(FILE *f, const char *text)
{
	fputs("{\"error\":", f);
	json_write_text(f, text);
	fputs("}\n", f);
}

static unsigned status_of(host_result r)
{
	switch (r) {
	case HOST_OK:
		return MHD_HTTP_OK;
	case HOST_BAD_REQUEST:
		return MHD_HTTP_BAD_REQUEST;
	case HOST_UNAVAILABLE:
		break;
	}
	return MHD_HTTP_SERVICE_UNAVAILABLE;
}

/* What a job writes into `f`; the status. */
static unsigned work(admin *a, const job *j, FILE *f, err *e)
{
	const ops_host *h = &a->host;
	size_t routes = 0;

	switch (j->kind) {
	case JOB_SAVINGS:
		return status_of(h->savings(h->ctx, j->texts[0], j->texts[1], j->texts[2], j->csv, f, e));
	case JOB_STATS_HISTORY:
		return status_of(h->stats_history(h->ctx, j->texts[0], j->csv, f, e));
	case JOB_EXPLAIN:
		return status_of(h->explain(h->ctx, j->texts[0] ? j->texts[0] : "", j->len, f, e));
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

static void answer_error(answer *out, unsigned status, const char *text)
{
	FILE *f = open_memstream(&out->text, &out->len);

	out->status = status;
	out->type = "application/json";
	if (!f)
		return;
	write_error(f, text);
	fclose(f);
}

static void answer_job(admin *a, const job *j)
{
	answer out = { .type = j->csv ? "text/csv; charset=utf-8" : "application/json" };
	FILE *f = open_memstream(&out.text, &out.len);
	err e = { 0 };

	if (f) {
		out.status = work(a, j, f, &e);
		bool whole = fflush(f) == 0 && !ferror(f);
		fclose(f);
		if (out.status == MHD_HTTP_OK && !whole) {
			out.status = MHD_HTTP_SERVICE_UNAVAILABLE;
			err_memory(&e);
		}
	} else {
		out.status = MHD_HTTP_SERVICE_UNAVAILABLE;
		err_memory(&e);
	}
	if (out.status != MHD_HTTP_OK) {
		unsigned status = out.status;
		free(out.text);
		out = (answer){ .text = NULL };
		answer_error(&out, status, e.text);
	} else if (j->csv) {
		out.filename = j->kind == JOB_SAVINGS ? "savings.csv" : "stats-history.csv";
	}
	j->request->answer = out;
}

static void read_totals(admin *a)
{
	int64_t began = clock_mono_ms();
	totals *fresh = malloc(sizeof *fresh);
	err e = { 0 };

	if (fresh) {
		/* Only this job writes them, and there is one at a time. */
		*fresh = *a->totals;
		if (totals_read(fresh, a->ledger_db, &e)) {
			pthread_mutex_lock(&a->totals_lock);
			*a->totals = *fresh;
			pthread_mutex_unlock(&a->totals_lock);
		} else {
			log_event(totals_unread, LOG_C("problem", e.text));
		}
	}
	free(fresh);
	a->totals_took_ms = clock_mono_ms() - began;
	a->totals_pending = false;
}

static void *job_main(void *arg)
{
	admin *a = arg;

	pthread_mutex_lock(&a->jobs_lock);
	for (;;) {
		while (!a->jobs && !a->stopping)
			pthread_cond_wait(&a->jobs_wake, &a->jobs_lock);
		job *j = a->jobs;
		if (!j)
			break;
		a->jobs = j->next;
		if (!a->jobs)
			a->jobs_end = &a->jobs;
		a->jobs_count--;
		bool stopping = a->stopping;
		pthread_mutex_unlock(&a->jobs_lock);
		if (j->kind == JOB_TOTALS && !stopping)
			read_totals(a);
		else if (j->connection && stopping)
			answer_error(&j->request->answer, MHD_HTTP_SERVICE_UNAVAILABLE, "the agent is stopping");
		else if (j->connection)
			answer_job(a, j);
		if (j->connection)
			MHD_resume_connection(j->connection);
		job_free(j);
		pthread_mutex_lock(&a->jobs_lock);
	}
	admin_thread_ends(a);
	pthread_mutex_unlock(&a->jobs_lock);
	return NULL;
}

bool jobs_add(admin *a, job *j)
{
	pthread_mutex_lock(&a->jobs_lock);
	bool room = !a->stopping && a->jobs_count < ADMIN_JOBS;
	if (room) {
		/* Before a thread may resume it. */
		if (j->connection)
			MHD_suspend_connection(j->connection);
		j->next = NULL;
		*a->jobs_end = j;
		a->jobs_end = &j->next;
		a->jobs_count++;
		pthread_cond_signal(&a->jobs_wake);
	}
	pthread_mutex_unlock(&a->jobs_lock);
	if (!room)
		job_free(j);
	return room;
}

bool jobs_start(admin *a, err *e)
{
	bool ok = true;

	while (ok && a->job_threads_count < ADMIN_JOB_THREADS) {
		ok = admin_thread_start(a, &a->job_threads[a->job_threads_count], job_main, e);
		a->job_threads_count += ok;
	}
	return ok;
}

bool jobs_stop(admin *a)
{
	struct timespec until = clock_timespec(clock_mono_ms() + ADMIN_STOP_S * 1000);

	pthread_mutex_lock(&a->jobs_lock);
	a->stopping = true;
	pthread_cond_broadcast(&a->jobs_wake);
	pthread_cond_broadcast(&a->clock_wake);
	while (a->running && pthread_cond_timedwait(&a->ended, &a->jobs_lock, &until) != ETIMEDOUT)
		;
	bool ended = !a->running;
	pthread_mutex_unlock(&a->jobs_lock);
	while (a->job_threads_count)
		admin_thread_end(a->job_threads[--a->job_threads_count], ended);
	return ended;
}

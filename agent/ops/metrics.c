/* SPDX-License-Identifier: MIT
 *
 * Names are Prometheus's: base units, counters end in _total. Labels are bounded: routes by the route table (and what
 * it held before a reload), codes and protocols by the program, models by TOTALS_LABELS.
 *
 * gen_ai_client_token_usage_total is OpenTelemetry's gen_ai.client.token.usage with its attributes as labels. There it
 * is a histogram of the tokens of single requests; the ledger has sums, so it is a counter here. */
#include "ops/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/text.h"
#include "ledger/provider.h"
#include "ops/stats.h"

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void value_u(FILE *f, uint64_t n)
{
	fprintf(f, " %" PRIu64 "\n", n);
}

static void value_s(FILE *f, double seconds)
{
	fprintf(f, " %.9g\n", seconds);
}

static void one(FILE *f, const char *name, const char *type, const char *help, uint64_t n)
{
	head(f, name, type, help);
	fputs(name, f);
	value_u(f, n);
}

static void one_s(FILE *f, const char *name, const char *type, const char *help, double seconds)
{
	head(f, name, type, help);
	fputs(name, f);
	value_s(f, seconds);
}

static void one_time(FILE *f, const char *name, const char *help, int64_t ms)
{
	head(f, name, "gauge", help);
	fprintf(f, "%s %.3f\n", name, (double)ms / 1000);
}

/* A label's value: UTF-8, with \ " and newlines escaped. */
static void text(FILE *f, const char *value)
{
	while (*value) {
		const char *begin = value;
		uint32_t c = utf8_next(&value);
		if (c == '\n')
			fputs("\\n", f);
		else if (c == '"' || c == '\\')
			fprintf(f, "\\%c", (char)c);
		else if (c == 0xfffd && value - begin == 1)
			fputs("\xef\xbf\xbd", f);
		else
			fwrite(begin, 1, (size_t)(value - begin), f);
	}
}

/* name{label="value",...}; pairs of const char *, ended by NULL. */
__attribute__((sentinel)) static void labelled(FILE *f, const char *name, ...)
{
	va_list args;
	const char *label;
	bool any = false;

	fputs(name, f);
	va_start(args, name);
	while ((label = va_arg(args, const char *))) {
		fprintf(f, "%c%s=\"", any ? ',' : '{', label);
		text(f, va_arg(args, const char *));
		fputc('"', f);
		any = true;
	}
	va_end(args);
	fputs("}", f);
}

/* ---- the process */

static uint64_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	/* . and .. and the directory's own */
	return n > 3 ? n - 3 : 0;
}

static uint64_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char text[128];
	/* The second number. */
	const char *at = f && fgets(text, sizeof text, f) ? strchr(text, ' ') : NULL;
	uint64_t pages = at ? strtoull(at, NULL, 10) : 0;

	if (f)
		fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_process(FILE *f, const host_snapshot *s)
{
	struct rusage used;
	struct rlimit files;

	head(f, "spoa_llm_build_info", "gauge", "Always 1; the label is the version.");
	labelled(f, "spoa_llm_build_info", "version", s->version, NULL);
	value_u(f, 1);
	one_time(f, "process_start_time_seconds", "When the worker process began, in seconds since 1970.",
		 s->started_ms);
	if (getrusage(RUSAGE_SELF, &used) == 0)
		one_s(f, "process_cpu_seconds_total", "counter", "CPU time of the worker process.",
		      (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
			      (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	one(f, "process_resident_memory_bytes", "gauge", "Memory that the worker process holds.", resident());
	one(f, "process_open_fds", "gauge", "Descriptors that are open.", open_files());
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		one(f, "process_max_fds", "gauge", "Descriptors that may be open.", files.rlim_cur);
	one(f, "spoa_llm_restarts_total", "counter",
	    "Times that the master started the worker process again after it crashed or hung.", s->restarts);
	head(f, "spoa_llm_reloads_total", "counter", "Reloads of the configuration; a failure kept the old one.");
	labelled(f, "spoa_llm_reloads_total", "result", "success", NULL);
	value_u(f, s->reloads);
	labelled(f, "spoa_llm_reloads_total", "result", "failure", NULL);
	value_u(f, s->reloads_failed);
	one_time(f, "spoa_llm_last_reload_timestamp_seconds", "When the configuration was last reloaded; 0: never.",
		 s->reloaded_ms);
}

static void write_checks(FILE *f, const host_check *checks, size_t count)
{
	one(f, "spoa_llm_ready", "gauge", "1 where /readyz says 200.", checks_ready(checks, count));
	head(f, "spoa_llm_check_ok", "gauge",
	     "1 where the check of /readyz is fulfilled; those with blocking=\"true\" make it say 503.");
	for (size_t i = 0; i < count; i++) {
		labelled(f, "spoa_llm_check_ok", "part", checks[i].part, "blocking",
			 checks[i].blocking ? "true" : "false", NULL);
		value_u(f, checks[i].ok);
	}
}

/* ---- decisions */

static void write_decisions(FILE *f, const host_snapshot *s)
{
	uint64_t sum = 0;
	char status[16];

	head(f, "spoa_llm_decisions_total", "counter",
	     "Requests that were decided; outcome: passthrough, replace (of the credential), refused.");
	for (size_t i = 0; i < s->decisions_count; i++) {
		const host_decisions *d = &s->decisions[i];
		labelled(f, "spoa_llm_decisions_total", "route", d->route, "protocol", d->protocol, "outcome",
			 d->outcome, NULL);
		value_u(f, d->count);
	}
	head(f, "spoa_llm_refusals_total", "counter",
	     "Requests that were refused, by the code and status that the client gets.");
	for (size_t i = 0; i < s->refusals_count; i++) {
		snprintf(status, sizeof status, "%d", s->refusals[i].status);
		labelled(f, "spoa_llm_refusals_total", "code", s->refusals[i].code, "status", status, NULL);
		value_u(f, s->refusals[i].count);
	}
	head(f, "spoa_llm_decision_duration_seconds", "histogram",
	     "From the frames that were read together to their answers, which leave together.");
	for (size_t i = 0; i <= s->latency_count; i++) {
		char le[32] = "+Inf";
		sum += s->latency[i];
		if (i < s->latency_count)
			snprintf(le, sizeof le, "%.9g", (double)s->latency_bounds_ns[i] / 1e9);
		labelled(f, "spoa_llm_decision_duration_seconds_bucket", "le", le, NULL);
		value_u(f, sum);
	}
	fputs("spoa_llm_decision_duration_seconds_sum", f);
	value_s(f, (double)s->latency_sum_ns / 1e9);
	fputs("spoa_llm_decision_duration_seconds_count", f);
	value_u(f, sum);
	one(f, "spoa_llm_asked_for_more_total", "counter",
	    "Questions for more of a body than was sent at first; no decisions.", s->asked_for_more);
	one(f, "spoa_llm_responses_total", "counter", "Compressed responses that were looked into for their usage.",
	    s->responses);
	one(f, "spoa_llm_routes", "gauge", "Routes of the table.", s->routes_count);
	one(f, "spoa_llm_credentials", "gauge", "Routes that replace the credential.", s->credentials);
	one(f, "spoa_llm_credentials_missing", "gauge",
	    "Of these, those whose credential is not there: they refuse every request.", s->credentials_missing);
}

/* ---- SPOP */

static void write_spop(FILE *f, const host_snapshot *s)
{
	char index[24];

	one(f, "spoa_llm_spop_connections", "gauge", "Connections of HAProxy now.",
	    s->connections_opened - s->connections_closed);
	one(f, "spoa_llm_spop_connections_limit", "gauge", "max_connections.", s->max_connections);
	one(f, "spoa_llm_spop_connections_opened_total", "counter", "Connections that were accepted.",
	    s->connections_opened);
	head(f, "spoa_llm_spop_connections_refused_total", "counter",
	     "Connections that were closed because of a limit.");
	labelled(f, "spoa_llm_spop_connections_refused_total", "limit", "max_connections", NULL);
	value_u(f, s->refused_connections);
	labelled(f, "spoa_llm_spop_connections_refused_total", "limit", "max_memory", NULL);
	value_u(f, s->refused_memory);
	one(f, "spoa_llm_spop_stalled_total", "counter",
	    "Connections that were closed because their answers were never read.", s->stalled);
	one(f, "spoa_llm_spop_backpressure_total", "counter",
	    "Times that reading stopped because answers were not taken.", s->backpressure);
	one(f, "spoa_llm_spop_in_flight_limit", "gauge", "max_in_flight.", s->max_in_flight);
	one(f, "spoa_llm_spop_in_flight_limited_total", "counter",
	    "Times that reading stopped with max_in_flight answers not taken.", s->in_flight_limited);
	one(f, "spoa_llm_spop_healthchecks_total", "counter", "HAProxy's health checks.", s->healthchecks);
	one(f, "spoa_llm_spop_hellos_total", "counter", "Connections that agreed on a protocol.", s->hellos);
	one(f, "spoa_llm_spop_hello_timeouts_total", "counter", "Connections that said nothing in time.",
	    s->hello_timeouts);
	one(f, "spoa_llm_spop_errors_total", "counter",
	    "Connections that were closed because of bytes that are no SPOP.", s->spop_errors);
	one(f, "spoa_llm_spop_accept_pauses_total", "counter", "Times that no descriptor was left for a connection.",
	    s->accept_pauses);
	head(f, "spoa_llm_spop_frames_total", "counter", "SPOP frames of all types.");
	labelled(f, "spoa_llm_spop_frames_total", "direction", "in", NULL);
	value_u(f, s->frames_in);
	labelled(f, "spoa_llm_spop_frames_total", "direction", "out", NULL);
	value_u(f, s->frames_out);
	one(f, "spoa_llm_spop_received_bytes_total", "counter", "Bytes read from HAProxy.", s->bytes_in);
	one(f, "spoa_llm_spop_sent_bytes_total", "counter", "Bytes written to HAProxy.", s->bytes_out);
	one(f, "spoa_llm_spop_buffer_bytes", "gauge", "Memory in the buffers of all connections.", s->memory);
	one(f, "spoa_llm_spop_buffer_limit_bytes", "gauge", "max_memory.", s->max_memory);
	head(f, "spoa_llm_thread_decisions_total", "counter", "Requests decided by each thread.");
	for (size_t i = 0; i < s->threads_count; i++) {
		snprintf(index, sizeof index, "%zu", i);
		labelled(f, "spoa_llm_thread_decisions_total", "thread", index, NULL);
		value_u(f, s->threads[i].decisions);
	}
	head(f, "spoa_llm_thread_turns_total", "counter",
	     "Turns of each thread's loop; a thread that is stuck has none.");
	for (size_t i = 0; i < s->threads_count; i++) {
		snprintf(index, sizeof index, "%zu", i);
		labelled(f, "spoa_llm_thread_turns_total", "thread", index, NULL);
		value_u(f, s->threads[i].turns);
	}
}

/* ---- the ledger */

static void write_ledger(FILE *f, const host_snapshot *s)
{
	const ledger_stats *l = &s->ledger;

	head(f, "spoa_llm_ledger_state", "gauge",
	     "1 for the state that the ledger is in: ok, behind (locked or catching up), failing.");
	for (int state = LEDGER_OK; state <= LEDGER_FAILING; state++) {
		labelled(f, "spoa_llm_ledger_state", "state", ledger_state_name((ledger_state)state), NULL);
		value_u(f, (int)l->state == state);
	}
	one(f, "spoa_llm_ledger_lines_total", "counter", "Log lines that came in, of all kinds.", l->lines);
	one(f, "spoa_llm_ledger_duplicate_lines_total", "counter", "Second copies; every line is sent twice.",
	    l->duplicates);
	one(f, "spoa_llm_ledger_foreign_lines_total", "counter", "Lines without the key: dropped.", l->foreign);
	one(f, "spoa_llm_ledger_malformed_lines_total", "counter", "Lines that could not be read: dropped.",
	    l->malformed);
	one(f, "spoa_llm_ledger_dropped_lines_total", "counter",
	    "Datagrams that the kernel had no room for; their copies may have come in.", l->dropped);
	one(f, "spoa_llm_ledger_records_total", "counter", "Requests that were written to the journal.", l->records);
	one(f, "spoa_llm_ledger_stored_total", "counter", "Requests that were stored in the database.", l->stored);
	one(f, "spoa_llm_ledger_queued_records", "gauge", "Requests on their way from the journal to the database.",
	    l->queued);
	one(f, "spoa_llm_ledger_commits_total", "counter", "Transactions of the database.", l->commits);
	one_s(f, "spoa_llm_ledger_last_commit_duration_seconds", "gauge", "How long the last transaction took.",
	      (double)l->commit_us_last / 1e6);
	one_s(f, "spoa_llm_ledger_max_commit_duration_seconds", "gauge", "How long the longest transaction took.",
	      (double)l->commit_us_max / 1e6);
	one(f, "spoa_llm_journal_bytes", "gauge", "Size of the journal on disk.", l->journal.bytes);
	one(f, "spoa_llm_journal_limit_bytes", "gauge", "journal_max.", s->journal_max);
	one(f, "spoa_llm_journal_segments", "gauge", "Files of the journal.", l->journal.segments);
	one(f, "spoa_llm_journal_waiting_bytes", "gauge", "Bytes in memory that the disk has not taken.",
	    l->journal.waiting);
	one(f, "spoa_llm_journal_failing", "gauge", "1 while the disk refuses the journal.", l->journal.failing);
	one(f, "spoa_llm_journal_failures_total", "counter", "Writes and syncs that the disk refused.",
	    l->journal.failed);
	one(f, "spoa_llm_journal_dropped_records_total", "counter",
	    "Requests that were lost because neither disk nor memory had room.", l->journal.dropped);
	one(f, "spoa_llm_journal_damaged_total", "counter",
	    "Places that could not be read when the journal was read again.", l->journal.torn + l->journal.corrupt);
}

static size_t rows_of(const totals_group *g)
{
	return g->count + g->has_other;
}

static const store_sums *row_of(const totals_group *g, size_t i)
{
	return i < g->count ? &g->rows[i] : &g->rows[TOTALS_LABELS];
}

static void money(FILE *f, int64_t nano)
{
	fprintf(f, " %.17g\n", (double)nano / 1e9);
}

static uint64_t count(int64_t n)
{
	return n > 0 ? (uint64_t)n : 0;
}

/* OpenTelemetry's name of who serves a model; "": not known. */
static const char *provider_name(const char *model)
{
	const char *provider = model_provider(model);
	return strcmp(provider, "gemini") == 0 ? "gcp.gemini" : strcmp(provider, "unknown") == 0 ? "" : provider;
}

typedef enum which { REQUESTS, COST, SAVED, UNPRICED } which;

static void write_group(FILE *f, const totals_group *g, const char *name, const char *label, which w)
{
	for (size_t i = 0; i < rows_of(g); i++) {
		const store_sums *r = row_of(g, i);
		const struct {
			const char *kind;
			int64_t nano;
		} kinds[] = { { "compression", r->saved_compression },
			      { "cache", r->saved_cache },
			      { "routing", r->saved_routing } };
		switch (w) {
		case REQUESTS:
		case UNPRICED:
			labelled(f, name, label, r->label, NULL);
			value_u(f, count(w == REQUESTS ? r->requests : r->unpriced_requests));
			break;
		case COST:
			labelled(f, name, label, r->label, NULL);
			money(f, r->cost > 0 ? r->cost : 0);
			break;
		case SAVED:
			for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
				labelled(f, name, label, r->label, "kind", kinds[k].kind, NULL);
				money(f, kinds[k].nano);
			}
			break;
		}
	}
}

static void write_totals(FILE *f, const totals *t)
{
	const totals_group *m = &t->models;

	head(f, "gen_ai_client_token_usage_total", "counter",
	     "Tokens of all recorded requests, OpenTelemetry's gen_ai.client.token.usage as a sum; input without what was cached.");
	for (size_t i = 0; i < rows_of(m); i++) {
		const store_sums *r = row_of(m, i);
		const struct {
			const char *type;
			int64_t tokens;
		} types[] = { { "input", r->input },
			      { "output", r->output },
			      { "cache_read", r->cache_read },
			      { "cache_write", r->cache_write } };
		for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
			labelled(f, "gen_ai_client_token_usage_total", "gen_ai_request_model", r->label,
				 "gen_ai_provider_name", provider_name(r->label), "gen_ai_token_type", types[k].type,
				 NULL);
			value_u(f, count(types[k].tokens));
		}
	}
	head(f, "spoa_llm_model_requests_total", "counter", "Recorded requests by model.");
	write_group(f, m, "spoa_llm_model_requests_total", "model", REQUESTS);
	head(f, "spoa_llm_model_unpriced_requests_total", "counter",
	     "Recorded requests with tokens that the price table has no price for.");
	write_group(f, m, "spoa_llm_model_unpriced_requests_total", "model", UNPRICED);
	head(f, "spoa_llm_model_cost_usd_total", "counter", "Dollars that recorded requests cost, by model.");
	write_group(f, m, "spoa_llm_model_cost_usd_total", "model", COST);
	head(f, "spoa_llm_model_saved_usd", "gauge",
	     "Dollars saved since the ledger was begun, by model; may be negative, and go down.");
	write_group(f, m, "spoa_llm_model_saved_usd", "model", SAVED);
	head(f, "spoa_llm_route_requests_total", "counter", "Recorded requests by route.");
	write_group(f, &t->routes, "spoa_llm_route_requests_total", "route", REQUESTS);
	head(f, "spoa_llm_route_cost_usd_total", "counter", "Dollars that recorded requests cost, by route.");
	write_group(f, &t->routes, "spoa_llm_route_cost_usd_total", "route", COST);
	head(f, "spoa_llm_route_saved_usd", "gauge",
	     "Dollars saved since the ledger was begun, by route; may be negative, and go down.");
	write_group(f, &t->routes, "spoa_llm_route_saved_usd", "route", SAVED);
}

void metrics_write(FILE *f, const host_snapshot *s, const host_check *checks, size_t checks_count, const totals *t,
		   uint64_t admin_requests)
{
	write_process(f, s);
	write_checks(f, checks, checks_count);
	write_decisions(f, s);
	write_spop(f, s);
	if (s->ledger_kept)
		write_ledger(f, s);
	if (s->ledger_kept && t)
		write_totals(f, t);
	one(f, "spoa_llm_admin_requests_total", "counter", "Requests that the admin server answered.", admin_requests);
}

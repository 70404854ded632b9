/* SPDX-License-Identifier: MIT
 *
 * Names follow Prometheus's rules: base units, counters end in _total. The number of labels is limited: routes by the
 * route table (and what it held before a reload), codes and protocols by the program, models by TOTALS_LABELS, clients
 * and projects with budgets by BUDGETS_SHOWN. */
#include "ops/metrics_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/text.h"
#include "ledger/provider.h"
#include "ops/stats.h"

/* ---- the process */

static uint64_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char text[128];
	/* The second number: resident pages. */
	const char *at = f && fgets(text, sizeof text, f) ? strchr(text, ' ') : NULL;
	uint64_t pages = at ? strtoull(at, NULL, 10) : 0;

	if (f)
		fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_process(FILE *f, const host_snapshot *s)
{
	struct rusage used;
	uint64_t open, most;

	head(f, "spoa_llm_build_info", "gauge", "Always 1. The label has the version.");
	labelled(f, "spoa_llm_build_info", "version", s->version, NULL);
	value_u(f, 1);
	one_time(f, "process_start_time_seconds", "When the worker process started, in seconds since 1970.",
		 s->started_ms);
	if (getrusage(RUSAGE_SELF, &used) == 0)
		one_s(f, "process_cpu_seconds_total", "counter", "CPU time of the worker process.",
		      (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
			      (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	one(f, "process_resident_memory_bytes", "gauge", "Resident memory of the worker process.", resident());
	host_open_files(&open, &most);
	one(f, "process_open_fds", "gauge", "Open file descriptors of the worker process.", open);
	if (most)
		one(f, "process_max_fds", "gauge", "Limit of open file descriptors.", most);
	one(f, "spoa_llm_restarts_total", "counter",
	    "How often the master restarted the worker process after a crash or a hang.", s->restarts);
	head(f, "spoa_llm_reloads_total", "counter", "Reloads of the configuration. A failed reload kept the old one.");
	labelled(f, "spoa_llm_reloads_total", "result", "success", NULL);
	value_u(f, s->reloads);
	labelled(f, "spoa_llm_reloads_total", "result", "failure", NULL);
	value_u(f, s->reloads_failed);
	one_time(f, "spoa_llm_last_reload_timestamp_seconds", "When the configuration was last reloaded; 0: never.",
		 s->reloaded_ms);
}

static void write_checks(FILE *f, const host_check *checks, size_t count)
{
	one(f, "spoa_llm_ready", "gauge", "1 if /readyz answers 200.", checks_ready(checks, count));
	head(f, "spoa_llm_check_ok", "gauge",
	     "1 if this check of /readyz passes. One with blocking=\"true\" that fails makes /readyz answer 503.");
	for (size_t i = 0; i < count; i++) {
		labelled(f, "spoa_llm_check_ok", "part", checks[i].part, "blocking",
			 checks[i].blocking ? "true" : "false", NULL);
		value_u(f, checks[i].ok);
	}
}

/* ---- decisions */

static void write_expiry(FILE *f, const host_snapshot *s)
{
	head(f, "spoa_llm_credential_expires_timestamp_seconds", "gauge",
	     "When the credential of a route expires, as its file says, in seconds since 1970.");
	for (size_t i = 0; i < s->routes_count; i++) {
		const host_route *r = &s->routes[i];
		bool twice = false;
		for (size_t n = 0; n < i && !twice; n++)
			twice = s->routes[n].enabled && s->routes[n].expires_ms &&
				strcmp(s->routes[n].name, r->name) == 0;
		if (!r->enabled || !r->expires_ms || twice)
			continue;
		labelled(f, "spoa_llm_credential_expires_timestamp_seconds", "route", r->name, NULL);
		fprintf(f, " %.3f\n", (double)r->expires_ms / 1000);
	}
}

static void write_decisions(FILE *f, const host_snapshot *s)
{
	uint64_t sum = 0;
	char status[16];

	head(f, "spoa_llm_decisions_total", "counter",
	     "Decided requests. outcome: passthrough (the client's credential), replace (the route's credential), "
	     "refused, answered (by the gateway itself).");
	for (size_t i = 0; i < s->decisions_count; i++) {
		const host_decisions *d = &s->decisions[i];
		labelled(f, "spoa_llm_decisions_total", "route", d->route, "protocol", d->protocol, "outcome",
			 d->outcome, NULL);
		value_u(f, d->count);
	}
	head(f, "spoa_llm_refusals_total", "counter", "Refused requests, by the code and status that the client gets.");
	for (size_t i = 0; i < s->refusals_count; i++) {
		snprintf(status, sizeof status, "%d", s->refusals[i].status);
		labelled(f, "spoa_llm_refusals_total", "code", s->refusals[i].code, "status", status, NULL);
		value_u(f, s->refusals[i].count);
	}
	head(f, "spoa_llm_decision_duration_seconds", "histogram",
	     "Time from reading frames to writing their answers. Frames read together are answered together.");
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
	    "How often HAProxy was asked for more of a body. These are no decisions.", s->asked_for_more);
	one(f, "spoa_llm_responses_total", "counter",
	    "Compressed responses that were decompressed to find their usage.", s->responses);
	one(f, "spoa_llm_contract_outdated_total", "counter",
	    "Decisions about requests of a haproxy.cfg and spoe.conf whose contract does not fit the agent.",
	    s->contract_outdated);
	one(f, "spoa_llm_backends_differ_total", "counter",
	    "Decisions about requests of a HAProxy whose backends were made for other routes.", s->backends_differ);
	one(f, "spoa_llm_unrecorded_total", "counter",
	    "Decisions about requests of a HAProxy that sends no records (LLM_LEDGER=off).", s->unrecorded);
	head(f, "spoa_llm_backends_info", "gauge", "The hash of HAProxy's backends for these routes; always 1.");
	labelled(f, "spoa_llm_backends_info", "hash", s->backends_hash, NULL);
	value_u(f, 1);
	one(f, "spoa_llm_routes", "gauge", "Configured routes.", s->routes_count);
	one(f, "spoa_llm_credentials", "gauge", "Routes that replace the credential.", s->credentials);
	one(f, "spoa_llm_credentials_missing", "gauge",
	    "Routes that replace the credential and refuse every request, because it is missing.",
	    s->credentials_missing);
	one(f, "spoa_llm_credentials_expiring", "gauge",
	    "Routes whose credential expires within three minutes, and whose file has no newer one.",
	    s->credentials_expiring);
	write_expiry(f, s);
}

/* ---- SPOP */

static void write_spop(FILE *f, const host_snapshot *s)
{
	char index[24];

	one(f, "spoa_llm_spop_connections", "gauge", "Open connections of HAProxy.",
	    s->connections_opened - s->connections_closed);
	one(f, "spoa_llm_spop_connections_limit", "gauge", "max_connections.", s->max_connections);
	one(f, "spoa_llm_spop_connections_opened_total", "counter", "Accepted connections.", s->connections_opened);
	head(f, "spoa_llm_spop_connections_refused_total", "counter",
	     "Connections that were closed because a limit was reached.");
	labelled(f, "spoa_llm_spop_connections_refused_total", "limit", "max_connections", NULL);
	value_u(f, s->refused_connections);
	labelled(f, "spoa_llm_spop_connections_refused_total", "limit", "max_memory", NULL);
	value_u(f, s->refused_memory);
	one(f, "spoa_llm_spop_stalled_total", "counter",
	    "Connections that were closed because HAProxy did not read its answers.", s->stalled);
	one(f, "spoa_llm_spop_backpressure_total", "counter",
	    "How often reading from a connection stopped until HAProxy took its answers.", s->backpressure);
	one(f, "spoa_llm_spop_in_flight_limit", "gauge", "max_in_flight.", s->max_in_flight);
	one(f, "spoa_llm_spop_in_flight_limited_total", "counter",
	    "How often reading from a connection stopped because max_in_flight answers were not taken yet.",
	    s->in_flight_limited);
	one(f, "spoa_llm_spop_healthchecks_total", "counter", "HAProxy's health checks.", s->healthchecks);
	one(f, "spoa_llm_spop_hellos_total", "counter", "Connections that completed the SPOP handshake.", s->hellos);
	one(f, "spoa_llm_spop_hellos_short_total", "counter",
	    "SPOP handshakes in which HAProxy offered larger frames than the agent takes.", s->hellos_short);
	one(f, "spoa_llm_spop_hello_timeouts_total", "counter",
	    "Connections that were closed because no handshake came in time.", s->hello_timeouts);
	one(f, "spoa_llm_spop_errors_total", "counter",
	    "Connections that were closed because what came is not valid SPOP.", s->spop_errors);
	one(f, "spoa_llm_spop_accept_pauses_total", "counter",
	    "How often accepting paused because no file descriptor was left.", s->accept_pauses);
	head(f, "spoa_llm_spop_frames_total", "counter", "SPOP frames of all types.");
	labelled(f, "spoa_llm_spop_frames_total", "direction", "in", NULL);
	value_u(f, s->frames_in);
	labelled(f, "spoa_llm_spop_frames_total", "direction", "out", NULL);
	value_u(f, s->frames_out);
	one(f, "spoa_llm_spop_received_bytes_total", "counter", "Bytes read from HAProxy.", s->bytes_in);
	one(f, "spoa_llm_spop_sent_bytes_total", "counter", "Bytes written to HAProxy.", s->bytes_out);
	one(f, "spoa_llm_spop_buffer_bytes", "gauge", "Memory of the buffers of all connections.", s->memory);
	one(f, "spoa_llm_spop_buffer_limit_bytes", "gauge", "max_memory.", s->max_memory);
	head(f, "spoa_llm_thread_decisions_total", "counter", "Requests decided by each thread.");
	for (size_t i = 0; i < s->threads_count; i++) {
		snprintf(index, sizeof index, "%zu", i);
		labelled(f, "spoa_llm_thread_decisions_total", "thread", index, NULL);
		value_u(f, s->threads[i].decisions);
	}
	head(f, "spoa_llm_thread_turns_total", "counter",
	     "Event loop iterations of each thread. A thread that hangs has none.");
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
	     "1 for the current state of the ledger: ok, behind (the database is locked, or records wait), failing.");
	for (int state = LEDGER_OK; state <= LEDGER_FAILING; state++) {
		labelled(f, "spoa_llm_ledger_state", "state", ledger_state_name((ledger_state)state), NULL);
		value_u(f, (int)l->state == state);
	}
	one(f, "spoa_llm_ledger_lines_total", "counter", "Received log lines of all kinds.", l->lines);
	one(f, "spoa_llm_ledger_duplicate_lines_total", "counter",
	    "Second copies of lines. HAProxy sends each line twice.", l->duplicates);
	one(f, "spoa_llm_ledger_foreign_lines_total", "counter", "Lines that were ignored because they lack the key.",
	    l->foreign);
	one(f, "spoa_llm_ledger_malformed_lines_total", "counter",
	    "Lines that were ignored because they are malformed.", l->malformed);
	one(f, "spoa_llm_ledger_dropped_lines_total", "counter",
	    "Lines that the kernel dropped for lack of room. Their second copies may have arrived.", l->dropped);
	one(f, "spoa_llm_ledger_records_total", "counter", "Requests written to the journal.", l->records);
	head(f, "spoa_llm_ledger_usage_records_total", "counter",
	     "Stored requests by where their token counts come from: reported, stream, partial, estimated, unknown; none: they used nothing.");
	for (usage_from u = USAGE_NONE; u <= USAGE_STREAM; u++) {
		labelled(f, "spoa_llm_ledger_usage_records_total", "usage_from", usage_from_name(u), NULL);
		value_u(f, l->usage[u]);
	}
	one(f, "spoa_llm_ledger_reports_total", "counter", "Received reports of the tap.", l->reports);
	one(f, "spoa_llm_ledger_malformed_reports_total", "counter",
	    "Reports of the tap that were ignored because they are malformed.", l->reports_malformed);
	one(f, "spoa_llm_ledger_joined_reports_total", "counter",
	    "Reports that were joined with the row of their request.", l->joined);
	one(f, "spoa_llm_ledger_orphaned_reports_total", "counter",
	    "Reports that were given up, because the log line of their request did not come within a day.", l->orphans);
	one(f, "spoa_llm_ledger_stored_total", "counter", "Requests stored in the database.", l->stored);
	one(f, "spoa_llm_ledger_queued_records", "gauge",
	    "Requests that are in the journal but not in the database yet.", l->queued);
	one(f, "spoa_llm_ledger_commits_total", "counter", "Transactions of the database.", l->commits);
	one_s(f, "spoa_llm_ledger_last_commit_duration_seconds", "gauge", "How long the last transaction took.",
	      (double)l->commit_us_last / 1e6);
	one_s(f, "spoa_llm_ledger_max_commit_duration_seconds", "gauge", "How long the longest transaction took.",
	      (double)l->commit_us_max / 1e6);
	one(f, "spoa_llm_journal_bytes", "gauge", "Size of the journal on disk.", l->journal.bytes);
	one(f, "spoa_llm_journal_limit_bytes", "gauge", "journal_max.", s->journal_max);
	one(f, "spoa_llm_journal_segments", "gauge", "Files of the journal.", l->journal.segments);
	one(f, "spoa_llm_journal_waiting_bytes", "gauge", "Bytes in memory that are not written to the journal yet.",
	    l->journal.waiting);
	one(f, "spoa_llm_journal_failing", "gauge", "1 while the journal cannot be written.", l->journal.failing);
	one(f, "spoa_llm_journal_failures_total", "counter", "Writes and syncs of the journal that failed.",
	    l->journal.failed);
	one(f, "spoa_llm_journal_dropped_records_total", "counter",
	    "Requests that were lost because neither the journal nor memory had room.", l->journal.dropped);
	one(f, "spoa_llm_journal_damaged_total", "counter",
	    "Damaged places that were found when the journal was read at the start.",
	    l->journal.torn + l->journal.corrupt);
}

/* ---- the tap */

/* A metric of one number of the taps. It has no value before a tap was heard: counters that began at 0 in a new worker
 * process would jump by all that the taps have counted. */
static void tap_one(FILE *f, const host_tap *t, const char *name, const char *type, const char *help, tap_number n)
{
	head(f, name, type, help);
	if (!t->ever)
		return;
	fputs(name, f);
	value_u(f, t->numbers[n]);
}

static void write_tap(FILE *f, const host_tap *t, uint64_t fallbacks)
{
	static const struct {
		const char *by;
		tap_number number;
	} cut[] = { { "client", TAP_CUT_CLIENT }, { "upstream", TAP_CUT_UPSTREAM } };

	one(f, "spoa_llm_tap_up", "gauge", "How many processes `spoa-llm tap` say that they run.", t->processes);
	one(f, "spoa_llm_tap_draining", "gauge", "How many of them take no new streams.", t->draining);
	tap_one(f, t, "spoa_llm_tap_streams", "gauge", "Streams that go through the tap now.", TAP_STREAMS);
	tap_one(f, t, "spoa_llm_tap_memory_bytes", "gauge", "Memory of the tap for these streams.", TAP_MEMORY);
	tap_one(f, t, "spoa_llm_tap_streams_total", "counter", "Streams that went through the tap.", TAP_STREAMS_TOTAL);
	tap_one(f, t, "spoa_llm_tap_relayed_bytes_total", "counter", "Bytes that the tap passed on.", TAP_BYTES);
	tap_one(f, t, "spoa_llm_tap_reports_total", "counter", "Reports of streams that the tap sent.", TAP_REPORTS);
	tap_one(f, t, "spoa_llm_tap_reports_lost_total", "counter",
		"Reports that the tap gave up, because the agent did not take them in time.", TAP_REPORTS_LOST);
	tap_one(f, t, "spoa_llm_tap_unreadable_total", "counter",
		"Streams that the tap passed on but could not read: compressed, malformed, or beyond a limit.",
		TAP_UNREADABLE);
	tap_one(f, t, "spoa_llm_tap_full_total", "counter",
		"How often the tap took no more streams, for want of memory or because it had the most it may have.",
		TAP_FULL);
	one(f, "spoa_llm_tap_fallbacks_total", "counter",
	    "Recorded requests that should have gone through the tap, and went to their upstream directly.", fallbacks);
	head(f, "spoa_llm_tap_cut_streams_total", "counter", "Streams that broke off, by who ended them.");
	for (size_t i = 0; t->ever && i < sizeof cut / sizeof cut[0]; i++) {
		labelled(f, "spoa_llm_tap_cut_streams_total", "by", cut[i].by, NULL);
		value_u(f, t->numbers[cut[i].number]);
	}
}

/* ---- the fleet */

static void write_fleet(FILE *f, const host_snapshot *s)
{
	const host_fleet *t = &s->fleet;
	static const char *const states[] = { "connecting", "refused", "behind", "ok", "silent" };
	const char *state = host_fleet_state(t);

	head(f, "spoa_llm_fleet_state", "gauge", "1 for the state of `spoa-llm ship`.");
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		labelled(f, "spoa_llm_fleet_state", "state", states[i], NULL);
		value_u(f, strcmp(states[i], state) == 0);
	}
	one(f, "spoa_llm_fleet_unshipped_removed_total", "counter",
	    "Requests that were removed from the ledger before PostgreSQL had them, because fleet_backlog was full.",
	    s->ledger.unshipped);
	one(f, "spoa_llm_fleet_backlog_bytes", "gauge",
	    "What requests take that are older than retention_days and that PostgreSQL does not have; as of the last hour.",
	    s->ledger.backlog);
	one(f, "spoa_llm_fleet_backlog_limit_bytes", "gauge", "fleet_backlog.", s->fleet_backlog);
	if (t->sharers > 0) {
		one(f, "spoa_llm_fleet_budget_gateways", "gauge",
		    "Gateways that spend of the same budgets, this one included, as of the last message about the fleet.",
		    (uint64_t)t->sharers);
		one(f, "spoa_llm_fleet_budget_alone", "gauge",
		    "1: what other gateways spend is not known, and this one has its share of what was left.",
		    t->alone);
	}
	if (!t->ever)
		return;
	one(f, "spoa_llm_fleet_behind", "gauge", "Changes of rows that PostgreSQL does not have, at most.",
	    (uint64_t)t->behind);
	head(f, "spoa_llm_fleet_lag_seconds", "gauge", "For how long PostgreSQL has not had all rows.");
	fprintf(f, "spoa_llm_fleet_lag_seconds %" PRId64 ".%03d\n", t->lag_ms / 1000, (int)(t->lag_ms % 1000));
	one(f, "spoa_llm_fleet_sent_total", "counter", "Rows that were sent to PostgreSQL.", (uint64_t)t->sent);
	one(f, "spoa_llm_fleet_rejected_total", "counter", "Rows that PostgreSQL refused for what is in them.",
	    (uint64_t)t->rejected);
	if (t->gateways < 0)
		return;
	head(f, "spoa_llm_fleet_drift", "gauge", "Other gateways that have other routes or clients than this one.");
	labelled(f, "spoa_llm_fleet_drift", "part", "routes", NULL);
	value_u(f, (uint64_t)t->drift_routes);
	labelled(f, "spoa_llm_fleet_drift", "part", "clients", NULL);
	value_u(f, (uint64_t)t->drift_clients);
}

/* ---- spans */

static void write_spans(FILE *f, const host_spans *t)
{
	static const char *const states[] = { "connecting", "refused", "behind", "ok", "silent" };
	const char *state = t->silent ? "silent" : t->ever ? t->state : "";

	head(f, "spoa_llm_otlp_state", "gauge", "1 for the state of what `spoa-llm ship` sends to the collector.");
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		labelled(f, "spoa_llm_otlp_state", "state", states[i], NULL);
		value_u(f, strcmp(states[i], state) == 0);
	}
	if (!t->ever)
		return;
	one(f, "spoa_llm_otlp_behind", "gauge", "Changes of rows that the collector does not have, at most.",
	    (uint64_t)t->behind);
	head(f, "spoa_llm_otlp_lag_seconds", "gauge", "For how long the collector has not had all rows.");
	fprintf(f, "spoa_llm_otlp_lag_seconds %" PRId64 ".%03d\n", t->lag_ms / 1000, (int)(t->lag_ms % 1000));
	one(f, "spoa_llm_otlp_spans_total", "counter", "Spans that the collector took.", (uint64_t)t->sent);
	one(f, "spoa_llm_otlp_dropped_total", "counter",
	    "Spans that the collector would never take, or whose rows retention removed first.", (uint64_t)t->dropped);
	one(f, "spoa_llm_otlp_unsampled_total", "counter",
	    "Requests without a span, because their clients do not record the trace.", (uint64_t)t->unsampled);
}

/* ---- upstreams */

static void write_times(FILE *f, const char *name, const char *help, const ends *e, bool first)
{
	char series[96], le[32];

	head(f, name, "histogram", help);
	for (size_t i = 0; i < e->places_count; i++) {
		const end_place *p = &e->places[i];
		const end_times *t = first ? &p->first_byte : &p->whole;
		uint64_t sum = 0;
		snprintf(series, sizeof series, "%s_bucket", name);
		for (size_t b = 0; b <= ENDS_BUCKETS; b++) {
			sum += t->buckets[b];
			snprintf(le, sizeof le, "%.9g", b < ENDS_BUCKETS ? (double)ends_bounds_ms[b] / 1000 : 0);
			labelled(f, series, "route", p->route, "backend", p->backend, "le",
				 b < ENDS_BUCKETS ? le : "+Inf", NULL);
			value_u(f, sum);
		}
		snprintf(series, sizeof series, "%s_sum", name);
		labelled(f, series, "route", p->route, "backend", p->backend, NULL);
		fprintf(f, " %.3f\n", (double)t->sum_ms / 1000);
		snprintf(series, sizeof series, "%s_count", name);
		labelled(f, series, "route", p->route, "backend", p->backend, NULL);
		value_u(f, sum);
	}
}

static void write_haproxy_refusals(FILE *f, const ends *e)
{
	static const char name[] = "spoa_llm_haproxy_refusals_total";
	bool unnamed = false;

	head(f, name, "counter",
	     "Requests that HAProxy refused by itself, or answered in place of an upstream, by the code that the client gets.");
	for (size_t i = 0; i < e->places_count; i++) {
		const end_place *p = &e->places[i];
		unnamed = unnamed || (!*p->route && !*p->backend);
		for (unsigned why = 0; why < END_REFUSALS; why++) {
			/* A series that begins above 0 would hide its first count from rate(). */
			if (!p->refusals[why] && !end_refusals[why].upstream && *p->backend)
				continue;
			labelled(f, name, "code", end_refusals[why].code, "route", p->route, "backend", p->backend,
				 NULL);
			value_u(f, p->refusals[why]);
		}
	}
	for (unsigned why = 0; !unnamed && why < END_REFUSALS; why++) {
		labelled(f, name, "code", end_refusals[why].code, "route", "", "backend", "", NULL);
		value_u(f, 0);
	}
}

static void write_ends(FILE *f, const ends *e)
{
	char class[8];

	write_haproxy_refusals(f, e);
	head(f, "spoa_llm_upstream_answers_total", "counter", "Answers of upstreams, by the class of their status.");
	for (size_t i = 0; i < e->places_count; i++) {
		const end_place *p = &e->places[i];
		for (unsigned c = 0; c < ENDS_CLASSES; c++) {
			snprintf(class, sizeof class, "%uxx", c + 1);
			labelled(f, "spoa_llm_upstream_answers_total", "route", p->route, "backend", p->backend,
				 "class", class, NULL);
			value_u(f, p->answers[c]);
		}
	}
	head(f, "spoa_llm_upstream_cut_answers_total", "counter",
	     "Answers that broke off before their end, except where the client left.");
	for (size_t i = 0; i < e->places_count; i++) {
		const end_place *p = &e->places[i];
		labelled(f, "spoa_llm_upstream_cut_answers_total", "route", p->route, "backend", p->backend, NULL);
		value_u(f, p->cut);
	}
	write_times(f, "spoa_llm_upstream_first_byte_seconds",
		    "Time from a request's arrival to the head of the upstream's answer.", e, true);
	write_times(f, "spoa_llm_upstream_duration_seconds",
		    "Time from a request's arrival to the end of the upstream's answer.", e, false);
}

/* ---- pools */

/* One number of one member. `label`, `is`: another label; NULL: there is none. */
static void member_value(FILE *f, const char *name, const end_member *m, const char *label, const char *is,
			 uint64_t value)
{
	labelled(f, name, "route", m->route, "member", m->member, label, is, NULL);
	value_u(f, value);
}

static void write_members(FILE *f, const ends *e)
{
	static const char answers[] = "spoa_llm_member_answers_total", declines[] = "spoa_llm_member_declines_total";
	char class[8];

	head(f, "spoa_llm_member_attempts_total", "counter",
	     "Requests that tried a member of a pool, whatever came of it.");
	for (size_t i = 0; i < e->members_count; i++)
		member_value(f, "spoa_llm_member_attempts_total", &e->members[i], NULL, NULL,
			     ends_attempts(&e->members[i]));
	head(f, answers, "counter",
	     "Answers of members that clients got, by the class of their status. If all members declined, the last one's answer counts.");
	for (size_t i = 0; i < e->members_count; i++) {
		for (unsigned c = 0; c < ENDS_CLASSES; c++) {
			snprintf(class, sizeof class, "%uxx", c + 1);
			member_value(f, answers, &e->members[i], "class", class, e->members[i].answers[c]);
		}
	}
	head(f, "spoa_llm_member_cut_answers_total", "counter",
	     "Answers of members that broke off, except where the client left. HAProxy does not ask for them again.");
	for (size_t i = 0; i < e->members_count; i++)
		member_value(f, "spoa_llm_member_cut_answers_total", &e->members[i], NULL, NULL, e->members[i].cut);
	head(f, declines, "counter",
	     "Requests that a member did not serve, so that they went on to the next one, by reason: the status by which the member declined, unreachable, resting or credential.");
	for (size_t i = 0; i < e->members_count; i++)
		for (unsigned why = 0; why < END_WHYS; why++)
			member_value(f, declines, &e->members[i], "why", end_why_names[why],
				     e->members[i].declined[why]);
	head(f, "spoa_llm_member_unanswered_total", "counter",
	     "Requests that got no answer from the member and tried no other one, or whose client left.");
	for (size_t i = 0; i < e->members_count; i++)
		member_value(f, "spoa_llm_member_unanswered_total", &e->members[i], NULL, NULL,
			     e->members[i].unanswered);
}

static void write_resting(FILE *f, const host_snapshot *s)
{
	head(f, "spoa_llm_member_resting", "gauge",
	     "1 while a member of a pool is passed over, because its upstream declined a request.");
	for (size_t i = 0; i < s->members_count; i++) {
		labelled(f, "spoa_llm_member_resting", "route", s->members[i].route, "member", s->members[i].name,
			 NULL);
		value_u(f, s->members[i].rest_ms > 0);
	}
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
	if (s->tap.kept)
		write_tap(f, &s->tap, s->ledger.fallbacks);
	if (s->fleet.kept)
		write_fleet(f, s);
	if (s->spans.kept)
		write_spans(f, &s->spans);
	write_resting(f, s);
	if (s->ends) {
		write_ends(f, s->ends);
		write_members(f, s->ends);
	}
	if (s->ledger_kept && t)
		metrics_write_totals(f, t);
	if (s->budgets)
		metrics_write_budgets(f, s->budgets);
	one(f, "spoa_llm_admin_requests_total", "counter", "Requests that the admin server answered.", admin_requests);
}

/* SPDX-License-Identifier: MIT */
#include "ops/stats.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

const char *ledger_state_name(ledger_state state)
{
	switch (state) {
	case LEDGER_OK:
		return "ok";
	case LEDGER_BEHIND:
		return "behind";
	case LEDGER_FAILING:
		break;
	}
	return "failing";
}

/* ---- samples */

uint64_t stats_requests(const host_snapshot *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->decisions_count; i++)
		n += s->decisions[i].count;
	return n;
}

uint64_t stats_refused(const host_snapshot *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->decisions_count; i++)
		if (strcmp(s->decisions[i].outcome, "refused") == 0)
			n += s->decisions[i].count;
	return n;
}

void stats_init(stats_ring *r)
{
	pthread_mutex_init(&r->lock, NULL);
}

void stats_deinit(stats_ring *r)
{
	pthread_mutex_destroy(&r->lock);
}

void stats_take(stats_ring *r, const host_snapshot *s)
{
	pthread_mutex_lock(&r->lock);
	stats_sample *at = &r->samples[r->next];
	r->next = (r->next + 1) % (STATS_SAMPLES + 1);
	at->time_ms = clock_wall_ms();
	at->monotonic_ms = (uint64_t)clock_mono_ms();
	at->requests = stats_requests(s);
	at->refused = stats_refused(s);
	for (size_t i = 0; i < STATS_BUCKETS; i++)
		at->latency[i] = i <= s->latency_count ? s->latency[i] : 0;
	pthread_mutex_unlock(&r->lock);
}

/* Returns the sample taken `back` samples before the last one. NULL: there is none. */
static const stats_sample *sample(const stats_ring *r, size_t back)
{
	const size_t all = STATS_SAMPLES + 1;
	const stats_sample *s = &r->samples[(r->next + all - 1 - back) % all];

	return back < all && s->time_ms ? s : NULL;
}

static double per_second(uint64_t from, uint64_t to, uint64_t ms)
{
	return ms && to > from ? (double)(to - from) * 1000 / (double)ms : 0;
}

/* Assumes that requests are spread evenly within a bucket, and that those above the last bound are equal to it. */
double stats_quantile_us(const uint64_t *counts, uint64_t all, const host_snapshot *s, double q)
{
	double want = q * (double)all, below = 0;

	for (size_t i = 0; i < s->latency_count; i++) {
		double in = (double)counts[i], low = i ? (double)s->latency_bounds_ns[i - 1] : 0,
		       high = (double)s->latency_bounds_ns[i];
		if (in > 0 && below + in >= want)
			return (low + (high - low) * (want - below) / in) / 1000;
		below += in;
	}
	return s->latency_count ? (double)s->latency_bounds_ns[s->latency_count - 1] / 1000 : 0;
}

typedef struct stats_now {
	double requests_per_s, refused_per_s;
	double p50_us, p99_us; /* below 0: no request */
} stats_now;

/* Returns the rates and latencies of the last STATS_NOW seconds. */
static stats_now stats_of_now(const stats_ring *r, const host_snapshot *s)
{
	stats_now now = { 0, 0, -1, -1 };
	const stats_sample *last = sample(r, 0), *first = NULL;
	uint64_t counts[STATS_BUCKETS], all = 0;

	for (size_t back = STATS_NOW; back > 0 && !first; back--)
		first = sample(r, back);
	if (!last || !first)
		return now;
	uint64_t ms = last->monotonic_ms - first->monotonic_ms;
	now.requests_per_s = per_second(first->requests, last->requests, ms);
	now.refused_per_s = per_second(first->refused, last->refused, ms);
	for (size_t i = 0; i < STATS_BUCKETS; i++) {
		counts[i] = last->latency[i] - first->latency[i];
		all += counts[i];
	}
	if (all) {
		now.p50_us = stats_quantile_us(counts, all, s, .5);
		now.p99_us = stats_quantile_us(counts, all, s, .99);
	}
	return now;
}

/* ---- JSON */

bool checks_ready(const host_check *checks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!checks[i].ok && checks[i].blocking)
			return false;
	return true;
}

static const char *boolean(bool b)
{
	return b ? "true" : "false";
}

void checks_write(FILE *f, const host_check *checks, size_t count, bool all, alerts *advice)
{
	fputc('[', f);
	for (size_t i = 0; i < count; i++) {
		fprintf(f, "%s{\"part\":\"%s\",\"ok\":%s,\"blocking\":%s,\"detail\":", i ? "," : "", checks[i].part,
			boolean(checks[i].ok), boolean(checks[i].blocking));
		json_write_text(f, all ? checks[i].detail : "");
		if (advice && !checks[i].ok) {
			fputs(",\"advice\":", f);
			json_write_text(f, alerts_advice(advice, checks[i].part));
		}
		fputc('}', f);
	}
	fputc(']', f);
}

static void write_named(FILE *f, const char *name, const char *text)
{
	fprintf(f, "\"%s\":", name);
	if (text)
		json_write_text(f, text);
	else
		fputs("null", f);
}

static void write_latency(FILE *f, double us)
{
	if (us < 0)
		fputs("null", f);
	else
		fprintf(f, "%.1f", us);
}

static void write_now(FILE *f, const host_snapshot *s, const stats_ring *r)
{
	stats_now now = stats_of_now(r, s);

	fprintf(f,
		"\"now\":{\"requests_per_s\":%.2f,\"refused_per_s\":%.2f,\"latency_us\":{\"p50\":", now.requests_per_s,
		now.refused_per_s);
	write_latency(f, now.p50_us);
	fputs(",\"p99\":", f);
	write_latency(f, now.p99_us);
	fputs("}},\"rate_history\":[", f);
	for (size_t back = STATS_SAMPLES, n = 0; back-- > 0;) {
		const stats_sample *to = sample(r, back), *from = sample(r, back + 1);
		if (!to || !from)
			continue;
		uint64_t ms = to->monotonic_ms - from->monotonic_ms;
		fprintf(f, "%s{\"time\":%" PRId64 ",\"requests_per_s\":%.2f,\"refused_per_s\":%.2f}", n++ ? "," : "",
			to->time_ms, per_second(from->requests, to->requests, ms),
			per_second(from->refused, to->refused, ms));
	}
	fputc(']', f);
}

static uint64_t decided(const host_snapshot *s, const char *route, const char *outcome)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->decisions_count; i++)
		if (strcmp(s->decisions[i].route, route) == 0 && strcmp(s->decisions[i].outcome, outcome) == 0)
			n += s->decisions[i].count;
	return n;
}

static void write_decided(FILE *f, const host_snapshot *s, const char *route)
{
	fprintf(f, "\"decisions\":{\"passthrough\":%" PRIu64 ",\"replace\":%" PRIu64 ",\"refused\":%" PRIu64 "}",
		decided(s, route, "passthrough"), decided(s, route, "replace"), decided(s, route, "refused"));
}

static void write_routes(FILE *f, const host_snapshot *s)
{
	fputs("\"routes\":[", f);
	for (size_t i = 0; i < s->routes_count; i++) {
		const host_route *r = &s->routes[i];
		bool twice = false;
		for (size_t n = 0; n < i; n++)
			twice = twice || strcmp(s->routes[n].name, r->name) == 0;
		fputs(i ? ",{" : "{", f);
		write_named(f, "name", r->name);
		fputc(',', f);
		write_named(f, "prefix", r->prefix);
		fputc(',', f);
		write_named(f, "path_prefix", r->path_prefix);
		fputc(',', f);
		write_named(f, "backend", r->backend);
		fputc(',', f);
		write_named(f, "upstream", r->upstream);
		fputc(',', f);
		write_named(f, "auth", r->auth);
		fputc(',', f);
		write_named(f, "reference_model", r->reference_model);
		fprintf(f, ",\"enabled\":%s,\"usable\":%s,\"expires\":", boolean(r->enabled), boolean(r->usable));
		if (r->expires_ms)
			fprintf(f, "%" PRId64 ",", r->expires_ms);
		else
			fputs("null,", f);
		/* Two routes of one name share their counters. */
		if (twice)
			fputs("\"decisions\":null", f);
		else
			write_decided(f, s, r->name);
		fputc('}', f);
	}
	fputs("],\"legacy\":{", f);
	write_decided(f, s, "legacy");
	fputc('}', f);
}

static void write_refusals(FILE *f, const host_snapshot *s)
{
	fputs("\"refusals\":[", f);
	for (size_t i = 0; i < s->notes_count; i++) {
		const host_note *n = &s->notes[i];
		fprintf(f, "%s{\"time\":%" PRId64 ",\"status\":%d,", i ? "," : "", n->time_ms, n->status);
		write_named(f, "code", n->code);
		fputc(',', f);
		write_named(f, "id", n->id);
		fputc(',', f);
		write_named(f, "route", n->route);
		fputc(',', f);
		write_named(f, "backend", n->backend);
		fputc(',', f);
		write_named(f, "member", n->member);
		fputc(',', f);
		write_named(f, "by", n->by_haproxy ? "haproxy" : "agent");
		fputc(',', f);
		write_named(f, "model", n->model);
		fputc(',', f);
		write_named(f, "problem", n->problem);
		fputc('}', f);
	}
	fputs("],\"refusals_by_code\":{", f);
	for (size_t i = 0; i < s->refusals_count; i++)
		fprintf(f, "%s\"%s\":%" PRIu64, i ? "," : "", s->refusals[i].code, s->refusals[i].count);
	fputs("},\"haproxy_refusals_by_code\":{", f);
	for (unsigned why = 0; s->ends && why < END_REFUSALS; why++)
		fprintf(f, "%s\"%s\":%" PRIu64, why ? "," : "", end_refusals[why].code, ends_refused(s->ends, why));
	fputc('}', f);
}

static void write_ms(FILE *f, const char *name, int64_t ms)
{
	fprintf(f, "\"%s\":", name);
	if (ms < 0)
		fputs("null", f);
	else
		fprintf(f, "%" PRId64, ms);
}

static void write_times(FILE *f, const char *name, const end_times *t)
{
	fprintf(f, ",\"%s\":{", name);
	write_ms(f, "p50", ends_quantile(t, .5));
	fputc(',', f);
	write_ms(f, "p95", ends_quantile(t, .95));
	fputc('}', f);
}

/* What upstreams answered, by route and backend. */
static void write_upstreams(FILE *f, const host_snapshot *s)
{
	fputs(",\"upstreams\":[", f);
	for (size_t i = 0; s->ends && i < s->ends->places_count; i++) {
		const end_place *p = &s->ends->places[i];
		fputs(i ? ",{" : "{", f);
		write_named(f, "route", p->route);
		fputc(',', f);
		write_named(f, "backend", p->backend);
		fputs(",\"answers\":{", f);
		for (unsigned c = 0; c < ENDS_CLASSES; c++)
			fprintf(f, "%s\"%uxx\":%" PRIu64, c ? "," : "", c + 1, p->answers[c]);
		fprintf(f, "},\"cut\":%" PRIu64 ",\"refused\":{", p->cut);
		for (unsigned why = 0; why < END_REFUSALS; why++)
			fprintf(f, "%s\"%s\":%" PRIu64, why ? "," : "", end_refusals[why].code, p->refusals[why]);
		fprintf(f, "},\"unanswered\":%" PRIu64, ends_unanswered(p));
		write_times(f, "first_byte_ms", &p->first_byte);
		write_times(f, "whole_ms", &p->whole);
		fputc('}', f);
	}
	fputc(']', f);
}

static const end_member *counted(const host_snapshot *s, const host_member *m)
{
	for (size_t i = 0; s->ends && i < s->ends->members_count; i++)
		if (strcmp(s->ends->members[i].route, m->route) == 0 &&
		    strcmp(s->ends->members[i].member, m->name) == 0)
			return &s->ends->members[i];
	return NULL;
}

/* Writes the members of pools: their state at this moment, and what came of the attempts at them. */
static void write_members(FILE *f, const host_snapshot *s)
{
	static const end_member none;

	fputs(",\"members\":[", f);
	for (size_t i = 0; i < s->members_count; i++) {
		const host_member *m = &s->members[i];
		const end_member *e = counted(s, m);
		e = e ? e : &none;
		fputs(i ? ",{" : "{", f);
		write_named(f, "route", m->route);
		fputc(',', f);
		write_named(f, "name", m->name);
		fputc(',', f);
		write_named(f, "upstream", m->upstream);
		fputc(',', f);
		write_named(f, "auth", m->auth);
		fprintf(f, ",\"usable\":%s,\"rest_s\":%" PRId64 ",\"rest_status\":%d,\"attempts\":%" PRIu64,
			boolean(m->usable), (m->rest_ms + 999) / 1000, m->rest_status, ends_attempts(e));
		fputs(",\"answers\":{", f);
		for (unsigned c = 0; c < ENDS_CLASSES; c++)
			fprintf(f, "%s\"%uxx\":%" PRIu64, c ? "," : "", c + 1, e->answers[c]);
		fprintf(f, "},\"cut\":%" PRIu64 ",\"unanswered\":%" PRIu64 ",", e->cut, e->unanswered);
		write_ms(f, "unreachable_ms", ends_unreachable_at(e) ? ends_unreachable_at(e) : -1);
		fputs(",\"declined\":{", f);
		for (unsigned why = 0; why < END_WHYS; why++)
			fprintf(f, "%s\"%s\":%" PRIu64, why ? "," : "", end_why_names[why], e->declined[why]);
		fputs("}}", f);
	}
	fputc(']', f);
}

static void write_ledger(FILE *f, const host_snapshot *s)
{
	const ledger_stats *l = &s->ledger;

	if (!s->ledger_kept) {
		fputs("\"ledger\":null,\"ledger_version\":0", f);
		return;
	}
	fprintf(f, "\"ledger\":{\"state\":\"%s\",", ledger_state_name(l->state));
	write_named(f, "problem", l->problem);
	fprintf(f,
		",\"queued\":%" PRIu64 ",\"lines\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"foreign\":%" PRIu64
		",\"malformed\":%" PRIu64 ",\"records\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"dropped\":%" PRIu64,
		l->queued, l->lines, l->duplicates, l->foreign, l->malformed, l->records, l->stored, l->dropped);
	fputs(",\"usage_from\":{", f);
	for (usage_from u = USAGE_NONE; u <= USAGE_STREAM; u++)
		fprintf(f, "%s\"%s\":%" PRIu64, u ? "," : "", usage_from_name(u), l->usage[u]);
	fprintf(f, "},\"commits\":%" PRIu64 ",\"commit_us_last\":%" PRIu64 ",\"commit_us_max\":%" PRIu64, l->commits,
		l->commit_us_last, l->commit_us_max);
	fprintf(f,
		",\"journal_bytes\":%" PRIu64 ",\"journal_max\":%" PRIu64 ",\"journal_segments\":%" PRIu64
		",\"journal_waiting\":%" PRIu64 ",\"journal_failing\":%s,\"journal_dropped\":%" PRIu64 ",",
		l->journal.bytes, s->journal_max, l->journal.segments, l->journal.waiting, boolean(l->journal.failing),
		l->journal.dropped);
	write_named(f, "journal_problem", l->journal.problem);
	fprintf(f, "},\"ledger_version\":%" PRIu64, l->commits);
}

static void write_tap(FILE *f, const host_snapshot *s)
{
	const host_tap *t = &s->tap;

	if (!t->kept) {
		fputs("\"tap\":null,", f);
		return;
	}
	fprintf(f, "\"tap\":{\"processes\":%u,\"draining\":%u,\"fallbacks\":%" PRIu64, t->processes, t->draining,
		s->ledger.fallbacks);
	for (size_t i = 0; i < TAP_NUMBERS; i++)
		fprintf(f, ",\"%s\":%" PRIu64, tap_number_names[i], t->numbers[i]);
	fputs("},", f);
}

/* How far PostgreSQL has the ledger's rows. */
static void write_fleet(FILE *f, const host_fleet *t)
{
	if (!t->kept) {
		fputs("\"fleet\":null,", f);
		return;
	}
	fprintf(f,
		"\"fleet\":{\"state\":\"%s\",\"figures\":%s,\"epoch\":%" PRId64 ",\"position\":%" PRId64
		",\"behind\":%" PRId64 ",\"lag_ms\":%" PRId64 ",\"sent\":%" PRId64 ",\"rejected\":%" PRId64
		",\"gateways\":%" PRId64 ",\"drift_routes\":%" PRId64 ",\"drift_clients\":%" PRId64 ",",
		host_fleet_state(t), boolean(t->figures), t->epoch, t->position, t->behind, t->lag_ms, t->sent,
		t->rejected, t->gateways, t->drift_routes, t->drift_clients);
	write_named(f, "problem", t->problem);
	fputs("},", f);
}

/* What the agent knows of HAProxy. */
static void write_haproxy(FILE *f, const host_snapshot *s)
{
	fputs(",\"haproxy\":{", f);
	write_ms(f, "heard_ms", s->heard ? s->heard_ms : -1);
	fprintf(f, ",\"connections\":%" PRIu64 ",\"healthchecks\":%" PRIu64 "}",
		s->connections_opened - s->connections_closed, s->healthchecks);
}

void stats_write(FILE *f, const host_snapshot *s, const host_check *checks, size_t checks_count, stats_ring *r,
		 alerts *a)
{
	int64_t now = clock_wall_ms();

	fputc('{', f);
	write_named(f, "version", s->version);
	fprintf(f, ",\"time\":%" PRId64 ",\"started\":%" PRId64 ",\"uptime_s\":%" PRId64 ",\"restarts\":%" PRIu64, now,
		s->started_ms, now > s->started_ms ? (now - s->started_ms) / 1000 : 0, s->restarts);
	fprintf(f,
		",\"reloads\":%" PRIu64 ",\"reloads_failed\":%" PRIu64 ",\"reloaded\":%" PRId64
		",\"ready\":%s,\"checks\":",
		s->reloads, s->reloads_failed, s->reloaded_ms, boolean(checks_ready(checks, checks_count)));
	checks_write(f, checks, checks_count, true, a);
	fputs(",\"alerts\":", f);
	alerts_write(f, a);
	write_haproxy(f, s);
	fprintf(f, ",\"requests\":%" PRIu64 ",\"refused\":%" PRIu64 ",", stats_requests(s), stats_refused(s));
	pthread_mutex_lock(&r->lock);
	write_now(f, s, r);
	pthread_mutex_unlock(&r->lock);
	fputs(",\"threads\":[", f);
	for (size_t i = 0; i < s->threads_count; i++)
		fprintf(f, "%s{\"decisions\":%" PRIu64 ",\"connections\":%" PRIu64 ",\"turns\":%" PRIu64 "}",
			i ? "," : "", s->threads[i].decisions, s->threads[i].connections, s->threads[i].turns);
	fputs("],", f);
	write_refusals(f, s);
	write_upstreams(f, s);
	write_members(f, s);
	fprintf(f,
		",\"connections\":%" PRIu64 ",\"max_connections\":%" PRIu64 ",\"memory\":%" PRIu64
		",\"max_memory\":%" PRIu64 ",\"spop_errors\":%" PRIu64
		",\"credentials\":{\"needed\":%zu,\"missing\":%zu,\"expiring\":%zu},",
		s->connections_opened - s->connections_closed, s->max_connections, s->memory, s->max_memory,
		s->spop_errors, s->credentials, s->credentials_missing, s->credentials_expiring);
	write_tap(f, s);
	write_fleet(f, &s->fleet);
	fputs("\"budgets\":", f);
	budgets_write(f, s->budgets);
	fputc(',', f);
	write_ledger(f, s);
	fputc(',', f);
	write_routes(f, s);
	fputc('}', f);
}

void stats_write_role(FILE *f, const char *text, size_t len, const char *role)
{
	fprintf(f, "{\"role\":\"%s\",", role);
	fwrite(text + 1, 1, len - 1, f);
}

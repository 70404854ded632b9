/* SPDX-License-Identifier: MIT
 *
 * The conditions of dist/alerts.yml, said of this one agent. A threshold that changes there changes here. */
#include <inttypes.h>
#include <string.h>

#include "ops/alerts_impl.h"

#define SAY(...) (snprintf(what, room, __VA_ARGS__), true)

typedef const alerts_look_at look;

/* A part of a whole in percent, as a number for "%.1f". */
static double percent(uint64_t part, uint64_t whole)
{
	return whole ? (double)part * 100 / (double)whole : 0;
}

static bool failed(look *l, const char *part, char *what, size_t room)
{
	for (size_t i = 0; i < l->now->checks_count; i++)
		if (strcmp(l->now->checks[i].part, part) == 0 && !l->now->checks[i].ok)
			return SAY("%s", l->now->checks[i].detail);
	return false;
}

/* Says by how much the counter of NOUN grew in the last `minutes`, if it did. */
static bool grew(look *l, alerts_counter c, int minutes, const char *noun, char *what, size_t room)
{
	uint64_t n = alerts_grew(l, c, minutes);

	return n && SAY("%s, in the last %d minutes: %" PRIu64, noun, minutes, n);
}

/* Names a second, third ... of a kind behind the first, as far as there is room. */
static bool also(char *what, size_t room, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool also(char *what, size_t room, const char *fmt, ...)
{
	size_t at = strlen(what);
	va_list args;

	if (at)
		at += (size_t)snprintf(what + at, room - at, "; ");
	if (at < room) {
		va_start(args, fmt);
		vsnprintf(what + at, room - at, fmt, args);
		va_end(args);
	}
	return true;
}

/* ---- the process and its configuration */

static bool not_ready(look *l, char *what, size_t room)
{
	return failed(l, "workers", what, room) || failed(l, "draining", what, room);
}

static bool restarting(look *l, char *what, size_t room)
{
	return l->s->restarts && l->now->wall_ms - l->s->started_ms < 10 * 60000 &&
	       SAY("the worker was started again after a crash or a hang; %" PRIu64 " times so far", l->s->restarts);
}

static bool reload_failed(look *l, char *what, size_t room)
{
	return failed(l, "reload", what, room);
}

static bool clients_not_loaded(look *l, char *what, size_t room)
{
	return failed(l, "clients", what, room);
}

static bool credential_missing(look *l, char *what, size_t room)
{
	return l->s->credentials_missing &&
	       (failed(l, "credentials", what, room) ||
		SAY("%zu of %zu credentials are missing", l->s->credentials_missing, l->s->credentials));
}

static bool credential_expiring(look *l, char *what, size_t room)
{
	return l->s->credentials_expiring &&
	       SAY("%zu credentials expire within three minutes", l->s->credentials_expiring);
}

static bool contract_outdated(look *l, char *what, size_t room)
{
	return alerts_grew(l, AC_CONTRACT_FAILED, 5) &&
	       (failed(l, "contract", what, room) ||
		SAY("requests came from a HAProxy whose files or LLM_CLIENTS do not fit the agent"));
}

static bool backends_differ(look *l, char *what, size_t room)
{
	return alerts_grew(l, AC_BACKENDS_FAILED, 5) &&
	       SAY("%" PRIu64 " requests came from a HAProxy whose backends were made for other routes",
		   l->s->backends_differ);
}

static bool frame_size(look *l, char *what, size_t room)
{
	return grew(l, AC_HELLOS_SHORT, 5, "connections on which HAProxy offers larger frames than the agent takes",
		    what, room);
}

/* ---- requests */

static bool auth_unavailable(look *l, char *what, size_t room)
{
	return grew(l, AC_AUTH_UNAVAILABLE, 5, "requests refused because their route has no credential", what, room);
}

static bool no_backend(look *l, char *what, size_t room)
{
	return grew(l, AC_NO_BACKEND, 5, "requests refused because there is no backend for them", what, room);
}

static bool gateway_unavailable(look *l, char *what, size_t room)
{
	return grew(l, AC_GATEWAY_UNAVAILABLE, 5, "requests refused by HAProxy, which got no answer of an agent", what,
		    room);
}

static bool unasked(look *l, char *what, size_t room)
{
	return l->s->heard && l->s->heard_ms >= 5 * 60000 &&
	       SAY("nothing has come from HAProxy for %" PRId64 " minutes", l->s->heard_ms / 60000);
}

/* Names the upstreams of whose requests more than `share` percent failed in the last five minutes. */
static bool upstreams(look *l, bool errors, unsigned share, char *what, size_t room)
{
	for (size_t i = 0; l->s->ends && i < l->s->ends->places_count; i++) {
		const end_place *p = &l->s->ends->places[i];
		place_counts n = alerts_place_grew(l, i);
		uint64_t all = n.answers + n.unanswered, bad = n.unanswered + (errors ? n.errors + n.cut : 0);
		if (bad * 100 > all * share)
			also(what, room, "%s (backend %s): %" PRIu64 " of %" PRIu64 " requests %s",
			     *p->route ? p->route : "no route", p->backend, bad, all,
			     errors ? "failed" : "got no answer");
	}
	return *what != '\0';
}

static bool upstream_down(look *l, char *what, size_t room)
{
	return upstreams(l, false, 50, what, room);
}

static bool upstream_errors(look *l, char *what, size_t room)
{
	return upstreams(l, true, 5, what, room);
}

static bool refusing(look *l, char *what, size_t room)
{
	uint64_t all = alerts_grew(l, AC_DECISIONS, 5), refused = alerts_grew(l, AC_REFUSED, 5);

	return refused * 20 > all && all > 30 &&
	       SAY("%" PRIu64 " of %" PRIu64 " requests refused in the last 5 minutes (%.1f %%)", refused, all,
		   percent(refused, all));
}

static bool slow(look *l, char *what, size_t room)
{
	uint64_t counts[STATS_BUCKETS], all = 0;

	for (size_t i = 0; i < STATS_BUCKETS; i++)
		all += counts[i] = alerts_grew(l, (alerts_counter)(AC_LATENCY + i), 5);
	double us = all ? stats_quantile_us(counts, all, l->s, .99) : 0;
	return us > 5000 && SAY("one decision in a hundred takes %.1f ms or more", us / 1000);
}

static bool connections_near_limit(look *l, char *what, size_t room)
{
	uint64_t open = l->s->connections_opened - l->s->connections_closed;

	return open * 10 > l->s->max_connections * 8 &&
	       SAY("%" PRIu64 " of %" PRIu64 " connections are open", open, l->s->max_connections);
}

static bool connections_refused(look *l, char *what, size_t room)
{
	return alerts_grew(l, AC_CONNECTIONS_REFUSED, 5) &&
	       SAY("since the start %" PRIu64 " connections were closed beyond max_connections, %" PRIu64
		   " beyond max_memory",
		   l->s->refused_connections, l->s->refused_memory);
}

static bool descriptors_near_limit(look *l, char *what, size_t room)
{
	return l->now->open_files * 10 > l->now->max_files * 8 &&
	       SAY("%" PRIu64 " of %" PRIu64 " descriptors are open", l->now->open_files, l->now->max_files);
}

static bool spop_errors(look *l, char *what, size_t room)
{
	return grew(l, AC_SPOP_ERRORS, 5, "connections with bytes that are no SPOP", what, room);
}

/* ---- the ledger */

static bool ledger_behind(look *l, char *what, size_t room)
{
	return l->s->ledger_kept && l->s->ledger.state == LEDGER_BEHIND &&
	       SAY("%s; %" PRIu64 " records wait", l->s->ledger.problem, l->s->ledger.queued);
}

static bool ledger_failing(look *l, char *what, size_t room)
{
	return l->s->ledger_kept && l->s->ledger.state == LEDGER_FAILING && SAY("%s", l->s->ledger.problem);
}

static bool journal_filling(look *l, char *what, size_t room)
{
	uint64_t bytes = l->s->ledger.journal.bytes;

	return l->s->ledger_kept && bytes * 10 > l->s->journal_max * 6 &&
	       SAY("the journal has %.1f %% of journal_max", percent(bytes, l->s->journal_max));
}

static bool journal_failing(look *l, char *what, size_t room)
{
	return l->s->ledger_kept && ((l->s->ledger.journal.failing && SAY("%s", l->s->ledger.journal.problem)) ||
				     grew(l, AC_JOURNAL_DROPPED, 5, "records lost", what, room));
}

static bool lines_dropped(look *l, char *what, size_t room)
{
	return grew(l, AC_LINES_DROPPED, 5, "log lines dropped by the kernel", what, room);
}

static bool lines_foreign(look *l, char *what, size_t room)
{
	return grew(l, AC_LINES_FOREIGN, 5, "log lines without the key", what, room);
}

static bool lines_malformed(look *l, char *what, size_t room)
{
	return grew(l, AC_LINES_MALFORMED, 5, "malformed log lines", what, room);
}

static bool ledger_off(look *l, char *what, size_t room)
{
	return l->s->ledger_kept &&
	       grew(l, AC_UNRECORDED, 5, "requests of a HAProxy that sends no records (LLM_LEDGER=off)", what, room);
}

static bool nothing_recorded(look *l, char *what, size_t room)
{
	uint64_t decided = alerts_grew(l, AC_DECISIONS, 15), off = alerts_grew(l, AC_UNRECORDED, 15);

	return l->s->ledger_kept && decided > off + 20 && !alerts_grew(l, AC_RECORDS, 15) &&
	       SAY("%" PRIu64 " requests decided in the last 15 minutes, and none recorded", decided - off);
}

static bool usage_unknown(look *l, char *what, size_t room)
{
	uint64_t all = alerts_grew(l, AC_USED, 60), unknown = alerts_grew(l, AC_USED_UNKNOWN, 60);

	return unknown * 20 > all &&
	       SAY("the tokens of %" PRIu64 " of %" PRIu64 " requests of the last hour are not known", unknown, all);
}

static bool unpriced(look *l, char *what, size_t room)
{
	uint64_t all = alerts_grew(l, AC_PRICED, 60), without = alerts_grew(l, AC_UNPRICED, 60);

	return without * 20 > all &&
	       SAY("%" PRIu64 " of %" PRIu64 " requests of the last hour have no price", without, all);
}

/* ---- members of pools */

static bool member_rests_most(look *l, char *what, size_t room)
{
	for (size_t i = 0; i < l->a->rests_count; i++) {
		const member_rests *m = &l->a->rests[i];
		int steps = __builtin_popcountll(m->steps & ((UINT64_C(1) << REST_STEPS) - 1));
		if (steps * 2 > REST_STEPS)
			also(what, room, "member %s of the pool %s rested in %d %% of the last 10 minutes", m->member,
			     m->route, steps * 100 / REST_STEPS);
	}
	return *what != '\0';
}

static bool member_unreachable(look *l, char *what, size_t room)
{
	for (size_t i = 0; l->s->ends && i < l->s->ends->members_count; i++) {
		const end_member *m = &l->s->ends->members[i];
		if (m->unreachable_ms && l->now->wall_ms - m->unreachable_ms < 15 * 60000)
			also(what, room, "member %s of the pool %s", m->member, m->route);
	}
	return *what != '\0';
}

/* ---- budgets */

static bool budgets(look *l, bool spent, char *what, size_t room)
{
	for (size_t i = 0; l->s->budgets && i < l->s->budgets->shown_count; i++) {
		const host_account *a = &l->s->budgets->shown[i];
		double used = budgets_used(a);
		bool over = used >= 1 || (a->refused && strcmp(a->refused, "insufficient_quota") == 0 &&
					  l->now->wall_ms - a->refused_ms < 15 * 60000);
		if (a->enabled && (spent ? over : used >= .8 && used < 1))
			also(what, room, "%s %s: %.1f %%", budget_owner_names[a->owner], a->name, used * 100);
	}
	return *what != '\0';
}

static bool budget_near_end(look *l, char *what, size_t room)
{
	return budgets(l, false, what, room);
}

static bool budget_spent(look *l, char *what, size_t room)
{
	return budgets(l, true, what, room);
}

static bool budget_charged(look *l, char *what, size_t room)
{
	return grew(l, AC_CHARGED, 60, "requests charged whose record did not come", what, room);
}

/* ---- the tap */

static bool tap_down(look *l, char *what, size_t room)
{
	const host_tap *t = &l->s->tap;

	return t->kept && t->processes <= t->draining &&
	       SAY(t->processes ? "the tap drains" : "nothing was heard of a tap for %" PRId64 " seconds",
		   t->silent_ms / 1000);
}

static bool tap_full(look *l, char *what, size_t room)
{
	return grew(l, AC_TAP_FULL, 5, "how often the tap took no more streams", what, room);
}

static bool tap_bypassed(look *l, char *what, size_t room)
{
	uint64_t direct = alerts_grew(l, AC_TAP_FALLBACKS, 5), through = alerts_grew(l, AC_TAP_STREAMS, 5);

	return l->s->tap.kept && l->s->tap.processes && direct * 20 > direct + through &&
	       SAY("%" PRIu64 " of %" PRIu64 " streams of the last 5 minutes went directly", direct, direct + through);
}

static bool tap_reports_lost(look *l, char *what, size_t room)
{
	return grew(l, AC_TAP_LOST, 5, "reports of streams lost", what, room);
}

/* ---- the shipper */

static bool fleet_silent(look *l, char *what, size_t room)
{
	return l->s->fleet.kept && l->s->fleet.silent && failed(l, "fleet", what, room);
}

static bool fleet_refused(look *l, char *what, size_t room)
{
	return l->s->fleet.kept && strcmp(host_fleet_state(&l->s->fleet), "refused") == 0 &&
	       SAY("%s", l->s->fleet.problem);
}

static bool fleet_behind(look *l, char *what, size_t room)
{
	const host_fleet *t = &l->s->fleet;

	return t->kept && t->ever && t->lag_ms > 900000 &&
	       SAY("PostgreSQL has not had all requests for %" PRId64 " minutes and lacks at most %" PRId64,
		   t->lag_ms / 60000, t->behind);
}

static bool fleet_backlog_filling(look *l, char *what, size_t room)
{
	return l->s->fleet.kept && l->s->ledger.backlog * 10 > l->s->fleet_backlog * 8 &&
	       SAY("requests that wait for PostgreSQL take %.1f %% of fleet_backlog",
		   percent(l->s->ledger.backlog, l->s->fleet_backlog));
}

static bool fleet_unshipped_removed(look *l, char *what, size_t room)
{
	return l->s->fleet.kept &&
	       grew(l, AC_UNSHIPPED, 60, "requests removed that PostgreSQL does not have", what, room);
}

static bool fleet_rejected(look *l, char *what, size_t room)
{
	return grew(l, AC_REJECTED, 60, "requests that PostgreSQL refused", what, room);
}

static bool fleet_drift(look *l, char *what, size_t room)
{
	const host_fleet *t = &l->s->fleet;

	return t->kept && t->ever && t->gateways >= 0 && (t->drift_routes > 0 || t->drift_clients > 0) &&
	       SAY("%" PRId64 " gateways have other routes than this one, and %" PRId64 " other clients",
		   t->drift_routes, t->drift_clients);
}

static bool spans_silent(look *l, char *what, size_t room)
{
	return l->s->spans.kept && l->s->spans.silent && failed(l, "spans", what, room);
}

static bool spans_refused(look *l, char *what, size_t room)
{
	const host_spans *t = &l->s->spans;

	return t->kept && t->ever && !t->silent && strcmp(t->state, "refused") == 0 && SAY("%s", t->problem);
}

static bool spans_behind(look *l, char *what, size_t room)
{
	const host_spans *t = &l->s->spans;

	return t->kept && t->ever && t->lag_ms > 900000 &&
	       SAY("the collector has not had all requests for %" PRId64 " minutes", t->lag_ms / 60000);
}

static bool spans_dropped(look *l, char *what, size_t room)
{
	return grew(l, AC_SPANS_DROPPED, 60, "spans dropped", what, room);
}

/* clang-format off */
const alert_rule alert_rules[] = {
	{ "SpoaLlmNotReady", "workers", not_ready },
	{ "SpoaLlmRestarting", NULL, restarting },
	{ "SpoaLlmReloadFailed", "reload", reload_failed },
	{ "SpoaLlmClientsNotLoaded", "clients", clients_not_loaded },
	{ "SpoaLlmCredentialMissing", "credentials", credential_missing },
	{ "SpoaLlmCredentialExpiring", "credentials", credential_expiring },
	{ "SpoaLlmContractOutdated", "contract", contract_outdated },
	{ "SpoaLlmBackendsDiffer", "backends", backends_differ },
	{ "SpoaLlmFrameSize", NULL, frame_size },
	{ "SpoaLlmAuthUnavailable", "credentials", auth_unavailable },
	{ "SpoaLlmNoBackend", "routes", no_backend },
	{ "SpoaLlmGatewayUnavailable", NULL, gateway_unavailable },
	{ "SpoaLlmUnasked", NULL, unasked },
	{ "SpoaLlmUpstreamDown", NULL, upstream_down },
	{ "SpoaLlmUpstreamErrors", NULL, upstream_errors },
	{ "SpoaLlmRefusing", NULL, refusing },
	{ "SpoaLlmSlow", NULL, slow },
	{ "SpoaLlmConnectionsNearLimit", NULL, connections_near_limit },
	{ "SpoaLlmConnectionsRefused", NULL, connections_refused },
	{ "SpoaLlmDescriptorsNearLimit", NULL, descriptors_near_limit },
	{ "SpoaLlmSpopErrors", NULL, spop_errors },
	{ "SpoaLlmLedgerBehind", "ledger", ledger_behind },
	{ "SpoaLlmLedgerFailing", "ledger", ledger_failing },
	{ "SpoaLlmJournalFilling", NULL, journal_filling },
	{ "SpoaLlmJournalFailing", "journal", journal_failing },
	{ "SpoaLlmLogLinesDropped", "log_lines", lines_dropped },
	{ "SpoaLlmLogLinesForeign", "log_lines", lines_foreign },
	{ "SpoaLlmLogLinesMalformed", "log_lines", lines_malformed },
	{ "SpoaLlmLedgerOff", "log_lines", ledger_off },
	{ "SpoaLlmNothingRecorded", NULL, nothing_recorded },
	{ "SpoaLlmMemberRests", "pools", member_rests_most },
	{ "SpoaLlmMemberUnreachable", NULL, member_unreachable },
	{ "SpoaLlmBudgetNearEnd", NULL, budget_near_end },
	{ "SpoaLlmBudgetSpent", NULL, budget_spent },
	{ "SpoaLlmBudgetCharged", NULL, budget_charged },
	{ "SpoaLlmTapDown", "tap", tap_down },
	{ "SpoaLlmTapFull", NULL, tap_full },
	{ "SpoaLlmTapBypassed", NULL, tap_bypassed },
	{ "SpoaLlmTapReportsLost", NULL, tap_reports_lost },
	{ "SpoaLlmFleetSilent", "fleet", fleet_silent },
	{ "SpoaLlmFleetRefused", "fleet", fleet_refused },
	{ "SpoaLlmFleetBehind", "fleet", fleet_behind },
	{ "SpoaLlmFleetBacklogFilling", NULL, fleet_backlog_filling },
	{ "SpoaLlmFleetUnshippedRemoved", NULL, fleet_unshipped_removed },
	{ "SpoaLlmFleetRejected", NULL, fleet_rejected },
	{ "SpoaLlmFleetDrift", NULL, fleet_drift },
	{ "SpoaLlmSpansSilent", "spans", spans_silent },
	{ "SpoaLlmSpansRefused", "spans", spans_refused },
	{ "SpoaLlmSpansBehind", "spans", spans_behind },
	{ "SpoaLlmSpansDropped", NULL, spans_dropped },
	{ "SpoaLlmUsageUnknown", NULL, usage_unknown },
	{ "SpoaLlmUnpriced", NULL, unpriced },
};
/* clang-format on */

const size_t alert_rules_count = sizeof alert_rules / sizeof alert_rules[0];

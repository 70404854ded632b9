/* SPDX-License-Identifier: MIT
 *
 * The agent's own alerts, by a made-up clock: each fires while its fault lasts and clears afterwards, none fires on an
 * agent that is well, and names and texts are those of dist/alerts.yml. */
#include "unit.h"

#include "base/text.h"
#include "ops/alerts_impl.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, STEP = 5 * SECOND };

/* An agent that decides and records ten requests between two looks, with an upstream, a member, a budget, a tap and a
 * shipper. */
typedef struct world {
	alerts *a;
	int64_t now;
	host_snapshot s;
	host_check checks[6];
	host_decisions decisions[2];
	host_refusals refusals[2];
	host_member member;
	ends e;
	host_budgets b;
	uint64_t bounds[3], latency[4];
	uint64_t requests, unpriced, open;
	bool sums_known;
} world;

static void world_init(world *w)
{
	static const char *const parts[] = { "workers", "contract", "backends", "reload", "clients", "fleet" };

	*w = (world){ .a = alerts_new(), .now = 50 * MINUTE, .open = 10, .sums_known = true };
	for (size_t i = 0; i < 6; i++)
		w->checks[i] = (host_check){ .part = parts[i], .ok = true };
	w->decisions[0] = (host_decisions){ "r", "openai", "replace", 0 };
	w->decisions[1] = (host_decisions){ "r", "openai", "refused", 0 };
	w->refusals[0] = (host_refusals){ "upstream_auth_unavailable", 502, 0 };
	w->refusals[1] = (host_refusals){ "no_backend", 502, 0 };
	w->member = (host_member){ .route = "pool", .name = "a", .usable = true };
	w->e.places_count = w->e.members_count = 1;
	snprintf(w->e.places[0].route, sizeof w->e.places[0].route, "r");
	snprintf(w->e.places[0].backend, sizeof w->e.places[0].backend, "llm-x");
	snprintf(w->e.members[0].route, sizeof w->e.members[0].route, "pool");
	snprintf(w->e.members[0].member, sizeof w->e.members[0].member, "a");
	w->b.shown_count = 1;
	w->b.shown[0] = (host_account){ .owner = OWNER_CLIENT, .enabled = true, .name = "alice", .budget = 1000 };
	for (size_t i = 0; i < 3; i++)
		w->bounds[i] = 1000000 * (i ? 10 * i : 1);
	w->s = (host_snapshot){ .decisions = w->decisions,
				.decisions_count = 2,
				.refusals = w->refusals,
				.refusals_count = 2,
				.members = &w->member,
				.members_count = 1,
				.ends = &w->e,
				.budgets = &w->b,
				.latency_bounds_ns = w->bounds,
				.latency = w->latency,
				.latency_count = 3,
				.heard = true,
				.max_connections = 100,
				.connections_opened = 5,
				.credentials = 2,
				.ledger_kept = true,
				.journal_max = 1000,
				.fleet_backlog = 1000,
				.tap = { .kept = true, .ever = true, .processes = 1 },
				.fleet = { .kept = true, .ever = true, .state = "ok", .gateways = 2 },
				.spans = { .kept = true, .ever = true, .state = "ok" } };
}

static void work(world *w)
{
	w->decisions[0].count += 10;
	w->latency[0] += 10;
	w->s.ledger.records += 10;
	w->s.ledger.usage[USAGE_REPORTED] += 10;
	w->s.tap.numbers[TAP_STREAMS_TOTAL] += 10;
	w->e.places[0].answers[1] += 10;
	w->requests += 10;
}

static bool fires(world *w, const char *name)
{
	char *text = NULL, quoted[64];
	size_t len;
	FILE *f = open_memstream(&text, &len);

	alerts_write(f, w->a);
	fclose(f);
	snprintf(quoted, sizeof quoted, "{\"name\":\"%s\",", name);
	bool is = strstr(text, *name ? quoted : "{") != NULL;
	free(text);
	return is;
}

static void look(world *w)
{
	alerts_moment now = { .mono_ms = w->now,
			      .wall_ms = 1000000 * INT64_C(1000000) + w->now,
			      .s = &w->s,
			      .checks = w->checks,
			      .checks_count = 6,
			      .sums_known = w->sums_known,
			      .model_requests = w->requests,
			      .unpriced_requests = w->unpriced,
			      .open_files = w->open,
			      .max_files = 100 };

	alerts_look(w->a, &now);
	w->now += STEP;
}

static int64_t wall(const world *w)
{
	return 1000000 * INT64_C(1000000) + w->now;
}

/* ---- faults: `on` before each look while one lasts, and once with false when it ends */

#define FAULT(name, ...) \
	static void name(world *w, bool on) \
	{ \
		(void)on; \
		__VA_ARGS__ \
	}
#define COUNTS(name, counter) FAULT(name, w->counter += on;)
#define CHECK_FAILS(name, at) FAULT(name, w->checks[at].ok = !on;)

CHECK_FAILS(workers, 0)
CHECK_FAILS(contract, 1)
CHECK_FAILS(backends, 2)
CHECK_FAILS(reload, 3)
CHECK_FAILS(clients, 4)
FAULT(restarted, w->s.restarts = 1; w->s.started_ms = on ? wall(w) - MINUTE : wall(w) - 11 * MINUTE;)
FAULT(missing, w->s.credentials_missing = on;)
FAULT(expiring, w->s.credentials_expiring = on;)
COUNTS(hello, s.hellos_short)
COUNTS(auth, refusals[0].count)
COUNTS(backend_agent, refusals[1].count)
COUNTS(backend_haproxy, e.places[0].refusals[END_NO_BACKEND])
COUNTS(gateway, e.places[0].refusals[END_GATEWAY_UNAVAILABLE])
FAULT(unasked, w->s.heard_ms = on ? w->s.heard_ms + STEP : 0;)
FAULT(down, w->e.places[0].refusals[END_UPSTREAM_TIMEOUT] += on ? 11 : 0;)
FAULT(errors, w->e.places[0].answers[4] += on;)
FAULT(cut, w->e.places[0].cut += on;)
FAULT(refusing, w->decisions[1].count += on;)
FAULT(slow, w->latency[1] += on;)
FAULT(near_limit, w->s.connections_opened = on ? 81 : 5;)
COUNTS(too_many, s.refused_connections)
COUNTS(too_much, s.refused_memory)
FAULT(descriptors, w->open = on ? 81 : 10;)
COUNTS(spop, s.spop_errors)
FAULT(behind, w->s.ledger.state = on ? LEDGER_BEHIND : LEDGER_OK;)
FAULT(failing, w->s.ledger.state = on ? LEDGER_FAILING : LEDGER_OK;)
FAULT(filling, w->s.ledger.journal.bytes = on ? 601 : 600;)
FAULT(journal_fails, w->s.ledger.journal.failing = on;)
COUNTS(lost, s.ledger.journal.dropped)
COUNTS(dropped, s.ledger.dropped)
COUNTS(foreign, s.ledger.foreign)
COUNTS(malformed, s.ledger.malformed)
COUNTS(ledger_is_off, s.unrecorded)
FAULT(unrecorded, w->s.ledger.records -= on ? 10 : 0;)
FAULT(rests, w->member.rest_ms = on;)
FAULT(unreachable, w->e.members[0].unreachable_ms = on ? wall(w) : w->e.members[0].unreachable_ms;)
FAULT(nearly_spent, w->b.shown[0].spent = on ? 800 : 799;)
FAULT(spent, w->b.shown[0].spent = on ? 1000 : 0;)
FAULT(quota, w->b.shown[0].refused = "insufficient_quota"; if (on) w->b.shown[0].refused_ms = wall(w);)
COUNTS(charged, b.charged_requests)
FAULT(tap_down, w->s.tap.processes = !on;)
FAULT(tap_drains, w->s.tap.draining = on;)
COUNTS(tap_full, s.tap.numbers[TAP_FULL])
COUNTS(tap_lost, s.tap.numbers[TAP_REPORTS_LOST])
COUNTS(bypassed, s.ledger.fallbacks)
FAULT(fleet_silent, w->s.fleet.silent = on; w->checks[5].ok = !on;)
FAULT(fleet_refused, snprintf(w->s.fleet.state, sizeof w->s.fleet.state, "%s", on ? "refused" : "ok");)
FAULT(fleet_behind, w->s.fleet.lag_ms = on ? 900001 : 900000;)
FAULT(backlog, w->s.ledger.backlog = on ? 801 : 800;)
COUNTS(unshipped, s.ledger.unshipped)
COUNTS(rejected, s.fleet.rejected)
FAULT(drift, w->s.fleet.drift_clients = on;)
FAULT(spans_refused, snprintf(w->s.spans.state, sizeof w->s.spans.state, "%s", on ? "refused" : "ok");)
FAULT(spans_behind, w->s.spans.lag_ms = on ? 900001 : 900000;)
COUNTS(spans_dropped, s.spans.dropped)
COUNTS(unknown, s.ledger.usage[USAGE_UNKNOWN])
COUNTS(unpriced, unpriced)

static const struct {
	const char *alert;
	void (*fault)(world *w, bool on);
	int after; /* minutes until the alert fires: the window and `for`, as dist/alerts.yml has them */
	int until; /* minutes until it has cleared */
} cases[] = {
	{ "SpoaLlmNotReady", workers, 1, 0 },
	{ "SpoaLlmRestarting", restarted, 0, 0 },
	{ "SpoaLlmReloadFailed", reload, 1, 0 },
	{ "SpoaLlmClientsNotLoaded", clients, 1, 0 },
	{ "SpoaLlmCredentialMissing", missing, 2, 0 },
	{ "SpoaLlmCredentialExpiring", expiring, 0, 0 },
	{ "SpoaLlmContractOutdated", contract, 0, 5 },
	{ "SpoaLlmBackendsDiffer", backends, 0, 5 },
	{ "SpoaLlmFrameSize", hello, 0, 5 },
	{ "SpoaLlmAuthUnavailable", auth, 1, 5 },
	{ "SpoaLlmNoBackend", backend_agent, 1, 5 },
	{ "SpoaLlmNoBackend", backend_haproxy, 1, 5 },
	{ "SpoaLlmGatewayUnavailable", gateway, 1, 5 },
	{ "SpoaLlmUnasked", unasked, 7, 0 },
	{ "SpoaLlmUpstreamDown", down, 7, 5 },
	{ "SpoaLlmUpstreamErrors", errors, 8, 5 },
	{ "SpoaLlmUpstreamErrors", cut, 8, 5 },
	{ "SpoaLlmRefusing", refusing, 8, 5 },
	{ "SpoaLlmSlow", slow, 6, 5 },
	{ "SpoaLlmConnectionsNearLimit", near_limit, 2, 0 },
	{ "SpoaLlmConnectionsRefused", too_many, 0, 5 },
	{ "SpoaLlmConnectionsRefused", too_much, 0, 5 },
	{ "SpoaLlmDescriptorsNearLimit", descriptors, 2, 0 },
	{ "SpoaLlmSpopErrors", spop, 1, 5 },
	{ "SpoaLlmLedgerBehind", behind, 5, 0 },
	{ "SpoaLlmLedgerFailing", failing, 1, 0 },
	{ "SpoaLlmJournalFilling", filling, 1, 0 },
	{ "SpoaLlmJournalFailing", journal_fails, 0, 0 },
	{ "SpoaLlmJournalFailing", lost, 0, 5 },
	{ "SpoaLlmLogLinesDropped", dropped, 0, 5 },
	{ "SpoaLlmLogLinesForeign", foreign, 0, 5 },
	{ "SpoaLlmLogLinesMalformed", malformed, 0, 5 },
	{ "SpoaLlmLedgerOff", ledger_is_off, 0, 5 },
	{ "SpoaLlmNothingRecorded", unrecorded, 21, 0 },
	{ "SpoaLlmMemberRests", rests, 6, 6 },
	{ "SpoaLlmMemberUnreachable", unreachable, 0, 15 },
	{ "SpoaLlmBudgetNearEnd", nearly_spent, 0, 0 },
	{ "SpoaLlmBudgetSpent", spent, 0, 0 },
	{ "SpoaLlmBudgetSpent", quota, 0, 15 },
	{ "SpoaLlmBudgetCharged", charged, 0, 60 },
	{ "SpoaLlmTapDown", tap_down, 2, 0 },
	{ "SpoaLlmTapDown", tap_drains, 2, 0 },
	{ "SpoaLlmTapFull", tap_full, 0, 5 },
	{ "SpoaLlmTapBypassed", bypassed, 9, 5 },
	{ "SpoaLlmTapReportsLost", tap_lost, 0, 5 },
	{ "SpoaLlmFleetSilent", fleet_silent, 2, 0 },
	{ "SpoaLlmFleetRefused", fleet_refused, 1, 0 },
	{ "SpoaLlmFleetBehind", fleet_behind, 5, 0 },
	{ "SpoaLlmFleetBacklogFilling", backlog, 1, 0 },
	{ "SpoaLlmFleetUnshippedRemoved", unshipped, 0, 60 },
	{ "SpoaLlmFleetRejected", rejected, 0, 60 },
	{ "SpoaLlmFleetDrift", drift, 10, 0 },
	{ "SpoaLlmSpansRefused", spans_refused, 1, 0 },
	{ "SpoaLlmSpansBehind", spans_behind, 5, 0 },
	{ "SpoaLlmSpansDropped", spans_dropped, 0, 60 },
	{ "SpoaLlmUsageUnknown", unknown, 45, 60 },
	{ "SpoaLlmUnpriced", unpriced, 45, 60 },
};

static void each_fires_and_clears(void)
{
	world *w = calloc(1, sizeof *w);

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t since;
		bool early = false, quiet = true;
		world_init(w);
		/* Well for longer than any window: nothing fires. */
		for (int s = 0; s < 62 * MINUTE / STEP; s++) {
			work(w);
			look(w);
			if (s % 12 == 0 && fires(w, ""))
				quiet = false;
		}
		CHECK(quiet);
		since = w->now;
		while (w->now - since <= (int64_t)cases[i].after * MINUTE + 16 * SECOND && !fires(w, cases[i].alert)) {
			work(w);
			cases[i].fault(w, true);
			look(w);
		}
		/* The shortest time in which it may fire is `for`. */
		for (size_t r = 0; r < alert_rules_count; r++)
			if (strcmp(alert_rules[r].name, cases[i].alert) == 0)
				early = w->now - since < w->a->states[r].text.for_ms;
		if (!fires(w, cases[i].alert) || early)
			printf("case %zu: %s fires %s\n", i, cases[i].alert, early ? "too early" : "not in time");
		CHECK(fires(w, cases[i].alert) && !early);
		cases[i].fault(w, false);
		since = w->now;
		while (w->now - since <= (int64_t)cases[i].until * MINUTE + 32 * SECOND && fires(w, cases[i].alert)) {
			work(w);
			look(w);
		}
		if (fires(w, cases[i].alert))
			printf("case %zu: %s does not clear\n", i, cases[i].alert);
		CHECK(!fires(w, cases[i].alert));
		alerts_free(w->a);
	}
	free(w);
}

/* A HAProxy that says that it sends no records loses none. */
static void what_nobody_records_is_not_missed(void)
{
	world *w = calloc(1, sizeof *w);

	world_init(w);
	for (int s = 0; s < 62 * MINUTE / STEP; s++) {
		work(w);
		w->s.ledger.records -= 10;
		w->s.unrecorded += 10;
		look(w);
		CHECK(s < 2 || (fires(w, "SpoaLlmLedgerOff") && !fires(w, "SpoaLlmNothingRecorded")));
	}
	/* Without a ledger nobody waits for records. */
	w->s.ledger_kept = false;
	look(w);
	CHECK(!fires(w, "SpoaLlmLedgerOff"));
	alerts_free(w->a);
	free(w);
}

/* Taps and shippers count from their own start, and the ledger's sums from its first request. */
static void what_was_before_is_no_increase(void)
{
	world *w = calloc(1, sizeof *w);

	world_init(w);
	w->s.tap = (host_tap){ .kept = true };
	w->s.fleet = (host_fleet){ .kept = true };
	w->sums_known = false;
	for (int s = 0; s < 30; s++)
		look(w);
	w->s.tap = (host_tap){
		.kept = true, .ever = true, .processes = 1, .numbers = { [TAP_FULL] = 7, [TAP_REPORTS_LOST] = 7 }
	};
	w->s.fleet = (host_fleet){ .kept = true, .ever = true, .state = "ok", .rejected = 7 };
	w->sums_known = true;
	w->requests = w->unpriced = 1000;
	for (int s = 0; s < 60; s++)
		look(w);
	CHECK(!fires(w, ""));
	/* A process that began again: what it has counted since is new. */
	w->s.tap.numbers[TAP_FULL] = 1;
	look(w);
	CHECK(fires(w, "SpoaLlmTapFull") && !fires(w, "SpoaLlmTapReportsLost"));
	alerts_free(w->a);
	free(w);
}

/* Every alert of the file is known, in its order, but for those that no agent can know of itself. */
static void names_and_texts_are_those_of_the_file(void)
{
	static const char *const unknowable[] = { "SpoaLlmDown", "SpoaLlmAbsent", "SpoaLlmRecordsBehind" };
	static const char key[] = "- alert: ";
	size_t at = 0, left_out = 0;
	char *text = strndup(alerts_yml, alerts_yml_len);

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *name = strstr(line, key);
		bool skip = false;
		if (!name)
			continue;
		name += sizeof key - 1;
		for (size_t i = 0; i < 3; i++)
			skip = skip || strcmp(name, unknowable[i]) == 0;
		left_out += skip;
		if (skip)
			continue;
		CHECK(at < alert_rules_count && strcmp(alert_rules[at].name, name) == 0);
		alert_text told;
		CHECK(alerts_text_read(name, &told) && strlen(told.advice) > 40);
		/* The agent fills no templates in, and cuts no advice. */
		CHECK(!strstr(told.advice, "{{") && strlen(told.advice) < ADVICE_MAX - 1);
		bool shown = false;
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
			shown = shown || strcmp(cases[i].alert, name) == 0;
		shown = shown || strcmp(name, "SpoaLlmSpansSilent") == 0; /* as SpoaLlmFleetSilent */
		CHECK(shown);
		if (!shown)
			printf("%s: not shown\n", name);
		at++;
	}
	CHECK(at == alert_rules_count && left_out == 3);
	free(text);

	alert_text told;
	CHECK(alerts_text_read("SpoaLlmCredentialMissing", &told) && told.page && told.for_ms == 2 * MINUTE);
	CHECK(strcmp(told.advice,
		     "Each request that these routes match is refused: upstream_auth_unavailable. `spoa-llm check` and /readyz name "
		     "them; a file is read again within two seconds, a variable needs a restart.") == 0);
	CHECK(alerts_text_read("SpoaLlmFrameSize", &told) && !told.page && told.for_ms == 0);
	CHECK(alerts_text_read("SpoaLlmFleetRejected", &told) &&
	      slice_starts(slice_cstr(told.advice), SLICE("The table spoa_llm.")));
	CHECK(!alerts_text_read("SpoaLlm", &told) && !alerts_text_read("", &told));
}

static void a_failing_check_has_the_advice_of_its_alert(void)
{
	world *w = calloc(1, sizeof *w);
	alert_text told;

	world_init(w);
	reload(w, true);
	failing(w, true);
	look(w);
	CHECK(!fires(w, "")); /* not yet */
	CHECK(alerts_text_read("SpoaLlmReloadFailed", &told) &&
	      strcmp(alerts_advice(w->a, "reload"), told.advice) == 0);
	/* Of two alerts about the ledger, the one that holds. */
	CHECK(alerts_text_read("SpoaLlmLedgerFailing", &told) &&
	      strcmp(alerts_advice(w->a, "ledger"), told.advice) == 0);
	CHECK(strcmp(alerts_advice(w->a, "no such part"), "") == 0);
	alerts_free(w->a);
	free(w);
}

int main(void)
{
	RUN(each_fires_and_clears);
	RUN(what_nobody_records_is_not_missed);
	RUN(what_was_before_is_no_increase);
	RUN(names_and_texts_are_those_of_the_file);
	RUN(a_failing_check_has_the_advice_of_its_alert);
	return unit_end();
}

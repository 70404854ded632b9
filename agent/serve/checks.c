/* SPDX-License-Identifier: MIT */
#include "serve/checks.h"

#include "base/clock.h"
#include "base/rfc3339.h"
#include "serve/taps.h"

void checks_set(host_check *c, const char *part, bool ok, bool blocking, const char *fmt, ...)
{
	va_list args;

	c->part = part;
	c->ok = ok;
	c->blocking = blocking;
	va_start(args, fmt);
	vsnprintf(c->detail, sizeof c->detail, fmt, args);
	va_end(args);
}

size_t checks_routes(host_check *c, const policy *p)
{
	const route_table *t = p->table;
	size_t nowhere = 0, missing = 0, of_members = 0, needed = 0, ending = 0;
	const char *which = "", *without = "", *soon = "";
	int64_t now = clock_wall_ms(), end = INT64_MAX;

	for (size_t i = 0; i < routes_total(t); i++) {
		const route *r = routes_at(t, i);
		const char *problem = NULL;
		if (!r->enabled)
			continue;
		if (!route_backend(t, r)) {
			nowhere++;
			which = r->name;
		}
		if (r->auth.kind == AUTH_PASSTHROUGH)
			continue;
		needed++;
		if (credential_read(&r->auth, &p->secrets[i], &problem).len == 0) {
			missing++;
			of_members += r->member != NULL;
			without = r->name;
		} else if (secret_ends_soon(&p->secrets[i], now)) {
			ending++;
			if (p->secrets[i].expires_ms < end) {
				end = p->secrets[i].expires_ms;
				soon = r->name;
			}
		}
	}
	if (nowhere)
		checks_set(&c[0], "routes", false, false,
			   "%zu of %zu routes have no usable upstream and refuse every request: %s%s", nowhere,
			   t->enabled, which, nowhere > 1 ? " and others" : "");
	else
		checks_set(&c[0], "routes", true, false, "%zu routes", t->enabled);
	if (missing)
		checks_set(&c[1], "credentials", false, false, "%zu of %zu credentials are missing (%s%s), so %s",
			   missing, needed, without, missing > 1 ? " and others" : "",
			   !of_members ? "their routes refuse every request" :
			   of_members == missing ?
					 "pools do without these members" :
					 "their routes refuse every request, and pools do without their members");
	else if (ending)
		checks_set(
			&c[1], "credentials", false, false,
			"%zu of %zu credentials expire soon, and their files have no newer ones: %s in %lld seconds%s",
			ending, needed, soon, (long long)(end - now) / 1000, ending > 1 ? ", and others" : "");
	else
		checks_set(&c[1], "credentials", true, false, "%zu credentials found", needed);
	return 2;
}

size_t checks_pools(host_check *c, const policy *p)
{
	const route_table *t = p->table;
	size_t pools = 0, resting = 0, idle = 0;
	const char *which = "";
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < t->count; i++) {
		const pool *of = t->routes[i].enabled ? t->routes[i].pool : NULL;
		size_t able = 0;
		for (size_t m = 0; of && m < of->count; m++) {
			const route *member = &of->members[m];
			const char *problem = NULL;
			bool rests = rest_left(member->rest, now) > 0;
			resting += rests;
			able += !rests &&
				(member->auth.kind == AUTH_PASSTHROUGH ||
				 credential_read(&member->auth, &p->secrets[t->count + of->first + m], &problem).len >
					 0);
		}
		pools += of != NULL;
		if (of && !able) {
			idle++;
			which = t->routes[i].name;
		}
	}
	if (!pools)
		return 0;
	if (idle)
		checks_set(
			c, "pools", false, false,
			"%zu of %zu pools refuse every request now, because each of their members rests or has no credential: %s%s",
			idle, pools, which, idle > 1 ? " and others" : "");
	else
		checks_set(c, "pools", true, false, "%zu pools can serve; members that rest: %zu", pools, resting);
	return 1;
}

void checks_tap(host_check *c, const host_tap *t)
{
	if (t->processes == 0 && t->silent_ms > TAP_SILENT_MS)
		checks_set(c, "tap", false, false,
			   "%s for %lld seconds: streams go to their upstreams directly, and their usage is estimated",
			   t->ever ? "nothing was heard of it" : "it was not heard of", (long long)t->silent_ms / 1000);
	else if (t->processes == 0)
		checks_set(c, "tap", true, false, "not heard of yet");
	else if (t->draining == t->processes)
		checks_set(
			c, "tap", false, false,
			"it drains, with %llu streams: new ones go to their upstreams directly, and their usage is estimated",
			(unsigned long long)t->numbers[TAP_STREAMS]);
	else
		checks_set(c, "tap", true, false, "%llu streams", (unsigned long long)t->numbers[TAP_STREAMS]);
}

void checks_fleet(host_check *c, const host_fleet *f)
{
	bool well = strcmp(f->state, "ok") == 0 || strcmp(f->state, "behind") == 0;

	if (f->silent)
		checks_set(
			c, "fleet", false, false,
			"`spoa-llm ship` %s for %lld seconds; the ledger keeps the rows that PostgreSQL does not have",
			f->ever ? "was silent" : "was not heard of", (long long)f->silent_ms / 1000);
	else if (!f->ever)
		checks_set(c, "fleet", true, false, "not heard of yet");
	else if (!well)
		checks_set(c, "fleet", false, false, "%s, for %lld seconds: %s", f->state, (long long)f->lag_ms / 1000,
			   f->problem);
	else
		checks_set(c, "fleet", true, false, "PostgreSQL lacks at most %lld changes, and has for %lld seconds",
			   (long long)f->behind, (long long)f->lag_ms / 1000);
}

void checks_spans(host_check *c, const host_spans *s)
{
	bool well = strcmp(s->state, "ok") == 0 || strcmp(s->state, "behind") == 0;

	if (s->silent)
		checks_set(c, "spans", false, false, "`spoa-llm ship` %s for %lld seconds; the ledger keeps the rows",
			   s->ever ? "was silent" : "was not heard of", (long long)s->silent_ms / 1000);
	else if (!s->ever)
		checks_set(c, "spans", true, false, "not heard of yet");
	else if (!well)
		checks_set(c, "spans", false, false, "%s, for %lld seconds: %s", s->state, (long long)s->lag_ms / 1000,
			   s->problem);
	else
		checks_set(c, "spans", true, false,
			   "the collector lacks at most %lld changes, and has for %lld seconds", (long long)s->behind,
			   (long long)s->lag_ms / 1000);
}

size_t checks_clients(host_check *c, const policy *p, const clients_status *s)
{
	const client_table *t = p->clients;
	char loaded[RFC3339_TEXT];

	if (!t)
		return 0;
	rfc3339_write(s->loaded_ms, loaded);
	if (t->missing)
		checks_set(c, "clients", false, false, "keys are refused, because the file cannot be used: %s",
			   s->problem);
	else if (*s->problem)
		checks_set(c, "clients", false, false, "as they were at %s, because the file cannot be used: %s",
			   loaded, s->problem);
	else
		checks_set(c, "clients", true, false, "%u clients with %u keys, read at %s", t->count, t->keys_count,
			   loaded);
	return 1;
}

size_t checks_ledger(host_check *c, const ledger_stats *l)
{
	if (l->state == LEDGER_OK)
		checks_set(&c[0], "ledger", true, false, "%llu requests stored since the start",
			   (unsigned long long)l->stored);
	else
		checks_set(&c[0], "ledger", false, false, "%s: %s; the journal keeps the records",
			   l->state == LEDGER_BEHIND ? "behind" : "failing", l->problem);
	if (l->journal.failing || l->journal.dropped)
		checks_set(&c[1], "journal", !l->journal.failing, false, "%llu records lost; %s",
			   (unsigned long long)l->journal.dropped, l->journal.problem);
	else
		checks_set(&c[1], "journal", true, false, "%llu bytes in %llu file%s",
			   (unsigned long long)l->journal.bytes, (unsigned long long)l->journal.segments,
			   l->journal.segments == 1 ? "" : "s");
	return 2;
}

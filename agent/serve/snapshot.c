/* SPDX-License-Identifier: MIT */
#include "serve/snapshot.h"

#include <stdlib.h>

#include "base/clock.h"

_Static_assert((int)POOL_MEMBERS_MAX == (int)RECORD_ATTEMPTS_MAX && (int)MEMBER_NAME_MAX == (int)RECORD_MEMBER_MAX,
	       "a record has room for all attempts at a pool's members, and for their names");

enum { NOTES = 64 }; /* the most requests refused by the agent that are shown */

/* ---- slots: a name keeps its slot while the process lives, so that a counter never changes its meaning. Names that
 * come when all slots are used share SLOT_OTHER. */

enum { SLOT_LEGACY = 0, SLOT_OTHER = COUNTER_ROUTES - 1 };

static char slot_names[COUNTER_ROUTES][ROUTE_NAME_MAX + 1] = { [SLOT_LEGACY] = "legacy", [SLOT_OTHER] = "other" };
/* The main thread writes it, after the name of the new slot; any thread reads it. */
static _Atomic unsigned slots_used = 1;

static unsigned slot_of(const char *name)
{
	unsigned used = atomic_load(&slots_used);

	for (unsigned i = 0; i < used; i++)
		if (strcmp(slot_names[i], name) == 0)
			return i;
	if (used == SLOT_OTHER || strcmp(name, slot_names[SLOT_OTHER]) == 0)
		return SLOT_OTHER;
	snprintf(slot_names[used], sizeof slot_names[used], "%s", name);
	atomic_store(&slots_used, used + 1);
	return used;
}

void snapshot_assign_slots(route_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		t->routes[i].slot = slot_of(t->routes[i].name);
}

/* ---- sums over the threads */

static uint64_t sum_of(const spop_threads *ts, unsigned threads, unsigned slot, unsigned p, unsigned out)
{
	uint64_t n = 0;

	for (unsigned t = 0; t < threads; t++)
		n += counter_get(&spop_threads_counters(ts, t)->decisions[slot][p][out]);
	return n;
}

static bool sum_decisions(host_snapshot *s, const spop_threads *ts, unsigned threads)
{
	static const char *const outcomes[] = {
		[OUTCOME_PASSTHROUGH] = "passthrough",
		[OUTCOME_REPLACE] = "replace",
		[OUTCOME_REFUSED] = "refused",
		[OUTCOME_ANSWERED] = "answered",
	};
	unsigned used = atomic_load(&slots_used);

	s->decisions = calloc((used + 1) * PROTOCOLS * OUTCOMES, sizeof *s->decisions);
	if (!s->decisions)
		return false;
	for (unsigned i = 0; i <= used; i++) {
		unsigned slot = i < used ? i : SLOT_OTHER;
		for (unsigned p = 0; p < PROTOCOLS; p++) {
			for (unsigned out = 0; out < OUTCOMES; out++) {
				uint64_t n = sum_of(ts, threads, slot, p, out);
				if (n)
					s->decisions[s->decisions_count++] = (host_decisions){
						slot_names[slot], protocol_name((protocol)p), outcomes[out], n
					};
			}
		}
	}
	return true;
}

static bool sum_refusals(host_snapshot *s, const spop_threads *ts, unsigned threads, const route_table *table)
{
	s->refusals = calloc(REFUSALS, sizeof *s->refusals);
	if (!s->refusals)
		return false;
	for (unsigned why = REFUSE_NOT + 1; why < REFUSALS; why++) {
		const refusal_info *info = refusal_describe((refusal)why);
		host_refusals *r = &s->refusals[s->refusals_count++];
		*r = (host_refusals){ info->code, why == REFUSE_AUTH_UNAVAILABLE ? table->refusal_status : info->status,
				      0 };
		for (unsigned t = 0; t < threads; t++)
			r->count += counter_get(&spop_threads_counters(ts, t)->refusals[why]);
	}
	return true;
}

static void cut(char *out, const char *from, size_t room)
{
	size_t len = strnlen(from, room - 1);

	memcpy(out, from, len);
	out[len] = '\0';
}

static void copy_end_notes(host_snapshot *s)
{
	const ends *e = s->ends;
	uint64_t kept = e->notes_taken < ENDS_NOTES ? e->notes_taken : ENDS_NOTES;

	for (uint64_t i = 0; i < kept; i++) {
		const end_note *from = &e->notes[i];
		host_note *n = &s->notes[s->notes_count++];
		n->time_ms = from->time_ms;
		n->status = from->status;
		n->by_haproxy = true;
		cut(n->code, end_refusals[from->why].code, sizeof n->code);
		cut(n->id, from->id, sizeof n->id);
		cut(n->route, from->route, sizeof n->route);
		cut(n->backend, from->backend, sizeof n->backend);
		cut(n->member, from->member, sizeof n->member);
		cut(n->model, from->model, sizeof n->model);
		cut(n->problem, end_refusals[from->why].problem, sizeof n->problem);
	}
}

static int newest_first(const void *a, const void *b)
{
	int64_t x = ((const host_note *)a)->time_ms, y = ((const host_note *)b)->time_ms;

	return (x < y) - (x > y);
}

static bool copy_notes(host_snapshot *s, spop_threads *ts)
{
	refusal_note *notes = calloc(NOTES, sizeof *notes);

	s->notes = calloc(NOTES + ENDS_NOTES, sizeof *s->notes);
	s->notes_count = notes && s->notes ? spop_threads_notes(ts, notes, NOTES) : 0;
	for (size_t i = 0; i < s->notes_count; i++) {
		const refusal_note *from = &notes[i];
		host_note *n = &s->notes[i];
		n->time_ms = from->time_ms;
		n->status = from->status;
		snprintf(n->code, sizeof n->code, "%s", refusal_describe(from->why)->code);
		_Static_assert(sizeof n->id == sizeof from->id && sizeof n->problem == sizeof from->problem,
			       "the same room");
		cut(n->id, from->id, sizeof n->id);
		cut(n->route, from->route, sizeof n->route);
		cut(n->model, from->model, sizeof n->model);
		cut(n->problem, from->problem, sizeof n->problem);
	}
	bool ok = notes && s->notes;
	if (ok && s->ends) {
		copy_end_notes(s);
		qsort(s->notes, s->notes_count, sizeof *s->notes, newest_first);
	}
	free(notes);
	return ok;
}

static bool sum_threads(host_snapshot *s, const spop_threads *ts, unsigned threads)
{
	s->latency_bounds_ns = latency_bounds_ns;
	s->latency_count = LATENCY_BUCKETS;
	s->latency = calloc(LATENCY_BUCKETS + 1, sizeof *s->latency);
	s->threads = calloc(threads ? threads : 1, sizeof *s->threads);
	if (!s->latency || !s->threads)
		return false;
	s->threads_count = threads;
	uint64_t heard_ns = 0, now_ns;
	for (unsigned t = 0; t < threads; t++) {
		const net_counters *c = spop_threads_counters(ts, t);
		host_thread *h = &s->threads[t];
		/* Read `closed` first: a connection that opens and closes between would make the number negative. */
		uint64_t closed = counter_get(&c->connections_closed), opened = counter_get(&c->connections_opened);
		h->connections = opened > closed ? opened - closed : 0;
		h->turns = counter_get(&c->iterations);
		heard_ns = counter_get(&c->heard_ns) > heard_ns ? counter_get(&c->heard_ns) : heard_ns;
		for (size_t i = 0; i <= LATENCY_BUCKETS; i++) {
			uint64_t n = counter_get(&c->latency[i]);
			s->latency[i] += n;
			h->decisions += n;
		}
		s->latency_sum_ns += counter_get(&c->latency_sum_ns);
		s->connections_closed += closed;
		s->connections_opened += opened;
#define SUM(name) s->name += counter_get(&c->name)
		SUM(healthchecks);
		SUM(refused_connections);
		SUM(refused_memory);
		SUM(stalled);
		SUM(backpressure);
		SUM(in_flight_limited);
		SUM(frames_in);
		SUM(frames_out);
		SUM(bytes_in);
		SUM(bytes_out);
		SUM(hellos);
		SUM(hellos_short);
		SUM(spop_errors);
		SUM(hello_timeouts);
		SUM(accept_pauses);
		SUM(asked_for_more);
		SUM(responses);
		SUM(contract_outdated);
		SUM(backends_differ);
		SUM(unrecorded);
#undef SUM
	}
	now_ns = clock_mono_ns();
	s->heard = heard_ns > 0;
	s->heard_ms = now_ns > heard_ns ? (int64_t)((now_ns - heard_ns) / 1000000) : 0;
	return true;
}

/* Copies `text` into s->texts behind the `*at` bytes that are used. NULL: `text` is NULL. */
static const char *keep(host_snapshot *s, size_t room, size_t *at, const char *text)
{
	size_t len = text ? strlen(text) + 1 : 0;
	char *to = s->texts + *at;

	if (!text || len > room - *at)
		return NULL;
	memcpy(to, text, len);
	*at += len;
	return to;
}

/* Counts the credential of routes_at(t, i), if it has one. Returns whether nothing is missing. */
static bool count_credential(host_snapshot *s, const policy *p, size_t i)
{
	const route *r = routes_at(p->table, i);
	const char *problem = NULL;
	bool replaces = r->auth.kind != AUTH_PASSTHROUGH;
	bool present = !replaces || credential_read(&r->auth, &p->secrets[i], &problem).len > 0;

	if (r->enabled && replaces) {
		s->credentials++;
		s->credentials_missing += !present;
		s->credentials_expiring += present && secret_ends_soon(&p->secrets[i], clock_wall_ms());
	}
	return present;
}

/* Counts the credentials of the members of r's pool. Returns whether at least one of them is there. */
static bool count_members(host_snapshot *s, const policy *p, const route *r)
{
	bool any = false;

	for (size_t i = 0; i < r->pool->count; i++)
		any |= count_credential(s, p, p->table->count + r->pool->first + i);
	return any;
}

/* Appends the members of r's pool to s->members. `name`: the route's name in the snapshot. */
static void copy_members(host_snapshot *s, const policy *p, const route *r, const char *name, size_t room, size_t *at)
{
	char source[CREDENTIAL_SOURCE_MAX];
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < r->pool->count; i++) {
		const route *m = &r->pool->members[i];
		const upstream *up = route_upstream(p->table, m);
		host_member *to = &s->members[s->members_count++];
		const char *problem = NULL;
		credential_describe(&m->auth, source, sizeof source);
		to->route = name;
		to->name = keep(s, room, at, m->member);
		to->upstream = keep(s, room, at, up ? up->url : NULL);
		to->auth = keep(s, room, at, source);
		to->usable =
			up &&
			(m->auth.kind == AUTH_PASSTHROUGH ||
			 credential_read(&m->auth, &p->secrets[p->table->count + r->pool->first + i], &problem).len >
				 0);
		to->rest_ms = rest_left(m->rest, now);
		to->rest_status = to->rest_ms ? rest_status(m->rest) : 0;
		/* A member that was not asked yet has series too, which are 0, because alerts need them to see a
		 * change. */
		if (s->ends)
			(void)ends_member(s->ends, name, slice_cstr(m->member));
	}
}

static bool copy_routes(host_snapshot *s, const policy *p)
{
	const route_table *t = p->table;
	char source[CREDENTIAL_SOURCE_MAX];
	size_t room = 1, at = 0;

	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		const upstream *up = route_upstream(t, r);
		const char *const texts[] = {
			r->name, r->prefix, r->path_prefix, route_backend(t, r), up ? up->url : NULL, r->reference_model
		};
		for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++)
			room += texts[n] ? strlen(texts[n]) + 1 : 0;
		room += sizeof source;
	}
	for (size_t i = 0; i < t->members_count; i++) {
		const upstream *up = route_upstream(t, &t->members[i]);
		room += strlen(t->members[i].member) + 1 + (up ? strlen(up->url) + 1 : 0) + sizeof source;
	}
	s->texts = malloc(room);
	s->routes = calloc(t->count ? t->count : 1, sizeof *s->routes);
	s->members = calloc(t->members_count ? t->members_count : 1, sizeof *s->members);
	if (!s->texts || !s->routes || !s->members)
		return false;
	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		const upstream *up = route_upstream(t, r);
		host_route *h = &s->routes[i];
		bool present = r->pool ? count_members(s, p, r) : count_credential(s, p, i);
		if (r->pool)
			snprintf(source, sizeof source, "of %zu members", r->pool->count);
		else
			credential_describe(&r->auth, source, sizeof source);
		h->name = keep(s, room, &at, r->name);
		h->prefix = keep(s, room, &at, r->prefix);
		h->path_prefix = keep(s, room, &at, r->path_prefix);
		h->backend = keep(s, room, &at, route_backend(t, r));
		h->upstream = keep(s, room, &at, up ? up->url : NULL);
		h->auth = keep(s, room, &at, source);
		h->reference_model = keep(s, room, &at, r->reference_model);
		h->enabled = r->enabled;
		h->usable = h->backend && present;
		h->expires_ms = p->secrets[i].expires ? p->secrets[i].expires_ms : 0;
		if (r->pool && r->enabled)
			copy_members(s, p, r, h->name, room, &at);
	}
	s->routes_count = t->count;
	return true;
}

bool snapshot_take(host_snapshot *s, spop_threads *ts, const policy *p)
{
	unsigned threads = spop_threads_count(ts);

	memcpy(s->backends_hash, p->table->backends_hash, sizeof s->backends_hash);
	return sum_decisions(s, ts, threads) && sum_refusals(s, ts, threads, p->table) && sum_threads(s, ts, threads) &&
	       copy_notes(s, ts) && copy_routes(s, p);
}

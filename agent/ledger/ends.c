/* SPDX-License-Identifier: MIT */
#include "ledger/ends.h"

#include <stdio.h>

#include "ledger/tried.h"

const int64_t ends_bounds_ms[ENDS_BUCKETS] = { 50,    100,   250,   500,    1000,   2500,  5000,
					       10000, 30000, 60000, 120000, 300000, 600000 };

/* clang-format off */
const end_refusal_info end_refusals[END_REFUSALS] = {
	[END_GATEWAY_UNAVAILABLE] = { "gateway_unavailable", "HAProxy got no usable answer from the agent", false, false },
	[END_NO_BACKEND] = { "no_backend", "HAProxy has no backend of this name: make the backends again", false, false },
	[END_UPSTREAM_UNAVAILABLE] = { "upstream_unavailable", "HAProxy could not connect to the upstream, or in a pool to any member that does not rest", true, false },
	[END_UPSTREAM_TIMEOUT] = { "upstream_timeout", "the upstream did not answer in time", true, false },
	[END_UPSTREAM_ERROR] = { "upstream_error", "the upstream closed the connection, or its answer is not HTTP", true, false },
	[END_GATEWAY_ERROR] = { "gateway_error", "HAProxy failed, for lack of a resource or by a fault of its own", false, false },
	[END_TOO_LARGE] = { "model_not_in_sample", "the body is too large to ask the agent about it", false, true },
	[END_ORIGIN] = { "origin_not_allowed", "LLM_CORS_ORIGINS does not name the page's origin", false, false },
	[END_INVALID_QUERY] = { "invalid_query", "the name of a key in the query is escaped more than once", false, false },
	[END_INVALID_UPGRADE] = { "invalid_upgrade", "the request is nearly a WebSocket's handshake", false, false },
	[END_METHOD_NOT_ALLOWED] = { "method_not_allowed", "the method is CONNECT or TRACE", false, false },
	[END_BAD_REQUEST] = { "bad_request", "HAProxy cannot read the request", false, false },
	[END_REQUEST_TIMEOUT] = { "request_timeout", "the request did not arrive in time", false, false },
	[END_RATE] = { "rate_limit_exceeded", "the client has sent as many requests a minute, or has as many in flight, as it may", false, true },
	[END_NO_KEY] = { "invalid_api_key", "LLM_CLIENTS is required, and the request has no key of a client", false, true },
	[END_KEYS] = { "ambiguous_api_key", "two different keys of clients, at least one where the gateway takes none", false, true },
	[END_MISPLACED_KEY] = { "misplaced_api_key", "a client's key stands where the gateway takes none", false, false },
};
/* clang-format on */

const char *const end_why_names[END_WHYS] = {
	[END_WHY_429] = "429",
	[END_WHY_500] = "500",
	[END_WHY_502] = "502",
	[END_WHY_503] = "503",
	[END_WHY_504] = "504",
	[END_WHY_529] = "529",
	[END_WHY_UNREACHABLE] = "unreachable",
	[END_WHY_RESTING] = "resting",
	[END_WHY_CREDENTIAL] = "credential",
	[END_WHY_OTHER] = "other",
};

/* True if HAProxy itself answered: no head of an answer came from an upstream. */
static bool answered_here(const record *r)
{
	return r->ttfb_ms < 0 && r->status >= 400;
}

/* Returns why HAProxy refused a request whose log line has no code. The first letter of its termination state says who
 * ended the request: the server ('S'; 's': its time was over; 'D': it was marked down), the client ('C', 'c'), a rule
 * of HAProxy or its parser ('P', 'L'), a lack of resources ('R'), a fault of HAProxy's own ('I'). */
static end_refusal found_by_state(const record *r)
{
	char by = r->termination[0];
	bool server = by == 'S' || by == 's' || by == 'D';

	if (by == 'P' && r->status == 502)
		return END_UPSTREAM_ERROR;
	if (!answered_here(r) || by == 'C') /* HAProxy writes 400 where the client left */
		return END_NOT_REFUSED;
	if (server)
		return r->status == 503 ? END_UPSTREAM_UNAVAILABLE :
		       r->status == 504 ? END_UPSTREAM_TIMEOUT :
					  END_UPSTREAM_ERROR;
	switch (r->status) {
	case 400:
		return END_BAD_REQUEST;
	case 405:
		return END_METHOD_NOT_ALLOWED;
	case 408:
		return END_REQUEST_TIMEOUT;
	default:
		return by == 'c' || r->status < 500 ? END_NOT_REFUSED : END_GATEWAY_ERROR;
	}
}

static end_refusal found_by_code(const record *r, const char *named, end_agent agent)
{
	for (unsigned i = 0; i < END_REFUSALS; i++) {
		if (strcmp(end_refusals[i].code, r->code) != 0)
			continue;
		if (agent == AGENT_REFUSED || (agent == AGENT_UNKNOWN && end_refusals[i].shared))
			return END_NOT_REFUSED;
		/* An older agent does not tell HAProxy that it refused; but where it refuses, it names no backend. */
		if (i == END_NO_BACKEND && !*named)
			return END_NOT_REFUSED;
		return (end_refusal)i;
	}
	return END_NOT_REFUSED;
}

static end_place *place_of(ends *e, const char *route, const char *backend)
{
	for (size_t i = 0; i < e->places_count; i++)
		if (strcmp(e->places[i].route, route) == 0 && strcmp(e->places[i].backend, backend) == 0)
			return &e->places[i];
	/* The last place is for all that find no other one. */
	bool full = e->places_count >= ENDS_PLACES;
	end_place *p = &e->places[full ? ENDS_PLACES : e->places_count];
	if (e->places_count <= ENDS_PLACES) {
		snprintf(p->route, sizeof p->route, "%s", full ? "other" : route);
		snprintf(p->backend, sizeof p->backend, "%s", full ? "other" : backend);
		e->places_count++;
	}
	return p;
}

end_member *ends_member(ends *e, const char *route, slice member)
{
	for (size_t i = 0; i < e->members_count; i++)
		if (slice_eq(slice_cstr(e->members[i].member), member) && strcmp(e->members[i].route, route) == 0)
			return &e->members[i];
	/* As in place_of(). */
	bool full = e->members_count >= ENDS_MEMBERS;
	end_member *m = &e->members[full ? ENDS_MEMBERS : e->members_count];
	if (e->members_count <= ENDS_MEMBERS) {
		snprintf(m->route, sizeof m->route, "%s", full ? "other" : route);
		snprintf(m->member, sizeof m->member, "%.*s", full ? 5 : (int)member.len, full ? "other" : member.ptr);
		e->members_count++;
	}
	return m;
}

static end_why why_of(slice why)
{
	end_why i = 0;

	while (i < END_WHY_OTHER && !slice_eq(why, slice_cstr(end_why_names[i])))
		i++;
	return i;
}

/* True if the answer broke off, and not because the client left. */
static bool broke_off(const record *r)
{
	char by = r->termination[0];

	return by == 'S' || by == 's' || by == 'P' || by == 'D' || by == 'K';
}

static void at_least(int64_t *time_ms, int64_t then_ms)
{
	*time_ms = *time_ms > then_ms ? *time_ms : then_ms;
}

static void take_decline(end_member *m, end_why why, int64_t time_ms)
{
	m->declined[why]++;
	if (why == END_WHY_UNREACHABLE)
		at_least(&m->unreachable_ms, time_ms);
	else if (why != END_WHY_RESTING && why != END_WHY_CREDENTIAL)
		at_least(&m->reached_ms, time_ms);
}

/* Counts the attempts of a request for a pool. `refused`: why HAProxy refused the request, or answered in place of the
 * last member. */
static void take_members(ends *e, const record *r, end_refusal refused)
{
	slice tried = slice_cstr(r->tried), member, why;

	while (tried_next(&tried, &member, &why))
		take_decline(ends_member(e, r->route, member), why_of(why), r->time_ms);
	end_member *m = ends_member(e, r->route, slice_cstr(r->member));
	if (strcmp(r->code, "upstream_resting") == 0) {
		m->declined[END_WHY_RESTING]++;
	} else if (strcmp(r->code, "upstream_auth_unavailable") == 0) {
		m->declined[END_WHY_CREDENTIAL]++;
	} else if (!r->code[0] && r->ttfb_ms >= 0 && r->status >= 100 && r->status < 600) {
		m->answers[r->status / 100 - 1]++;
		m->cut += broke_off(r);
		at_least(&m->reached_ms, r->time_ms);
	} else {
		m->unanswered++;
		if (refused == END_UPSTREAM_UNAVAILABLE)
			at_least(&m->unreachable_ms, r->time_ms);
		else if (refused == END_UPSTREAM_ERROR || refused == END_UPSTREAM_TIMEOUT)
			at_least(&m->reached_ms, r->time_ms);
	}
}

static void take_time(end_times *t, int64_t ms)
{
	size_t i = 0;

	while (i < ENDS_BUCKETS && ms > ends_bounds_ms[i])
		i++;
	t->buckets[i]++;
	t->sum_ms += ms > 0 ? (uint64_t)ms : 0;
}

static void take_answer(end_place *p, const record *r)
{
	p->answers[r->status / 100 - 1]++;
	p->cut += broke_off(r);
	take_time(&p->first_byte, r->ttfb_ms);
	take_time(&p->whole, r->total_ms);
}

end_refusal ends_add(ends *e, const record *r, const char *named, end_agent agent, const char **backend)
{
	end_refusal why = r->code[0] ? found_by_code(r, named, agent) : found_by_state(r);

	if (r->member[0])
		take_members(e, r, why);
	if (why == END_NOT_REFUSED) {
		if (!r->code[0] && r->ttfb_ms >= 0 && r->status >= 100 && r->status < 600)
			take_answer(place_of(e, r->route, r->backend), r);
		return why;
	}
	/* A request that went to no upstream has HAProxy's own backend or frontend in its line. */
	*backend = end_refusals[why].upstream ? r->backend : named;
	place_of(e, r->route, *backend)->refusals[why]++;
	end_note *n = &e->notes[e->notes_taken++ % ENDS_NOTES];
	*n = (end_note){ .time_ms = r->time_ms, .why = why, .status = r->status };
	snprintf(n->id, sizeof n->id, "%s", r->id);
	snprintf(n->route, sizeof n->route, "%s", r->route);
	snprintf(n->backend, sizeof n->backend, "%s", *backend);
	snprintf(n->member, sizeof n->member, "%s", r->member);
	snprintf(n->model, sizeof n->model, "%.*s", RECORD_LABEL_MAX, r->model);
	return why;
}

uint64_t ends_refused(const ends *e, end_refusal why)
{
	uint64_t n = 0;

	for (size_t i = 0; i < e->places_count; i++)
		n += e->places[i].refusals[why];
	return n;
}

uint64_t ends_unanswered(const end_place *p)
{
	uint64_t n = 0;

	for (unsigned why = 0; why < END_REFUSALS; why++)
		n += end_refusals[why].upstream ? p->refusals[why] : 0;
	return n;
}

int64_t ends_unreachable_at(const end_member *m)
{
	return m->unreachable_ms > m->reached_ms ? m->unreachable_ms : 0;
}

uint64_t ends_attempts(const end_member *m)
{
	uint64_t n = m->unanswered;

	for (size_t i = 0; i < ENDS_CLASSES; i++)
		n += m->answers[i];
	for (size_t i = 0; i < END_WHYS; i++)
		n += m->declined[i];
	return n;
}

uint64_t ends_count(const end_times *t)
{
	uint64_t n = 0;

	for (size_t i = 0; i <= ENDS_BUCKETS; i++)
		n += t->buckets[i];
	return n;
}

int64_t ends_quantile(const end_times *t, double q)
{
	double want = q * (double)ends_count(t), below = 0;

	if (want <= 0)
		return -1;
	for (size_t i = 0; i < ENDS_BUCKETS; i++) {
		double in = (double)t->buckets[i], low = i ? (double)ends_bounds_ms[i - 1] : 0;
		if (in > 0 && below + in >= want)
			return (int64_t)(low + ((double)ends_bounds_ms[i] - low) * (want - below) / in);
		below += in;
	}
	return ends_bounds_ms[ENDS_BUCKETS - 1];
}

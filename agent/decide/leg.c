/* SPDX-License-Identifier: MIT */
#include "decide/leg.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "decide/ack.h"

/* ---- names */

/* Makes leg.BACKEND.HASH: as much of the backend's name as fits, for people, and a hash of all that the leg stands for.
 * `in`, `as`: the pool's backend to which the leg belongs, and the member's name in it, or "". NULL: out of memory. */
static char *name_of(const char *backend, const credential *auth, const char *in, const char *as)
{
	static const hash_key fixed; /* the same name at each start, because `spoa-llm backends` prints it */
	static const char kinds[] = { [AUTH_PASSTHROUGH] = 'p', [AUTH_ENV] = 'e', [AUTH_FILE] = 'f' };
	bool passes = auth->kind == AUTH_PASSTHROUGH;
	uint64_t hash = hash_of(&fixed, (uint64_t)kinds[auth->kind], slice_cstr(backend));
	char *name = malloc(LEG_NAME_MAX + 1);

	if (!name)
		return NULL;
	hash = hash_of(&fixed, hash, passes ? SLICE("") : slice_cstr(auth->source));
	hash = hash_of(&fixed, hash, passes ? SLICE("") : slice_cstr(auth_header_name(auth->header)));
	if (*in)
		hash = hash_of(&fixed, hash, slice_cstr(in));
	if (*as)
		hash = hash_of(&fixed, hash, slice_cstr(as));
	const char *shown = strncmp(backend, "llm-", 4) == 0 ? backend + 4 : backend;
	snprintf(name, LEG_NAME_MAX + 1, "leg.%.23s", shown);
	for (char *c = name; *c; c++)
		if (*c == ':') /* the tap takes letters, digits, dots, dashes and underscores */
			*c = '-';
	size_t len = strlen(name);
	snprintf(name + len, LEG_NAME_MAX + 1 - len, ".%016" PRIx64, hash);
	return name;
}

static const credential passthrough = { .kind = AUTH_PASSTHROUGH };

/* Names the leg of the pool itself, which HAProxy's retries come back to, by all of its members. After a reload, the
 * process that was replaced finds the new one's socket only if the members are the same: a request was decided on with
 * the members of before, so no other one may get it. False: out of memory. */
static bool name_pool(pool *of)
{
	char *all = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&all, &len);

	if (!f)
		return false;
	for (size_t i = 0; i < of->count; i++)
		if (of->members[i].leg)
			fprintf(f, "%s %s\n", of->members[i].member, of->members[i].leg);
	if (fclose(f) == 0)
		of->leg = name_of(of->backend, &passthrough, of->backend, all);
	free(all);
	return of->leg;
}

/* Names the leg of each member, and gives it its rest. The rest is found by a name of backend and credential alone, so
 * that members of several pools with the same upstream and credential share a rest. False: out of memory. */
static bool name_members(const route_table *t, pool *of)
{
	for (size_t i = 0; i < of->count; i++) {
		route *member = &of->members[i];
		const char *backend = route_backend(t, member);
		if (!backend || !member->member) /* wrong, as the check of the configuration has said */
			continue;
		char *name = name_of(backend, &member->auth, "", "");
		member->leg = name_of(backend, &member->auth, of->backend, member->member);
		member->rest = name ? rest_named(name) : NULL;
		free(name);
		if (!member->leg || !member->rest)
			return false;
	}
	return name_pool(of);
}

bool legs_name(route_table *t)
{
	for (size_t i = 0; i < t->count; i++) {
		route *r = &t->routes[i];
		bool tap = r->tap == TAP_AS_ALL ? t->tap : r->tap == TAP_ON;
		const char *backend = route_backend(t, r);
		if (!r->enabled || !backend)
			continue;
		if (r->pool && !name_members(t, r->pool))
			return false;
		if (tap && !(r->leg = r->pool ? strdup(r->pool->leg) : name_of(backend, &r->auth, "", "")))
			return false;
	}
	for (size_t i = 0; i < PROTOCOLS && t->tap; i++)
		if (!(t->target_legs[i] = name_of(t->targets[i].backend, &passthrough, "", "")))
			return false;
	return true;
}

bool legs_any(const route_table *t)
{
	bool any = t->tap;

	for (size_t i = 0; i < routes_total(t); i++)
		any |= routes_at(t, i)->leg != NULL;
	return any;
}

/* ---- the question of a leg */

/* What a leg tells of its request. */
typedef struct leg_request {
	slice method, path; /* empty: spoe.conf is of an older version, which does not tell them */
	bool websocket;
} leg_request;

static void read_question(spop_message *m, leg_answer *a, leg_request *r)
{
	slice name;
	spop_value v;

	while (spop_arg_next(m, &name, &v)) {
		if (slice_eq(name, SLICE("member")))
			a->name = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("method")))
			r->method = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("path")))
			r->path = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("upgrade")))
			r->websocket = spop_value_uint(&v) > 0;
		else if (slice_eq(name, SLICE("id")))
			a->id = spop_value_bytes(&v);
	}
}

static bool is_named(const char *leg, slice name)
{
	return leg && slice_eq(slice_cstr(leg), name);
}

static void refuse(leg_answer *a, refusal why, int status, const char *problem)
{
	a->refusal = why;
	a->status = status;
	a->problem = problem;
}

/* Returns the index, for routes_at(), of the route or member that has the leg `name`; routes_total(): none has it. */
static size_t find_leg(const route_table *t, slice name)
{
	size_t i = 0;

	while (i < routes_total(t) && !is_named(routes_at(t, i)->leg, name))
		i++;
	return i;
}

/* Gives the leg its credential, unless the member rests, or must not get the request: another agent, or the routes of
 * before a reload, may have decided on the request without this member. */
static void serve_leg(const policy *p, size_t at, const leg_request *r, leg_answer *a)
{
	const credential *auth = &a->route->auth;
	bool asks = a->route->member && route_lends(a->route) && r->method.len;
	int64_t left = a->route->rest ? rest_left(a->route->rest, clock_mono_ms()) : 0;

	a->backend = slice_cstr(route_backend(p->table, a->route));
	a->header = auth->header;
	if (asks && !member_releases(p, a->route, r->method, r->path, r->websocket)) {
		refuse(a, REFUSE_ENDPOINT, refusal_describe(REFUSE_ENDPOINT)->status,
		       "this method and path run no model, and the member's \"paths\" does not name them");
	} else if (left) {
		refuse(a, REFUSE_RESTING, rest_status(a->route->rest), "the member rests");
		a->retry_after = (int)((left + 999) / 1000);
	} else if (auth->kind != AUTH_PASSTHROUGH) {
		a->credential = credential_read(auth, &p->secrets[at], &a->problem);
		if (a->credential.len == 0)
			refuse(a, REFUSE_AUTH_UNAVAILABLE, p->table->refusal_status, a->problem);
	}
}

void leg_decide(const policy *p, spop_message *m, leg_answer *a)
{
	const route_table *t = p->table;
	leg_request r = { .websocket = false };

	*a = (leg_answer){ .route = NULL };
	read_question(m, a, &r);
	size_t at = find_leg(t, a->name);
	if (at < routes_total(t)) {
		a->route = routes_at(t, at);
		serve_leg(p, at, &r, a);
		return;
	}
	for (size_t i = 0; i < PROTOCOLS; i++)
		if (is_named(t->target_legs[i], a->name)) {
			a->backend = slice_cstr(t->targets[i].backend);
			return;
		}
	refuse(a, REFUSE_NO_BACKEND, refusal_describe(REFUSE_NO_BACKEND)->status, "no route has this leg");
}

size_t leg_ack(const leg_answer *a, const spop_session *s, unsigned char *room, size_t room_len, uint64_t stream_id,
	       uint64_t frame_id)
{
	spop_writer w = spop_ack_begin(s, room, room_len, stream_id, frame_id);

	if (a->refusal != REFUSE_NOT) {
		ack_refusal(&w, a->refusal, a->status);
		if (a->refusal == REFUSE_RESTING)
			ack_retry_after(&w, a->retry_after);
	} else {
		ack_str(&w, SLICE("backend"), a->backend);
		ack_str(&w, SLICE("auth"), a->credential.len ? SLICE("replace") : SLICE("passthrough"));
		if (a->credential.len) {
			ack_str(&w, SLICE("auth_header"), slice_cstr(auth_header_name(a->header)));
			ack_credential(&w, a->header, a->credential);
		}
	}
	ack_deny(&w, a->refusal != REFUSE_NOT);
	size_t len = frame_end(&w);
	if (len == 0) {
		w = spop_ack_begin(s, room, room_len, stream_id, frame_id);
		len = frame_end(&w);
	}
	return len;
}

/* ---- the message of a leg whose upstream declined */

const route *leg_declined(const policy *p, spop_message *m, leg_decline *d)
{
	const route_table *t = p->table;
	slice name;
	spop_value v;

	*d = (leg_decline){ .status = 0 };
	while (spop_arg_next(m, &name, &v)) {
		if (slice_eq(name, SLICE("member")))
			d->name = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("id")))
			d->id = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("retry_after")))
			d->retry_after = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("status")))
			d->status = (int)spop_value_uint(&v);
	}
	for (size_t i = 0; i < t->members_count; i++)
		if (is_named(t->members[i].leg, d->name))
			return d->status == 429 && t->members[i].auth.kind == AUTH_PASSTHROUGH ? NULL : &t->members[i];
	return NULL;
}

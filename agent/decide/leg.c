/* SPDX-License-Identifier: MIT */
#include "decide/leg.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "decide/ack.h"

/* ---- names */

/* Makes leg.BACKEND.HASH: as much of the backend's name as fits, for people, and a hash of all that the leg stands for.
 * NULL: out of memory. */
static char *name_of(const char *backend, const credential *auth)
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
	const char *shown = strncmp(backend, "llm-", 4) == 0 ? backend + 4 : backend;
	snprintf(name, LEG_NAME_MAX + 1, "leg.%.23s", shown);
	for (char *c = name; *c; c++)
		if (*c == ':') /* the tap takes letters, digits, dots, dashes and underscores */
			*c = '-';
	size_t len = strlen(name);
	snprintf(name + len, LEG_NAME_MAX + 1 - len, ".%016" PRIx64, hash);
	return name;
}

bool legs_name(route_table *t)
{
	static const credential passthrough = { .kind = AUTH_PASSTHROUGH };

	for (size_t i = 0; i < t->count; i++) {
		route *r = &t->routes[i];
		bool tap = r->tap == TAP_AS_ALL ? t->tap : r->tap == TAP_ON;
		const char *backend = route_backend(t, r);
		if (tap && r->enabled && backend && !(r->leg = name_of(backend, &r->auth)))
			return false;
	}
	for (size_t i = 0; i < PROTOCOLS && t->tap; i++)
		if (!(t->target_legs[i] = name_of(t->targets[i].backend, &passthrough)))
			return false;
	return true;
}

bool legs_any(const route_table *t)
{
	bool any = t->tap;

	for (size_t i = 0; i < t->count; i++)
		any |= t->routes[i].leg != NULL;
	return any;
}

/* ---- the question of a leg */

static void read_question(spop_message *m, leg_answer *a)
{
	slice name;
	spop_value v;

	while (spop_arg_next(m, &name, &v)) {
		if (slice_eq(name, SLICE("member")))
			a->name = spop_value_bytes(&v);
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

void leg_decide(const policy *p, spop_message *m, leg_answer *a)
{
	const route_table *t = p->table;

	*a = (leg_answer){ .route = NULL };
	read_question(m, a);
	for (size_t i = 0; i < t->count && !a->route; i++)
		if (is_named(t->routes[i].leg, a->name))
			a->route = &t->routes[i];
	if (a->route) {
		const credential *auth = &a->route->auth;
		a->backend = slice_cstr(route_backend(t, a->route));
		a->header = auth->header;
		if (auth->kind == AUTH_PASSTHROUGH)
			return;
		a->credential = credential_read(auth, &p->files[a->route - t->routes], &a->problem);
		if (a->credential.len == 0)
			refuse(a, REFUSE_AUTH_UNAVAILABLE, t->refusal_status, a->problem);
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
	} else {
		ack_str(&w, SLICE("backend"), a->backend);
		ack_str(&w, SLICE("auth"), a->credential.len ? SLICE("replace") : SLICE("passthrough"));
		if (a->credential.len)
			ack_credential(&w, a->header, a->credential);
	}
	ack_deny(&w, a->refusal != REFUSE_NOT);
	size_t len = frame_end(&w);
	if (len == 0) {
		w = spop_ack_begin(s, room, room_len, stream_id, frame_id);
		len = frame_end(&w);
	}
	return len;
}

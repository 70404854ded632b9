/* SPDX-License-Identifier: MIT */
#include "serve/credentials.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/rfc3339.h"

/* A credential, and what was last said about it. */
typedef struct known {
	uint64_t source;     /* hash of its kind and of its variable's name or its file's path */
	size_t route;        /* index for routes_at() of the first enabled route or member that uses it */
	size_t routes;       /* how many do */
	uint64_t value;      /* hash of the credential and of its end; 0: none was read yet */
	bool read;           /* `value` was said to be read */
	bool soon;           /* it was said to expire */
	const char *problem; /* of the credential that was said to be missing; NULL: it was not */
} known;

struct credentials {
	const route_table *table; /* that `all` was made from; compared and never read */
	known *all;
	size_t count;
};

credentials *credentials_new(void)
{
	return calloc(1, sizeof(credentials));
}

void credentials_free(credentials *c)
{
	if (c)
		free(c->all);
	free(c);
}

static known *find(known *all, size_t count, uint64_t source)
{
	for (size_t i = 0; i < count; i++)
		if (all[i].source == source)
			return &all[i];
	return NULL;
}

/* Makes the list anew for another table. What was said about a credential stays said. */
static void list(credentials *c, const route_table *t)
{
	known *all = calloc(routes_total(t) ? routes_total(t) : 1, sizeof *all);
	size_t count = 0;

	if (!all)
		return; /* tried again in a second */
	for (size_t i = 0; i < routes_total(t); i++) {
		const credential *auth = &routes_at(t, i)->auth;
		if (!routes_at(t, i)->enabled || auth->kind == AUTH_PASSTHROUGH)
			continue;
		uint64_t source = hash_of(hash_own_key(), auth->kind, slice_cstr(auth->source));
		known *k = find(all, count, source);
		if (!k) {
			const known *before = find(c->all, c->count, source);
			k = &all[count++];
			if (before)
				*k = *before;
			k->source = source;
			k->route = i;
			k->routes = 0;
		}
		k->routes++;
	}
	free(c->all);
	c->all = all;
	c->count = count;
	c->table = t;
}

static void look(known *k, const policy *p)
{
	const route *r = routes_at(p->table, k->route);
	const secret *file = &p->secrets[k->route];
	char auth[CREDENTIAL_SOURCE_MAX], expires[RFC3339_TEXT] = "";
	const char *problem;
	slice value = credential_read(&r->auth, file, &problem);
	bool ends = r->auth.kind == AUTH_FILE && file->expires;

	credential_describe(&r->auth, auth, sizeof auth);
	if (ends)
		rfc3339_write(file->expires_ms, expires);
	if (value.len == 0) {
		if (!k->problem || strcmp(k->problem, problem) != 0)
			log_event(credential_missing, LOG_C("auth", auth), LOG_C("route", r->name),
				  LOG_I("routes", k->routes), LOG_C("problem", problem),
				  LOG_C("instead",
					r->member ? "its pool does without this member" : "its requests are refused"));
		k->problem = problem;
		k->read = false;
		return;
	}
	uint64_t hash = hash_of(hash_own_key(), (uint64_t)file->expires_ms, value);
	if (!k->read || k->value != hash) {
		log_event(credential_read, LOG_C("auth", auth), LOG_C("route", r->name), LOG_I("routes", k->routes),
			  LOG_C("expires", ends ? expires : "not told"),
			  LOG_C("because", !k->value        ? "first read" :
					   k->value != hash ? "changed" :
							      "there again"));
		k->soon = false;
	}
	k->problem = NULL;
	k->read = true;
	k->value = hash;
	if (!k->soon && secret_ends_soon(file, clock_wall_ms())) {
		log_event(credential_expiring, LOG_C("auth", auth), LOG_C("route", r->name), LOG_I("routes", k->routes),
			  LOG_C("expires", expires), LOG_C("problem", "its file has no newer one"));
		k->soon = true;
	}
}

void credentials_look(credentials *c, const policy *p)
{
	if (c->table != p->table)
		list(c, p->table);
	for (size_t i = 0; c->table == p->table && i < c->count; i++)
		look(&c->all[i], p);
}

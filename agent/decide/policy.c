/* SPDX-License-Identifier: MIT */
#include "decide/policy.h"

#include <assert.h>
#include <stdlib.h>

#include "decide/endpoint.h"
#include "decide/models.h"
#include "decide/pricing.h"
#include "decide/request.h"

static const char *const protocol_names[PROTOCOLS] = { "openai", "anthropic", "gemini" };

const char *protocol_name(protocol p)
{
	assert(p < PROTOCOLS);
	return protocol_names[p];
}

route_table *route_table_new(void)
{
	route_table *t = calloc(1, sizeof *t);
	if (t) {
		atomic_init(&t->refs, 1);
		t->refusal_status = 502;
	}
	return t;
}

void route_deinit(route *r)
{
	free(r->name);
	free(r->prefix);
	free(r->path_prefix);
	for (size_t i = 0; i < r->paths_count; i++) {
		free(r->paths[i].method);
		free(r->paths[i].prefix);
	}
	free(r->paths);
	free(r->forward_names);
	free(r->forward_prefixes);
	free(r->connect.ca_file);
	free(r->connect.client_cert);
	free(r->connect.alpn);
	free(r->connect.sni);
	free(r->own_backend);
	free(r->upstream_given);
	upstream_deinit(&r->own);
	free(r->backend_given);
	credential_deinit(&r->auth);
	free(r->leg);
	free(r->reference_model);
	for (size_t i = 0; i < r->models_count; i++)
		free(r->models[i]);
	free(r->models);
	free(r->member);
	if (r->pool) {
		free(r->pool->backend);
		free(r->pool->leg);
		free(r->pool);
	}
}

void route_table_unref(route_table *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	for (size_t i = 0; i < t->count; i++)
		route_deinit(&t->routes[i]);
	free(t->routes);
	for (size_t i = 0; i < t->members_count; i++)
		route_deinit(&t->members[i]);
	free(t->members);
	models_deinit(&t->listed);
	for (size_t i = 0; i < PROTOCOLS; i++) {
		upstream_deinit(&t->targets[i]);
		free(t->target_legs[i]);
	}
	free(t);
}

/* Returns a zeroed route at the end of the array. NULL: out of memory. */
static route *append(route **array, size_t *count)
{
	if ((*count & (*count - 1)) == 0) { /* the array is full when the count is a power of two */
		size_t cap = *count ? *count * 2 : 1;
		route *more = realloc(*array, cap * sizeof *more);
		if (!more)
			return NULL;
		*array = more;
	}
	(*array)[*count] = (route){ .enabled = true };
	return &(*array)[(*count)++];
}

route *route_table_add(route_table *t)
{
	return t->count == ROUTES_MAX ? NULL : append(&t->routes, &t->count);
}

route *route_table_add_member(route_table *t)
{
	return append(&t->members, &t->members_count);
}

size_t routes_total(const route_table *t)
{
	return t->count + t->members_count;
}

const route *routes_at(const route_table *t, size_t i)
{
	return i < t->count ? &t->routes[i] : &t->members[i - t->count];
}

static policy *policy_alloc(route_table *t)
{
	policy *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->secrets = calloc(routes_total(t) ? routes_total(t) : 1, sizeof *p->secrets);
	if (!p->secrets) {
		free(p);
		return NULL;
	}
	atomic_init(&p->refs, 1);
	p->table = t;
	return p;
}

policy *policy_new(route_table *t, client_table *clients)
{
	policy *p = policy_alloc(t);
	if (!p) {
		route_table_unref(t);
		client_table_unref(clients);
		return NULL;
	}
	p->clients = clients;
	for (size_t i = 0; i < routes_total(t); i++) {
		const credential *auth = &routes_at(t, i)->auth;
		if (auth->kind == AUTH_FILE)
			secret_load(&p->secrets[i], auth->source);
		else if (auth->kind == AUTH_ENV)
			secret_variable(&p->secrets[i], auth->source);
	}
	return p;
}

policy *policy_ref(policy *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void policy_unref(policy *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	for (size_t i = 0; i < routes_total(p->table); i++)
		secret_deinit(&p->secrets[i]);
	free(p->secrets);
	route_table_unref(p->table);
	client_table_unref(p->clients);
	pricing_unref(p->pricing);
	free(p);
}

void policy_set_pricing(policy *p, pricing *k)
{
	pricing_unref(p->pricing);
	p->pricing = k;
}

policy *policy_refresh(const policy *p, client_table *clients)
{
	bool changed = clients != NULL;

	for (size_t i = 0; i < routes_total(p->table) && !changed; i++)
		if (routes_at(p->table, i)->auth.kind == AUTH_FILE)
			changed = secret_changed(&p->secrets[i], routes_at(p->table, i)->auth.source);
	if (!changed)
		return NULL;
	atomic_fetch_add(&p->table->refs, 1);
	if (!clients && p->clients)
		clients = client_table_ref(p->clients);
	policy *next = policy_new(p->table, clients);
	if (next)
		next->pricing = pricing_ref(p->pricing);
	return next;
}

bool policy_allows_contract(const policy *p, uint64_t contract)
{
	return (contract >= CONTRACT_SAFE && contract <= CONTRACT) ||
	       (p->table->older_contract_allowed && contract + 1 == CONTRACT_SAFE);
}

bool routes_tapped(const route_table *t)
{
	bool tapped = t->target_legs[0] != NULL; /* all targets have a leg, or none */

	for (size_t i = 0; i < t->count && !tapped; i++)
		tapped = t->routes[i].leg != NULL;
	return tapped;
}

const int pool_statuses[POOL_STATUSES] = { 429, 500, 502, 503, 504, 529 };

unsigned pool_status_bit(int status)
{
	for (unsigned i = 0; i < POOL_STATUSES; i++)
		if (pool_statuses[i] == status)
			return 1u << i;
	return 0;
}

const upstream *route_upstream(const route_table *t, const route *r)
{
	if (!r->upstream_given)
		return &t->targets[r->protocol];
	return r->own.url ? &r->own : NULL;
}

const char *route_backend(const route_table *t, const route *r)
{
	const upstream *u = route_upstream(t, r);
	if (!u)
		return r->pool ? r->pool->backend : NULL;
	if (r->own_backend)
		return r->own_backend;
	return r->backend_given ? r->backend_given : u->backend;
}

bool route_replaces(const route *r)
{
	return r->pool ? r->pool->replaces : r->auth.kind != AUTH_PASSTHROUGH;
}

bool route_lends(const route *r)
{
	return r->auth.kind != AUTH_PASSTHROUGH || r->connect.client_cert;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool route_same_backend(const route *a, const route *b)
{
	static const route target;

	b = b ? b : &target;
	return a->forwards == b->forwards && !a->member == !b->member &&
	       (!a->forwards || (same_text(a->forward_names, b->forward_names) &&
				 same_text(a->forward_prefixes, b->forward_prefixes))) &&
	       same_text(a->connect.ca_file, b->connect.ca_file) &&
	       same_text(a->connect.client_cert, b->connect.client_cert) &&
	       same_text(a->connect.alpn, b->connect.alpn) && same_text(a->connect.sni, b->connect.sni) &&
	       a->connect.timeout == b->connect.timeout && a->connect.max_connections == b->connect.max_connections;
}

bool route_is_catch_all(const route *r)
{
	return r->prefix && r->prefix[0] == '*' && r->prefix[1] == '\0';
}

/* Like slice_istarts(), but does not measure the prefix, which is in lower case, first, because most prefixes differ in
 * their first bytes. */
static bool begins(slice model, const char *prefix)
{
	for (size_t i = 0; prefix[i]; i++)
		if (i == model.len || ascii_lower(model.ptr[i]) != prefix[i])
			return false;
	return true;
}

static bool is_model(const route *r, slice model)
{
	return !r->prefix || route_is_catch_all(r) || begins(model, r->prefix);
}

static bool is_path(const route *r, slice path)
{
	return !r->path_prefix || path_under(path, r->path_prefix);
}

const route *route_match(const route_table *t, slice model, slice path)
{
	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		if (r->enabled && is_model(r, model) && is_path(r, path))
			return r;
	}
	return NULL;
}

const route *route_without_model(const route_table *t, slice path, bool by_path)
{
	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		if (r->enabled && (!r->prefix || route_is_catch_all(r)) && (!by_path || r->path_prefix) &&
		    is_path(r, path))
			return r;
	}
	return NULL;
}

const route *route_whatever_model(const route_table *t, slice path)
{
	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		if (r->enabled && is_path(r, path))
			return r->prefix ? NULL : r;
	}
	return NULL;
}

bool route_releases(const route *r, slice method, slice path)
{
	for (size_t i = 0; i < r->paths_count; i++) {
		const path_rule *rule = &r->paths[i];
		if ((!rule->method || slice_eq(method, slice_cstr(rule->method))) && path_under(path, rule->prefix))
			return true;
	}
	return r->paths_any;
}

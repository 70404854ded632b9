/* SPDX-License-Identifier: MIT */
#include "decide/policy.h"

#include <assert.h>
#include <stdlib.h>

#include "decide/endpoint.h"
#include "decide/models.h"

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
}

void route_table_unref(route_table *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	for (size_t i = 0; i < t->count; i++)
		route_deinit(&t->routes[i]);
	free(t->routes);
	models_deinit(&t->listed);
	for (size_t i = 0; i < PROTOCOLS; i++) {
		upstream_deinit(&t->targets[i]);
		free(t->target_legs[i]);
	}
	free(t);
}

route *route_table_add(route_table *t)
{
	if (t->count == ROUTES_MAX)
		return NULL;
	if ((t->count & (t->count - 1)) == 0) { /* the array is full when count is a power of two */
		size_t cap = t->count ? t->count * 2 : 1;
		route *routes = realloc(t->routes, cap * sizeof *routes);
		if (!routes)
			return NULL;
		t->routes = routes;
	}
	t->routes[t->count] = (route){ .enabled = true };
	return &t->routes[t->count++];
}

static policy *policy_alloc(route_table *t)
{
	policy *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->files = calloc(t->count ? t->count : 1, sizeof *p->files);
	if (!p->files) {
		free(p);
		return NULL;
	}
	atomic_init(&p->refs, 1);
	p->table = t;
	return p;
}

policy *policy_new(route_table *t)
{
	policy *p = policy_alloc(t);
	if (!p) {
		route_table_unref(t);
		return NULL;
	}
	for (size_t i = 0; i < t->count; i++)
		if (t->routes[i].auth.kind == AUTH_FILE)
			secret_load(&p->files[i], t->routes[i].auth.source);
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
	for (size_t i = 0; i < p->table->count; i++)
		secret_deinit(&p->files[i]);
	free(p->files);
	route_table_unref(p->table);
	free(p);
}

policy *policy_refresh(const policy *p)
{
	bool changed = false;

	for (size_t i = 0; i < p->table->count && !changed; i++)
		if (p->table->routes[i].auth.kind == AUTH_FILE)
			changed = secret_changed(&p->files[i], p->table->routes[i].auth.source);
	if (!changed)
		return NULL;
	atomic_fetch_add(&p->table->refs, 1);
	return policy_new(p->table);
}

bool policy_allows_contract(const policy *p, uint64_t contract)
{
	return contract >= CONTRACT || (p->table->older_contract_allowed && contract + 1 == CONTRACT);
}

bool routes_tapped(const route_table *t)
{
	bool tapped = t->target_legs[0] != NULL; /* all targets have a leg, or none */

	for (size_t i = 0; i < t->count && !tapped; i++)
		tapped = t->routes[i].leg != NULL;
	return tapped;
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
		return NULL;
	if (r->own_backend)
		return r->own_backend;
	return r->backend_given ? r->backend_given : u->backend;
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
	return a->forwards == b->forwards &&
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

/* Like slice_istarts(), but does not measure the prefix first, because most prefixes differ in their first bytes. */
static bool begins(slice model, const char *prefix)
{
	size_t i = 0;

	while (i < model.len && prefix[i] && ascii_lower(model.ptr[i]) == ascii_lower(prefix[i]))
		i++;
	return prefix[i] == '\0';
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

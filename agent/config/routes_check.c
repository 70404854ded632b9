/* SPDX-License-Identifier: MIT */
#include "config/routes.h"

#include <stdlib.h>

#include "base/log.h"
#include "config/routes_impl.h"
#include "decide/endpoint.h"
#include "decide/models.h"

/* Returns routes_at(t, i), to be changed. */
static route *route_of(route_table *t, size_t i)
{
	return i < t->count ? &t->routes[i] : &t->members[i - t->count];
}

bool check_backend(route_table *t, size_t index, const problems *to, place where)
{
	route *r = route_of(t, index);
	const upstream *mine = route_upstream(t, r);
	const char *name = route_backend(t, r);

	if (!r->enabled || !mine)
		return true;
	for (size_t i = 0; i < PROTOCOLS + index; i++) {
		const route *other = i < PROTOCOLS ? NULL : routes_at(t, i - PROTOCOLS);
		if (other && (!other->enabled || !route_upstream(t, other)))
			continue;
		const upstream *theirs = other ? route_upstream(t, other) : &t->targets[i];
		const char *their_name = other ? route_backend(t, other) : t->targets[i].backend;
		if (strcmp(name, their_name) != 0 || (upstream_same(mine, theirs) && route_same_backend(r, other)))
			continue;
		if (!problem(to, where, "requests for this route are refused",
			     "backend \"%s\" would serve two upstreams, or one in two ways, for %s and %s; "
			     "give one of them another \"backend\"",
			     name, theirs->url, mine->url))
			return false;
		if (!r->upstream_given && !(r->upstream_given = strdup("")))
			return err_memory(to->e);
		upstream_deinit(&r->own);
		return true;
	}
	return true;
}

static bool covers_model(const route *before, const route *r)
{
	if (!before->prefix || route_is_catch_all(before))
		return true;
	return r->prefix && slice_starts(slice_cstr(r->prefix), slice_cstr(before->prefix));
}

/* A route without a path_prefix takes no request that names no model, unless the request's endpoint runs one. */
static bool covers_path(const route *before, const route *r)
{
	if (before->path_prefix)
		return r->path_prefix && path_under(slice_cstr(r->path_prefix), before->path_prefix);
	return !r->path_prefix || (r->prefix && !route_is_catch_all(r));
}

static void warn_unreachable(const route_table *t, const route *r, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		const route *before = &t->routes[i];
		if (!before->enabled || !covers_model(before, r) || !covers_path(before, r))
			continue;
		log_event(route_unreachable, LOG_I("route", r->entry),
			  LOG_C("model_prefix", r->prefix ? r->prefix : ""), LOG_I("shadowed_by", before->entry),
			  LOG_C("its_model_prefix", before->prefix ? before->prefix : ""),
			  LOG_C("path_prefix", r->path_prefix ? r->path_prefix : ""),
			  LOG_C("its_path_prefix", before->path_prefix ? before->path_prefix : ""));
		return;
	}
}

static bool is_loopback(const upstream *u)
{
	return strcmp(u->host, "localhost") == 0 || strncmp(u->host, "127.", 4) == 0 || strcmp(u->host, "::1") == 0;
}

void warn_cleartext(const route_table *t, const route *r)
{
	const upstream *u = route_upstream(t, r);

	if (u && !u->tls && r->auth.kind != AUTH_PASSTHROUGH && !is_loopback(u))
		log_event(route_cleartext, LOG_C("route", r->name), LOG_C("upstream", u->url),
			  LOG_C("problem", "the credential travels without TLS"));
}

/* Checks that a request for each model that the route lists takes the route, and counts the models. */
static bool check_models(const route_table *t, const route *r, size_t *listed, const problems *to, place where)
{
	for (size_t i = 0; i < r->models_count; i++) {
		slice name = slice_cstr(r->models[i]);
		if (++*listed > MODELS_MAX)
			return place_error(to->e, where, "the routes list more than %d models", MODELS_MAX);
		if (r->path_prefix)
			continue;
		const route *takes = route_match(t, name, SLICE("/v1/chat/completions"));
		if (takes != r && !problem(to, where, "the model is listed all the same",
					   "\"models\": a request for \"%.100s\" takes %s%.64s; list it there",
					   r->models[i], takes ? "the route " : "no route", takes ? takes->name : ""))
			return false;
	}
	return true;
}

/* A name tells routes apart in logs and metrics. */
static bool check_name(const route_table *t, const route *r, size_t index, const problems *to, place where)
{
	for (size_t n = 0; n < index && to->strict; n++)
		if (t->routes[n].enabled && strcmp(t->routes[n].name, r->name) == 0)
			return problem(to, where, "both are used",
				       "a second route named \"%s\": logs and metrics could not tell the two apart; "
				       "give it a \"name\", or remove it",
				       r->name);
	return true;
}

bool routes_check(route_table *t, place where, const problems *to)
{
	size_t listed = 0;

	t->enabled = 0;
	for (size_t i = 0; i < t->count; i++) {
		route *r = &t->routes[i];
		place p = place_child(where, (int)r->entry - 1, false);

		if (!r->enabled)
			continue;
		t->enabled++;
		if (!check_name(t, r, i, to, p) || !set_own_backend(t, r, to->e) || !check_backend(t, i, to, p))
			return false;
		warn_unreachable(t, r, i);
		if (!check_models(t, r, &listed, to, p))
			return false;
		warn_cleartext(t, r);
	}
	return check_members(t, where, to) && (models_list(t) || err_memory(to->e));
}

/* SPDX-License-Identifier: MIT */
#include "report/check.h"

#include "decide/forward.h"

static void write_names(FILE *f, const char *list, const char *star)
{
	for (slice name = forward_next(&list); name.len; name = forward_next(&list))
		fprintf(f, " %.*s%s", (int)name.len, name.ptr, star);
}

/* Says with which requests, and with which headers, a route's credential goes upstream. */
static void say_what_goes_along(FILE *f, const route *r)
{
	fprintf(f, "%-8s   its %s goes along with requests that run a model, with GET .../models/NAME", "",
		r->auth.kind != AUTH_PASSTHROUGH ? "credential" : "client certificate");
	for (size_t i = 0; i < r->paths_count; i++)
		fprintf(f, ", with %s%s%s", r->paths[i].method ? r->paths[i].method : "", r->paths[i].method ? " " : "",
			*r->paths[i].prefix ? r->paths[i].prefix : "/");
	fprintf(f, "%s\n", r->paths_any ? ", and with every other request (\"paths\": \"any\")" : "");
	if (!r->forwards)
		return;
	fprintf(f, "%-8s   it also forwards the headers", "");
	write_names(f, r->forward_names, "");
	write_names(f, r->forward_prefixes, "*");
	fprintf(f, "\n");
}

/* Says where a request of each protocol arrives. */
static void say_where(FILE *f, const upstream *u, protocol p)
{
	static const char *const paths[PROTOCOLS] = { [PROTOCOL_OPENAI] = "/v1/chat/completions",
						      [PROTOCOL_ANTHROPIC] = "/v1/messages",
						      [PROTOCOL_GEMINI] = "/v1beta/models/NAME:generateContent" };
	char url[UPSTREAM_URL_MAX * 2];

	upstream_url_for(u, slice_cstr(paths[p]), url, sizeof url);
	fprintf(f, "%-8s   %s becomes %s\n", "", paths[p], url);
}

static bool check_route(FILE *f, const policy *p, size_t i)
{
	const route *r = &p->table->routes[i];
	const char *problem = NULL, *backend = route_backend(p->table, r);
	char source[CREDENTIAL_SOURCE_MAX];

	credential_describe(&r->auth, source, sizeof source);
	bool present = r->auth.kind == AUTH_PASSTHROUGH || credential_read(&r->auth, &p->files[i], &problem).len > 0;
	bool usable = present && backend;
	fprintf(f, "%-8s route %-20s -> %-40s %s%s%s\n", usable ? "ok" : "PROBLEM", r->name,
		backend ? backend : "(no backend)", source, problem ? ": " : "", problem ? problem : "");
	if (route_upstream(p->table, r))
		say_where(f, route_upstream(p->table, r), r->protocol);
	if (route_lends(r))
		say_what_goes_along(f, r);
	if (r->models_count)
		fprintf(f, "%-8s   it lists %zu of the models that the gateway answers GET /v1/models with\n", "",
			r->models_count);
	return usable;
}

size_t check_write(FILE *f, const policy *p)
{
	const route_table *t = p->table;
	size_t unusable = 0;
	bool replaces = false;

	for (size_t i = 0; i < t->count; i++) {
		if (!t->routes[i].enabled)
			continue;
		unusable += !check_route(f, p, i);
		replaces |= t->routes[i].auth.kind != AUTH_PASSTHROUGH;
	}
	for (size_t i = 0; i < PROTOCOLS; i++) {
		fprintf(f, "%-8s target %-19s -> %s\n", "ok", protocol_name((protocol)i), t->targets[i].backend);
		say_where(f, &t->targets[i], (protocol)i);
	}
	if (replaces)
		fprintf(f,
			"Only HAProxy 3.2 and later drop the fields behind a chunked body (trailers). An older one forwards them, "
			"and the client's credential with them, also to routes with a credential of their own.\n");
	if (unusable)
		fprintf(f, "%zu of the routes would refuse every request\n", unusable);
	return unusable;
}

/* SPDX-License-Identifier: MIT */
#include "report/check.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rfc3339.h"
#include "decide/forward.h"
#include "report/connection.h"

static void write_names(FILE *f, const char *list, const char *star)
{
	for (slice name = forward_next(&list); name.len; name = forward_next(&list))
		fprintf(f, " %.*s%s", (int)name.len, name.ptr, star);
}

/* Says with which requests, and with which headers, a route's credential goes upstream. */
static void say_what_goes_along(findings *to, const route *r)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return;
	for (size_t i = 0; i < r->paths_count; i++)
		fprintf(f, ", with %s%s%s", r->paths[i].method ? r->paths[i].method : "", r->paths[i].method ? " " : "",
			*r->paths[i].prefix ? r->paths[i].prefix : "/");
	fprintf(f, "%s", r->paths_any ? ", and with every other request (\"paths\": \"any\")" : "");
	fflush(f);
	finding_more(to, "its %s goes along with requests that run a model, with GET .../models/NAME%s",
		     r->auth.kind != AUTH_PASSTHROUGH ? "credential" : "client certificate", text ? text : "");
	if (r->forwards) {
		rewind(f);
		write_names(f, r->forward_names, "");
		write_names(f, r->forward_prefixes, "*");
		fputc('\0', f);
		fflush(f);
		finding_more(to, "it also forwards the headers%s", text ? text : "");
	}
	fclose(f);
	free(text);
}

/* Says where a request of each protocol arrives. */
static void say_where(findings *to, const upstream *u, protocol p)
{
	static const char *const paths[PROTOCOLS] = { [PROTOCOL_OPENAI] = "/v1/chat/completions",
						      [PROTOCOL_ANTHROPIC] = "/v1/messages",
						      [PROTOCOL_GEMINI] = "/v1beta/models/NAME:generateContent" };
	char url[UPSTREAM_URL_MAX * 2];

	upstream_url_for(u, slice_cstr(paths[p]), url, sizeof url);
	finding_more(to, "%s becomes %s", paths[p], url);
}

static void say_models(findings *to, const route *r)
{
	if (r->models_count)
		finding_more(to, "it lists %zu of the models that the gateway answers GET /v1/models with",
			     r->models_count);
}

/* Says how to make the file of a credential that is not there yet. */
static void say_how_to_set(findings *to, const credential *auth)
{
	slice directory = SLICE(CREDENTIALS_DIRECTORY);
	bool there = auth->kind != AUTH_FILE || access(auth->source, F_OK) == 0 || errno != ENOENT;

	if (!there && slice_starts(slice_cstr(auth->source), directory) && !strchr(auth->source + directory.len, '/'))
		finding_more(to, "`spoa-llm credential set %s` makes the file", auth->source + directory.len);
}

static bool check_route(findings *to, const policy *p, size_t i)
{
	const route *r = routes_at(p->table, i);
	const char *problem = NULL, *backend = route_backend(p->table, r);
	char source[CREDENTIAL_SOURCE_MAX], connection[CONNECTION_TEXT_MAX];

	credential_describe(&r->auth, source, sizeof source);
	bool present = r->auth.kind == AUTH_PASSTHROUGH || credential_read(&r->auth, &p->secrets[i], &problem).len > 0;
	bool usable = present && backend;
	finding(to, usable ? FOUND_OK : FOUND_PROBLEM, "route", r->name, "%-40s %s%s%s",
		backend ? backend : "(no backend)", source, problem ? ": " : "", problem ? problem : "");
	say_how_to_set(to, &r->auth);
	if (route_upstream(p->table, r))
		say_where(to, route_upstream(p->table, r), r->protocol);
	connection_text(&r->connect, connection);
	if (*connection)
		finding_more(to, "HAProxy connects with %s", connection);
	if (present && p->secrets[i].expires) {
		char time[RFC3339_TEXT];
		rfc3339_write(p->secrets[i].expires_ms, time);
		finding_more(to, "its token expires at %s", time);
	}
	if (route_lends(r))
		say_what_goes_along(to, r);
	say_models(to, r);
	return usable;
}

/* Warns of what `retry_on` may cost. */
static void check_retry_on(findings *to, const route *r)
{
	static const int unclear[] = { 500, 502, 504 };
	char text[64] = "";
	size_t len = 0;

	for (size_t i = 0; i < sizeof unclear / sizeof unclear[0]; i++)
		if (r->pool->retry_on & pool_status_bit(unclear[i]))
			len += (size_t)snprintf(text + len, sizeof text - len, "%s%d", len ? ", " : "", unclear[i]);
	if (len)
		finding(to, FOUND_WARNING, "route", r->name,
			"\"retry_on\" has %s, which an upstream may also answer after it ran the model: then the request goes to "
			"another member, and may be billed twice",
			text);
}

/* Says what a pool does, and what its members are. Returns whether one of them can be used. */
static bool check_pool(findings *to, const policy *p, const route *r)
{
	static const char *const balances[] = { [BALANCE_FIRST] = "in this order",
						[BALANCE_WEIGHTED] = "by weight",
						[BALANCE_LEAST] = "the least busy first" };
	const pool *of = r->pool;
	bool usable = false;

	finding(to, FOUND_OK, "route", r->name, "%-40s a pool of %zu: %s", of->backend, of->count,
		balances[of->balance]);
	say_models(to, r);
	check_retry_on(to, r);
	for (size_t i = 0; i < of->count; i++)
		usable |= check_route(to, p, p->table->count + of->first + i);
	if (!usable)
		finding(to, FOUND_PROBLEM, "route", r->name, "no member of its pool can be used");
	return usable;
}

void check_write(findings *to, const policy *p)
{
	const route_table *t = p->table;
	size_t unusable = 0;
	bool replaces = false;

	for (size_t i = 0; i < t->count; i++) {
		if (!t->routes[i].enabled)
			continue;
		unusable += !(t->routes[i].pool ? check_pool(to, p, &t->routes[i]) : check_route(to, p, i));
		replaces |= route_replaces(&t->routes[i]);
	}
	for (size_t i = 0; i < PROTOCOLS; i++) {
		finding(to, FOUND_OK, "target", protocol_name((protocol)i), "%s", t->targets[i].backend);
		say_where(to, &t->targets[i], (protocol)i);
	}
	if (replaces)
		finding_note(
			to,
			"Only HAProxy 3.2 and later drop the fields behind a body (trailers). An older one forwards them both ways, also on "
			"routes with a credential of their own: a credential of the client's in them reaches the upstream, and a session "
			"of the operator's in them reaches the client. Every version hands interim answers (103) to the client as they are.");
	if (unusable)
		finding_note(to, "%zu of the routes would refuse every request", unusable);
}

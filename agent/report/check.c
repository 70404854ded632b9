/* SPDX-License-Identifier: MIT */
#include "report/check.h"

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
	for (size_t i = 0; i < PROTOCOLS; i++)
		fprintf(f, "%-8s target %-19s -> %s\n", "ok", protocol_name((protocol)i), t->targets[i].backend);
	if (replaces)
		fprintf(f,
			"Only HAProxy 3.2 and later drop the fields behind a chunked body (trailers). An older one forwards them, "
			"and the client's credential with them, also to routes with a credential of their own.\n");
	if (unusable)
		fprintf(f, "%zu of the routes would refuse every request\n", unusable);
	return unusable;
}

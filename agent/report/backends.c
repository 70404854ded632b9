/* SPDX-License-Identifier: MIT
 *
 * No written text can break HAProxy's configuration, because upstream_parse() allows only harmless characters. */
#include "report/backends.h"

#include <stdlib.h>

#include "decide/forward.h"

static bool is_address(const upstream *u)
{
	return u->ipv6 || strspn(u->host, "0123456789.") == strlen(u->host) || strcmp(u->host, "localhost") == 0;
}

typedef struct entry {
	const upstream *upstream;
	const char *name;
	bool replaces;         /* the operator's credential goes there */
	const route *forwards; /* the route whose forward_headers the backend is for; NULL: none */
	char users[512];
} entry;

/* Writes the rule that puts the base in front of the path, as upstream_url_for() does. */
static void write_path_rule(FILE *f, const upstream *u)
{
	if (!u->strip_v1) {
		if (*u->base)
			fprintf(f, "    http-request set-path %s%%[path]\n", u->base);
		return;
	}
	fprintf(f, "    # The version at the beginning of a request's path gives way to the base.\n"
		   "    http-request replace-path '^");
	if (!*u->base) {
		fprintf(f, "/v1(?:/(.*))?$' '/\\1'\n");
		return;
	}
	fprintf(f, "(?:");
	if (*u->version && strcmp(u->version, "/v1") != 0)
		fprintf(f, "\\Q%s\\E|", u->version);
	fprintf(f, "/v1)?(/.*)?$' '%s\\1'\n", u->base);
}

static void write_backend(FILE *f, const backends_settings *s, const entry *e)
{
	const upstream *u = e->upstream;
	bool standard = u->port == (u->tls ? 443 : 80);
	const char *open = u->ipv6 ? "[" : "", *close = u->ipv6 ? "]" : "";

	fprintf(f, "backend %s\n    # %s, for %s\n", e->name, u->url, e->users);
	fprintf(f, "    mode http\n"
		   "    timeout connect 5s\n"
		   "    # The longest time that an upstream may be silent: before its first byte, or between two.\n"
		   "    timeout server 10m\n"
		   "    timeout tunnel 1h\n"
		   "    # Retry only a request that never reached the upstream.\n"
		   "    retries 2\n"
		   "    retry-on conn-failure\n"
		   "    http-reuse safe\n");
	if (e->replaces)
		fprintf(f,
			"    .if version_atleast(3.2)\n"
			"        # A field behind the body could carry the client's credential. Older versions cannot drop it.\n"
			"        option http-drop-request-trailers\n"
			"    .endif\n");
	if (e->forwards)
		fprintf(f,
			"    # Of the request's headers, keeps the allow list and the route's forward_headers.\n"
			"    http-request del-header '" FORWARD_STAYS_WITH(
				"|authorization|x-api-key|api-key|x-goog-api-key%s", "%s") "' -m reg\n",
			e->forwards->forward_names, e->forwards->forward_prefixes);
	if (standard)
		fprintf(f, "    http-request set-header host %s%s%s\n", open, u->host, close);
	else
		fprintf(f, "    http-request set-header host %s%s%s:%u\n", open, u->host, close, u->port);
	write_path_rule(f, u);
	fprintf(f,
		"    server upstream %s%s%s:%u check inter 10s fastinter 2s downinter 1s fall 3 rise 1 init-addr last,libc,none",
		open, u->host, close, u->port);
	/* An address needs no resolver; a name server may not know localhost. */
	if (!is_address(u))
		fprintf(f, " resolvers llm-dns");
	if (u->tls)
		fprintf(f, " ssl verify required ca-file %s sni str(%s) check-sni %s alpn http/1.1 check-alpn http/1.1",
			s->ca_file, u->host, u->host);
	fprintf(f, "\n\n");
}

/* `r`: the route whose upstream it is; NULL: a target. */
static void add(entry *entries, size_t *count, const upstream *u, const char *name, const route *r, const char *user)
{
	size_t i = 0;

	while (i < *count && strcmp(entries[i].name, name) != 0)
		i++;
	if (i == *count) {
		entries[i] = (entry){ .upstream = u, .name = name, .forwards = r && r->forward_backend ? r : NULL };
		(*count)++;
	}
	entries[i].replaces |= r && r->auth.kind != AUTH_PASSTHROUGH;
	size_t len = strlen(entries[i].users);
	snprintf(entries[i].users + len, sizeof entries[i].users - len, "%s%s", len ? ", " : "", user);
}

bool backends_write(FILE *f, const route_table *t, const backends_settings *s)
{
	entry *entries = calloc(t->count + PROTOCOLS, sizeof *entries);
	size_t count = 0;
	char user[ROUTE_NAME_MAX + 16];

	if (!entries)
		return false;
	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		const upstream *u = route_upstream(t, r);
		if (!r->enabled || !u)
			continue;
		snprintf(user, sizeof user, "route %s", r->name);
		add(entries, &count, u, route_backend(t, r), r, user);
	}
	for (size_t i = 0; i < PROTOCOLS; i++) {
		snprintf(user, sizeof user, "target %s", protocol_name((protocol)i));
		add(entries, &count, &t->targets[i], t->targets[i].backend, NULL, user);
	}
	fprintf(f, "# Made by `spoa-llm backends`.\n"
		   "resolvers llm-dns\n    parse-resolv-conf\n    hold valid 10s\n\n");
	for (size_t i = 0; i < count; i++)
		write_backend(f, s, &entries[i]);
	free(entries);
	return true;
}

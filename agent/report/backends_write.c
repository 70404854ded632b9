/* SPDX-License-Identifier: MIT */
#include "decide/forward.h"
#include "report/backends_impl.h"

static bool is_localhost(const upstream *u)
{
	return strcmp(u->host, "localhost") == 0;
}

/* True if HAProxy has to look the host up. A name server may not know localhost. */
static bool is_name(const upstream *u)
{
	return !u->address && !is_localhost(u);
}

/* True if only members of pools use the backend. */
static bool is_member(const entry *e)
{
	return e->r && e->r->member;
}

/* Returns how often HAProxy tries again to reach the upstream. For a member it tries no address twice, because the next
 * member is better than another try at the same address. */
static unsigned retries_of(const backends_settings *s, const entry *e)
{
	if (is_name(e->upstream))
		return is_member(e) ? s->addresses : NAME_RETRIES * s->addresses;
	return is_member(e) ? 0 : 2;
}

static bool is_standard_port(const upstream *u)
{
	return u->port == (u->tls ? 443 : 80);
}

/* Writes what all server lines of the backend have. */
static void write_server_settings(FILE *f, const backends_settings *s, const entry *e)
{
	static const route_connect none;
	const upstream *u = e->upstream;
	const route_connect *c = e->r ? &e->r->connect : &none;
	unsigned most = c->max_connections;

	fprintf(f, " check inter 10s fastinter %s downinter 1s fall 3 rise 1", u->address ? "2s" : "500ms");
	if (!u->address)
		fprintf(f, " observe layer4 error-limit 1 on-error sudden-death");
	else if (is_member(e)) /* the only server: it goes down at once, so that the pool passes the member over */
		fprintf(f, " observe layer4 error-limit 1 on-error mark-down");
	if (is_name(u))
		fprintf(f, " init-addr none%s", s->name_servers_count ? " resolvers llm-dns" : "");
	if (most)
		fprintf(f, " maxconn %u", is_name(u) && most > 1 ? most / 2 : most);
	if (u->tls) {
		const char *sni = c->sni ? c->sni : u->host, *alpn = c->alpn ? c->alpn : "http/1.1";
		fprintf(f, " ssl verify required ca-file %s", c->ca_file ? c->ca_file : s->ca_file);
		if (c->client_cert)
			fprintf(f, " crt %s", c->client_cert);
		fprintf(f, " sni str(%s) check-sni %s alpn %s check-alpn %s", sni, sni, alpn, alpn);
	}
	fprintf(f, "\n");
}

/* Writes the servers of a name: for each family of addresses the first one, which the C library looks up while HAProxy
 * starts, so that there is one at once, and those that the name servers give it. */
static void write_servers_of_name(FILE *f, const backends_settings *s, const upstream *u)
{
	for (int family = 4; family <= 6; family += 2) {
		char prefer[32] = "";
		if (s->name_servers_count)
			snprintf(prefer, sizeof prefer, " resolve-prefer ipv%d", family);
		fprintf(f, "    server ipv%d-1 ipv%d@%s:%u%s init-addr last,libc,none\n", family, family, u->host,
			u->port, prefer);
		if (s->name_servers_count && s->addresses > 1)
			fprintf(f, "    server-template ipv%d- 2-%u %s:%u%s\n", family, s->addresses, u->host, u->port,
				prefer);
	}
}

static void write_servers(FILE *f, const backends_settings *s, const entry *e)
{
	const upstream *u = e->upstream;

	if (u->address) {
		fprintf(f, "    server upstream %s%s%s:%u", u->ipv6 ? "[" : "", u->host, u->ipv6 ? "]" : "", u->port);
		write_server_settings(f, s, e);
		return;
	}
	fprintf(f, "    # A server that cannot be reached is checked at once, and another one is tried.\n"
		   "    option redispatch 1\n"
		   "    default-server");
	write_server_settings(f, s, e);
	if (is_localhost(u))
		fprintf(f, "    server ipv4 127.0.0.1:%u\n    server ipv6 [::1]:%u backup\n", u->port, u->port);
	else
		write_servers_of_name(f, s, u);
}

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

void backends_section(FILE *f, const backends_settings *s, const entry *e)
{
	const upstream *u = e->upstream;
	const char *open = u->ipv6 ? "[" : "", *close = u->ipv6 ? "]" : "";
	unsigned timeout = e->r ? e->r->connect.timeout : 0;

	fprintf(f, "backend %s\n    # %s, for %s\n    mode http\n", e->name, u->url, e->users);
	fprintf(f,
		"    timeout connect %ds\n"
		"    # The longest time that an upstream may be silent: before its first byte, or between two.\n"
		"    timeout server %us\n"
		"    timeout tunnel %us\n"
		"    # Retry only a request that never reached the upstream.\n"
		"    retries %u\n"
		"    retry-on conn-failure\n"
		"%s",
		is_name(u) ? NAME_CONNECT_TIMEOUT : 5, timeout ? timeout : UPSTREAM_TIMEOUT,
		timeout > 3600 ? timeout : 3600, retries_of(s, e),
		is_member(e) ?
			"    # Each request comes from the leg over a new connection. With `always` it may use an idle connection to the upstream all the same.\n"
			"    http-reuse always\n" :
			"    http-reuse safe\n");
	if (e->r && e->r->connect.max_connections)
		fprintf(f,
			"    # How long a request waits for one of the connections.\n"
			"    timeout queue %ds\n",
			QUEUE_TIMEOUT);
	if (e->replaces)
		fprintf(f, DROP_TRAILERS);
	if (e->r && e->r->forwards)
		fprintf(f,
			"    # Of the request's headers, keeps the allow list and the route's forward_headers.\n"
			"    http-request del-header '" FORWARD_STAYS_WITH(
				"|authorization|x-api-key|api-key|x-goog-api-key%s", "%s") "' -m reg\n",
			e->r->forward_names, e->r->forward_prefixes);
	if (is_standard_port(u))
		fprintf(f, "    http-request set-header host %s%s%s\n", open, u->host, close);
	else
		fprintf(f, "    http-request set-header host %s%s%s:%u\n", open, u->host, close, u->port);
	write_path_rule(f, u);
	write_servers(f, s, e);
	fprintf(f, "\n");
}

void backends_name_servers(FILE *f, const backends_settings *s, const entry *entries, size_t count)
{
	bool names = false;

	for (size_t i = 0; i < count; i++)
		names |= is_name(entries[i].upstream);
	if (!names || !s->name_servers_count)
		return;
	fprintf(f, "global\n"
		   "    .if version_atleast(3.3)\n"
		   "        # Use the addresses of both families, also where there is no route to the internet.\n"
		   "        dns-accept-family ipv4,ipv6\n"
		   "    .endif\n\n"
		   "resolvers llm-dns\n");
	for (size_t i = 0; i < s->name_servers_count; i++) {
		const char *server = s->name_servers[i];
		bool bare = *server != '[' && strchr(server, ':') != strrchr(server, ':'); /* an IPv6 address alone */
		bool port = !bare && strrchr(server, ':') && server[strlen(server) - 1] != ']';
		if (*server == '/')
			fprintf(f, "    parse-resolv-conf\n");
		else
			fprintf(f, "    nameserver ns%zu %s%s%s%s\n", i + 1, bare ? "[" : "", server, bare ? "]" : "",
				port ? "" : ":53");
	}
	fprintf(f,
		"    # Allow answers with many addresses.\n"
		"    accepted_payload_size 8192\n"
		"    # Look for changes that often: HAProxy asks each name server for the addresses of both families.\n"
		"    timeout resolve 1s\n"
		"    # If no name server knows the name any more, go on with the addresses that are known.\n"
		"    hold nx 24d\n"
		"    hold other 24d\n"
		"    hold refused 24d\n"
		"    hold timeout 24d\n\n");
}

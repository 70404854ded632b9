/* SPDX-License-Identifier: MIT */
#include "ops/access.h"

/* Is `host` the configured address, or a loopback name with its port ("localhost:9603" for 127.0.0.1:9603)? */
static bool host_is_ours(const http_listener *l, slice host)
{
	static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };
	const char *port = strrchr(l->address, ':');
	char wanted[ADMIN_HOST_MAX + 16];

	if (!port)
		return false;
	if (slice_ieq(host, slice_cstr(l->address)))
		return true;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(wanted, sizeof wanted, "%s%s", names[i], port);
		if (slice_ieq(host, slice_cstr(wanted)))
			return true;
		/* Clients leave out port 80. */
		if (strcmp(port, ":80") == 0 && slice_ieq(host, slice_cstr(names[i])))
			return true;
	}
	return false;
}

bool access_host_allowed(const http_listener *l, struct MHD_Connection *c, const char *version)
{
	const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");

	if (l->local || l->admin->admin_token.source || l->admin->viewer_token.source)
		return true;
	/* Every browser sends a Host; health checks with HTTP/1.0 may not. */
	if (!host)
		return strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
	return host_is_ours(l, slice_trim(slice_cstr(host)));
}

access_role access_role_of(admin *a, struct MHD_Connection *c)
{
	const char *given = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");

	if (!a->admin_token.source && !a->viewer_token.source)
		return ACCESS_ADMIN;
	/* Compare with both, so that the time does not tell whose token was nearly given. */
	bool viewer = token_matches(&a->viewer_token, given), whole = token_matches(&a->admin_token, given);
	return viewer ? ACCESS_VIEWER : whole ? ACCESS_ADMIN : ACCESS_NONE;
}

const char *access_role_name(access_role role)
{
	static const char *const names[] = { "none", "viewer", "admin" };

	return names[role];
}

bool access_is_own(struct MHD_Connection *c)
{
	const char *with = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "X-Requested-With");
	const char *origin = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Origin");
	const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");

	if (!with || strcmp(with, "spoa-llm") != 0)
		return false;
	if (!origin)
		return true;
	slice from = slice_cstr(origin);
	if (slice_istarts(from, SLICE("http://")))
		from = slice_from(from, 7);
	else if (slice_istarts(from, SLICE("https://")))
		from = slice_from(from, 8);
	else
		return false;
	return host && slice_ieq(from, slice_trim(slice_cstr(host)));
}

static enum MHD_Result count_host(void *ctx, enum MHD_ValueKind kind, const char *key, const char *value)
{
	unsigned *hosts = ctx;

	(void)kind;
	(void)value;
	*hosts += slice_ieq(slice_cstr(key), SLICE("host"));
	return MHD_YES;
}

unsigned access_hosts(struct MHD_Connection *c)
{
	unsigned hosts = 0;

	MHD_get_connection_values(c, MHD_HEADER_KIND, count_host, &hosts);
	return hosts;
}

bool access_is_foreign(struct MHD_Connection *c)
{
	const char *site = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Sec-Fetch-Site");
	return site && (strcmp(site, "cross-site") == 0 || strcmp(site, "same-site") == 0);
}

/* SPDX-License-Identifier: MIT */
#include "decide/upstream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "decide/backend_name.h"

enum {
	LABEL_MAX = 63, /* bytes between two dots of a host's name, as in DNS */
};

static char *copy(slice s)
{
	char *out = malloc(s.len + 1);
	if (out) {
		if (s.len)
			memcpy(out, s.ptr, s.len);
		out[s.len] = '\0';
	}
	return out;
}

static bool take_port(slice digits, uint16_t *port)
{
	unsigned value = 0;
	if (digits.len == 0 || digits.len > 5)
		return false;
	for (size_t i = 0; i < digits.len; i++) {
		if (!ascii_is_digit(digits.ptr[i]))
			return false;
		value = value * 10 + (unsigned)(digits.ptr[i] - '0');
	}
	if (value == 0 || value > UINT16_MAX)
		return false;
	*port = (uint16_t)value;
	return true;
}

/* Allows only characters that need no quoting in a HAProxy configuration. */
static bool base_valid(slice base)
{
	for (size_t i = 0; i < base.len; i++) {
		char c = base.ptr[i];
		if (!ascii_is_alnum(c) && (c == '\0' || !strchr("/._~-", c)))
			return false;
		if (c == '/' && i + 1 < base.len && base.ptr[i + 1] == '/')
			return false;
		if (c == '.' && base.ptr[i - 1] == '/' && (i + 1 == base.len || strchr("./", base.ptr[i + 1])))
			return false;
	}
	return true;
}

bool host_name_valid(slice host)
{
	size_t label = 0; /* bytes of it so far */

	if (host.len == 0 || host.len > UPSTREAM_HOST_MAX || !ascii_is_alnum(host.ptr[0]))
		return false;
	for (size_t i = 0; i < host.len; i++) {
		bool dot = host.ptr[i] == '.';
		if (dot ? label == 0 : !ascii_is_alnum(host.ptr[i]) && host.ptr[i] != '-' && host.ptr[i] != '_')
			return false;
		label = dot ? 0 : label + 1;
		if (label > LABEL_MAX)
			return false;
	}
	return label > 0;
}

static bool address_valid(int family, slice host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr ignored;

	snprintf(text, sizeof text, "%.*s", (int)host.len, host.ptr);
	return host.len < sizeof text && inet_pton(family, text, &ignored) == 1;
}

/* True if the part behind the last dot is a number, which no domain has: the C library takes 127.1, 0x7f.1 and
 * 2130706433 for addresses, and HAProxy does not start with 1.2.3.999. */
static bool ends_in_number(slice host)
{
	size_t at = host.len;

	while (at > 0 && ascii_is_digit(host.ptr[at - 1]))
		at--;
	return at < host.len && (at == 0 || host.ptr[at - 1] == '.');
}

/* True if the base has what only a request's path has: an operator gave the URL of an endpoint. */
static bool has_endpoint(slice base)
{
	static const char *const ends[] = { "/completions", "/responses", "/messages", "/embeddings" };

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		if (slice_ends(base, slice_cstr(ends[i])))
			return true;
	return false;
}

/* True for v1, v4, v1beta, v2alpha1, v1.1 and the like. */
static bool is_version(slice segment)
{
	static const char *const stages[] = { "alpha", "beta", "preview" };
	size_t at = 1;

	if (segment.len < 2 || segment.ptr[0] != 'v')
		return false;
	while (at < segment.len && (ascii_is_digit(segment.ptr[at]) || (segment.ptr[at] == '.' && at > 1)))
		at++;
	slice stage = slice_from(segment, at);
	for (size_t i = 0; at > 1 && i < sizeof stages / sizeof stages[0]; i++)
		if (slice_starts(stage, slice_cstr(stages[i])))
			at += strlen(stages[i]);
	while (at < segment.len && ascii_is_digit(segment.ptr[at]))
		at++;
	return at == segment.len && ascii_is_digit(segment.ptr[1]);
}

/* Returns where the version at the end of `base` begins, at its slash: the last segment, if that is a version; or an
 * earlier one, if the last segment is a word that providers put behind the version for their OpenAI-compatible API
 * (/v1beta/openai). base.len: there is none. */
static size_t version_at(slice base)
{
	static const char *const behind[] = { "openai", "openapi", "compat" };
	bool last = true, named = false;

	for (size_t end = base.len; end > 0; last = false) {
		size_t slash = end - 1;
		while (slash > 0 && base.ptr[slash] != '/')
			slash--;
		slice segment = slice_of(base.ptr + slash + 1, end - slash - 1);
		if (is_version(segment))
			return last || named ? slash : base.len;
		for (size_t i = 0; last && i < sizeof behind / sizeof behind[0]; i++)
			named |= slice_eq(segment, slice_cstr(behind[i]));
		end = slash;
	}
	return base.len;
}

/* Reads HOST[:PORT] or [IPV6][:PORT]. */
static bool parse_authority(upstream *u, slice authority, slice *host, err *e)
{
	slice port;
	bool has_port;

	if (authority.len && authority.ptr[0] == '[') {
		size_t close = slice_find(authority, 0, ']');
		if (close == authority.len)
			return err_set(e, "the IPv6 address lacks its closing bracket");
		u->ipv6 = true;
		*host = slice_of(authority.ptr + 1, close - 1);
		slice after = slice_from(authority, close + 1);
		has_port = after.len && after.ptr[0] == ':';
		if (after.len && !has_port)
			return err_set(e, "after the IPv6 address only :PORT or a path may follow");
		port = slice_from(after, 1);
	} else {
		size_t colon = slice_find(authority, 0, ':');
		has_port = colon < authority.len;
		*host = slice_first(authority, colon);
		port = slice_from(authority, colon + 1);
	}
	if (!u->ipv6 && slice_ends(*host, SLICE("."))) /* as DNS writes a fully qualified name */
		*host = slice_first(*host, host->len - 1);
	if (u->ipv6 ? !address_valid(AF_INET6, *host) : !host_name_valid(*host))
		return err_set(e, u->ipv6 ? "between the brackets has to be an IPv6 address" :
					    "the host of the URL is empty, or is no name of a host");
	u->address = u->ipv6 || ends_in_number(*host);
	if (u->address && !u->ipv6 && !address_valid(AF_INET, *host))
		return err_set(e, "the host of the URL is a number, but no IPv4 address as in 192.0.2.1");
	if (has_port && !take_port(port, &u->port))
		return err_set(e, "the port of the URL is not a number from 1 to 65535");
	return true;
}

static bool parse(upstream *u, slice url, err *e)
{
	slice rest = url;

	if (url.len > UPSTREAM_URL_MAX)
		return err_set(e, "the URL is longer than %d bytes", UPSTREAM_URL_MAX);
	if (slice_istarts(rest, SLICE("https://"))) {
		u->tls = true;
		rest = slice_from(rest, 8);
	} else if (slice_istarts(rest, SLICE("http://"))) {
		rest = slice_from(rest, 7);
	} else {
		return err_set(e, "an upstream is a URL that starts with https:// or http://");
	}
	u->port = u->tls ? 443 : 80;

	size_t slash = slice_find(rest, 0, '/');
	slice authority = slice_first(rest, slash);
	slice path = slice_from(rest, slash);
	if (slice_find(url, 0, '?') < url.len || slice_find(url, 0, '#') < url.len)
		return err_set(e, "an upstream URL has no query string and no fragment");
	if (slice_find(authority, 0, '@') < authority.len)
		return err_set(e, "an upstream URL carries no user or password; use \"auth\" for the credential");

	slice host;
	if (!parse_authority(u, authority, &host, e))
		return false;
	if (!base_valid(path))
		return err_set(
			e,
			"the path of an upstream URL may have letters, digits and / . _ ~ - only, without // or dot segments");
	if (has_endpoint(path))
		return err_set(
			e,
			"the URL is that of an endpoint; leave out what requests bring along, such as /chat/completions");

	u->host = copy(host);
	u->url = copy(url);
	if (!u->host || !u->url)
		return err_memory(e);
	for (char *c = u->host; *c; c++)
		*c = ascii_lower(*c);
	errno = 0;
	u->backend = backend_name_make(u, path);
	if (!u->backend && errno == ENOMEM)
		return err_memory(e);
	if (!u->backend)
		return err_set(e, "the URL is too long to make a backend's name of it; give the name in \"backend\"");
	u->base = copy(path);
	u->version = copy(slice_from(path, version_at(path)));
	if (!u->base || !u->version)
		return err_memory(e);
	u->strip_v1 = *u->version;
	return true;
}

bool upstream_parse(upstream *u, slice url, err *e)
{
	while (url.len && url.ptr[url.len - 1] == '/')
		url.len--;
	*u = (upstream){ 0 };
	if (parse(u, url, e))
		return true;
	upstream_deinit(u);
	return false;
}

void upstream_deinit(upstream *u)
{
	free(u->url);
	free(u->host);
	free(u->base);
	free(u->version);
	free(u->backend);
	*u = (upstream){ 0 };
}

bool upstream_set_strip_v1(upstream *u, bool strip)
{
	char *name;

	if (u->strip_v1 == strip)
		return true;
	if (asprintf(&name, "%s-%s-v1", u->backend, strip ? "strip" : "keep") < 0)
		return false;
	free(u->backend);
	u->backend = name;
	u->strip_v1 = strip;
	return true;
}

bool upstream_verifiable(const upstream *u, const char *sni, err *e)
{
	return !u->tls || !u->address || sni ||
	       err_set(e,
		       "HAProxy cannot verify the certificate of an IP address; give the upstream's host name, or the "
		       "certificate's name in \"sni\"");
}

bool upstream_same(const upstream *a, const upstream *b)
{
	return a->tls == b->tls && a->port == b->port && a->strip_v1 == b->strip_v1 && strcmp(a->host, b->host) == 0 &&
	       strcmp(a->base, b->base) == 0;
}

/* True if `path` is `prefix`, or goes on with a slash behind it. */
static bool begins_with(slice path, slice prefix)
{
	return prefix.len && slice_starts(path, prefix) && (path.len == prefix.len || path.ptr[prefix.len] == '/');
}

slice upstream_path_rest(const upstream *u, slice path)
{
	slice own = slice_cstr(u->version);

	if (u->strip_v1 && begins_with(path, own))
		return slice_from(path, own.len);
	return slice_from(path, u->strip_v1 && begins_with(path, SLICE("/v1")) ? 3 : 0);
}

void upstream_url_for(const upstream *u, slice path, char *out, size_t cap)
{
	bool standard = u->port == (u->tls ? 443 : 80);
	slice rest = upstream_path_rest(u, path);
	char port[8] = "";

	if (!standard)
		snprintf(port, sizeof port, ":%u", u->port);
	snprintf(out, cap, "%s://%s%s%s%s%s%s%.*s", u->tls ? "https" : "http", u->ipv6 ? "[" : "", u->host,
		 u->ipv6 ? "]" : "", port, u->base, *u->base || rest.len ? "" : "/", (int)rest.len,
		 rest.ptr ? rest.ptr : "");
}

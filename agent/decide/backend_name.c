/* SPDX-License-Identifier: MIT */
#include "decide/backend_name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"

/* What may stand behind the name that is made of a URL: a word and so many hexadecimal digits. upstream_set_strip_v1()
 * adds the first two, set_own_backend() the next three, backend_name_make() the last. */
static const struct {
	slice word;
	size_t digits;
} suffixes[] = {
	{ SLICE_INIT("-strip-v1"), 0 }, { SLICE_INIT("-keep-v1"), 0 }, { SLICE_INIT("-pool"), 0 },
	{ SLICE_INIT("-fwd-"), 8 },     { SLICE_INIT("-set-"), 8 },    { SLICE_INIT("-url-"), 16 },
};

static bool hex_digits(slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (ascii_hex_digit(s.ptr[i]) < 0)
			return false;
	return true;
}

/* Returns `name` without the suffix at its end; all of it if there is none. */
static slice without_suffix(slice name)
{
	for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
		size_t digits = suffixes[i].digits;
		if (name.len < digits)
			continue;
		slice front = slice_first(name, name.len - digits);
		if (slice_ends(front, suffixes[i].word) && hex_digits(slice_from(name, front.len)))
			return slice_first(front, front.len - suffixes[i].word.len);
	}
	return name;
}

bool backend_name_valid(slice name)
{
	if (name.len == 0 || name.len > BACKEND_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && !strchr("._-:", name.ptr[i]))
			return false;
	return true;
}

bool backend_name_taken(slice name)
{
	static const char *const taken[] = { "llm",         "llm-refuse",   "llm-agent",   "llm-ledger", "llm-keys",
					     "llm-minutes", "llm-parallel", "llm-gateway", "llm-tap",    "llm-dns" };

	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
		if (slice_eq(name, slice_cstr(taken[i])))
			return true;
	return slice_starts(name, SLICE("leg."));
}

/* Adds `text` to the name, with `_` for a slash, and each `_` twice. False: there is no room. */
static bool add(char *name, slice text)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (len + 2 > BACKEND_NAME_MAX)
			return false;
		/* HAProxy allows no `~` in a name, and upstream_parse() no `:` in a path. */
		name[len++] = (char)(c == '/' ? '_' : c == '~' ? ':' : c);
		if (c == '_')
			name[len++] = '_';
	}
	name[len] = '\0';
	return true;
}

/* Makes llm-HOST, `:` and the port, `-tls` for https, and the base path. Of https, port 443 and its `-tls` are left
 * out, but not behind an IPv6 address, whose last group would look like a port. */
static bool add_url(char *name, const upstream *u, slice path)
{
	char port[16];
	bool bare = u->tls && u->port == 443 && !u->ipv6;

	snprintf(port, sizeof port, ":%u%s", u->port, u->tls ? "-tls" : "");
	if (!add(name, slice_cstr(u->host)) || (!bare && !add(name, slice_cstr(port))) || !add(name, path))
		return false;
	/* https://tap would get the name of the gateway's own llm-tap. */
	return !backend_name_taken(slice_cstr(name)) || add(name, slice_cstr(port));
}

/* True if the name that is made of a URL could be that of another URL too: it ends like the name of a backend that is
 * made for a route's settings, or a `_` of the host or path stands beside a slash. */
static bool ambiguous(slice name)
{
	return without_suffix(name).len < name.len || slice_contains(name, SLICE("___"));
}

char *backend_name_make(const upstream *u, slice path)
{
	static const hash_key fixed; /* the same name at each start, because `spoa-llm backends` prints it */
	char name[BACKEND_NAME_MAX + 1] = "llm-", more[32];

	errno = 0;
	if (!add_url(name, u, path))
		return NULL;
	if (ambiguous(slice_cstr(name))) {
		char *url;
		if (asprintf(&url, "%d %u %s %.*s", u->tls, u->port, u->host, (int)path.len, path.len ? path.ptr : "") <
		    0) {
			errno = ENOMEM;
			return NULL;
		}
		snprintf(more, sizeof more, "-url-%016" PRIx64, hash_of(&fixed, 0, slice_cstr(url)));
		free(url);
		if (!add(name, slice_cstr(more)))
			return NULL;
	}
	return strdup(name);
}

bool backend_name_server(slice name, char *host, uint16_t *port)
{
	size_t end = 0, len = 0, colon;
	unsigned number = 443;

	if (!slice_starts(name, SLICE("llm-")) || backend_name_taken(name) || slice_contains(name, SLICE("___")))
		return false;
	for (bool more = true; more;) {
		slice front = without_suffix(name);
		/* In front of -url- stands the name of the URL itself, whatever it ends with. */
		more = front.len < name.len && !slice_starts(slice_from(name, front.len), SLICE("-url-"));
		name = front;
	}
	name = slice_from(name, 4);
	/* The path begins at the first `_` that stands alone. */
	while (end < name.len && (name.ptr[end] != '_' || (name.len - end > 1 && name.ptr[end + 1] == '_')))
		end += name.ptr[end] == '_' ? 2 : 1;
	name = slice_first(name, end);
	for (colon = name.len; colon > 0 && name.ptr[colon - 1] != ':';)
		colon--;
	if (colon > 0) {
		number = 0;
		for (size_t i = colon; i < name.len && ascii_is_digit(name.ptr[i]) && number <= UINT16_MAX; i++)
			number = number * 10 + (unsigned)(name.ptr[i] - '0');
		name = slice_first(name, colon - 1);
	}
	if (name.len == 0 || name.len > UPSTREAM_HOST_MAX || number == 0 || number > UINT16_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		host[len++] = name.ptr[i];
		i += name.ptr[i] == '_';
	}
	host[len] = '\0';
	*port = (uint16_t)number;
	return true;
}

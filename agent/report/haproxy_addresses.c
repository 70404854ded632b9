/* SPDX-License-Identifier: MIT
 *
 * Compares the addresses in HAProxy's environment with those at which the agent listens. */
#include "report/haproxy_settings.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/address.h"

/* ---- reading */

/* Writes a path's directory without links and dots, if it is there; else the path as it is. */
static void clean_path(const char *path, char out[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX], real[PATH_MAX];

	snprintf(directory, sizeof directory, "%.*s/", (int)(slash - path), path);
	if (!realpath(directory, real))
		snprintf(out, PATH_MAX, "%s", path);
	else if (snprintf(out, PATH_MAX, "%s%s", strcmp(real, "/") == 0 ? "" : real, slash) >= PATH_MAX)
		snprintf(out, PATH_MAX, "%s", path);
}

/* True if `inner` is `outer` as a process in a chroot sees it. */
static bool seen_from_inside(const char *inner, const char *outer)
{
	return *inner == '/' && slice_ends(slice_cstr(outer), slice_cstr(inner));
}

static bool same_file(const char *a, const char *b)
{
	struct stat one, other;

	return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

typedef enum match { MATCH_NO, MATCH_PERHAPS, MATCH_YES } match;

/* Compares paths of sockets. MATCH_PERHAPS: they are the same in a chroot. */
static match match_paths(const char *theirs, const char *ours)
{
	char a[PATH_MAX], b[PATH_MAX];

	clean_path(theirs, a);
	clean_path(ours, b);
	if (strcmp(a, b) == 0 || same_file(theirs, ours))
		return MATCH_YES;
	return seen_from_inside(theirs, ours) || seen_from_inside(ours, theirs) ? MATCH_PERHAPS : MATCH_NO;
}

/* An address of HAProxy's environment. */
typedef struct their_address {
	enum { THEIRS_PATH, THEIRS_LOCAL, THEIRS_ELSEWHERE } kind;
	const char *path;    /* of a unix socket */
	socket_address inet; /* on this host, without a family if it may be of both */
	uint16_t port;
} their_address;

/* Reads what HAProxy's `server` and `log` take: paths, and hosts by address or name with a port. */
static their_address read_theirs(const char *text)
{
	static const char *const kinds[] = { "ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@", "udp@", "udp4@", "udp6@" };
	const address_rules any = { true, false };
	their_address a = { .kind = THEIRS_ELSEWHERE };
	char plain[SETTING_MAX + 2];
	err e;

	if (*text == '/' || strncmp(text, "unix@/", 6) == 0)
		return (their_address){ .kind = THEIRS_PATH, .path = strchr(text, '/') };
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strncmp(text, kinds[i], strlen(kinds[i])) == 0)
			text += strlen(kinds[i]);
	const char *colon = strrchr(text, ':');
	if (!colon)
		return a;
	bool bare6 = *text != '[' && memchr(text, ':', (size_t)(colon - text));
	snprintf(plain, sizeof plain, bare6 ? "[%.*s]%s" : "%.*s%s", (int)(colon - text), text, colon);
	if (!address_parse(&a.inet, plain, &any, &e) || a.inet.sa.sa_family == AF_UNIX)
		return a;
	const in_addr_t in4 = a.inet.sa.sa_family == AF_INET ? ntohl(a.inet.in4.sin_addr.s_addr) : 0;
	bool is4 = a.inet.sa.sa_family == AF_INET;
	a.port = ntohs(is4 ? a.inet.in4.sin_port : a.inet.in6.sin6_port);
	if (is4 ? in4 == INADDR_ANY || in4 >> 24 == 127 :
		  IN6_IS_ADDR_LOOPBACK(&a.inet.in6.sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&a.inet.in6.sin6_addr))
		a.kind = THEIRS_LOCAL;
	if (strncmp(plain, "localhost:", 10) == 0 ||
	    (is4 ? in4 == INADDR_ANY : IN6_IS_ADDR_UNSPECIFIED(&a.inet.in6.sin6_addr)))
		a.inet.sa.sa_family = AF_UNSPEC;
	return a;
}

/* Compares a port of this host with an address of the agent. */
static match match_ports(const their_address *t, const socket_address *o)
{
	bool is4 = o->sa.sa_family == AF_INET;
	bool any = is4 ? o->in4.sin_addr.s_addr == htonl(INADDR_ANY) : IN6_IS_ADDR_UNSPECIFIED(&o->in6.sin6_addr);

	if (o->sa.sa_family == AF_UNIX || t->port != ntohs(is4 ? o->in4.sin_port : o->in6.sin6_port))
		return MATCH_NO;
	if (t->inet.sa.sa_family == AF_UNSPEC || (any && (!is4 || t->inet.sa.sa_family == AF_INET)))
		return MATCH_YES;
	if (t->inet.sa.sa_family != o->sa.sa_family)
		return MATCH_NO;
	if (is4)
		return t->inet.in4.sin_addr.s_addr == o->in4.sin_addr.s_addr ? MATCH_YES : MATCH_NO;
	return IN6_ARE_ADDR_EQUAL(&t->inet.in6.sin6_addr, &o->in6.sin6_addr) ? MATCH_YES : MATCH_NO;
}

/* How well `t` is one of the addresses in `list`, as a socket for datagrams or not. */
static match match_list(const their_address *t, const address_list *list, bool datagrams)
{
	const address_rules all = { true, true };
	match best = MATCH_NO;
	socket_address o;
	err e;

	for (size_t i = 0; i < list->count; i++) {
		if (!address_parse(&o, list->items[i], &all, &e) || o.datagram != datagrams)
			continue;
		match is = t->kind == THEIRS_LOCAL   ? match_ports(t, &o) :
			   o.sa.sa_family == AF_UNIX ? match_paths(t->path, o.un.sun_path) :
						       MATCH_NO;
		best = is > best ? is : best;
	}
	return best;
}

/* ---- saying */

/* Joins the addresses that are for datagrams, or those that are not. */
static void list_text(const address_list *list, bool datagrams, char *out, size_t cap)
{
	const address_rules all = { true, true };
	size_t len = 0;
	socket_address o;
	err e;

	snprintf(out, cap, "nowhere");
	for (size_t i = 0; i < list->count && len < cap; i++)
		if (address_parse(&o, list->items[i], &all, &e) && o.datagram == datagrams)
			len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", list->items[i]);
}

/* True if a file names an address of `list` itself, as that of a second agent. */
static bool named_itself(const haproxy_servers *named, const address_list *list, bool datagrams)
{
	for (size_t i = 0; i < named->count; i++) {
		their_address t = read_theirs(named->text[i]);
		if (t.kind != THEIRS_ELSEWHERE && match_list(&t, list, datagrams) != MATCH_NO)
			return true;
	}
	return false;
}

typedef struct asked {
	const char *name, *option, *becomes; /* `becomes`: what becomes of it if nobody listens */
	const address_list *list;
	bool datagrams;
} asked;

/* Returns the option whose address `t` is, although another one is needed; NULL: none. */
static const char *taken_for(const their_address *t, const config *c, const asked *a)
{
	const struct {
		const char *name;
		const address_list *list;
		bool datagrams, open;
	} others[] = {
		{ "listen", &c->listen, false, true },
		{ "admin_listen", &c->admin_listen, false, true },
		{ "log_listen, which takes a stream there", &c->log_listen, false, *c->ledger != '\0' },
		{ "log_listen, which takes datagrams there", &c->log_listen, true, *c->ledger != '\0' },
		{ "tap_listen", &c->tap_listen, true, *c->ledger != '\0' },
		{ "fleet_listen", &c->fleet_listen, true, *c->ledger != '\0' },
	};

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (others[i].open && (others[i].list != a->list || others[i].datagrams != a->datagrams) &&
		    (t->kind == THEIRS_PATH || others[i].datagrams == a->datagrams) &&
		    match_list(t, others[i].list, others[i].datagrams) == MATCH_YES)
			return others[i].name;
	return NULL;
}

static void write_address(findings *to, const config *c, const haproxy_servers *named, known_setting is, const asked *a)
{
	char ours[600];

	if (!is.value || !*is.value)
		return;
	const their_address t = read_theirs(is.value);
	if (t.kind == THEIRS_ELSEWHERE || named_itself(named, a->list, a->datagrams))
		return;
	const char *other = taken_for(&t, c, a),
		   *unless = is.from == SET_PRESET ? ", unless HAProxy's environment says otherwise" : "";
	list_text(a->list, a->datagrams, ours, sizeof ours);
	if (match_list(&t, a->list, a->datagrams) != MATCH_NO)
		finding(to, FOUND_OK, "haproxy", a->name, "is %s, where the agent listens", is.value);
	else if (other)
		finding(to, t.kind == THEIRS_PATH && is.from != SET_PRESET ? FOUND_PROBLEM : FOUND_WARNING, "haproxy",
			a->name,
			"is %s in %s%s, an address of the agent's option %s: %s. Set %s to an address of the option \"%s\" (%s), and "
			"restart HAProxy",
			is.value, is.where, unless, other, a->becomes, a->name, a->option, ours);
	else
		finding(to, FOUND_WARNING, "haproxy", a->name,
			"is %s in %s%s, and the agent's option \"%s\" has no such address (%s). If nobody else passes that on to the agent, "
			"%s: set %s to an address of the option, and restart HAProxy, or add the address to the option, and restart the agent",
			is.value, is.where, unless, a->option, ours, a->becomes, a->name);
}

void haproxy_addresses_write(findings *to, const config *c, const haproxy_servers *named, known_setting agent,
			     bool records, known_setting ring, known_setting datagrams)
{
	static const char lost[] =
		"records do not arrive this way, and the ledger lacks them if they do not come the other way";

	write_address(to, c, named, agent,
		      &(asked){ "LLM_AGENT", "listen",
				"HAProxy finds no agent, and refuses every request (503 gateway_unavailable)",
				&c->listen, false });
	if (!records || !*c->ledger)
		return;
	write_address(to, c, named, ring, &(asked){ "LLM_LOG_RING", "log_listen", lost, &c->log_listen, false });
	write_address(to, c, named, datagrams, &(asked){ "LLM_LOG_UDP", "log_listen", lost, &c->log_listen, true });
}

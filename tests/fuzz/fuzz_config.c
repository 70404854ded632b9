/* SPDX-License-Identifier: MIT
 *
 * Any bytes as the configuration file, or as the lenient variable HEADROOM_UPSTREAM_ROUTES. The first byte says which.
 * Checked: an error says something, and never the text of an `auth`; what was taken can be acted on: no two upstreams
 * share a backend's name, names can stand in a log, prefixes in a comparison. The lenient way takes all that the strict
 * one takes, the same. */
#include "fuzz.h"

#include "config/config.h"
#include "config/routes.h"
#include "decide/backend_name.h"
#include "decide/forward.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Found in a corpus where somebody put the credential itself. */
#define MARK "SECRET-ITSELF"

static char path[64];
static int file;
static err_list errors; /* of the text that was taken last */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	config_init();
	file = memfd_create("config", MFD_CLOEXEC);
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	return 0;
}

static bool take(slice text, config *c, err *e)
{
	e->text[0] = '\0';
	HOLDS(ftruncate(file, 0) == 0 && pwrite(file, text.ptr ? text.ptr : "", text.len, 0) == (ssize_t)text.len);
	err_list_deinit(&errors);
	if (config_load_all(c, path, NULL, 0, &errors, e)) {
		HOLDS(errors.count == 0);
		return true;
	}
	HOLDS(errors.count || e->text[0]);
	if (errors.count)
		*e = errors.items[0];
	return false;
}

static void check_upstream(const upstream *u)
{
	HOLDS(u->url && u->host && u->host[0] && u->base && u->port > 0);
	HOLDS(backend_name_valid(slice_cstr(u->backend)));
	/* What is written into haproxy.cfg: nothing that its parser gives a meaning of its own. */
	HOLDS(!strpbrk(u->host, " \t\n\r\"'\\$#{}%") && !strpbrk(u->base, " \t\n\r\"'\\$#{}%?"));
}

/* What is written into a regular expression of haproxy.cfg: names and bars alone, and no header of the credential. */
static void check_headers(const route *r)
{
	static const char harmless[] = "abcdefghijklmnopqrstuvwxyz0123456789-_|";

	HOLDS(!r->forward_names == !r->forward_prefixes);
	HOLDS(!r->forwards || (route_replaces(r) && !r->own_backend == !!r->pool));
	if (!r->forward_names)
		return;
	HOLDS(strspn(r->forward_names, harmless) == strlen(r->forward_names));
	HOLDS(strspn(r->forward_prefixes, harmless) == strlen(r->forward_prefixes));
	HOLDS(!header_forwarded(SLICE("authorization"), r->forward_names, r->forward_prefixes));
	HOLDS(!header_forwarded(SLICE("x-api-key"), r->forward_names, r->forward_prefixes));
	HOLDS(!header_forwarded(SLICE("cookie"), r->forward_names, r->forward_prefixes));
	HOLDS(!header_forwarded(SLICE("x-llm-deny"), r->forward_names, r->forward_prefixes));
}

/* What is written into a server line of haproxy.cfg. */
static void check_connect(const route_connect *c)
{
	HOLDS(!c->ca_file || file_name_valid(c->ca_file, ROUTE_FILE_MAX));
	HOLDS(!c->client_cert || file_name_valid(c->client_cert, ROUTE_FILE_MAX));
	HOLDS(!c->sni || host_name_valid(slice_cstr(c->sni)));
	HOLDS(!c->alpn || strspn(c->alpn, "h2,tp/1.") == strlen(c->alpn));
	HOLDS(c->timeout <= ROUTE_TIMEOUT_MAX && c->max_connections <= ROUTE_CONNECTIONS_MAX);
}

static void check_pool(const route_table *t, size_t owner)
{
	const pool *of = t->routes[owner].pool;

	HOLDS(of->count >= 1 && of->count <= POOL_MEMBERS_MAX && of->first + of->count <= t->members_count);
	HOLDS(of->members == t->members + of->first && backend_name_valid(slice_cstr(of->backend)));
	HOLDS(!route_upstream(t, &t->routes[owner]) && t->routes[owner].auth.kind == AUTH_PASSTHROUGH);
	for (size_t i = 0; i < of->count; i++) {
		const route *m = &of->members[i];
		HOLDS(m->owner == owner && m->enabled == t->routes[owner].enabled && !m->pool);
		HOLDS(m->weight >= 1 && m->weight <= MEMBER_WEIGHT_MAX && route_upstream(t, m));
		HOLDS(strspn(m->member, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(m->member));
		HOLDS(m->member[0] && strlen(m->member) <= MEMBER_NAME_MAX);
		HOLDS((m->auth.kind != AUTH_PASSTHROUGH) == of->replaces);
		HOLDS(!m->enabled || (m->leg && m->rest && m->own_backend && of->leg));
		for (size_t n = 0; n < i; n++) {
			HOLDS(strcmp(m->member, of->members[n].member) != 0);
			HOLDS(!m->enabled || strcmp(m->leg, of->members[n].leg) != 0);
		}
	}
}

static void check_table(const route_table *t)
{
	size_t enabled = 0;

	HOLDS(t->count <= ROUTES_MAX);
	for (size_t i = 0; i < PROTOCOLS; i++)
		check_upstream(&t->targets[i]);
	for (size_t i = 0; i < routes_total(t); i++) {
		const route *r = routes_at(t, i);
		size_t len = r->prefix ? strlen(r->prefix) : 0, of_path = r->path_prefix ? strlen(r->path_prefix) : 0;
		const upstream *mine = route_upstream(t, r);

		HOLDS(r->member ? !r->prefix && !r->path_prefix :
				  (r->prefix && len > 0) || (!r->prefix && r->path_prefix));
		HOLDS(len <= ROUTE_PREFIX_MAX &&
		      label_valid(r->name, ROUTE_NAME_MAX + (r->member ? 1 + MEMBER_NAME_MAX : 0)));
		if (r->pool)
			check_pool(t, i);
		HOLDS(of_path <= ROUTE_PREFIX_MAX &&
		      (of_path == 0 || (r->path_prefix[0] == '/' && r->path_prefix[of_path - 1] != '/')));
		HOLDS(r->paths_count <= ROUTE_PATHS_MAX && !(r->paths_any && r->paths_count));
		for (size_t n = 0; n < r->paths_count; n++)
			HOLDS(r->paths[n].prefix && (!r->paths[n].prefix[0] || r->paths[n].prefix[0] == '/'));
		check_headers(r);
		check_connect(&r->connect);
		for (size_t n = 0; n < len; n++)
			HOLDS(r->prefix[n] < 'A' || r->prefix[n] > 'Z');
		HOLDS((r->auth.kind == AUTH_PASSTHROUGH) || (r->auth.source && r->auth.source[0]));
		HOLDS(!r->auth.source || r->auth.kind != AUTH_FILE || r->auth.source[0] == '/');
		enabled += r->enabled && !r->member;
		if (!mine || !r->enabled)
			continue;
		check_upstream(mine);
		for (size_t n = 0; n < i; n++) {
			const route *other = routes_at(t, n);
			const upstream *theirs = route_upstream(t, other);
			if (theirs && other->enabled && strcmp(route_backend(t, r), route_backend(t, other)) == 0)
				HOLDS(upstream_same(mine, theirs));
		}
		for (size_t n = 0; n < PROTOCOLS; n++)
			if (strcmp(route_backend(t, r), t->targets[n].backend) == 0)
				HOLDS(upstream_same(mine, &t->targets[n]));
	}
	HOLDS(t->enabled == enabled);
}

/* The text of any `auth` stays out of messages; a name that the text gives elsewhere may well be repeated. */
static void check_error(slice text, const err *e)
{
	HOLDS(e->text[0]);
	const char *hit = memmem(text.ptr, text.len, MARK, sizeof MARK - 1);
	bool in_auth = hit && memmem(text.ptr, text.len, "\"auth\":\"" MARK, 8 + sizeof MARK - 1);
	bool once = hit && !memmem(hit + 1, text.len - (size_t)(hit + 1 - text.ptr), MARK, sizeof MARK - 1);
	for (size_t i = 0; in_auth && once && i < errors.count; i++)
		HOLDS(!strstr(errors.items[i].text, MARK));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	config c;
	err e;

	if (size < 1)
		return 0;
	slice text = slice_of(data + 1, size - 1);
	unsetenv(ROUTES_VARIABLE);
	if (!(data[0] & 1)) {
		if (take(text, &c, &e)) {
			check_table(c.table);
			config_deinit(&c);
		} else {
			check_error(text, &e);
		}
		return 0;
	}
	char *routes = strndup(text.ptr, text.len);
	HOLDS(routes);
	setenv(ROUTES_VARIABLE, routes, 1);
	bool lenient = take(SLICE("{\"log_level\":\"error\"}"), &c, &e);
	if (lenient) {
		check_table(c.table);
		size_t count = c.table->count;
		config_deinit(&c);
		if (take(SLICE("{\"log_level\":\"error\",\"strict\":true}"), &c, &e)) {
			HOLDS(c.table->count == count);
			config_deinit(&c);
		} else {
			check_error(text, &e);
		}
	} else {
		check_error(text, &e);
		HOLDS(!take(SLICE("{\"log_level\":\"error\",\"strict\":true}"), &c, &e));
	}
	free(routes);
	return 0;
}

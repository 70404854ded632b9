/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm check`: says all that is wrong with the configuration, and what the agent would warn of; and if nothing is
 * wrong, whether the prices, backends, credentials, certificates, directories and keys are there that it names, and
 * whether the files of HAProxy on this host are new enough, and made for these routes. */
#include "report/check.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "commands/check_host.h"
#include "commands/check_tap.h"
#include "commands/cli.h"
#include "config/clients.h"
#include "ledger/price.h"
#include "report/backends.h"
#include "report/connection.h"
#include "report/haproxy_files.h"
#include "report/print.h"

/* ---- as another user */

/* Becomes `name` for what follows; leave_user() undoes that. 0, or the exit code. */
static int become_user(const char *name)
{
	const struct passwd *user = getpwnam(name);

	if (!user) {
		fprintf(stderr, "spoa-llm: --as: there is no user %s\n", name);
		return EX_NOUSER;
	}
	if (geteuid() == user->pw_uid)
		return 0;
	if (geteuid() != 0) {
		fprintf(stderr, "spoa-llm: --as %s: only root can check as another user\n", name);
		return EX_NOPERM;
	}
	if (initgroups(name, user->pw_gid) == 0 && setegid(user->pw_gid) == 0 && seteuid(user->pw_uid) == 0)
		return 0;
	fprintf(stderr, "spoa-llm: --as %s: %s\n", name, strerror(errno));
	return EX_OSERR;
}

/* Becomes the caller again, as whom HAProxy's files are read: HAProxy reads them as root. */
static bool leave_user(void)
{
	return seteuid(getuid()) == 0 && setegid(getgid()) == 0;
}

/* Reads the files of variables that were named, or those of the unit if it is checked as its user. 0, or the exit code.
 */
static int read_environments(const check_flags *ask)
{
	static const char *const usual[] = { "/etc/spoa-llm/log-key", "/etc/spoa-llm/env" };
	size_t count = ask->env_count ? ask->env_count : ask->user ? sizeof usual / sizeof usual[0] : 0;

	for (size_t i = 0; i < count; i++) {
		const char *path = ask->env_count ? ask->env[i] : usual[i];
		int why = check_environment(path);
		if (!why || (!ask->env_count && why == ENOENT))
			continue;
		fprintf(stderr, "spoa-llm: %s: %s\n", path, strerror(why));
		return EX_NOINPUT;
	}
	return 0;
}

/* ---- the configuration's errors */

static void write_errors(const err_list *all)
{
	for (size_t i = 0; i < all->count; i++)
		fprintf(stderr, "spoa-llm: %s\n", all->items[i].text);
	if (all->count == ERRORS_MAX)
		fprintf(stderr, "spoa-llm: more than %d errors are not listed\n", ERRORS_MAX - 1);
}

static void add_errors(cJSON *array, const err_list *all)
{
	for (size_t i = 0; i < all->count; i++) {
		const char *text = all->items[i].text;
		size_t name, line, column, len = err_place(text, &name, &line, &column);
		cJSON *one = cJSON_CreateObject();
		if (len) {
			char *file = strndup(text, name);
			cJSON_AddStringToObject(one, "file", file ? file : "");
			cJSON_AddNumberToObject(one, "line", (double)line);
			cJSON_AddNumberToObject(one, "column", (double)column);
			free(file);
		}
		cJSON_AddStringToObject(one, "problem", text + len + strspn(text + len, " "));
		cJSON_AddItemToArray(array, one);
	}
}

/* ---- what the agent would log when it reads the configuration */

static void take_event(void *arg, log_event_id event, const char *fields)
{
	findings *to = arg;
	const log_event_info *info = &log_events[event];

	finding(to, FOUND_WARNING, "log", info->name, "%s", fields);
	finding_more(to, "%s %s", info->happened, info->advice);
}

/* ---- prices */

/* Warns of each route whose savings or costs nobody can tell, because a model has no price. */
static void check_prices(findings *to, const route_table *routes, const price_table *prices, const config *c)
{
	finding(to, FOUND_OK, "prices", *c->prices ? "from the file" : "built in", "%zu models",
		price_table_count(prices));
	for (size_t i = 0; i < routes->count; i++) {
		const route *r = &routes->routes[i];
		bool priced = false;
		if (!r->enabled)
			continue;
		if (r->reference_model) {
			price_match(prices, slice_cstr(r->reference_model), &priced);
			if (!priced)
				finding(to, FOUND_WARNING, "route", r->name,
					"its \"reference_model\" %s has no price, so the ledger says that routing saves "
					"nothing: correct the name, or give the model a price in the file that \"prices\" names",
					r->reference_model);
		}
		if (r->prefix && !route_is_catch_all(r) && !price_has_prefix(prices, slice_cstr(r->prefix)))
			finding(to, FOUND_WARNING, "route", r->name,
				"no model that begins with \"%s\" has a price, so its requests are recorded as unpriced: give its "
				"models a price in the file that \"prices\" names",
				r->prefix);
	}
}

/* ---- clients */

static bool is_route(const route_table *t, const char *name)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->routes[i].name, name) == 0)
			return true;
	return strcmp(name, "legacy") == 0;
}

/* Warns of clients that can ask for nothing, or for less than is meant. */
static void check_clients(findings *to, const config *c, const policy *p)
{
	const client_table *t = p->clients;
	int64_t now = clock_wall_ms();

	finding(to, FOUND_OK, "clients", c->clients, "%u clients, %u keys, %u projects", t->count, t->keys_count,
		t->projects_count);
	for (uint32_t i = 0; i < t->count; i++) {
		const client *one = &t->clients[i];
		bool good = false;
		for (uint32_t n = 0; n < one->routes_count; n++)
			if (!is_route(p->table, one->routes[n]))
				finding(to, FOUND_WARNING, "client", one->name,
					"it may use the route \"%s\", which does not exist: correct the name in \"routes\"",
					one->routes[n]);
		for (uint32_t n = 0; n < one->keys_count; n++)
			good |= t->keys[one->first_key + n].expires_ms > now;
		if (one->enabled && !good)
			finding(to, FOUND_WARNING, "client", one->name,
				"it is enabled and has no key that is still good: `spoa-llm client rotate` gives it one");
	}
}

/* ---- all of it */

/* Returns the exit code of what stopped the checks; 0: they are done. */
static int check_all(findings *to, config *c, client_table *clients, const check_flags *ask)
{
	err e;
	policy *p = NULL;

	if (backends_hash(c)) {
		p = policy_new(c->table, clients);
		c->table = NULL;
	}
	if (!p) {
		if (c->table)
			client_table_unref(clients);
		fprintf(stderr, "spoa-llm: out of memory\n");
		return EX_OSERR;
	}
	finding(to, FOUND_OK, "config", c->file ? c->file : "no file", "%s",
		c->file ? "the configuration that was read, beside variables and flags" :
			  "there is no " CONFIG_FILE ": defaults, variables and flags");
	if (ask->user)
		finding(to, FOUND_OK, "user", ask->user, "what follows is what this user may read and write");
	else if (geteuid() == 0)
		finding(to, FOUND_WARNING, "user", "root",
			"the agent runs as another user, who may read less: --as spoa-llm checks as that one");
	if (*c->ledger) {
		price_table *prices = price_table_load(*c->prices ? c->prices : NULL, &e);
		if (prices)
			check_prices(to, p->table, prices, c);
		else
			finding(to, FOUND_PROBLEM, "prices", c->prices, "%s", e.text);
		price_table_unref(prices);
	}
	if (clients)
		check_clients(to, c, p);
	check_host(to, c, routes_tapped(p->table));
	check_tap(to, p->table);
	check_write(to, p);
	int code = 0;
	if (ask->user && !leave_user())
		code = EX_OSERR;
	else
		connection_files(to, c, p->table, haproxy_files_write(to, c, p, ask->haproxy, ask->haproxy_count));
	policy_unref(p);
	return code;
}

static int write_json(const findings *to, cJSON *errors, const config *c, const check_flags *ask, const char *file)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddBoolToObject(json, "ok", to->problems == 0 && cJSON_GetArraySize(errors) == 0);
	cJSON_AddItemToObject(json, "file",
			      c->file ? cJSON_CreateString(c->file) :
			      file    ? cJSON_CreateString(file) :
					cJSON_CreateNull());
	cJSON_AddItemToObject(json, "as", ask->user ? cJSON_CreateString(ask->user) : cJSON_CreateNull());
	cJSON_AddNumberToObject(json, "problems", (double)to->problems + cJSON_GetArraySize(errors));
	cJSON_AddNumberToObject(json, "warnings", (double)to->warnings);
	cJSON_AddItemToObject(json, "errors", errors);
	cJSON_AddItemToObject(json, "findings", to->rows);
	char *text = cJSON_Print(json);
	puts(text ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(json);
	return finish_output();
}

int command_check(const char *file, const option_text *flags, size_t count, const check_flags *ask)
{
	findings to = { .f = ask->json ? NULL : stdout, .rows = ask->json ? cJSON_CreateArray() : NULL };
	cJSON *errors = ask->json ? cJSON_CreateArray() : NULL;
	err_list all = { .items = NULL };
	client_table *clients = NULL;
	err e = { 0 };
	config c;

	int code = read_environments(ask);
	if (!code && ask->user)
		code = become_user(ask->user);
	if (code) {
		cJSON_Delete(to.rows);
		cJSON_Delete(errors);
		return code;
	}
	log_divert(take_event, &to);
	bool ok = config_load_all(&c, file, flags, count, &all, &e);
	if (ok && *c.clients)
		ok = (clients = clients_load(c.clients, &all, &e)) != NULL;
	log_divert(NULL, NULL);
	if (!ok && all.count == 0)
		err_list_add(&all, &e);
	if (ok)
		code = check_all(&to, &c, clients, ask);
	else if (!ask->json)
		write_errors(&all);
	if (ask->json) {
		add_errors(errors, &all);
		int written = write_json(&to, errors, &c, ask, file);
		code = code ? code : written;
	} else if (!code) {
		code = finish_output();
	}
	if (!code)
		code = ok ? to.problems ? EX_CONFIG : EX_OK : e.kind == ERR_MEMORY ? EX_OSERR : EX_CONFIG;
	config_deinit(&c);
	err_list_deinit(&all);
	return code;
}

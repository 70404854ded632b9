/* SPDX-License-Identifier: MIT */
#include "config/check.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/address.h"
#include "base/nearest.h"
#include "base/token_source.h"
#include "config/fleet.h"
#include "config/otlp.h"
#include "config/routes.h"
#include "config/values.h"
#include "config/variables.h"
#include "decide/leg.h"

/* ---- the options one by one */

/* Adds to `all` where the setting came from (its place `p`, if from the file) and `why` it is wrong. */
static void setting_error(const setting *s, place p, const err *why, err_list *all)
{
	char name[64];
	err mistake, *e = &mistake;

	switch (s->source) {
	case FROM_DEFAULT:
		err_set(e, "%s", why->text);
		break;
	case FROM_FILE:
		place_error(e, p, "\"%s\": %s", s->option->key, why->text);
		break;
	case FROM_VARIABLE:
		option_variable(s->option, name, sizeof name);
		err_set(e, "variable %s: %s", name, why->text);
		break;
	case FROM_FLAG:
		option_flag(s->option, name, sizeof name);
		err_set(e, "flag --%s: %s", name, why->text);
		break;
	}
	e->kind = why->kind;
	err_list_add(all, e);
}

/* Returns the last setting of the option, which is the one that counts. */
static const setting *setting_of(const settings *s, const void *member, const config *c)
{
	size_t offset = (size_t)((const char *)member - (const char *)c);
	const setting *found = s->items; /* each option has a default */

	for (const setting *one = s->items; one < s->items + s->count; one++)
		if (one->option && one->option->offset == offset && one->option->type != OPTION_ROUTES)
			found = one;
	return found;
}

/* Turns a value of the file into the text that a flag would have. NULL: `why` says which JSON type is expected. */
static const char *text_of_json(const option_info *o, const cJSON *json, char number[32], err *why)
{
	if (o->type == OPTION_BOOL) {
		if (cJSON_IsBool(json))
			return cJSON_IsTrue(json) ? "true" : "false";
		err_set(why, "true or false is expected");
	} else if (o->type == OPTION_INT) {
		if (cJSON_IsNumber(json)) {
			/* value_set() refuses the point of a fraction, and the exponent of a huge number. Adding 0
			 * makes 0 of -0, because value_set() would refuse its sign. */
			snprintf(number, 32, "%.17g", json->valuedouble + 0.0);
			return number;
		}
		err_set(why, "a whole number from %lld to %lld is expected", (long long)o->min, (long long)o->max);
	} else {
		if (cJSON_IsString(json))
			return json->valuestring;
		if (cJSON_IsNumber(json) && o->type == OPTION_CHOICE) { /* 403 instead of "403" */
			snprintf(number, 32, "%.17g", json->valuedouble + 0.0);
			return number;
		}
		err_set(why, "a string is expected");
	}
	return NULL;
}

static void check_array(config *c, const setting *s, err_list *all)
{
	const option_info *o = s->option;
	int index = 0;
	bool good = true;
	err why = { 0 };

	for (const cJSON *item = s->json->child; item; item = item->next, index++) {
		bool ok = cJSON_IsString(item) ? value_add(c, o, slice_cstr(item->valuestring), &why) :
						 err_set(&why, "a string is expected");
		if (!ok)
			setting_error(s, place_child(s->where, index, false), &why, all);
		good &= ok;
	}
	if (index == 0 && o->min > 0)
		good = err_set(&why, "at least one address is expected");
	else if (good)
		good = value_none_alone(c, o, (size_t)index, &why);
	else
		return;
	if (!good)
		setting_error(s, s->where, &why, all);
}

static void unknown_option(const setting *s, err_list *all)
{
	err why = { 0 };

	if (place_mended(s->where)) {
		place_error(&why, s->where, "there is no option of this name; `man spoa-llm.json` lists them");
	} else {
		nearest meant = nearest_to(s->json->string);
		for (const option_info *o = options; o < options + options_count; o++)
			nearest_look(&meant, o->key);
		if (meant.word)
			place_error(&why, s->where, "there is no option \"%.60s\"; is \"%s\" meant?", s->json->string,
				    meant.word);
		else
			place_error(&why, s->where, "there is no option \"%.60s\"; `man spoa-llm.json` lists them",
				    s->json->string);
	}
	err_list_add(all, &why);
}

static void check_setting(config *c, const setting *s, err_list *all)
{
	char number[32];
	err why = { 0 };

	if (!s->option) {
		unknown_option(s, all);
	} else if (s->option->type == OPTION_ROUTES) {
		if (s->json && !cJSON_IsArray(s->json)) {
			place_error(&why, s->where, "\"routes\" must be an array");
			err_list_add(all, &why);
		}
	} else if (s->option->type == OPTION_LIST && cJSON_IsArray(s->json)) {
		check_array(c, s, all);
	} else {
		const char *text = s->json ? text_of_json(s->option, s->json, number, &why) : s->text;
		if (!text || !value_set(c, s->option, text, &why))
			setting_error(s, s->where, &why, all);
	}
}

/* An option whose value is wrong keeps the value of the source before, in the end its default, so that checking can go
 * on. */
static void check_settings(config *c, const settings *s, err_list *all)
{
	const setting *before = NULL;

	for (const setting *one = s->items; one < s->items + s->count; before = one++) {
		if (one->source != FROM_DEFAULT && all->count == ERRORS_MAX)
			return;
		/* The list of one source replaces that of the source before; several flags make one list. */
		if (one->option && (!before || before->option != one->option || before->source != one->source) &&
		    one->option->type == OPTION_LIST)
			value_clear(c, one->option);
		check_setting(c, one, all);
	}
}

/* ---- what the options mean together */

/* Adds why the `i`th item of the list `member` is wrong. */
static void item_error(const settings *s, const config *c, const address_list *member, size_t i, const err *why,
		       err_list *all)
{
	const setting *one = setting_of(s, member, c);

	setting_error(one, cJSON_IsArray(one->json) ? place_child(one->where, (int)i, false) : one->where, why, all);
}

static void check_addresses(const settings *s, const config *c, const address_list *list, bool allow_remote,
			    bool datagrams, err_list *all)
{
	address_rules rules = { allow_remote, datagrams };
	socket_address ignored;
	err why;

	for (size_t i = 0; i < list->count; i++)
		if (!address_parse(&ignored, list->items[i], &rules, &why))
			item_error(s, c, list, i, &why, all);
}

/* The admin server may be remote only with a token. */
static void check_admin_listen(const settings *s, const config *c, err_list *all)
{
	bool token = *c->admin_token || *c->viewer_token;
	address_rules rules = { c->allow_remote && token, false }, remote = { true, false };
	socket_address ignored;
	err why;

	for (size_t i = 0; i < c->admin_listen.count; i++) {
		if (address_parse(&ignored, c->admin_listen.items[i], &rules, &why))
			continue;
		if (address_parse(&ignored, c->admin_listen.items[i], &remote, &why))
			err_set(&why, "\"%s\" is not loopback: that takes %s%s%s", c->admin_listen.items[i],
				token ? "" : "\"admin_token\" or \"viewer_token\", which requests have to carry",
				token || c->allow_remote ? "" : ", and ", c->allow_remote ? "" : "\"allow_remote\"");
		item_error(s, c, &c->admin_listen, i, &why, all);
	}
}

/* Whoever can write to these sockets can write into the ledger, or say which of its rows may be removed. Only unix
 * sockets have permissions. */
static void check_reports(const settings *s, const config *c, const address_list *list, err_list *all)
{
	socket_address a;
	address_rules rules = { false, true };
	err why;

	for (size_t i = 0; i < list->count; i++) {
		bool ok = address_parse(&a, list->items[i], &rules, &why);
		if (ok && (!a.datagram || a.sa.sa_family != AF_UNIX))
			ok = err_set(&why, "\"%s\" is no unix datagram socket: dgram@/PATH is needed here",
				     list->items[i]);
		if (!ok)
			item_error(s, c, list, i, &why, all);
	}
}

/* An address can be listened on only once. */
static void check_no_address_twice(const settings *s, const config *c, err_list *all)
{
	static const char *const names[] = { "listen", "admin_listen", "log_listen", "tap_listen", "fleet_listen" };
	const address_list *lists[] = { &c->listen, &c->admin_listen, &c->log_listen, &c->tap_listen,
					&c->fleet_listen };
	const address_rules any = { true, true };
	socket_address a, b;
	err why;

	for (size_t l = 0; l < (!*c->ledger ? 2 : !*c->fleet_uri && !*c->otlp_endpoint ? 4 : 5); l++)
		for (size_t i = 0; i < lists[l]->count; i++) {
			bool twice = false;
			if (!address_parse(&a, lists[l]->items[i], &any, &why))
				continue;
			for (size_t k = 0; k <= l && !twice; k++)
				for (size_t n = 0; n < (k < l ? lists[k]->count : i) && !twice; n++)
					if (address_parse(&b, lists[k]->items[n], &any, &why) && address_same(&a, &b))
						twice = !err_set(&why, "\"%s\" is given twice: \"%s\" has it already",
								 lists[l]->items[i], names[k]);
			if (twice)
				item_error(s, c, lists[l], i, &why, all);
		}
}

/* `source` is a member of `c`. */
static void check_token(const settings *s, const config *c, char *const *source, err_list *all)
{
	err why;

	if (!**source || token_source_valid(*source))
		return;
	const setting *one = setting_of(s, source, c);
	err_set(&why, "env:NAME or file:PATH is expected; the token itself does not belong here");
	setting_error(one, one->where, &why, all);
}

static void check_listeners(const settings *s, const config *c, err_list *all)
{
	err why;

	check_addresses(s, c, &c->listen, c->allow_remote, false, all);
	check_admin_listen(s, c, all);
	check_addresses(s, c, &c->log_listen, c->allow_remote, true, all);
	check_reports(s, c, &c->tap_listen, all);
	check_reports(s, c, &c->fleet_listen, all);
	check_no_address_twice(s, c, all);
	check_token(s, c, &c->admin_token, all);
	check_token(s, c, &c->viewer_token, all);
	if (*c->viewer_token && strcmp(c->viewer_token, c->admin_token) == 0) {
		const setting *one = setting_of(s, &c->viewer_token, c);
		err_set(&why, "\"admin_token\" is the same: whoever may only read needs another token");
		setting_error(one, one->where, &why, all);
	}
}

/* Reads IP, IP:PORT, [IP] or [IP]:PORT. */
static bool is_name_server(const char *text)
{
	char host[INET6_ADDRSTRLEN];
	struct in6_addr ignored;
	slice all = slice_cstr(text);
	bool bracket = *text == '[', v6 = bracket || strchr(text, ':') != strrchr(text, ':');
	size_t end = bracket ? slice_find(all, 0, ']') : v6 ? all.len : slice_find(all, 0, ':');

	slice address = slice_of(text + bracket, end - bracket);
	if (address.len >= sizeof host || (bracket && end == all.len))
		return false;
	slice port = slice_from(all, end + bracket);
	snprintf(host, sizeof host, "%.*s", (int)address.len, address.ptr);
	if (inet_pton(v6 ? AF_INET6 : AF_INET, host, &ignored) != 1)
		return false;
	if (port.len == 0)
		return true;
	size_t digits = strspn(port.ptr + 1, "0123456789");
	unsigned long number = strtoul(port.ptr + 1, NULL, 10);
	return port.ptr[0] == ':' && digits == port.len - 1 && digits <= 5 && number >= 1 && number <= UINT16_MAX;
}

/* Checks what `spoa-llm backends` writes into HAProxy's configuration. */
static void check_for_backends(const settings *s, const config *c, err_list *all)
{
	const setting *one = setting_of(s, &c->ca_file, c);
	err why;

	if (!ca_file_valid(c->ca_file)) {
		err_set(&why, A_FILE_NAME " is expected, or @system-ca");
		setting_error(one, one->where, &why, all);
	}
	for (size_t i = 0; i < c->name_servers.count; i++) {
		if (strcmp(c->name_servers.items[i], RESOLV_CONF) == 0 || is_name_server(c->name_servers.items[i]))
			continue;
		err_set(&why, "\"%s\" is not IP, IP:PORT, [IPV6]:PORT, " RESOLV_CONF " or none",
			c->name_servers.items[i]);
		item_error(s, c, &c->name_servers, i, &why, all);
	}
}

/* A target that is wrong is replaced by its default, so that checking can go on. False: out of memory. */
static bool check_targets(const settings *s, config *c, err_list *all, err *e)
{
	upstream *targets = c->table->targets;

	for (size_t i = 0; i < PROTOCOLS; i++) {
		const setting *one = setting_of(s, &c->targets[i], c);
		err why = { 0 };
		bool ok = upstream_parse(&targets[i], slice_cstr(c->targets[i]), &why);
		if (!ok && why.kind == ERR_MEMORY)
			return err_memory(e);
		ok = ok && upstream_verifiable(&targets[i], NULL, &why);
		for (size_t n = 0; n < i && ok; n++)
			if (strcmp(targets[n].backend, targets[i].backend) == 0 &&
			    !upstream_same(&targets[n], &targets[i]))
				ok = err_set(&why, "it would share the backend \"%s\" with %s_target",
					     targets[i].backend, protocol_name((protocol)n));
		if (ok)
			continue;
		setting_error(one, one->where, &why, all);
		upstream_deinit(&targets[i]);
		if (!upstream_parse(&targets[i], slice_cstr(one->option->fallback), &why))
			return err_memory(e);
	}
	return true;
}

static void check_clients(const settings *s, const config *c, err_list *all)
{
	const setting *file = setting_of(s, &c->clients, c), *require = setting_of(s, &c->require_client, c);
	err why;

	if (*c->clients && *c->clients != '/') {
		err_set(&why, "an absolute path is expected");
		setting_error(file, file->where, &why, all);
	}
	if (c->require_client && !*c->clients) {
		err_set(&why, "this needs \"clients\", the file that has the keys");
		setting_error(require, require->where, &why, all);
	}
}

static void check_fleet(const settings *s, const config *c, err_list *all)
{
	const setting *uri = setting_of(s, &c->fleet_uri, c), *file = setting_of(s, &c->fleet_password_file, c);
	const setting *name = setting_of(s, &c->fleet_name, c), *asked = setting_of(s, &c->ship_listen, c);
	const address_rules rules = { .allow_remote = false };
	socket_address a;
	err why;

	if (*c->fleet_uri && !fleet_uri_check(c->fleet_uri, &why))
		setting_error(uri, uri->where, &why, all);
	if (*c->fleet_password_file && *c->fleet_password_file != '/') {
		err_set(&why, "an absolute path is expected");
		setting_error(file, file->where, &why, all);
	}
	if (*c->fleet_name && !fleet_name_check(slice_cstr(c->fleet_name), &why))
		setting_error(name, name->where, &why, all);
	if (*c->ship_listen) {
		bool ok = address_parse(&a, c->ship_listen, &rules, &why);
		if (ok && a.sa.sa_family != AF_UNIX)
			ok = err_set(&why, "\"%s\" is no unix socket: unix@/PATH is needed here", c->ship_listen);
		if (!ok)
			setting_error(asked, asked->where, &why, all);
	}
}

/* Warns if every local user could ask for decisions. */
static void warn_of_open_sockets(const config *c)
{
	for (size_t i = 0; c->listen_mode & S_IWOTH && i < c->listen.count; i++)
		if (*c->listen.items[i] == '/' || strncmp(c->listen.items[i], "unix@", 5) == 0)
			log_event(
				listen_open, LOG_C("address", c->listen.items[i]),
				LOG_C("problem",
				      "every user who can enter its directory can ask the agent, and so get credentials"),
				LOG_C("hint",
				      "set listen_mode to \"0660\", and put HAProxy's user into the socket's group"));
}

static void check_otlp(const settings *s, const config *c, err_list *all)
{
	const char *const *files[] = { (const char *const *)&c->otlp_headers_file,
				       (const char *const *)&c->otlp_ca_file, (const char *const *)&c->otlp_state };
	err why;

	if (*c->otlp_endpoint && !otlp_endpoint_check(c->otlp_endpoint, *c->otlp_headers_file != '\0', &why)) {
		const setting *one = setting_of(s, &c->otlp_endpoint, c);
		setting_error(one, one->where, &why, all);
	}
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		if (**files[i] && **files[i] != '/') {
			const setting *one = setting_of(s, files[i], c);
			err_set(&why, "an absolute path is expected");
			setting_error(one, one->where, &why, all);
		}
}

/* ---- the routes */

/* The routes that were chosen, and how to read them. */
typedef struct routes_given {
	const cJSON *array; /* NULL: there are no routes */
	place where;
	bool strict;
} routes_given;

/* Chooses the routes: those of the flag, or else those of the file or of the variable, which must not both have routes.
 * If the variable is not a JSON array, there are no routes, as in Headroom; if strict, that is an error. */
static void choose_routes(const config *c, const settings *s, routes_given *routes, err_list *all)
{
	const setting *text = s->routes_text, *file = s->routes_file;
	err why;

	*routes = (routes_given){ .strict = true };
	if (file)
		*routes = (routes_given){ cJSON_IsArray(file->json) ? file->json : NULL, file->where, true };
	if (!text)
		return;
	if (file && text->source == FROM_VARIABLE) {
		err_set(&why,
			"routes are given twice, in %s and in the variable " ROUTES_VARIABLE "; remove one of them",
			file->where.name);
		err_list_add(all, &why);
		return;
	}
	*routes = (routes_given){ s->routes_json, s->routes_place, text->source == FROM_FLAG || c->strict };
	if (cJSON_IsArray(s->routes_json) && (routes->strict || !s->routes_errors.count)) {
		for (size_t i = 0; i < s->routes_errors.count; i++)
			err_list_add(all, &s->routes_errors.items[i]);
		return;
	}
	routes->array = NULL;
	if (s->routes_errors.count)
		why = s->routes_errors.items[0];
	else
		place_error(&why, routes->where, "the route table must be a JSON array");
	if (routes->strict)
		err_list_add(all, &why);
	else
		log_event(routes_unusable, LOG_C("problem", why.text), LOG_C("instead", "there are no routes"));
}

/* Reads and checks the routes. What only the whole table can show is not looked for while an entry is missing. False:
 * `e` says why that had to stop. */
static bool check_routes(config *c, const routes_given *routes, err_list *all, err *e)
{
	problems to = { routes->strict, all, e };

	if (!routes->array)
		return true;
	if (!routes_read(c->table, routes->array, routes->where, &to))
		return false;
	bool whole = !routes->strict || c->table->count == (size_t)cJSON_GetArraySize(routes->array);
	return !whole || routes_check(c->table, routes->where, &to);
}

/* True if memory ran out: while errors were noted, or as an error says. */
static bool starved(const err_list *all)
{
	bool found = all->failed;

	for (size_t i = 0; i < all->count; i++)
		found |= all->items[i].kind == ERR_MEMORY;
	return found;
}

bool settings_check(const settings *s, config *c, err_list *all, err *e)
{
	routes_given routes;

	c->file = s->file ? strdup(s->file) : NULL;
	c->table = route_table_new();
	if (!c->table || (s->file && !c->file))
		return err_memory(e);
	for (size_t i = 0; i < s->errors.count; i++)
		err_list_add(all, &s->errors.items[i]);
	check_settings(c, s, all);
	if (starved(all)) /* a value may be missing */
		return err_memory(e);
	/* From here on checks can log warnings: use the level and the format that were configured. */
	log_setup((log_level)c->log_level, (log_format)c->log_format);
	c->table->unresolved_falls_through = c->unresolved == UNRESOLVED_FALLTHROUGH;
	c->table->refusal_status = refusal_statuses[c->refusal_status];
	c->table->websocket_to_catch_all = c->websocket == WEBSOCKET_CATCH_ALL;
	c->table->older_contract_allowed = c->allow_older_contract;
	c->table->tap = c->tap;
	c->table->require_stream_usage = c->require_stream_usage;
	c->table->require_client = c->require_client;
	c->table->websocket_allowed = c->websocket != WEBSOCKET_REFUSE;
	check_clients(s, c, all);
	check_fleet(s, c, all);
	check_otlp(s, c, all);
	choose_routes(c, s, &routes, all);
	check_listeners(s, c, all);
	check_for_backends(s, c, all);
	if (!check_targets(s, c, all, e) || !check_routes(c, &routes, all, e)) {
		if (e->kind == ERR_MEMORY)
			return false;
		err_list_add(all, e);
	}
	/* With an error the configuration is not used, and a route may be half read. */
	if (starved(all) || (all->count == 0 && !legs_name(c->table)))
		return err_memory(e);
	warn_of_open_sockets(c);
	variables_check(c, NULL);
	return all->count == 0;
}

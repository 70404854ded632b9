/* SPDX-License-Identifier: MIT */
#include "config/check.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/address.h"
#include "config/routes.h"
#include "config/values.h"

/* ---- the options one by one */

/* Writes to `e` where the setting came from (its place `p`, if from the file) and `why` it is wrong. Always false. */
static bool setting_error(const setting *s, place p, const err *why, err *e)
{
	char name[64];

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
	return false;
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

static bool check_array(config *c, const setting *s, err *e)
{
	const option_info *o = s->option;
	int index = 0;
	err why = { 0 };

	for (const cJSON *item = s->json->child; item; item = item->next, index++) {
		bool ok = cJSON_IsString(item) ? value_add(c, o, slice_cstr(item->valuestring), &why) :
						 err_set(&why, "a string is expected");
		if (!ok)
			return setting_error(s, place_child(s->where, index, false), &why, e);
	}
	if (index == 0 && o->min > 0) {
		err_set(&why, "at least one address is expected");
		return setting_error(s, s->where, &why, e);
	}
	return true;
}

static bool check_setting(config *c, const setting *s, err *e)
{
	char number[32];
	err why = { 0 };

	if (!s->option)
		return place_error(e, s->where, "there is no option \"%.60s\"; `spoa-llm --help` lists them",
				   s->json->string);
	if (s->option->type == OPTION_ROUTES)
		return !s->json || cJSON_IsArray(s->json) || place_error(e, s->where, "\"routes\" must be an array");
	if (s->option->type == OPTION_LIST && cJSON_IsArray(s->json))
		return check_array(c, s, e);
	const char *text = s->json ? text_of_json(s->option, s->json, number, &why) : s->text;
	return (text && value_set(c, s->option, text, &why)) || setting_error(s, s->where, &why, e);
}

static bool check_settings(config *c, const settings *all, err *e)
{
	const setting *before = NULL;

	for (const setting *s = all->items; s < all->items + all->count; before = s++) {
		/* The list of one source replaces that of the source before; several flags make one list. */
		if (s->option && (!before || before->option != s->option || before->source != s->source) &&
		    s->option->type == OPTION_LIST)
			value_clear(c, s->option);
		if (!check_setting(c, s, e))
			return false;
	}
	return true;
}

/* ---- what the options mean together */

static bool check_addresses(const address_list *list, bool allow_remote, bool datagrams, err *e)
{
	address_rules rules = { allow_remote, datagrams };
	socket_address ignored;

	for (size_t i = 0; i < list->count; i++)
		if (!address_parse(&ignored, list->items[i], &rules, e))
			return false;
	return true;
}

static bool check_listeners(const config *c, err *e)
{
	bool token = *c->admin_token;

	if (!check_addresses(&c->listen, c->allow_remote, false, e) ||
	    !check_addresses(&c->admin_listen, c->allow_remote && token, false, e))
		return false;
	if (token && strncmp(c->admin_token, "env:", 4) != 0 && strncmp(c->admin_token, "file:", 5) != 0)
		return err_set(e,
			       "admin_token: env:NAME or file:PATH is expected; the token itself does not belong here");
	return check_addresses(&c->log_listen, c->allow_remote, true, e);
}

/* Reads IP, IP:PORT, [IP] or [IP]:PORT. */
static bool is_name_server(const char *text)
{
	char host[INET6_ADDRSTRLEN];
	struct in6_addr ignored;
	slice all = slice_cstr(text), address = all, port = slice_of(text, 0);
	bool bracket = *text == '[', v6 = bracket || strchr(text, ':') != strrchr(text, ':');
	size_t end = bracket ? slice_find(all, 0, ']') : v6 ? all.len : slice_find(all, 0, ':');

	address = slice_of(text + bracket, end - bracket);
	if (address.len >= sizeof host || (bracket && end == all.len))
		return false;
	port = slice_from(all, end + bracket);
	snprintf(host, sizeof host, "%.*s", (int)address.len, address.ptr);
	if (inet_pton(v6 ? AF_INET6 : AF_INET, host, &ignored) != 1)
		return false;
	if (port.len == 0)
		return true;
	size_t digits = strspn(port.ptr + 1, "0123456789");
	return port.ptr[0] == ':' && digits == port.len - 1 && digits <= 5 && atoi(port.ptr + 1) >= 1 &&
	       atoi(port.ptr + 1) <= UINT16_MAX;
}

/* What `spoa-llm backends` writes into HAProxy's configuration. */
static bool check_for_backends(const config *c, err *e)
{
	if (!file_name_valid(c->ca_file, ROUTE_FILE_MAX))
		return err_set(e, "ca_file: " A_FILE_NAME " is expected, or @system-ca");
	for (size_t i = 0; i < c->name_servers.count; i++)
		if (strcmp(c->name_servers.items[i], RESOLV_CONF) != 0 && !is_name_server(c->name_servers.items[i]))
			return err_set(e,
				       "name_servers: \"%s\" is not IP, IP:PORT, [IPV6]:PORT, " RESOLV_CONF " or none",
				       c->name_servers.items[i]);
	return true;
}

static bool check_targets(config *c, err *e)
{
	upstream *targets = c->table->targets;
	err why = { 0 };

	for (size_t i = 0; i < PROTOCOLS; i++) {
		if (!upstream_parse(&targets[i], slice_cstr(c->targets[i]), &why))
			return err_set_kind(e, why.kind, "%s_target: %s", protocol_name((protocol)i), why.text);
		if (!upstream_verifiable(&targets[i], NULL, &why))
			return err_set(e, "%s_target: %s", protocol_name((protocol)i), why.text);
		for (size_t n = 0; n < i; n++)
			if (strcmp(targets[n].backend, targets[i].backend) == 0 &&
			    !upstream_same(&targets[n], &targets[i]))
				return err_set(e, "%s_target and %s_target would share backend \"%s\"",
					       protocol_name((protocol)n), protocol_name((protocol)i),
					       targets[i].backend);
	}
	return true;
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
static bool choose_routes(const config *c, const settings *s, routes_given *routes, err *e)
{
	const setting *text = s->routes_text, *file = s->routes_file;

	*routes = (routes_given){ .strict = true };
	if (file)
		*routes = (routes_given){ file->json, file->where, true };
	if (!text)
		return true;
	if (file && text->source == FROM_VARIABLE)
		return err_set(
			e, "routes are given twice, in %s and in the variable " ROUTES_VARIABLE "; remove one of them",
			file->where.name);
	*routes = (routes_given){ s->routes_json, setting_text_place(text), text->source == FROM_FLAG || c->strict };
	if (cJSON_IsArray(s->routes_json))
		return true;
	routes->array = NULL;
	err why = s->routes_error;
	if (s->routes_json)
		place_error(&why, routes->where, "the route table must be a JSON array");
	if (routes->strict || why.kind == ERR_MEMORY) {
		*e = why;
		return false;
	}
	log_event(routes_unusable, LOG_C("problem", why.text), LOG_C("instead", "there are no routes"));
	return true;
}

bool settings_check(const settings *s, config *c, err *e)
{
	routes_given routes;

	c->file = s->file ? strdup(s->file) : NULL;
	c->table = route_table_new();
	if (!c->table || (s->file && !c->file))
		return err_memory(e);
	if (!check_settings(c, s, e))
		return false;
	/* From here on checks can log warnings: use the level and the format that were configured. */
	log_setup((log_level)c->log_level, (log_format)c->log_format);
	c->table->unresolved_falls_through = c->unresolved == UNRESOLVED_FALLTHROUGH;
	c->table->refusal_status = refusal_statuses[c->refusal_status];
	c->table->websocket_to_catch_all = c->websocket == WEBSOCKET_CATCH_ALL;
	c->table->older_contract_allowed = c->allow_older_contract;
	c->table->websocket_allowed = c->websocket != WEBSOCKET_REFUSE;
	if (!choose_routes(c, s, &routes, e) || !check_listeners(c, e) || !check_for_backends(c, e) ||
	    !check_targets(c, e))
		return false;
	return !routes.array || (routes_read(c->table, routes.array, routes.where, routes.strict, e) &&
				 routes_check(c->table, routes.where, routes.strict, e));
}

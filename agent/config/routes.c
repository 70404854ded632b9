/* SPDX-License-Identifier: MIT */
#include "config/routes.h"

#include <stdlib.h>

#include "base/log.h"

typedef struct reader {
	bool strict;
	err *e;
} reader;

/* Strict: an error. Lenient: a warning that says what is done `instead`, and reading goes on. */
__attribute__((format(printf, 4, 5))) static bool problem(reader *rd, place p, const char *instead, const char *fmt,
							  ...)
{
	char message[256];
	err text;
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	if (rd->strict)
		return place_error(rd->e, p, "%s", message);
	place_error(&text, p, "%s", message);
	log_event(route_problem, LOG_C("problem", text.text), LOG_C("instead", instead));
	return true;
}

bool label_valid(const char *text, size_t max)
{
	size_t len = strlen(text);
	if (len == 0 || len > max)
		return false;
	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
			return false;
	return true;
}

static bool set_string(reader *rd, char **to, const char *text)
{
	char *copy = strdup(text);
	if (!copy)
		return err_memory(rd->e);
	free(*to);
	*to = copy;
	return true;
}

/* The text of a string member; NULL where it is none. */
static const char *text_of(const cJSON *item)
{
	return cJSON_IsString(item) ? item->valuestring : NULL;
}

static bool read_prefix(reader *rd, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);
	slice prefix = slice_trim(slice_cstr(text));

	if (!text || prefix.len == 0 || prefix.len > ROUTE_PREFIX_MAX || (rd->strict && prefix.len != strlen(text)))
		return problem(rd, p, "the entry is skipped",
			       "\"model_prefix\" is a string of 1 to %d bytes without white space around it",
			       ROUTE_PREFIX_MAX);
	char *lower = strndup(prefix.ptr, prefix.len);
	if (!lower)
		return err_memory(rd->e);
	for (char *c = lower; *c; c++)
		*c = ascii_lower(*c);
	free(r->prefix);
	r->prefix = lower;
	return true;
}

static bool read_upstream(reader *rd, route *r, const cJSON *item, place p)
{
	err why = { 0 };

	free(r->upstream_given);
	upstream_deinit(&r->own);
	r->upstream_given = NULL;
	if (cJSON_IsNull(item) && !rd->strict)
		return true;
	r->upstream_given = strdup(text_of(item) ? text_of(item) : "");
	if (!r->upstream_given)
		return err_memory(rd->e);
	if (upstream_parse(&r->own, slice_cstr(r->upstream_given), &why))
		return true;
	if (why.kind == ERR_MEMORY)
		return err_memory(rd->e);
	return problem(rd, p, "requests for this route are refused", "\"upstream\": %s", why.text);
}

static bool read_protocol(reader *rd, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	r->protocol = PROTOCOL_OPENAI;
	if (text && slice_ieq(slice_cstr(text), SLICE("anthropic")))
		r->protocol = PROTOCOL_ANTHROPIC;
	else if (!text || !slice_ieq(slice_cstr(text), SLICE("openai")))
		return problem(rd, p, "openai is used", "\"protocol\" is \"openai\" or \"anthropic\"");
	return true;
}

static bool variable_name(const char *name)
{
	if (*name >= '0' && *name <= '9')
		return false;
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
	return len > 0 && name[len] == '\0';
}

/* The text is never repeated in a message: somebody will have put the credential itself there. */
static bool read_auth(reader *rd, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	r->auth.kind = AUTH_PASSTHROUGH;
	if (text && strcmp(text, "passthrough") == 0)
		return true;
	if (text && strncmp(text, "env:", 4) == 0) {
		r->auth.kind = AUTH_ENV;
		if (variable_name(text + 4))
			return set_string(rd, &r->auth.source, text + 4);
		return problem(rd, p, "requests for this route are refused",
			       "\"auth\": after env: stands the name of a variable") &&
		       set_string(rd, &r->auth.source, "(no name)"); /* which no variable has */
	}
	if (text && strncmp(text, "file:", 5) == 0) {
		r->auth.kind = AUTH_FILE;
		if (text[5] != '/' && !problem(rd, p, "requests for this route are refused",
					       "\"auth\": after file: stands an absolute path"))
			return false;
		return set_string(rd, &r->auth.source, text[5] == '/' ? text + 5 : "/nonexistent");
	}
	return problem(
		rd, p, "passthrough is used",
		"\"auth\" is \"passthrough\", \"env:NAME\" or \"file:PATH\" (a credential itself does not belong here)");
}

static bool read_auth_header(reader *rd, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);
	auth_header h = text ? auth_header_of(slice_cstr(text)) : AUTH_HEADERS;

	r->auth.header = h == AUTH_HEADERS ? HEADER_AUTHORIZATION : h;
	if (h == AUTH_HEADERS)
		return problem(
			rd, p, "authorization is used",
			"\"auth_header\" is \"authorization\", \"x-api-key\", \"api-key\" or \"x-goog-api-key\"");
	return true;
}

static bool read_name(reader *rd, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (!text || !label_valid(text, ROUTE_NAME_MAX) || strcmp(text, "legacy") == 0)
		return problem(rd, p, "the prefix is used",
			       "\"name\" is 1 to %d printable ASCII characters without quotes, and not \"legacy\"",
			       ROUTE_NAME_MAX);
	return set_string(rd, &r->name, text);
}

static bool read_backend(reader *rd, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (!text || !backend_name_valid(slice_cstr(text)))
		return problem(
			rd, p, "the name made from the upstream is used",
			"\"backend\" is a HAProxy backend's name: 1 to %d letters, digits, . _ - :", BACKEND_NAME_MAX);
	return set_string(rd, &r->backend_given, text);
}

static bool read_reference_model(reader *rd, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (!text || !label_valid(text, ROUTE_PREFIX_MAX))
		return problem(rd, p, "it is left out", "\"reference_model\" is the name of a model");
	return set_string(rd, &r->reference_model, text);
}

static bool read_enabled(reader *rd, route *r, const cJSON *item, place p)
{
	if (!cJSON_IsBool(item))
		return problem(rd, p, "the route is enabled", "\"enabled\" is true or false");
	r->enabled = cJSON_IsTrue(item);
	return true;
}

/* clang-format off */
static const struct {
	const char *key;
	bool (*read)(reader *rd, route *r, const cJSON *item, place p);
} fields[] = {
	{ "model_prefix", read_prefix },
	{ "upstream", read_upstream },
	{ "protocol", read_protocol },
	{ "auth", read_auth },
	{ "auth_header", read_auth_header },
	{ "name", read_name },
	{ "backend", read_backend },
	{ "reference_model", read_reference_model },
	{ "enabled", read_enabled },
};
/* clang-format on */

enum {
	FIELDS = sizeof fields / sizeof fields[0],
	MEMBERS_MAX = 256, /* of an object that is compared member by member: no object here has a quarter of it */
};

bool json_no_duplicates(const cJSON *object, place where, err *e)
{
	int index = 0;
	for (const cJSON *item = object->child; item; item = item->next, index++) {
		if (index == MEMBERS_MAX)
			return place_error(e, place_child(where, index, true), "more than %d members", MEMBERS_MAX);
		for (const cJSON *before = object->child; before != item; before = before->next)
			if (strcmp(item->string, before->string) == 0)
				return place_error(e, place_child(where, index, true), "\"%.60s\" stands here twice",
						   item->string);
	}
	return true;
}

static bool read_route(reader *rd, route *r, const cJSON *object, place where)
{
	int index = 0;

	if (rd->strict && !json_no_duplicates(object, where, rd->e))
		return false;
	/* In the order of the text, so that of two members the last wins, as it does in Python. */
	for (const cJSON *item = object->child; item; item = item->next, index++) {
		if (index == MEMBERS_MAX) /* even where each may be ignored */
			return place_error(rd->e, where, "a route of more than %d members", MEMBERS_MAX);
		size_t f = 0;
		while (f < FIELDS && strcmp(fields[f].key, item->string) != 0)
			f++;
		if (f == FIELDS) {
			if (!problem(
				    rd, place_child(where, index, true), "it is ignored",
				    "a route has no \"%.40s\"; it has model_prefix, upstream, protocol, auth, auth_header, name, "
				    "backend, reference_model, enabled",
				    item->string))
				return false;
		} else if (!fields[f].read(rd, r, item, place_child(where, index, false))) {
			return false;
		}
	}
	if (!r->prefix)
		return problem(rd, where, "the entry is skipped", "a route needs a \"model_prefix\"");
	if (!r->name) {
		char name[ROUTE_NAME_MAX + 1];
		snprintf(name, sizeof name, "%s", r->prefix);
		return set_string(rd, &r->name, label_valid(name, ROUTE_NAME_MAX) ? name : "unnamed");
	}
	return true;
}

static void route_drop_last(route_table *t)
{
	route *r = &t->routes[--t->count];
	route_deinit(r);
	*r = (route){ 0 };
}

bool routes_read(route_table *t, const cJSON *array, place where, bool strict, err *e)
{
	reader rd = { strict, e };
	int index = 0;
	const cJSON *item;

	cJSON_ArrayForEach(item, array)
	{
		place p = place_child(where, index, false);
		/* Those that are skipped count too: each costs a search for its place. */
		if (index++ == ROUTES_MAX)
			return place_error(e, p, "more than %d routes", ROUTES_MAX);
		if (!cJSON_IsObject(item)) {
			if (!problem(&rd, p, "the entry is skipped", "a route is an object"))
				return false;
			continue;
		}
		route *r = route_table_add(t);
		if (!r)
			return place_error(e, p, "more than %d routes", ROUTES_MAX);
		if (!read_route(&rd, r, item, p))
			return false;
		if (!r->prefix)
			route_drop_last(t);
	}
	return true;
}

/* Backends have to be told apart by name: HAProxy sends a request, and its credential, by the name alone. */
static bool check_backends(route_table *t, route *r, size_t index, reader *rd, place where)
{
	const upstream *mine = route_upstream(t, r);
	const char *name = route_backend(t, r);

	if (!r->enabled || !mine)
		return true;
	for (size_t i = 0; i < PROTOCOLS + index; i++) {
		const route *other = i < PROTOCOLS ? NULL : &t->routes[i - PROTOCOLS];
		if (other && (!other->enabled || !route_upstream(t, other)))
			continue;
		const upstream *theirs = other ? route_upstream(t, other) : &t->targets[i];
		const char *their_name = other ? route_backend(t, other) : t->targets[i].backend;
		if (strcmp(name, their_name) != 0 || upstream_same(mine, theirs))
			continue;
		if (!problem(
			    rd, where, "requests for this route are refused",
			    "backend \"%s\" would serve two upstreams, %s and %s; give one of them another \"backend\"",
			    name, theirs->url, mine->url))
			return false;
		if (!r->upstream_given && !set_string(rd, &r->upstream_given, ""))
			return false;
		upstream_deinit(&r->own);
		return true;
	}
	return true;
}

static void warn_unreachable(const route_table *t, const route *r, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		const route *before = &t->routes[i];
		if (!before->enabled ||
		    !(route_is_catch_all(before) || slice_starts(slice_cstr(r->prefix), slice_cstr(before->prefix))))
			continue;
		log_event(route_unreachable, LOG_I("route", index + 1), LOG_C("model_prefix", r->prefix),
			  LOG_I("shadowed_by", i + 1), LOG_C("its_model_prefix", before->prefix));
		return;
	}
}

static bool is_loopback(const upstream *u)
{
	return strcmp(u->host, "localhost") == 0 || strncmp(u->host, "127.", 4) == 0 || strcmp(u->host, "::1") == 0;
}

bool routes_check(route_table *t, place where, bool strict, err *e)
{
	reader rd = { strict, e };

	t->enabled = 0;
	for (size_t i = 0; i < t->count; i++) {
		route *r = &t->routes[i];
		place p = place_child(where, (int)i, false);

		if (!r->enabled)
			continue;
		t->enabled++;
		for (size_t n = 0; n < i && strict; n++)
			if (t->routes[n].enabled && strcmp(t->routes[n].name, r->name) == 0)
				return place_error(e, p,
						   "a second route named \"%s\": it could not be told apart; "
						   "give it a \"name\", or remove it",
						   r->name);
		if (!check_backends(t, r, i, &rd, p))
			return false;
		warn_unreachable(t, r, i);
		const upstream *u = route_upstream(t, r);
		if (u && !u->tls && r->auth.kind != AUTH_PASSTHROUGH && !is_loopback(u))
			log_event(route_cleartext, LOG_C("route", r->name), LOG_C("upstream", u->url),
				  LOG_C("problem", "the credential travels without TLS"));
	}
	return true;
}

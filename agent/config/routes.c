/* SPDX-License-Identifier: MIT */
#include "config/routes.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/nearest.h"
#include "base/text.h"
#include "config/parse.h"
#include "config/routes_impl.h"
#include "decide/backend_name.h"

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

static bool set_string(const problems *to, char **slot, const char *text)
{
	char *copy = strdup(text);
	if (!copy)
		return err_memory(to->e);
	free(*slot);
	*slot = copy;
	return true;
}

/* The text of a string; NULL: `item` is no string. */
static const char *text_of(const cJSON *item)
{
	return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* True for what the name of a model can begin with, see sample/name.c, and for "*". A character that nobody sees may
 * come along when a name is copied, and a star when a pattern is meant. No model would match such a prefix, so its
 * requests would take another route and its credential. */
static bool prefix_valid(slice prefix)
{
	if (prefix.len == 0 || prefix.len > ROUTE_PREFIX_MAX || !utf8_valid(prefix.ptr, prefix.len))
		return false;
	if (prefix.len > 1 && slice_find(prefix, 0, '*') < prefix.len)
		return false;
	for (size_t i = 0; i < prefix.len; i++)
		if ((unsigned char)prefix.ptr[i] < ' ' || prefix.ptr[i] == 0x7f)
			return false;
	return !text_has_unseen_end(prefix);
}

static bool read_prefix(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);
	slice prefix = slice_trim(slice_cstr(text));

	free(r->prefix);
	r->prefix = NULL;
	/* Google's spelling. It is left out of the names of models, too. */
	if (slice_starts(prefix, SLICE("models/")))
		prefix = slice_from(prefix, sizeof "models/" - 1);
	if (!text || !prefix_valid(prefix) || (to->strict && slice_trim(slice_cstr(text)).len != strlen(text)))
		return problem(
			to, p, "the entry is skipped",
			"\"model_prefix\" must be \"*\", or a string of 1 to %d bytes without a star or control characters, and "
			"without white space or invisible characters around it: \"glm-\" is the prefix of glm-4.6",
			ROUTE_PREFIX_MAX);
	char *lower = strndup(prefix.ptr, prefix.len);
	if (!lower)
		return err_memory(to->e);
	for (char *c = lower; *c; c++)
		*c = ascii_lower(*c);
	r->prefix = lower;
	return true;
}

static bool read_upstream(const problems *to, route *r, const cJSON *item, place p)
{
	err why = { 0 };

	free(r->upstream_given);
	upstream_deinit(&r->own);
	r->upstream_given = NULL;
	if (cJSON_IsNull(item) && !to->strict)
		return true;
	r->upstream_given = strdup(text_of(item) ? text_of(item) : "");
	if (!r->upstream_given)
		return err_memory(to->e);
	if (upstream_parse(&r->own, slice_cstr(r->upstream_given), &why))
		return true;
	if (why.kind == ERR_MEMORY)
		return err_memory(to->e);
	return problem(to, p, "requests for this route are refused", "\"upstream\": %s", why.text);
}

static bool read_strip_v1(const problems *to, route *r, const cJSON *item, place p)
{
	r->strip_v1 = STRIP_BY_URL;
	if (!cJSON_IsBool(item))
		return problem(to, p, "the upstream's URL decides", "\"strip_v1\" must be true or false");
	r->strip_v1 = cJSON_IsTrue(item) ? STRIP_V1 : STRIP_NOT;
	return true;
}

static bool read_protocol(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	r->protocol = PROTOCOL_OPENAI;
	if (text && slice_ieq(slice_cstr(text), SLICE("anthropic")))
		r->protocol = PROTOCOL_ANTHROPIC;
	else if (!text || !slice_ieq(slice_cstr(text), SLICE("openai")))
		return problem(to, p, "openai is used", "\"protocol\" must be \"openai\" or \"anthropic\"");
	return true;
}

static bool variable_name(const char *name)
{
	if (*name >= '0' && *name <= '9')
		return false;
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
	return len > 0 && name[len] == '\0';
}

/* No message repeats the text, because an operator may have put the credential itself there. */
static bool read_auth(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	r->auth.kind = AUTH_PASSTHROUGH;
	if (text && strcmp(text, "passthrough") == 0)
		return true;
	if (text && strncmp(text, "env:", 4) == 0) {
		r->auth.kind = AUTH_ENV;
		if (variable_name(text + 4))
			return set_string(to, &r->auth.source, text + 4);
		return problem(to, p, "requests for this route are refused",
			       "\"auth\": env: must be followed by the name of a variable") &&
		       set_string(to, &r->auth.source, "(no name)"); /* no variable has this name */
	}
	if (text && strncmp(text, "file:", 5) == 0) {
		r->auth.kind = AUTH_FILE;
		if (text[5] != '/' && !problem(to, p, "requests for this route are refused",
					       "\"auth\": file: must be followed by an absolute path"))
			return false;
		return set_string(to, &r->auth.source, text[5] == '/' ? text + 5 : "/nonexistent");
	}
	return problem(
		to, p, "passthrough is used",
		"\"auth\" must be \"passthrough\", \"env:NAME\" or \"file:PATH\" (a credential itself does not belong here)");
}

static bool read_auth_header(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);
	auth_header h = text ? auth_header_of(slice_cstr(text)) : AUTH_HEADERS;

	r->auth.header = h == AUTH_HEADERS ? HEADER_AUTHORIZATION : h;
	if (h == AUTH_HEADERS)
		return problem(
			to, p, "authorization is used",
			"\"auth_header\" must be \"authorization\", \"x-api-key\", \"api-key\" or \"x-goog-api-key\"");
	return true;
}

static bool read_tap(const problems *to, route *r, const cJSON *item, place p)
{
	r->tap = TAP_AS_ALL;
	if (!cJSON_IsBool(item))
		return problem(to, p, "the option \"tap\" decides", "\"tap\" must be true or false");
	r->tap = cJSON_IsTrue(item) ? TAP_ON : TAP_OFF;
	return true;
}

static bool read_name(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (!text || !label_valid(text, ROUTE_NAME_MAX) || strcmp(text, "legacy") == 0)
		return problem(to, p, "the prefix is used",
			       "\"name\" must be 1 to %d printable ASCII characters without quotes, and not \"legacy\"",
			       ROUTE_NAME_MAX);
	return set_string(to, &r->name, text);
}

static bool read_backend(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (!text || !backend_name_valid(slice_cstr(text)))
		return problem(to, p, "the name made from the upstream is used",
			       "\"backend\" must be the name of a HAProxy backend: 1 to %d letters, digits, . _ - :",
			       BACKEND_NAME_MAX);
	if (backend_name_taken(slice_cstr(text)))
		return problem(to, p, "the name made from the upstream is used",
			       "\"backend\": \"%s\" is a name of the gateway's own in HAProxy; choose another one",
			       text);
	return set_string(to, &r->backend_given, text);
}

static bool read_reference_model(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (!text || !label_valid(text, ROUTE_PREFIX_MAX))
		return problem(to, p, "it is left out", "\"reference_model\" must be the name of a model");
	return set_string(to, &r->reference_model, text);
}

static bool read_require_stream_usage(const problems *to, route *r, const cJSON *item, place p)
{
	if (!cJSON_IsBool(item))
		return problem(to, p, "the option of this name decides",
			       "\"require_stream_usage\" must be true or false");
	r->require_stream_usage = cJSON_IsTrue(item);
	return true;
}

static bool read_enabled(const problems *to, route *r, const cJSON *item, place p)
{
	if (!cJSON_IsBool(item))
		return problem(to, p, "the route is enabled", "\"enabled\" must be true or false");
	r->enabled = cJSON_IsTrue(item);
	return true;
}

/* clang-format off */
static const struct {
	const char *key;
	bool (*read)(const problems *to, route *r, const cJSON *item, place p);
	enum { OF_ROUTE = 1, OF_MEMBER = 2, OF_EITHER = 3 } of; /* OF_EITHER: with a pool, of its members only */
} fields[] = {
	{ "model_prefix", read_prefix, OF_ROUTE },
	{ "path_prefix", read_path_prefix, OF_ROUTE },
	{ "upstream", read_upstream, OF_EITHER },
	{ "strip_v1", read_strip_v1, OF_EITHER },
	{ "protocol", read_protocol, OF_ROUTE },
	{ "auth", read_auth, OF_EITHER },
	{ "auth_header", read_auth_header, OF_EITHER },
	{ "paths", read_paths, OF_EITHER },
	{ "tap", read_tap, OF_ROUTE },
	{ "forward_headers", read_forward_headers, OF_ROUTE },
	{ "ca_file", read_ca_file, OF_EITHER },
	{ "client_cert", read_client_cert, OF_EITHER },
	{ "alpn", read_alpn, OF_EITHER },
	{ "sni", read_sni, OF_EITHER },
	{ "timeout", read_timeout, OF_EITHER },
	{ "max_connections", read_max_connections, OF_EITHER },
	{ "pool", read_pool, OF_ROUTE },
	{ "balance", read_balance, OF_ROUTE },
	{ "retry_on", read_retry_on, OF_ROUTE },
	{ "retries", read_retries, OF_ROUTE },
	{ "pool_header", read_pool_header, OF_ROUTE },
	{ "name", read_name, OF_ROUTE },
	{ "name", read_member_name, OF_MEMBER },
	{ "weight", read_weight, OF_MEMBER },
	{ "backend", read_backend, OF_EITHER },
	{ "reference_model", read_reference_model, OF_ROUTE },
	{ "models", read_models, OF_ROUTE },
	{ "require_stream_usage", read_require_stream_usage, OF_ROUTE },
	{ "enabled", read_enabled, OF_ROUTE },
};
/* clang-format on */

enum { FIELDS = sizeof fields / sizeof fields[0] };

/* Writes the names of the keys that are `of` a route or of a member to `out`, and returns it. */
static const char *all_keys(unsigned of, char *out, size_t cap)
{
	size_t len = 0;

	for (size_t i = 0; i < FIELDS && len < cap; i++)
		if (fields[i].of & of)
			len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", fields[i].key);
	return out;
}

static bool has(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key) != NULL;
}

/* A condition that cannot be read must not be left out, because the route would take more requests. */
static bool has_conditions(const route *r, const cJSON *object)
{
	return (r->prefix || r->path_prefix) && !r->prefix == !has(object, "model_prefix") &&
	       !r->path_prefix == !has(object, "path_prefix");
}

/* Checks that only a route with a credential of the operator's has the keys that say what may go along with it. A
 * client certificate is such a credential too, but it replaces no header. */
static bool check_replaces(const problems *to, const route *r, const cJSON *object, place where)
{
	int index = 0;

	for (const cJSON *item = object->child; item && !route_replaces(r); item = item->next, index++)
		if (((strcmp(item->string, "paths") == 0 && !route_lends(r)) ||
		     strcmp(item->string, "forward_headers") == 0) &&
		    !problem(
			    to, place_child(where, index, true), "it is ignored",
			    "\"%s\" is for a route whose \"auth\" is env: or file:; with passthrough, all paths and headers "
			    "are forwarded",
			    item->string))
			return false;
	return true;
}

/* Applies strip_v1 once all members are read, so that their order does not matter. */
static bool apply_strip_v1(const problems *to, route *r, const cJSON *object, place where)
{
	int index = 0;

	if (r->strip_v1 == STRIP_BY_URL)
		return true;
	if (r->upstream_given)
		return !r->own.url || upstream_set_strip_v1(&r->own, r->strip_v1 == STRIP_V1) || err_memory(to->e);
	for (const cJSON *item = object->child; item && strcmp(item->string, "strip_v1") != 0; item = item->next)
		index++;
	return problem(to, place_child(where, index, true), "it is ignored",
		       "\"strip_v1\" is for a route with an \"upstream\" of its own");
}

/* Names a route without `name` by its conditions. */
static bool name_route(const problems *to, route *r)
{
	char name[ROUTE_NAME_MAX + 1];

	snprintf(name, sizeof name, "%s%s%s", r->prefix ? r->prefix : "", r->prefix && r->path_prefix ? " " : "",
		 r->path_prefix ? *r->path_prefix ? r->path_prefix : "/" : "");
	return set_string(to, &r->name, label_valid(name, ROUTE_NAME_MAX) ? name : "unnamed");
}

/* Reads the members of `object` by the table of keys. */
static bool read_keys(const problems *to, unsigned of, route *r, const cJSON *object, place where)
{
	const char *kind = of == OF_ROUTE ? "route" : "member of a pool";
	int index = 0;
	char keys[512];

	if (to->strict)
		json_no_duplicates(object, where, to->all);
	/* Of two members with one name the last wins, as it does in Python. */
	for (const cJSON *item = object->child; item; item = item->next, index++) {
		if (index == JSON_MEMBERS_MAX)
			return place_error(to->e, where, "a %s of more than %d members", kind, JSON_MEMBERS_MAX);
		size_t f = 0;
		while (f < FIELDS && (!(fields[f].of & of) || strcmp(fields[f].key, item->string) != 0))
			f++;
		if (f == FIELDS) {
			place at = place_child(where, index, true);
			bool odd = place_mended(at);
			nearest n = nearest_to(odd ? "" : item->string);
			for (f = 0; f < FIELDS; f++)
				if (fields[f].of & of)
					nearest_look(&n, fields[f].key);
			if (!problem(to, at, "it is ignored", "a %s has no %s%.40s%s; %s%s%s %s", kind,
				     odd ? "key of this name" : "\"", odd ? "" : item->string, odd ? "" : "\"",
				     n.word ? "is \"" : "", n.word ? n.word : "",
				     n.word ? "\" meant? It has" : "it has", all_keys(of, keys, sizeof keys)))
				return false;
		} else if (!fields[f].read(to, r, item, place_child(where, index, false))) {
			return false;
		}
	}
	return true;
}

bool read_member(const problems *to, const route_table *t, const route *owner, route *r, const cJSON *object,
		 place where)
{
	r->weight = 1;
	r->protocol = owner->protocol;
	r->enabled = owner->enabled;
	r->entry = owner->entry;
	r->forward_names = strdup(owner->forward_names ? owner->forward_names : "");
	r->forward_prefixes = strdup(owner->forward_prefixes ? owner->forward_prefixes : "");
	if (!r->forward_names || !r->forward_prefixes)
		return err_memory(to->e);
	return read_keys(to, OF_MEMBER, r, object, where) && check_replaces(to, r, object, where) &&
	       apply_strip_v1(to, r, object, where) && check_connect(to, t, r, object, where);
}

/* Checks that a route with a pool has none of the keys that its members have. */
static bool check_of_members(const problems *to, const route *r, const cJSON *object, place where)
{
	int index = 0;

	for (const cJSON *item = object->child; item && r->pool; item = item->next, index++)
		for (size_t f = 0; f < FIELDS; f++)
			if (fields[f].of == OF_EITHER && strcmp(fields[f].key, item->string) == 0 &&
			    !problem(to, place_child(where, index, true), "it is ignored",
				     "\"%s\" is for the members of the route's \"pool\"", item->string))
				return false;
	return true;
}

static bool read_route(const problems *to, route_table *t, route *r, const cJSON *object, place where)
{
	r->require_stream_usage = t->require_stream_usage;
	if (!read_keys(to, OF_ROUTE, r, object, where))
		return false;
	if (!has_conditions(r, object) && !has(object, "model_prefix") && !has(object, "path_prefix"))
		return problem(to, where, "the entry is skipped",
			       "a route needs a \"model_prefix\" or a \"path_prefix\"");
	if (!has_conditions(r, object)) /* what is wrong with one of them was said above */
		return true;
	return (r->name || name_route(to, r)) && read_members(to, t, r, object, where) &&
	       check_of_members(to, r, object, where) && check_replaces(to, r, object, where) &&
	       apply_strip_v1(to, r, object, where) && check_connect(to, t, r, object, where);
}

static void route_drop_last(route_table *t)
{
	route *r = &t->routes[--t->count];
	route_deinit(r);
	*r = (route){ 0 };
}

bool routes_read(route_table *t, const cJSON *array, place where, const problems *to)
{
	int index = 0;
	const cJSON *item;

	cJSON_ArrayForEach(item, array)
	{
		place p = place_child(where, index, false);
		/* Skipped entries count too, because finding the place of each takes time. */
		if (index++ == ROUTES_MAX)
			return place_error(to->e, p, "more than %d routes", ROUTES_MAX);
		if (!cJSON_IsObject(item)) {
			if (!problem(to, p, "the entry is skipped", "a route must be an object"))
				return false;
			continue;
		}
		route *r = route_table_add(t);
		if (!r)
			return err_memory(to->e);
		r->entry = (unsigned)index;
		if (!read_route(to, t, r, item, p))
			return false;
		if (!has_conditions(r, item))
			route_drop_last(t);
	}
	for (size_t i = 0; i < t->count; i++)
		if (t->routes[i].pool && t->members) /* NULL: no pool has an entry */
			t->routes[i].pool->members = t->members + t->routes[i].pool->first;
	return true;
}

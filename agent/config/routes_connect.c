/* SPDX-License-Identifier: MIT
 *
 * The keys of a route that say how HAProxy reaches its upstream, and the name of the backend that is made for them. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "config/routes_impl.h"

bool file_name_valid(const char *name, size_t max)
{
	size_t len = strlen(name);

	return len > 0 && len <= max &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+@:=,~") == len;
}

bool ca_file_valid(const char *name)
{
	return strcmp(name, "@system-ca") == 0 || (*name == '/' && file_name_valid(name, ROUTE_FILE_MAX));
}

/* True for the name of a host that can stand in a certificate: no address. */
static bool sni_valid(const char *name)
{
	return host_name_valid(slice_cstr(name)) && strspn(name, "0123456789.") < strlen(name);
}

static const char *text_of(const cJSON *item)
{
	return cJSON_IsString(item) ? item->valuestring : "";
}

static bool keep(const problems *to, char **slot, const char *text)
{
	free(*slot);
	*slot = strdup(text);
	return *slot ? true : err_memory(to->e);
}

bool read_ca_file(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (!ca_file_valid(text))
		return problem(to, p, "requests for this route are refused",
			       "\"ca_file\" must be " A_FILE_NAME ", or \"@system-ca\"") &&
		       keep(to, &r->connect.ca_file, "/nonexistent");
	return keep(to, &r->connect.ca_file, text);
}

bool read_client_cert(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (*text != '/' || !file_name_valid(text, ROUTE_FILE_MAX))
		return problem(to, p, "requests for this route are refused",
			       "\"client_cert\" must be " A_FILE_NAME
			       ": a PEM file with the certificate and its key, which HAProxy reads") &&
		       keep(to, &r->connect.client_cert, "/nonexistent");
	return keep(to, &r->connect.client_cert, text);
}

bool read_alpn(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (strcmp(text, "http/1.1") != 0 && strcmp(text, "h2") != 0 && strcmp(text, "h2,http/1.1") != 0)
		return problem(to, p, "http/1.1 is used", "\"alpn\" must be \"http/1.1\", \"h2\" or \"h2,http/1.1\"");
	return keep(to, &r->connect.alpn, text);
}

bool read_sni(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = text_of(item);

	if (!sni_valid(text))
		return problem(to, p, "the host of the upstream is used",
			       "\"sni\" must be the name of a host, not an address: letters, digits, dots and dashes");
	return keep(to, &r->connect.sni, text);
}

bool read_number(const problems *to, unsigned *slot, const cJSON *item, place p, number_range range)
{
	double value = cJSON_IsNumber(item) ? item->valuedouble : -1;

	if (!(value >= range.min && value <= range.max) || value != (double)(int)value)
		return problem(to, p, "it is ignored", "\"%s\" must be a whole number%s%s from %d to %d", range.key,
			       *range.of ? " of " : "", range.of, range.min, range.max);
	*slot = (unsigned)value;
	return true;
}

bool read_timeout(const problems *to, route *r, const cJSON *item, place p)
{
	return read_number(to, &r->connect.timeout, item, p,
			   (number_range){ "timeout", "seconds", 1, ROUTE_TIMEOUT_MAX });
}

bool read_max_connections(const problems *to, route *r, const cJSON *item, place p)
{
	return read_number(to, &r->connect.max_connections, item, p,
			   (number_range){ "max_connections", "connections", 1, ROUTE_CONNECTIONS_MAX });
}

/* ---- what the keys mean together */

static place place_of(const cJSON *object, place where, const char *key)
{
	int index = 0;

	for (const cJSON *item = object->child; item; item = item->next, index++)
		if (strcmp(item->string, key) == 0)
			return place_child(where, index, true);
	return where;
}

bool check_connect(const problems *to, const route_table *t, route *r, const cJSON *object, place where)
{
	static const char *const of_tls[] = { "ca_file", "client_cert", "alpn", "sni" };
	const upstream *u = route_upstream(t, r);
	err why = { 0 };

	if (!u)
		return true;
	for (size_t i = 0; i < sizeof of_tls / sizeof of_tls[0] && !u->tls; i++)
		if (cJSON_GetObjectItemCaseSensitive(object, of_tls[i]) &&
		    !problem(to, place_of(object, where, of_tls[i]), "it is ignored",
			     "\"%s\" is for an upstream that is reached by https://", of_tls[i]))
			return false;
	if (r->connect.max_connections == 1 && !u->address &&
	    !problem(to, place_of(object, where, "max_connections"), "2 are used",
		     "\"max_connections\" must be 2 or more, because HAProxy counts the two families of a name's "
		     "addresses apart; for 1, give the upstream's IP address"))
		return false;
	if (upstream_verifiable(u, r->connect.sni, &why))
		return true;
	if (!problem(to, place_of(object, where, "upstream"), "requests for this route are refused", "\"upstream\": %s",
		     why.text))
		return false;
	upstream_deinit(&r->own);
	return true;
}

/* ---- the name of the backend */

static bool has_connect(const route_connect *c)
{
	return c->ca_file || c->client_cert || c->alpn || c->sni || c->timeout || c->max_connections;
}

/* Appends `suffix` and a hash of `text` to `*name`, which it replaces. */
static bool append_hash(char **name, const char *suffix, const char *text)
{
	static const hash_key fixed; /* the same name at each start, because `spoa-llm backends` prints it */
	char *longer;
	uint64_t hash = hash_of(&fixed, 0, slice_cstr(text));
	int len = asprintf(&longer, "%s-%s-%08" PRIx32, *name, suffix, (uint32_t)hash);

	free(*name);
	*name = len < 0 ? NULL : longer;
	return *name;
}

bool set_own_backend(const route_table *t, route *r, err *e)
{
	const char *usual = route_backend(t, r);
	const route_connect *c = &r->connect;
	char *name, *text = NULL;
	bool ok = true;

	r->forwards = route_replaces(r) && r->forward_names && (*r->forward_names || *r->forward_prefixes);
	if (!usual || r->pool || (!r->forwards && !has_connect(c) && !r->member))
		return true;
	/* A pool's member has a backend of its own, because HAProxy retries less there: the pool has other members. */
	ok = asprintf(&name, "%s%s", usual, r->member ? "-pool" : "") >= 0;
	if (!ok)
		name = NULL;
	if (ok && r->forwards) {
		ok = asprintf(&text, "%s *%s", r->forward_names, r->forward_prefixes) >= 0 &&
		     append_hash(&name, "fwd", text);
		free(text);
	}
	if (ok && has_connect(c)) {
		ok = asprintf(&text, "%s %s %s %s %u %u", c->ca_file ? c->ca_file : "",
			      c->client_cert ? c->client_cert : "", c->alpn ? c->alpn : "", c->sni ? c->sni : "",
			      c->timeout, c->max_connections) >= 0 &&
		     append_hash(&name, "set", text);
		free(text);
	}
	r->own_backend = name;
	return ok || err_memory(e);
}

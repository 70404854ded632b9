/* SPDX-License-Identifier: MIT
 *
 * Builds the request that HAProxy would send and calls decide() for it. */
#include "report/explain.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

#include "config/clients.h"
#include "decide/admission.h"
#include "decide/forward.h"
#include "decide/models.h"
#include "report/connection.h"
#include "report/explain_client.h"
#include "report/explain_pool.h"

static const char *asked_method(const explain_request *ask)
{
	return ask->method ? ask->method : ask->model || ask->body.ptr ? "POST" : "GET";
}

static const char *asked_target(const explain_request *ask)
{
	return ask->path ? ask->path : "/v1/chat/completions";
}

/* The name of the `i`th header of the question. */
static slice asked_name(const explain_request *ask, size_t i)
{
	slice h = slice_cstr(ask->headers[i]);

	return slice_trim(slice_first(h, slice_find(h, 0, ':')));
}

static slice header_value(const explain_request *ask, const char *name)
{
	slice want = slice_cstr(name);

	for (size_t i = 0; i < ask->headers_count; i++) {
		slice h = slice_cstr(ask->headers[i]);
		size_t colon = slice_find(h, 0, ':');
		if (slice_ieq(slice_trim(slice_first(h, colon)), want))
			return slice_trim(slice_from(h, colon + 1));
	}
	return (slice){ NULL, 0 };
}

/* Whether the question has a header `name` more than once. */
static bool has_two(const explain_request *ask, const char *name)
{
	size_t found = 0;

	for (size_t i = 0; i < ask->headers_count; i++)
		found += slice_ieq(asked_name(ask, i), slice_cstr(name));
	return found > 1;
}

static bool has_header(const explain_request *ask, const char *name)
{
	return header_value(ask, name).ptr != NULL;
}

/* The first parameter `name`, not decoded, as HAProxy's url_param() returns it. */
static slice query_param(slice query, slice name)
{
	for (size_t at = 0; at < query.len;) {
		size_t end = slice_find(query, at, '&');
		slice pair = slice_of(query.ptr + at, end - at);
		size_t equals = slice_find(pair, 0, '=');
		if (slice_eq(slice_first(pair, equals), name))
			return slice_from(pair, equals + 1);
		at = end + 1;
	}
	return (slice){ NULL, 0 };
}

/* The body {"model": NAME}, NAME escaped; NULL: out of memory. */
static char *model_body(const char *model)
{
	cJSON *json = cJSON_CreateObject();
	char *text = NULL;

	if (json && cJSON_AddStringToObject(json, "model", model))
		text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	return text;
}

/* Writes the value of the header that the decision sets, such as "Bearer <env:NAME>". */
static void describe_set(const decision *d, char *value, size_t cap)
{
	char source[CREDENTIAL_SOURCE_MAX];

	if (d->route->pool) { /* each member has a header and a credential of its own */
		snprintf(value, cap, "<the member's own>");
		return;
	}
	credential_describe(&d->route->auth, source, sizeof source);
	snprintf(value, cap, "%s<%s>", d->header == HEADER_AUTHORIZATION ? "Bearer " : "", source);
}

static const char *const endpoint_words[] = {
	[ENDPOINT_OTHER] = "runs no model",
	[ENDPOINT_RUNS] = "runs a model",
	[ENDPOINT_MODEL] = "asks about a model",
	[ENDPOINT_MODELS] = "asks about all models",
	[ENDPOINT_HTTP_TOO] = "a WebSocket where HTTP runs a model too",
	[ENDPOINT_HTTP] = "a WebSocket where only HTTP runs a model",
};

static const char *const chosen_words[] = {
	[CHOSEN_NONE] = "refused before a route was chosen",
	[CHOSEN_BY_MODEL] = "the first route whose conditions hold for this model and path",
	[CHOSEN_BY_PATH] = "the first route that takes this path whatever the model",
	[CHOSEN_WITHOUT] = "no model is named; the first route that needs none",
	[LEGACY_NO_ROUTES] = "there are no routes; the target of the client's headers",
	[LEGACY_NO_MATCH] = "the conditions of no route hold; the target of the client's headers",
	[LEGACY_BY_PROTOCOL] =
		"the endpoint runs no model and no route takes this request; the target of the client's API",
};

/* Says by which rule the route of `d` was chosen. */
static const char *chosen_word(const decision *d)
{
	if (d->answer.len)
		return "answered by the gateway itself";
	return chosen_words[d->route_name.len ? d->chosen_by : CHOSEN_NONE];
}

static const char *const released_words[] = {
	[RELEASED_NOT] = "the endpoint runs no model, and \"paths\" does not name it",
	[RELEASED_BY_ENDPOINT] = "the endpoint runs a model",
	[RELEASED_BY_ASKING] = "GET .../models/NAME",
	[RELEASED_BY_PATHS] = "the route's \"paths\"",
};

/* Adds the names of `list`, each with `star` behind it. */
static void add_names(cJSON *array, const char *list, const char *star)
{
	char text[ROUTE_FORWARD_NAME_MAX + 2];

	for (slice name = forward_next(&list); name.len; name = forward_next(&list)) {
		snprintf(text, sizeof text, "%.*s%s", (int)name.len, name.ptr, star);
		cJSON_AddItemToArray(array, cJSON_CreateString(text));
	}
}

/* The headers that are forwarded beside the credential, and those of the question that stay behind. */
static void add_headers(cJSON *json, const decision *d, const explain_request *ask)
{
	cJSON *forward = cJSON_AddArrayToObject(json, "forward"), *stay = cJSON_AddArrayToObject(json, "left_behind");
	const char *names = d->route->forward_names, *prefixes = d->route->forward_prefixes;

	add_names(forward, FORWARD_NAMES, "");
	add_names(forward, names, "");
	add_names(forward, FORWARD_PREFIXES, "*");
	add_names(forward, prefixes, "*");
	for (size_t i = 0; i < ask->headers_count; i++) {
		slice name = asked_name(ask, i);
		char text[128];
		if (header_forwarded(name, names, prefixes))
			continue;
		snprintf(text, sizeof text, "%.*s", (int)name.len, name.ptr);
		cJSON_AddItemToArray(stay, cJSON_CreateString(text));
	}
}

static void add_slice(cJSON *json, const char *key, slice s)
{
	char *text = strndup(s.ptr ? s.ptr : "", s.len);
	if (text)
		cJSON_AddStringToObject(json, key, text);
	free(text);
}

static void print_json(FILE *f, const policy *p, const decision *d, const explain_client *whose,
		       const explain_request *ask, slice path, slice query)
{
	cJSON *json = cJSON_CreateObject();
	const refusal_info *info = refusal_describe(d->refusal);

	cJSON_AddBoolToObject(json, "deny", d->refusal != REFUSE_NOT || d->answer.len);
	if (d->refusal != REFUSE_NOT) {
		cJSON_AddNumberToObject(json, "status", d->status);
		cJSON_AddStringToObject(json, "code", info->code);
		cJSON_AddStringToObject(json, "message", info->message);
		if (d->problem)
			cJSON_AddStringToObject(json, "problem", d->problem);
	}
	if (d->answer.len) {
		cJSON_AddNumberToObject(json, "status", 200);
		add_slice(json, "answer", d->answer);
	}
	if (d->backend.len)
		add_slice(json, "backend", d->backend);
	if (d->route_name.len)
		add_slice(json, "route", d->route_name);
	if (d->leg.len)
		add_slice(json, "leg", d->leg);
	explain_client_json(json, whose);
	cJSON_AddStringToObject(json, "chosen", chosen_word(d));
	cJSON_AddStringToObject(json, "endpoint", endpoint_words[d->endpoint]);
	if (d->model.status == MODEL_FOUND)
		add_slice(json, "model", slice_of(d->model.name, d->model.len));
	cJSON_AddStringToObject(json, "model_from", model_from_name(d->model.from));
	cJSON_AddNumberToObject(json, "looked", (double)d->model.looked);
	cJSON_AddStringToObject(json, "protocol", protocol_name(d->caller));
	cJSON_AddBoolToObject(json, "stream", d->model.stream);
	cJSON_AddBoolToObject(json, "metered", d->metered);
	if (d->route && d->route->pool)
		explain_pool_json(json, p, d, path);
	if (d->upstream && d->refusal == REFUSE_NOT) {
		char url[UPSTREAM_URL_MAX * 4];
		upstream_url_for(d->upstream, path, url, sizeof url);
		size_t len = strlen(url);
		snprintf(url + len, sizeof url - len, "%s%.*s", query.len ? "?" : "", (int)query.len,
			 query.len ? query.ptr : "");
		cJSON_AddStringToObject(json, "upstream", url);
		cJSON_AddStringToObject(json, "auth", d->replace ? "replace" : "passthrough");
		cJSON *connection = d->route ? connection_json(&d->route->connect) : NULL;
		if (connection)
			cJSON_AddItemToObject(json, "connection", connection);
	}
	cJSON *strip = cJSON_AddArrayToObject(json, "strip");
	cJSON *set = cJSON_AddObjectToObject(json, "set");
	if (d->refusal == REFUSE_NOT && d->replace) {
		char value[CREDENTIAL_SOURCE_MAX + sizeof "Bearer <>"];
		for (const char *const *h = stripped_headers; *h; h++)
			cJSON_AddItemToArray(strip, cJSON_CreateString(*h));
		describe_set(d, value, sizeof value);
		if (!d->route->pool) {
			cJSON_AddStringToObject(json, "auth_header", auth_header_name(d->header));
			cJSON_AddStringToObject(set, auth_header_name(d->header), value);
		}
		cJSON_AddStringToObject(json, "released", released_words[d->released_by]);
		add_headers(json, d, ask);
	}
	char *text = cJSON_Print(json);
	fprintf(f, "%s\n", text ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(json);
}

/* Lists the routes in the order in which route_match() tries them. */
static void print_routes(FILE *f, const route_table *t, const decision *d)
{
	bool decided = false;

	fprintf(f, "routes:\n");
	if (t->count == 0)
		fprintf(f, "  none configured: every request goes to a legacy target\n");
	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		const char *how = "no match";
		if (!r->enabled)
			how = "disabled";
		else if (decided)
			how = "not tried";
		else if (d->route == r) {
			how = "MATCH";
			decided = true;
		} else if (!d->route && d->refusal != REFUSE_NOT)
			how = d->model.status == MODEL_FOUND ? "not tried" : "not tried: the model is not known";
		char conditions[ROUTE_PREFIX_MAX * 2 + 2];
		snprintf(conditions, sizeof conditions, "%s%s%s", r->prefix ? r->prefix : "",
			 r->prefix && r->path_prefix ? " " : "",
			 r->path_prefix ? *r->path_prefix ? r->path_prefix : "/" : "");
		fprintf(f, "  %2zu. %-24s %s\n", i + 1, conditions, how);
	}
}

static void print_names(FILE *f, const char *list, const char *star)
{
	for (slice name = forward_next(&list); name.len; name = forward_next(&list))
		fprintf(f, " %.*s%s", (int)name.len, name.ptr, star);
}

static void print_headers(FILE *f, const decision *d, const explain_request *ask)
{
	const route *r = d->route;
	bool stays = false;

	fprintf(f, "forwards:  the headers of the allow list%s", r->forwards ? ", and" : "");
	print_names(f, r->forward_names, "");
	print_names(f, r->forward_prefixes, "*");
	fprintf(f, "\n");
	for (size_t i = 0; i < ask->headers_count; i++) {
		slice name = asked_name(ask, i);
		if (header_forwarded(name, r->forward_names, r->forward_prefixes))
			continue;
		fprintf(f, "%s%.*s", stays ? " " : "stays:     ", (int)name.len, name.ptr);
		stays = true;
	}
	fprintf(f, "%s", stays ? "\n" : "");
}

static void print_text(FILE *f, const policy *p, const decision *d, const explain_client *whose,
		       const explain_request *ask, slice path, slice query)
{
	const refusal_info *info = refusal_describe(d->refusal);

	fprintf(f, "request:   %s %s\n", asked_method(ask), asked_target(ask));
	explain_client_text(f, whose);
	if (d->model.status == MODEL_FOUND)
		fprintf(f, "model:     %.*s (from the %s)\n", (int)d->model.len, d->model.name,
			model_from_name(d->model.from));
	else
		fprintf(f, "model:     %s\n", d->model.detail ? d->model.detail : "no model is named");
	if (d->model.looked)
		fprintf(f, "looked at: %llu bytes of the body\n", (unsigned long long)d->model.looked);
	fprintf(f, "endpoint:  %s\n", endpoint_words[d->endpoint]);
	print_routes(f, p->table, d);
	fprintf(f, "route:     %.*s (%s)\n", d->route_name.len ? (int)d->route_name.len : 1,
		d->route_name.len ? d->route_name.ptr : "-", chosen_word(d));
	if (d->refusal != REFUSE_NOT) {
		char source[CREDENTIAL_SOURCE_MAX] = "";
		fprintf(f, "REFUSED:   %d %s\n           %s\n", d->status, info->code, info->message);
		if (d->refusal == REFUSE_AUTH_UNAVAILABLE && !d->route->pool)
			credential_describe(&d->route->auth, source, sizeof source);
		if (d->problem)
			fprintf(f, "because:   %s%s%s\n", source, *source ? ": " : "", d->problem);
		if (d->route && d->route->pool)
			explain_pool_text(f, p, d, path);
		return;
	}
	if (d->answer.len) {
		fprintf(f, "answer:    200 %.*s\n", (int)d->answer.len, d->answer.ptr);
		return;
	}
	char url[UPSTREAM_URL_MAX * 4];
	fprintf(f, "backend:   %.*s\n", (int)d->backend.len, d->backend.ptr);
	if (d->route && d->route->pool) {
		explain_pool_text(f, p, d, path);
	} else {
		upstream_url_for(d->upstream, path, url, sizeof url);
		fprintf(f, "upstream:  %s%s%.*s\n", url, query.len ? "?" : "", (int)query.len,
			query.len ? query.ptr : "");
	}
	fprintf(f, "stream:    %s\n", d->model.stream ? "yes" : "no");
	if (d->leg.len)
		fprintf(f, "tap:       the answer goes through it, from leg %.*s\n", (int)d->leg.len, d->leg.ptr);
	char connection[CONNECTION_TEXT_MAX] = "";
	if (d->route)
		connection_text(&d->route->connect, connection);
	if (*connection)
		fprintf(f, "connects:  with %s\n", connection);
	if (!d->replace) {
		fprintf(f, "auth:      passthrough: the client's own credential goes upstream\n");
		return;
	}
	char value[CREDENTIAL_SOURCE_MAX + sizeof "Bearer <>"];
	describe_set(d, value, sizeof value);
	fprintf(f, "strips:   ");
	for (const char *const *h = stripped_headers; *h; h++)
		fprintf(f, " %s", *h);
	fprintf(f, ", keys in the query and in sec-websocket-protocol\nsets:      %s%s%s\nreleased:  %s\n",
		d->route->pool ? "" : auth_header_name(d->header), d->route->pool ? "" : ": ", value,
		released_words[d->released_by]);
	print_headers(f, d, ask);
}

/* Takes what is not for the upstream out of the path, as haproxy.cfg.example does: all but one of the slashes in front,
 * and the name of a project. */
static slice path_of(slice path)
{
	while (slice_starts(path, SLICE("//")))
		path = slice_from(path, 1);
	if (path.len < 4 || !slice_starts(path, SLICE("/p/")) || path.ptr[3] == '/')
		return path;
	path = slice_from(path, slice_find(path, 3, '/'));
	while (slice_starts(path, SLICE("//")))
		path = slice_from(path, 1);
	return path.len ? path : SLICE("/");
}

/* Whether a client's key stands in `text`, which may be NULL. The answer would repeat it. */
static bool has_key(const char *text)
{
	return text && strstr(text, CLIENT_KEY_PREFIX);
}

/* Reads the key of the question into `hash`. False: `e` says what is wrong; no message repeats a key. */
static bool read_key(const explain_request *ask, unsigned char hash[CLIENT_HASH_LEN], slice *key, err *e)
{
	const char *misplaced = has_key(ask->path)   ? "the path" :
				has_key(ask->model)  ? "the model" :
				has_key(ask->method) ? "the method" :
						       NULL;

	for (size_t i = 0; i < ask->headers_count; i++)
		if (has_key(ask->headers[i]))
			misplaced = "a header";
	if (misplaced)
		return err_set(
			e,
			"%s has the key of a client in it: give it as --key - on standard input, as \"key\" in JSON, or in the page's field for a key",
			misplaced);
	*key = (slice){ NULL, 0 };
	if (!ask->key)
		return true;
	if (!client_key_hash(slice_cstr(ask->key), hash))
		return err_set(e, "this is no key of a client: " CLIENT_KEY_PREFIX
				  " and 43 letters, digits, - and _ are expected");
	*key = slice_of(hash, CLIENT_HASH_LEN);
	return true;
}

/* Sets d->answer to the list of models as this client sees it. NULL: out of memory. */
static char *own_models(decision *d)
{
	char *text = malloc(d->answer.len);

	if (text)
		d->answer = slice_of(text, models_write(d->listed, d->caller, d->client, text));
	return text;
}

bool explain_write(FILE *f, const policy *p, const explain_request *ask, bool json, err *e)
{
	slice body = ask->body;
	slice target = slice_cstr(asked_target(ask));
	size_t question = slice_find(target, 0, '?');
	slice path = path_of(slice_first(target, question)), query = slice_from(target, question + 1);
	llm_request r = { .sample = { .path = path,
				      .model_param = query_param(query, SLICE("model")),
				      .deployment_param = query_param(query, SLICE("deployment")) },
			  .contract = CONTRACT,
			  .clients_guarded = true };
	unsigned char hash[CLIENT_HASH_LEN];
	char *made = NULL, *models = NULL;
	admission_estimate takes;
	decision d;

	if (!read_key(ask, hash, &r.key, e))
		return false;
	if (target.len == 0 || target.ptr[0] != '/')
		return err_set(e, "--path \"%.200s\": a path begins with a slash", target.ptr);
	if (ask->model && body.ptr)
		return err_set(e, "give --model or --body, not both: the body names the model");
	for (size_t i = 0; i < ask->headers_count; i++)
		if (!strchr(ask->headers[i], ':'))
			return err_set(e, "--header \"%.200s\": a header must be NAME: VALUE", ask->headers[i]);
	if (ask->model) {
		made = model_body(ask->model);
		body = slice_cstr(made);
	}
	slice authorization = header_value(ask, "authorization");
	r.sample.method = slice_cstr(asked_method(ask));
	r.user_agent = header_value(ask, "user-agent");
	r.sample.ctype = header_value(ask, "content-type");
	r.sample.cenc = header_value(ask, "content-encoding");
	r.sample.model_hint = header_value(ask, "x-codex-turn-metadata");
	r.sample.headers_unclear = has_two(ask, "content-type") || has_two(ask, "content-encoding");
	r.sample.upgrade = slice_ieq(header_value(ask, "upgrade"), SLICE("websocket"));
	r.sample.body = body;
	r.sample.buffered = r.sample.length = body.len;
	r.sample.sized = true;
	r.x_api_key = has_header(ask, "x-api-key");
	r.x_goog_api_key = has_header(ask, "x-goog-api-key");
	r.anthropic_version = has_header(ask, "anthropic-version");
	r.bearer_sk_ant = slice_istarts(authorization, SLICE("bearer sk-ant-"));

	decide(p, &r, &d);
	bool counted = d.client && admission_look(p, &r, &d, &takes);
	explain_client whose = { .policy = p, .client = d.client, .left = d.left, .by_ledger = ask->by_ledger };
	whose.takes = counted ? &takes : NULL;
	if (r.key.len) {
		whose.name = r.client;
		whose.project = r.project;
	}
	if (d.answer.len && !d.answer.ptr && !(models = own_models(&d))) {
		free(made);
		return err_memory(e);
	}
	if (json)
		print_json(f, p, &d, &whose, ask, path, query);
	else
		print_text(f, p, &d, &whose, ask, path, query);
	free(made);
	free(models);
	return true;
}

/* ---- a question in JSON */

static bool take_member(explain_request *ask, const cJSON *m, err *e)
{
	const struct {
		const char *name;
		const char **at;
	} texts[] = {
		{ "model", &ask->model }, { "method", &ask->method }, { "path", &ask->path }, { "key", &ask->key }
	};

	if (strcmp(m->string, "headers") == 0 && cJSON_IsArray(m)) {
		for (const cJSON *h = m->child; h; h = h->next) {
			if (!cJSON_IsString(h) || ask->headers_count == EXPLAIN_HEADERS_MAX)
				return err_set(e, "\"headers\": at most %d strings are expected", EXPLAIN_HEADERS_MAX);
			ask->headers[ask->headers_count++] = h->valuestring;
		}
		return true;
	}
	if (!cJSON_IsString(m))
		return err_set(e, "\"%.60s\": a string is expected", m->string);
	if (strcmp(m->string, "body") == 0) {
		ask->body = slice_cstr(m->valuestring);
		return true;
	}
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (strcmp(m->string, texts[i].name) == 0) {
			*texts[i].at = m->valuestring;
			return true;
		}
	return err_set(e, "\"%.60s\": model, method, path, headers, body or key is expected", m->string);
}

bool explain_json(FILE *f, const policy *p, slice question, err *e)
{
	explain_request ask = { .model = NULL };
	const char *end = NULL;

	/* cJSON decodes \u0000 to a NUL, which would hide the rest of the string. */
	bool nul = memmem(question.ptr ? question.ptr : "", question.len, "\\u0000", 6) != NULL;
	cJSON *json = question.len ? cJSON_ParseWithLengthOpts(question.ptr, question.len + 1, &end, 1) : NULL;
	bool ok = !nul && json && cJSON_IsObject(json);
	if (!ok)
		err_set(e,
			"a JSON object with model, method, path, headers, body and key, each optional, is expected%s",
			nul ? ", without \\u0000" : "");
	for (const cJSON *m = ok ? json->child : NULL; ok && m; m = m->next)
		ok = take_member(&ask, m, e);
	ok = ok && explain_write(f, p, &ask, true, e);
	const cJSON *key = cJSON_GetObjectItemCaseSensitive(json, "key");
	if (cJSON_IsString(key))
		explicit_bzero(key->valuestring, strlen(key->valuestring));
	cJSON_Delete(json);
	return ok;
}

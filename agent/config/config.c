/* SPDX-License-Identifier: MIT */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/address.h"
#include "config/routes.h"

#define AT(member) offsetof(config, member)

/* A table: one option a block, read in columns. */
/* clang-format off */
const option_info options[] = {
	{ .key = "listen", .type = OPTION_LIST, .offset = AT(listen), .min = 1, .max = 255,
	  .fallback = "unix@/run/spoa-llm/spoa.sock", .arg = "ADDRESS",
	  .help = "where HAProxy reaches the agent: unix@/PATH, or HOST:PORT; may be given several times" },
	{ .key = "listen_mode", .type = OPTION_MODE, .offset = AT(listen_mode), .fallback = "0660", .arg = "MODE",
	  .help = "permissions of the unix socket, octal" },
	{ .key = "allow_remote", .type = OPTION_BOOL, .offset = AT(allow_remote), .fallback = "false",
	  .help = "listen on TCP beyond loopback: SPOP carries credentials and has no encryption" },
	{ .key = "max_frame_size", .type = OPTION_INT, .offset = AT(max_frame_size), .min = 256, .max = 64 * 1024 * 1024,
	  .fallback = "1048576", .arg = "BYTES", .help = "largest SPOP frame; the smaller of this and HAProxy's is used" },
	{ .key = "max_connections", .type = OPTION_INT, .offset = AT(max_connections), .min = 1, .max = 1000000,
	  .fallback = "10000", .arg = "N", .help = "SPOP connections at a time; one more is closed at once" },
	{ .key = "max_memory", .type = OPTION_INT, .offset = AT(max_memory), .min = 1 << 20, .max = INT64_C(1) << 40,
	  .fallback = "268435456", .arg = "BYTES",
	  .help = "what the buffers of all SPOP connections may hold; one that needs more is closed" },
	{ .key = "max_in_flight", .type = OPTION_INT, .offset = AT(max_in_flight), .min = 1, .max = 1000000,
	  .fallback = "512", .arg = "N",
	  .help = "answers that may wait on one SPOP connection; no more is read from it until HAProxy has taken them" },
	{ .key = "threads", .type = OPTION_INT, .offset = AT(threads), .min = 0, .max = 256, .fallback = "0", .arg = "N",
	  .help = "threads that answer HAProxy; 0: one for each core" },
	{ .key = "pipelining", .type = OPTION_CHOICE, .offset = AT(pipelining),
	  .choices = { [PIPELINING_AUTO] = "auto", [PIPELINING_ON] = "on", [PIPELINING_OFF] = "off" }, .fallback = "auto",
	  .arg = "WHAT", .help = "several requests at a time on a SPOP connection: auto (where HAProxy's version gains by it), on or off" },
	{ .key = "drain_timeout", .type = OPTION_INT, .offset = AT(drain_timeout), .min = 0, .max = 86400, .fallback = "30",
	  .arg = "SECONDS", .help = "how long SIGUSR1 leaves HAProxy to go elsewhere before the rest is told to go" },
	{ .key = "watchdog", .type = OPTION_INT, .offset = AT(watchdog), .min = 0, .max = 3600, .fallback = "10", .arg = "SECONDS",
	  .help = "a worker process of which a thread does not turn for so long is replaced; 0: never" },
	{ .key = "admin_listen", .type = OPTION_LIST, .offset = AT(admin_listen), .min = 0, .max = 255,
	  .fallback = "127.0.0.1:9603", .arg = "ADDRESS",
	  .help = "where health, metrics and the dashboard are served: HOST:PORT or unix@/PATH; none: nowhere" },
	{ .key = "admin_token", .type = OPTION_STRING, .offset = AT(admin_token), .max = 1024, .fallback = "", .arg = "SOURCE",
	  .help = "env:NAME or file:PATH of the bearer token that admin_listen asks for; needed beyond loopback" },
	{ .key = "routes", .type = OPTION_ROUTES, .variable = ROUTES_VARIABLE, .reloadable = true, .arg = "JSON",
	  .help = "the route table: an array of routes, first match wins" },
	{ .key = "strict", .type = OPTION_BOOL, .offset = AT(strict), .fallback = "false",
	  .help = "refuse to start on an error in " ROUTES_VARIABLE ", as on one in the file" },
	{ .key = "openai_target", .type = OPTION_STRING, .offset = AT(targets[PROTOCOL_OPENAI]), .min = 1, .max = UPSTREAM_URL_MAX,
	  .fallback = "https://api.openai.com", .variable = "OPENAI_TARGET_API_URL", .reloadable = true, .arg = "URL",
	  .help = "upstream of routes of protocol openai that name none, and of requests no route matches" },
	{ .key = "anthropic_target", .type = OPTION_STRING, .offset = AT(targets[PROTOCOL_ANTHROPIC]), .min = 1, .max = UPSTREAM_URL_MAX,
	  .fallback = "https://api.anthropic.com", .variable = "ANTHROPIC_TARGET_API_URL", .reloadable = true, .arg = "URL",
	  .help = "the same for protocol anthropic" },
	{ .key = "gemini_target", .type = OPTION_STRING, .offset = AT(targets[PROTOCOL_GEMINI]), .min = 1, .max = UPSTREAM_URL_MAX,
	  .fallback = "https://generativelanguage.googleapis.com", .variable = "GEMINI_TARGET_API_URL", .reloadable = true,
	  .arg = "URL", .help = "upstream of requests with x-goog-api-key that no route matches" },
	{ .key = "unresolved", .type = OPTION_CHOICE, .offset = AT(unresolved), .choices = { "refuse", "fallthrough" },
	  .fallback = "refuse", .reloadable = true, .arg = "WHAT",
	  .help = "a model beyond the sample: refuse, or fallthrough to where requests without a model go" },
	{ .key = "websocket", .type = OPTION_CHOICE, .offset = AT(websocket), .choices = { "refuse", "catch-all" },
	  .fallback = "refuse", .reloadable = true, .arg = "WHAT",
	  .help = "a WebSocket handshake that names no model: refuse (426), or catch-all" },
	{ .key = "ledger", .type = OPTION_STRING, .offset = AT(ledger), .max = 1024, .fallback = "", .arg = "DIR",
	  .help = "directory of the savings ledger; empty: none is kept" },
	{ .key = "log_listen", .type = OPTION_LIST, .offset = AT(log_listen), .min = 1, .max = 255,
	  .fallback = "127.0.0.1:9602,udp@127.0.0.1:9602", .arg = "ADDRESS",
	  .help = "where HAProxy's log lines come in: HOST:PORT or unix@/PATH (a ring), udp@HOST:PORT or dgram@/PATH" },
	{ .key = "prices", .type = OPTION_STRING, .offset = AT(prices), .max = 1024, .fallback = "", .reloadable = true, .arg = "FILE",
	  .help = "price table in LiteLLM's format; empty: the one that ships with spoa-llm" },
	{ .key = "journal_max", .type = OPTION_INT, .offset = AT(journal_max), .min = 1 << 20, .max = INT64_C(1) << 40,
	  .fallback = "1073741824", .arg = "BYTES", .help = "disk space of the journal, which holds what the database has not taken yet" },
	{ .key = "retention_days", .type = OPTION_INT, .offset = AT(retention_days), .min = 0, .max = 36500, .fallback = "90",
	  .arg = "DAYS", .help = "how long single requests are kept; sums by hour and day are kept for ever; 0: for ever too" },
	{ .key = "ca_file", .type = OPTION_STRING, .offset = AT(ca_file), .min = 1, .max = 1024, .fallback = "@system-ca",
	  .arg = "PATH", .help = "the CAs that `spoa-llm backends` lets HAProxy trust" },
	{ .key = "log_level", .type = OPTION_CHOICE, .offset = AT(log_level), .choices = { "debug", "info", "warn", "error" },
	  .fallback = "info", .reloadable = true, .arg = "LEVEL", .help = "debug, info, warn or error" },
	{ .key = "log_format", .type = OPTION_CHOICE, .offset = AT(log_format), .choices = { "kv", "json" }, .fallback = "kv",
	  .reloadable = true, .arg = "FORMAT", .help = "kv (key=value) or json" },
};
/* clang-format on */

const size_t options_count = sizeof options / sizeof options[0];

void option_variable(const option_info *o, char *out, size_t cap)
{
	snprintf(out, cap, o->variable ? "%s" : "SPOA_LLM_%s", o->variable ? o->variable : o->key);
	for (char *c = out; *c && !o->variable; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
}

void option_flag(const option_info *o, char *out, size_t cap)
{
	snprintf(out, cap, "%s", o->key);
	for (char *c = out; *c; c++)
		if (*c == '_')
			*c = '-';
}

static void *option_slot(config *c, const option_info *o)
{
	return (char *)c + o->offset;
}

static bool list_add(address_list *list, slice text, const option_info *o, err *e)
{
	text = slice_trim(text);
	if (o->min == 0 && slice_eq(text, SLICE("none")))
		return true;
	if (text.len == 0 || text.len < (size_t)o->min || text.len > (size_t)o->max)
		return err_set(e, "an address of 1 to %lld bytes is expected", (long long)o->max);
	if (list->count == LISTEN_MAX)
		return err_set(e, "more than %d addresses", LISTEN_MAX);
	list->items[list->count] = strndup(text.ptr, text.len);
	if (!list->items[list->count])
		return err_memory(e);
	list->count++;
	return true;
}

static void list_clear(address_list *list)
{
	while (list->count)
		free(list->items[--list->count]);
}

/* The text of a flag, a variable, a default, or a string in the file. `e` says what was expected. */
static bool set_text(config *c, const option_info *o, const char *text, err *e)
{
	void *slot = option_slot(c, o);
	char *end;

	switch (o->type) {
	case OPTION_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return err_set(e, "true or false is expected");
		*(bool *)slot = text[0] == 't';
		return true;
	case OPTION_INT:
	case OPTION_MODE: {
		errno = 0;
		long long v = strtoll(text, &end, o->type == OPTION_MODE ? 8 : 10);
		bool digits = *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
		if (o->type == OPTION_MODE ? (!digits || v > 0777) : (!digits || v < o->min || v > o->max)) {
			if (o->type == OPTION_MODE)
				return err_set(e, "octal permissions like \"0660\" are expected");
			return err_set(e, "a whole number from %lld to %lld is expected", (long long)o->min,
				       (long long)o->max);
		}
		*(int64_t *)slot = v;
		return true;
	}
	case OPTION_CHOICE:
		for (int i = 0; o->choices[i]; i++)
			if (strcmp(o->choices[i], text) == 0) {
				*(int64_t *)slot = i;
				return true;
			}
		return err_set(e, "%s is expected", o->help);
	case OPTION_STRING: {
		size_t len = strlen(text);
		if (len < (size_t)o->min || len > (size_t)o->max)
			return err_set(e, "a text of %lld to %lld bytes is expected", (long long)o->min,
				       (long long)o->max);
		char *copy = strdup(text);
		if (!copy)
			return err_memory(e);
		free(*(char **)slot);
		*(char **)slot = copy;
		return true;
	}
	case OPTION_LIST: {
		slice list = slice_cstr(text);
		for (size_t at = 0; at <= list.len;) {
			size_t comma = slice_find(list, at, ',');
			if (!list_add(slot, slice_of(list.ptr + at, comma - at), o, e))
				return false;
			at = comma + 1;
		}
		return true;
	}
	case OPTION_ROUTES:
		break;
	}
	return err_set(e, "not a text option");
}

/* Passes on what was wrong with the value of `o` at `p`; always false. */
static bool value_error(err *e, place p, const option_info *o, const err *why)
{
	place_error(e, p, "\"%s\": %s", o->key, why->text);
	e->kind = why->kind;
	return false;
}

/* A value of the file: its JSON type has to be the option's own. */
static bool set_json(config *c, const option_info *o, const cJSON *item, place p, err *e)
{
	char number[32];
	err why;
	const char *text = NULL;

	switch (o->type) {
	case OPTION_BOOL:
		if (!cJSON_IsBool(item))
			return place_error(e, p, "\"%s\": true or false is expected", o->key);
		text = cJSON_IsTrue(item) ? "true" : "false";
		break;
	case OPTION_INT:
		if (!cJSON_IsNumber(item) || item->valuedouble < -1e15 || item->valuedouble > 1e15)
			return place_error(e, p, "\"%s\": a whole number from %lld to %lld is expected", o->key,
					   (long long)o->min, (long long)o->max);
		/* A fraction survives %.3f and is then refused. */
		if (item->valuedouble > (double)(long long)item->valuedouble ||
		    item->valuedouble < (double)(long long)item->valuedouble)
			snprintf(number, sizeof number, "%.3f", item->valuedouble);
		else
			snprintf(number, sizeof number, "%lld", (long long)item->valuedouble);
		text = number;
		break;
	case OPTION_LIST:
		list_clear(option_slot(c, o));
		if (cJSON_IsArray(item)) {
			int index = 0;
			for (const cJSON *el = item->child; el; el = el->next, index++) {
				if (!cJSON_IsString(el))
					return place_error(e, place_child(p, index, false),
							   "\"%s\": a string is expected", o->key);
				if (!list_add(option_slot(c, o), slice_cstr(el->valuestring), o, &why))
					return value_error(e, place_child(p, index, false), o, &why);
			}
			return index || o->min == 0 ?
				       true :
				       place_error(e, p, "\"%s\": at least one address is expected", o->key);
		}
		text = cJSON_IsString(item) ? item->valuestring : NULL;
		break;
	case OPTION_MODE:
	case OPTION_CHOICE:
	case OPTION_STRING:
	case OPTION_ROUTES:
		text = cJSON_IsString(item) ? item->valuestring : NULL;
		break;
	}
	if (!text)
		return place_error(e, p, "\"%s\": a string is expected", o->key);
	if (!set_text(c, o, text, &why))
		return value_error(e, p, o, &why);
	return true;
}

/* cJSON does not tell a text that is no JSON from having no memory, and of the variable only the first means "no
 * routes". */
static _Thread_local bool starved;

static void *noting_malloc(size_t size)
{
	void *ptr = malloc(size);
	starved = starved || !ptr;
	return ptr;
}

/* NULL: `e` says where the text stops being JSON, or (`starved`) that there is no memory. */
static cJSON *parse_json(place where, err *e)
{
	const char *end = NULL;

	starved = false;
	cJSON_InitHooks(&(cJSON_Hooks){ noting_malloc, free });
	cJSON *json = cJSON_ParseWithOpts(where.text, &end, 1);
	if (!json && starved) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", where.name);
		return NULL;
	}
	/* Decoded, it would end the text that it stands in, and a shorter name would be taken for it. */
	for (const char *at = where.text; json && (at = strstr(at, "\\u0000")); at += 6) {
		const char *slash = at;
		while (slash > where.text && slash[-1] == '\\')
			slash--;
		if ((at - slash) % 2 == 0) {
			where.at = (size_t)(at - where.text);
			place_error(e, where, "\\u0000 has no place in a text here");
			cJSON_Delete(json);
			return NULL;
		}
	}
	if (!json) {
		where.at = end ? (size_t)(end - where.text) : 0;
		place_error(e, where, "this is not valid JSON%s",
			    where.text[where.at] ? "" : ": the text ends too early");
	}
	return json;
}

static char *read_file(const char *path, err *e)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t len = 0;

	if (!f) {
		if (errno == ENOMEM)
			err_set_kind(e, ERR_MEMORY, "%s: out of memory", path);
		else
			err_set(e, "%s: %s", path, strerror(errno));
		return NULL;
	}
	text = malloc(CONFIG_FILE_MAX + 1);
	if (text)
		len = fread(text, 1, CONFIG_FILE_MAX + 1, f);
	bool bad = !text || ferror(f) != 0;
	if (!text)
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", path);
	else if (bad)
		err_set(e, "%s: cannot be read", path);
	else if (len > CONFIG_FILE_MAX)
		bad = !err_set(e, "%s: larger than %d bytes", path, CONFIG_FILE_MAX);
	else if (memchr(text, '\0', len))
		bad = !err_set(e, "%s: has a NUL byte in it, so it is no JSON text", path);
	fclose(f);
	if (bad) {
		free(text);
		return NULL;
	}
	text[len] = '\0';
	return text;
}

/* What the sources said of the routes; both point into texts that config_load() holds. */
typedef struct routes_source {
	const cJSON *array;
	place where;
} routes_source;

static bool take_file(config *c, const cJSON *root, place where, routes_source *routes, err *e)
{
	int index = 0;

	if (!cJSON_IsObject(root))
		return place_error(e, where, "the configuration is a JSON object");
	if (!json_no_duplicates(root, where, e))
		return false;
	for (const cJSON *item = root->child; item; item = item->next, index++) {
		place p = place_child(where, index, false);
		const option_info *o = options;
		while (o < options + options_count && strcmp(o->key, item->string) != 0)
			o++;
		if (o == options + options_count)
			return place_error(e, place_child(where, index, true),
					   "there is no option \"%.60s\"; `spoa-llm --help` lists them", item->string);
		if (o->type != OPTION_ROUTES) {
			if (!set_json(c, o, item, p, e))
				return false;
		} else if (cJSON_IsArray(item)) {
			*routes = (routes_source){ item, p };
		} else {
			return place_error(e, p, "\"routes\" is an array");
		}
	}
	return true;
}

static bool take_texts(config *c, const option_text *flags, size_t count, const char **routes_flag, err *e)
{
	char name[64];
	err why;

	for (const option_info *o = options; o < options + options_count; o++) {
		bool first = true;
		option_variable(o, name, sizeof name);
		const char *text = getenv(name);
		if (text && *text && o->type != OPTION_ROUTES) {
			if (o->type == OPTION_LIST)
				list_clear(option_slot(c, o));
			if (!set_text(c, o, text, &why))
				return err_set_kind(e, why.kind, "variable %s: %s", name, why.text);
		}
		for (size_t i = 0; i < count; i++) {
			if (flags[i].option != o)
				continue;
			if (o->type == OPTION_ROUTES) {
				*routes_flag = flags[i].text;
				continue;
			}
			if (o->type == OPTION_LIST && first)
				list_clear(option_slot(c, o));
			first = false;
			option_flag(o, name, sizeof name);
			if (!set_text(c, o, flags[i].text, &why))
				return err_set_kind(e, why.kind, "flag --%s: %s", name, why.text);
		}
	}
	return true;
}

static bool take_targets(config *c, err *e)
{
	for (size_t i = 0; i < PROTOCOLS; i++) {
		err why;
		if (!upstream_parse(&c->table->targets[i], slice_cstr(c->targets[i]), &why))
			return err_set_kind(e, why.kind, "%s_target: %s", protocol_name((protocol)i), why.text);
		for (size_t n = 0; n < i; n++)
			if (strcmp(c->table->targets[n].backend, c->table->targets[i].backend) == 0 &&
			    !upstream_same(&c->table->targets[n], &c->table->targets[i]))
				return err_set(e, "%s_target and %s_target would share backend \"%s\"",
					       protocol_name((protocol)n), protocol_name((protocol)i),
					       c->table->targets[i].backend);
	}
	return true;
}

/* A variable that is no JSON, or no array, is as good as none: its inventor's rule, unless strict. */
static bool take_routes_text(place where, bool strict, cJSON **json, routes_source *routes, err *e)
{
	err why;

	*json = parse_json(where, &why);
	if (*json && cJSON_IsArray(*json)) {
		*routes = (routes_source){ *json, where };
		return true;
	}
	if (*json)
		place_error(&why, where, "the route table is a JSON array");
	if (strict || why.kind == ERR_MEMORY) {
		*e = why;
		return false;
	}
	log_event(routes_unusable, LOG_C("problem", why.text), LOG_C("instead", "there are no routes"));
	return true;
}

static bool check_list(const address_list *list, const address_rules *rules, err *e)
{
	socket_address ignored;

	for (size_t i = 0; i < list->count; i++)
		if (!address_parse(&ignored, list->items[i], rules, e))
			return false;
	return true;
}

static bool check_addresses(const config *c, err *e)
{
	bool token = *c->admin_token;

	if (!check_list(&c->listen, &(address_rules){ c->allow_remote, false }, e) ||
	    !check_list(&c->admin_listen, &(address_rules){ c->allow_remote && token, false }, e))
		return false;
	if (token && strncmp(c->admin_token, "env:", 4) != 0 && strncmp(c->admin_token, "file:", 5) != 0)
		return err_set(e,
			       "admin_token: env:NAME or file:PATH is expected; the token itself does not belong here");
	return check_list(&c->log_listen, &(address_rules){ c->allow_remote, true }, e);
}

static bool load(config *c, char *text, cJSON **file_json, cJSON **routes_json, const option_text *flags, size_t count,
		 err *e)
{
	routes_source routes = { NULL, { NULL, NULL, 0 } };
	const char *flag = NULL;
	const char *variable = getenv(ROUTES_VARIABLE);
	bool strict = true;

	c->table = route_table_new();
	if (!c->table)
		return err_memory(e);
	for (const option_info *o = options; o < options + options_count; o++)
		if (o->fallback && !set_text(c, o, o->fallback, e))
			return false;
	if (text) {
		place where = { c->file, text, 0 };
		*file_json = parse_json(where, e);
		if (!*file_json || !take_file(c, *file_json, where, &routes, e))
			return false;
	}
	if (!take_texts(c, flags, count, &flag, e))
		return false;
	log_setup((log_level)c->log_level, (log_format)c->log_format);

	if (variable && !*variable)
		variable = NULL;
	if (!flag && variable && routes.array)
		return err_set(
			e, "routes are given twice, in %s and in the variable " ROUTES_VARIABLE "; remove one of them",
			routes.where.name);
	if (flag || variable) {
		place where = { flag ? "--routes" : ROUTES_VARIABLE, flag ? flag : variable, 0 };
		strict = flag || c->strict;
		if (!take_routes_text(where, strict, routes_json, &routes, e))
			return false;
	}
	if (!check_addresses(c, e))
		return false;
	c->table->unresolved_falls_through = c->unresolved == 1;
	c->table->websocket_to_catch_all = c->websocket == 1;
	if (!take_targets(c, e))
		return false;
	if (!routes.array)
		return true;
	return routes_read(c->table, routes.array, routes.where, strict, e) &&
	       routes_check(c->table, routes.where, strict, e);
}

bool config_load(config *c, const char *file, const option_text *flags, size_t count, err *e)
{
	char *text = NULL;
	cJSON *file_json = NULL, *routes_json = NULL;
	bool ok = true;

	*c = (config){ 0 };
	if (file || access(CONFIG_FILE, F_OK) == 0) {
		c->file = strdup(file ? file : CONFIG_FILE);
		text = c->file ? read_file(c->file, e) : NULL;
		ok = text != NULL;
		if (!c->file)
			err_memory(e);
	}
	ok = ok && load(c, text, &file_json, &routes_json, flags, count, e);
	cJSON_Delete(file_json);
	cJSON_Delete(routes_json);
	free(text);
	if (!ok)
		config_deinit(c);
	return ok;
}

static bool same_list(const address_list *a, const address_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

/* The bytes of an option's slot that a reload exchanges. */
static size_t option_size(const option_info *o)
{
	switch (o->type) {
	case OPTION_BOOL:
		return sizeof(bool);
	case OPTION_INT:
	case OPTION_MODE:
	case OPTION_CHOICE:
		return sizeof(int64_t);
	case OPTION_STRING:
		return sizeof(char *);
	case OPTION_LIST:
		return sizeof(address_list);
	case OPTION_ROUTES:
		break; /* the table is made from them, and taken apart from the rest */
	}
	return 0;
}

static bool option_same(const option_info *o, config *a, config *b)
{
	if (o->type == OPTION_LIST)
		return same_list(option_slot(a, o), option_slot(b, o));
	if (o->type == OPTION_STRING)
		return strcmp(*(char **)option_slot(a, o), *(char **)option_slot(b, o)) == 0;
	return memcmp(option_slot(a, o), option_slot(b, o), option_size(o)) == 0;
}

void config_reload(config *c, config *fresh)
{
	for (const option_info *o = options; o < options + options_count; o++) {
		unsigned char old[sizeof(address_list)];
		size_t size = option_size(o);
		if (!o->reloadable && !option_same(o, c, fresh))
			log_event(not_reloaded, LOG_C("option", o->key),
				  LOG_C("hint", "this option takes an upgrade (SIGUSR2) or a restart"));
		if (!o->reloadable)
			continue;
		memcpy(old, option_slot(c, o), size);
		memcpy(option_slot(c, o), option_slot(fresh, o), size);
		memcpy(option_slot(fresh, o), old, size);
	}
}

void config_deinit(config *c)
{
	list_clear(&c->listen);
	list_clear(&c->log_listen);
	list_clear(&c->admin_listen);
	free(c->admin_token);
	free(c->ledger);
	free(c->prices);
	for (size_t i = 0; i < PROTOCOLS; i++)
		free(c->targets[i]);
	free(c->ca_file);
	free(c->file);
	route_table_unref(c->table);
	*c = (config){ 0 };
}

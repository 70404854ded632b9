/* SPDX-License-Identifier: MIT
 *
 * The keys of a route that say which paths it takes, and what goes upstream beside its credential. */
#include <ctype.h>
#include <stdlib.h>

#include "config/routes_impl.h"
#include "decide/endpoint.h"
#include "decide/forward.h"

/* Returns the text without a slash at its end, to be freed; NULL with `*ok` false: it is no prefix of paths; NULL else:
 * out of memory. */
static char *prefix_of(const char *text, bool *ok)
{
	size_t len = text ? strlen(text) : 0;

	*ok = len > 0 && len <= ROUTE_PREFIX_MAX && text[0] == '/' && path_clear(slice_of(text, len));
	for (size_t i = 0; i < len && *ok; i++)
		*ok = text[i] > ' ' && text[i] < 0x7f && !strchr("\"?#%*", text[i]);
	return *ok ? strndup(text, len - (text[len - 1] == '/')) : NULL;
}

#define A_PATH_PREFIX \
	"/ and whole segments, of at most 256 printable ASCII characters, without * ; ? # %% \\ and quotes"

bool read_path_prefix(const problems *to, route *r, const cJSON *item, place p)
{
	bool ok;
	char *prefix = prefix_of(cJSON_IsString(item) ? item->valuestring : NULL, &ok);

	free(r->path_prefix);
	r->path_prefix = NULL;
	if (!ok)
		return problem(to, p, "the entry is skipped", "\"path_prefix\" must be " A_PATH_PREFIX);
	if (!prefix)
		return err_memory(to->e);
	r->path_prefix = prefix;
	return true;
}

/* ---- paths */

static bool add_path(route *r, char *method, char *prefix)
{
	path_rule *more = realloc(r->paths, (r->paths_count + 1) * sizeof *more);

	if (!more || !prefix) {
		r->paths = more ? more : r->paths;
		free(method);
		free(prefix);
		return false;
	}
	more[r->paths_count++] = (path_rule){ method, prefix };
	r->paths = more;
	return true;
}

/* Reads "/prefix" or "METHOD /prefix". */
static bool read_path(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = cJSON_IsString(item) ? item->valuestring : "";
	size_t word = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	bool ok = word == 0 || (word <= ROUTE_METHOD_MAX && text[word] == ' ');
	char *prefix = ok ? prefix_of(text + word + (word > 0), &ok) : NULL;

	if (!ok)
		return problem(
			to, p, "it is left out",
			"an entry of \"paths\" must be \"/prefix\" or \"METHOD /prefix\", where the prefix is " A_PATH_PREFIX);
	char *method = word && prefix ? strndup(text, word) : NULL;
	if (word && !method) {
		free(prefix);
		prefix = NULL;
	}
	return add_path(r, method, prefix) || err_memory(to->e);
}

static void forget_paths(route *r)
{
	while (r->paths_count) {
		path_rule *rule = &r->paths[--r->paths_count];
		free(rule->method);
		free(rule->prefix);
	}
	r->paths_any = false;
}

bool read_paths(const problems *to, route *r, const cJSON *item, place p)
{
	int index = 0;

	forget_paths(r);
	r->paths_any = cJSON_IsString(item) && strcmp(item->valuestring, "any") == 0;
	if (r->paths_any)
		return true;
	if (!cJSON_IsArray(item))
		return problem(to, p, "it is ignored", "\"paths\" must be an array, or \"any\"");
	for (const cJSON *path = item->child; path; path = path->next, index++) {
		place here = place_child(p, index, false);
		if (index == ROUTE_PATHS_MAX)
			return problem(to, here, "the rest is left out", "more than %d paths", ROUTE_PATHS_MAX);
		if (!read_path(to, r, path, here))
			return false;
	}
	return true;
}

/* ---- forward_headers */

/* What carries a credential, frames the request, or is set by the gateway; with a dash at its end: what begins so. */
static const char *const never_forwarded[] = {
	"authorization",  "x-api-key", "api-key",      "x-goog-api-key",    "proxy-",  "cookie",         "host",
	"connection",     "te",        "trailer",      "transfer-encoding", "upgrade", "content-length", "keep-alive",
	"http2-settings", "x-llm-",    "x-request-id",
};

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* Returns the entry of never_forwarded that `name`, in lower case, covers; a star at its end stands for any text. NULL:
 * none. */
static const char *forbidden(const char *name)
{
	char stem[ROUTE_FORWARD_NAME_MAX + 1];
	size_t len = strlen(name);
	bool star = name[len - 1] == '*';

	snprintf(stem, sizeof stem, "%.*s", (int)(len - star), name);
	for (size_t i = 0; i < sizeof never_forwarded / sizeof never_forwarded[0]; i++) {
		const char *never = never_forwarded[i];
		bool family = never[strlen(never) - 1] == '-';
		if (strcmp(stem, never) == 0 || (star && begins(never, stem)) || (family && begins(stem, never)))
			return never;
	}
	return NULL;
}

typedef struct header_list {
	char names[ROUTE_FORWARD_MAX][ROUTE_FORWARD_NAME_MAX + 1];
	size_t count;
} header_list;

static bool read_header(const problems *to, header_list *list, const cJSON *item, place p)
{
	const char *text = cJSON_IsString(item) ? item->valuestring : "";
	size_t len = strlen(text), word = 0;
	char *name = list->names[list->count];

	while (word < len && (isalnum((unsigned char)text[word]) || text[word] == '-' || text[word] == '_'))
		word++;
	if (word == 0 || len > ROUTE_FORWARD_NAME_MAX || !(word == len || (word == len - 1 && text[word] == '*')))
		return problem(
			to, p, "it is left out",
			"an entry of \"forward_headers\" must be the name of a header, of at most %d letters, digits, - and _, "
			"or the beginning of names and a *",
			ROUTE_FORWARD_NAME_MAX);
	for (size_t i = 0; i <= len; i++)
		name[i] = ascii_lower(text[i]);
	const char *never = forbidden(name);
	if (never)
		return problem(
			to, p, "it is left out",
			"\"forward_headers\" cannot name %s%s: it belongs to HTTP, to the gateway or to the credential",
			never, never[strlen(never) - 1] == '-' ? "*" : "");
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->names[i], name) == 0)
			return true;
	list->count++;
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Returns "|" and each name that ends in a star (`stars`), without it, or each that does not. NULL: out of memory. */
static char *joined(const header_list *list, bool stars)
{
	char *text = calloc(ROUTE_FORWARD_MAX, ROUTE_FORWARD_NAME_MAX + 2), *at = text;

	for (size_t i = 0; text && i < list->count; i++) {
		size_t len = strlen(list->names[i]);
		if ((list->names[i][len - 1] == '*') == stars)
			at += sprintf(at, "|%.*s", (int)(len - stars), list->names[i]);
	}
	return text;
}

bool read_forward_headers(const problems *to, route *r, const cJSON *item, place p)
{
	header_list list = { .count = 0 };
	int index = 0;

	if (!cJSON_IsArray(item))
		return problem(to, p, "it is ignored", "\"forward_headers\" must be an array");
	for (const cJSON *header = item->child; header; header = header->next, index++) {
		place here = place_child(p, index, false);
		if (list.count == ROUTE_FORWARD_MAX) {
			if (!problem(to, here, "the rest is left out", "more than %d headers", ROUTE_FORWARD_MAX))
				return false;
			break;
		}
		if (!read_header(to, &list, header, here))
			return false;
	}
	qsort(list.names, list.count, sizeof list.names[0], by_name);
	free(r->forward_names);
	free(r->forward_prefixes);
	r->forward_names = joined(&list, false);
	r->forward_prefixes = joined(&list, true);
	return (r->forward_names && r->forward_prefixes) || err_memory(to->e);
}

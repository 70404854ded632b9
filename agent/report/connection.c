/* SPDX-License-Identifier: MIT */
#include "report/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void add_text(cJSON *json, const char *key, const char *text)
{
	if (text)
		cJSON_AddStringToObject(json, key, text);
}

static void add_number(cJSON *json, const char *key, unsigned number)
{
	if (number)
		cJSON_AddNumberToObject(json, key, number);
}

cJSON *connection_json(const route_connect *c)
{
	cJSON *json = cJSON_CreateObject();

	add_text(json, "ca_file", c->ca_file);
	add_text(json, "client_cert", c->client_cert);
	add_text(json, "alpn", c->alpn);
	add_text(json, "sni", c->sni);
	add_number(json, "timeout", c->timeout);
	add_number(json, "max_connections", c->max_connections);
	if (json && json->child)
		return json;
	cJSON_Delete(json);
	return NULL;
}

void connection_text(const route_connect *c, char out[CONNECTION_TEXT_MAX])
{
	cJSON *json = connection_json(c);
	size_t len = 0;

	*out = '\0';
	for (const cJSON *m = json ? json->child : NULL; m && len < CONNECTION_TEXT_MAX; m = m->next) {
		const char *comma = m == json->child ? "" : ", ";
		int added = cJSON_IsString(m) ? snprintf(out + len, CONNECTION_TEXT_MAX - len, "%s%s %s", comma,
							 m->string, m->valuestring) :
						snprintf(out + len, CONNECTION_TEXT_MAX - len, "%s%s %d", comma,
							 m->string, m->valueint);
		len += added > 0 ? (size_t)added : 0;
	}
	cJSON_Delete(json);
}

/* ---- files that HAProxy reads */

enum { PEM_MAX = 4 << 20 };

/* Reads a whole file of at most PEM_MAX bytes, with a NUL behind it. NULL: errno says why not. */
static char *read_pem(int fd, size_t *len)
{
	char *text = malloc(PEM_MAX + 1);
	ssize_t n = 1;

	*len = 0;
	while (text && *len < PEM_MAX && (n = read(fd, text + *len, PEM_MAX - *len)) > 0)
		*len += (size_t)n;
	if (text && n >= 0) {
		text[*len] = '\0';
		return text;
	}
	free(text);
	return NULL;
}

static bool has_key_beside(const char *path)
{
	char *key;
	bool there = asprintf(&key, "%s.key", path) >= 0;

	if (!there)
		return false;
	there = access(key, R_OK) == 0;
	free(key);
	return there;
}

/* Returns the first block of PEM whose label ends in `what`, with its two lines of dashes. Empty: there is none that is
 * whole. */
static slice pem_block(const char *text, const char *what)
{
	for (const char *at = text; (at = strstr(at, "-----BEGIN ")); at++) {
		slice rest = slice_cstr(at);
		size_t label = strlen("-----BEGIN "), dashes = label;
		while (dashes < rest.len && rest.ptr[dashes] != '-' && rest.ptr[dashes] != '\n')
			dashes++;
		char end[64];
		snprintf(end, sizeof end, "-----END %.*s-----", (int)(dashes - label), rest.ptr + label);
		const char *close = strstr(at, end);
		if (close && slice_ends(slice_first(rest, dashes), slice_cstr(what)))
			return slice_of(at, (size_t)(close - at) + strlen(end));
	}
	return (slice){ NULL, 0 };
}

/* Says why HAProxy cannot use the text of a file; NULL: nothing speaks against it. */
static const char *text_problem(const char *text, const char *path, bool with_key)
{
	slice key = pem_block(text, "PRIVATE KEY");

	if (pem_block(text, "CERTIFICATE").len == 0)
		return "it has no whole certificate in PEM";
	if (with_key && key.len && memmem(key.ptr, key.len, "ENCRYPTED", strlen("ENCRYPTED")))
		return "its private key needs a password, for which HAProxy does not ask";
	if (with_key && key.len == 0 && !has_key_beside(path))
		return "it has no whole private key; HAProxy needs certificate and key in one file";
	return NULL;
}

/* Says why HAProxy cannot use the file; NULL: nothing speaks against it. */
static const char *pem_problem(const char *path, bool with_key)
{
	const char *problem = NULL;
	struct stat st;
	size_t len;
	/* O_NONBLOCK: opening a FIFO does not wait for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 || fstat(fd, &st) != 0) {
		problem = strerror(errno);
	} else if (S_ISDIR(st.st_mode) && !with_key) {
		problem = NULL; /* HAProxy reads all files of a directory of CAs */
	} else if (!S_ISREG(st.st_mode)) {
		problem = "this is not a file";
	} else {
		char *text = read_pem(fd, &len);
		problem = text ? text_problem(text, path, with_key) : strerror(errno);
		if (text)
			explicit_bzero(text, len);
		free(text);
	}
	if (fd >= 0)
		close(fd);
	return problem;
}

static void look_at(findings *to, const char *part, const char *name, const char *key, const char *path, bool here)
{
	bool with_key = strcmp(key, "client_cert") == 0;
	const char *problem = path && *path == '/' ? pem_problem(path, with_key) : NULL;

	if (problem)
		finding(to, here ? FOUND_PROBLEM : FOUND_WARNING, part, name,
			"\"%s\": %s: %s; HAProxy, which reads this file, would not start", key, path, problem);
}

static void look_at_resolv_conf(findings *to, const config *c, bool here)
{
	for (size_t i = 0; i < c->name_servers.count; i++)
		if (strcmp(c->name_servers.items[i], RESOLV_CONF) == 0 && access(RESOLV_CONF, R_OK) != 0)
			finding(to, here ? FOUND_PROBLEM : FOUND_WARNING, "HAProxy's", "backends",
				"\"name_servers\": " RESOLV_CONF
				": %s; HAProxy, which reads this file, would not start: name the "
				"servers, or \"none\"",
				strerror(errno));
}

void connection_files(findings *to, const config *c, const route_table *t, bool here)
{
	look_at(to, "HAProxy's", "backends", "ca_file", c->ca_file, here);
	look_at_resolv_conf(to, c, here);
	for (size_t i = 0; i < routes_total(t); i++) {
		const route *r = routes_at(t, i);
		if (!r->enabled)
			continue;
		look_at(to, "route", r->name, "ca_file", r->connect.ca_file, here);
		look_at(to, "route", r->name, "client_cert", r->connect.client_cert, here);
	}
}

/* SPDX-License-Identifier: MIT */
#include "report/backends.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "report/backends_impl.h"

/* `r`: the route whose upstream it is; NULL: a target. */
static void add(entry *entries, size_t *count, const upstream *u, const char *name, const route *r, const char *user)
{
	size_t i = 0;

	while (i < *count && strcmp(entries[i].name, name) != 0)
		i++;
	if (i == *count) {
		entries[i] = (entry){ .upstream = u, .name = name, .r = r && r->own_backend ? r : NULL };
		(*count)++;
	}
	entries[i].replaces |= r && r->auth.kind != AUTH_PASSTHROUGH;
	size_t len = strlen(entries[i].users);
	snprintf(entries[i].users + len, sizeof entries[i].users - len, "%s%s", len ? ", " : "", user);
}

static bool write_all(FILE *f, const route_table *t, const backends_settings *s)
{
	entry *entries = calloc(routes_total(t) + PROTOCOLS, sizeof *entries);
	size_t count = 0;
	char user[ROUTE_NAME_MAX + MEMBER_NAME_MAX + 16];

	if (!entries)
		return false;
	for (size_t i = 0; i < routes_total(t); i++) {
		const route *r = routes_at(t, i);
		const upstream *u = route_upstream(t, r);
		if (!r->enabled || !u)
			continue;
		snprintf(user, sizeof user, "route %s", r->name);
		add(entries, &count, u, route_backend(t, r), r, user);
	}
	for (size_t i = 0; i < PROTOCOLS; i++) {
		snprintf(user, sizeof user, "target %s", protocol_name((protocol)i));
		add(entries, &count, &t->targets[i], t->targets[i].backend, NULL, user);
	}
	backends_name_servers(f, s, entries, count);
	for (size_t i = 0; i < count; i++)
		backends_section(f, s, &entries[i]);
	backends_legs(f, s, t);
	free(entries);
	return true;
}

/* Hashes what HAProxy reads of the text: comments, which name the routes, are left out. */
static void hash_text(slice text, char out[BACKENDS_HASH_LEN + 1])
{
	static const hash_key fixed; /* the same at each start, because HAProxy's files have it */
	uint64_t hash = 0;

	for (size_t at = 0, end; at < text.len; at = end + 1) {
		end = slice_find(text, at, '\n');
		slice line = slice_trim(slice_of(text.ptr + at, end - at));
		if (line.len && line.ptr[0] != '#')
			hash = hash_of(&fixed, hash, line);
	}
	snprintf(out, BACKENDS_HASH_LEN + 1, "%016" PRIx64, hash);
}

/* Returns the text, to be freed, and its hash. NULL: out of memory. */
static char *text_and_hash(const config *c, char hash[BACKENDS_HASH_LEN + 1])
{
	backends_settings settings = {
		.ca_file = c->ca_file,
		.addresses = (unsigned)c->upstream_addresses,
		.name_servers = (const char *const *)c->name_servers.items,
		.name_servers_count = c->name_servers.count,
		.refusal_status = c->table->refusal_status,
	};
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	bool ok = f && write_all(f, c->table, &settings);

	ok = f && fclose(f) == 0 && ok;
	if (!ok) {
		free(text);
		return NULL;
	}
	hash_text(slice_of(text, len), hash);
	return text;
}

bool backends_write(FILE *f, const config *c)
{
	char hash[BACKENDS_HASH_LEN + 1];
	char *text = text_and_hash(c, hash);

	if (!text)
		return false;
	fprintf(f,
		"# Made by `spoa-llm backends`.\n"
		"global\n"
		"    # A hash of all that follows. HAProxy tells it to the agent, which says so if its own routes need other backends.\n"
		"    set-var proc.llm_backends str(%s)\n\n%s",
		hash, text);
	free(text);
	return true;
}

bool backends_hash(const config *c)
{
	char *text = text_and_hash(c, c->table->backends_hash);
	bool made = text;

	free(text);
	return made;
}

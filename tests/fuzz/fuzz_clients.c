/* SPDX-License-Identifier: MIT
 *
 * Any bytes as the file of clients. Checked: an error says something, and never repeats a key; of a file that is taken,
 * each key finds its client, names and limits are in their ranges, and what is written of it is read as the same. */
#include "fuzz.h"

#include "config/clients.h"
#include "config/routes.h"

#define MARK CLIENT_KEY_PREFIX "MARK" /* the beginning of a key, in a corpus where somebody put it into the file */

static client_table *parse(const char *text, err_list *all)
{
	err e = { 0 };

	*all = (err_list){ .items = NULL };
	client_table *t = clients_parse("file", text, all, &e);
	HOLDS(!t == (all->count > 0));
	for (size_t i = 0; i < all->count; i++)
		HOLDS(all->items[i].text[0] && !strstr(all->items[i].text, MARK));
	err_list_deinit(all);
	return t;
}

static char *write(const client_table *t)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	HOLDS(f);
	clients_write(f, t);
	HOLDS(fclose(f) == 0);
	return text;
}

static void check_limits(const client_limits *l)
{
	HOLDS(l->tokens_per_minute <= CLIENTS_TOKENS_MAX && l->period <= BUDGET_MONTH);
	HOLDS(l->budget_nano == BUDGET_NONE || (l->budget_nano >= 0 && l->budget_nano <= CLIENTS_BUDGET_MAX));
}

static void check_table(const client_table *t)
{
	key_problem why;
	err e;

	for (uint32_t i = 0; i < t->count; i++) {
		const client *c = &t->clients[i];
		HOLDS(client_name_check(slice_cstr(c->name), &e) && c->keys_count <= CLIENT_KEYS_MAX);
		HOLDS(!c->project == (c->project_at == NO_PROJECT));
		HOLDS(!c->project || strcmp(c->project, t->projects[c->project_at].name) == 0);
		HOLDS(c->models_count <= CLIENT_LIST_MAX && c->routes_count <= CLIENT_LIST_MAX);
		for (uint32_t n = 0; n < c->models_count; n++)
			HOLDS(client_model_check(slice_cstr(c->models[n]), &e));
		for (uint32_t n = 0; n < c->routes_count; n++)
			HOLDS(client_route_check(slice_cstr(c->routes[n]), &e));
		HOLDS(c->requests_per_minute <= CLIENTS_NUMBER_MAX && c->parallel <= CLIENTS_NUMBER_MAX);
		check_limits(&c->limits);
		for (uint32_t n = 0; n < c->keys_count; n++) {
			const client_key *k = &t->keys[c->first_key + n];
			HOLDS(client_of_key(t, k->sha256, 0, &why) == c && why != KEY_UNKNOWN);
			HOLDS(client_key_find(t, k->sha256) == k);
		}
		for (uint32_t n = 0; n < i; n++)
			HOLDS(strcmp(c->name, t->clients[n].name) != 0);
	}
	for (uint32_t i = 0; i < t->projects_count; i++)
		check_limits(&t->projects[i].limits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	err_list all;

	HOLDS(text);
	client_table *t = parse(text, &all);
	if (t) {
		check_table(t);
		char *written = write(t);
		client_table *again = parse(written, &all);
		HOLDS(again);
		check_table(again);
		char *twice = write(again);
		HOLDS(strcmp(written, twice) == 0);
		HOLDS(again->count == t->count && again->keys_count == t->keys_count);
		free(written);
		free(twice);
		client_table_unref(again);
	}
	client_table_unref(t);
	free(text);
	return 0;
}

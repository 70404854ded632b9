/* SPDX-License-Identifier: MIT */
#include "decide/clients.h"

#include <stdlib.h>

/* Texts and lists are cut from large pieces, because a hundred thousand small allocations would cost as much memory
 * again. */
struct text_chunk {
	struct text_chunk *before;
	size_t used, room;
	char bytes[] __attribute__((aligned(sizeof(void *))));
};

enum { CHUNK = 256 * 1024 };

client_table *client_table_new(void)
{
	client_table *t = calloc(1, sizeof *t);

	if (t)
		atomic_init(&t->refs, 1);
	return t;
}

client_table *client_table_ref(client_table *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void client_table_unref(client_table *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	while (t->text) {
		struct text_chunk *before = t->text->before;
		free(t->text);
		t->text = before;
	}
	free(t->clients);
	free(t->projects);
	free(t->keys);
	free(t->slots);
	free(t);
}

static void *take(client_table *t, size_t size)
{
	struct text_chunk *c = t->text;

	size = (size + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
	if (!c || c->room - c->used < size) {
		size_t room = size > CHUNK ? size : CHUNK;
		c = malloc(sizeof *c + room);
		if (!c)
			return NULL;
		*c = (struct text_chunk){ .before = t->text, .room = room };
		t->text = c;
	}
	void *at = c->bytes + c->used;
	c->used += size;
	return at;
}

const char *client_table_text(client_table *t, slice text)
{
	char *copy = take(t, text.len + 1);

	if (!copy)
		return NULL;
	if (text.len)
		memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	return copy;
}

const char **client_table_list(client_table *t, size_t count)
{
	return take(t, (count ? count : 1) * sizeof(char *));
}

/* Makes room for one more item in an array that is full when its count is a power of two. */
static bool grow(void **array, uint32_t count, size_t size)
{
	if ((count & (count - 1)) != 0)
		return true;
	void *more = realloc(*array, (count ? (size_t)count * 2 : 1) * size);
	if (!more)
		return false;
	*array = more;
	return true;
}

client *client_table_add(client_table *t)
{
	void *array = t->clients;

	if (!grow(&array, t->count, sizeof *t->clients))
		return NULL;
	t->clients = array;
	t->clients[t->count] = (client){ .limits = { .budget_nano = BUDGET_NONE, .period = BUDGET_MONTH },
					 .account = NO_ACCOUNT,
					 .project_at = NO_PROJECT,
					 .first_key = t->keys_count,
					 .enabled = true };
	return &t->clients[t->count++];
}

client_project *client_table_add_project(client_table *t)
{
	void *array = t->projects;

	if (!grow(&array, t->projects_count, sizeof *t->projects))
		return NULL;
	t->projects = array;
	t->projects[t->projects_count] = (client_project){
		.limits = { .budget_nano = BUDGET_NONE, .period = BUDGET_MONTH }, .account = NO_ACCOUNT
	};
	return &t->projects[t->projects_count++];
}

client_key *client_table_add_key(client_table *t)
{
	void *array = t->keys;

	if (!grow(&array, t->keys_count, sizeof *t->keys))
		return NULL;
	t->keys = array;
	t->keys[t->keys_count] = (client_key){ .expires_ms = KEY_FOR_EVER, .client = t->count - 1 };
	t->clients[t->count - 1].keys_count++;
	return &t->keys[t->keys_count++];
}

/* The hash of a key that a stranger made up is random too, so its first bytes spread well. */
static uint32_t home(const client_table *t, const unsigned char sha256[CLIENT_HASH_LEN])
{
	uint32_t first;

	memcpy(&first, sha256, sizeof first);
	return first & t->mask;
}

/* Gives back what an array has beyond its items. */
static void shrink(void **array, uint32_t count, size_t size)
{
	void *less = count ? realloc(*array, count * size) : NULL;

	if (less)
		*array = less;
}

bool client_table_finish(client_table *t)
{
	uint32_t slots = 4;
	void *clients = t->clients, *keys = t->keys;

	while (slots / 4 < t->keys_count) /* at most a quarter is used, so nearly every look-up takes one probe */
		slots *= 2;
	t->mask = slots - 1;
	t->slots = calloc(slots, sizeof *t->slots);
	if (!t->slots)
		return false;
	shrink(&clients, t->count, sizeof *t->clients);
	shrink(&keys, t->keys_count, sizeof *t->keys);
	t->clients = clients;
	t->keys = keys;
	for (uint32_t i = 0; i < t->keys_count; i++) {
		uint32_t at = home(t, t->keys[i].sha256);
		while (t->slots[at])
			at = (at + 1) & t->mask;
		t->slots[at] = i + 1;
	}
	return true;
}

const client_key *client_key_find(const client_table *t, const unsigned char sha256[CLIENT_HASH_LEN])
{
	for (uint32_t at = home(t, sha256); t->slots[at]; at = (at + 1) & t->mask) {
		const client_key *key = &t->keys[t->slots[at] - 1];
		if (memcmp(key->sha256, sha256, CLIENT_HASH_LEN) == 0)
			return key;
	}
	return NULL;
}

const client *client_of_key(const client_table *t, const unsigned char sha256[CLIENT_HASH_LEN], int64_t now_ms,
			    key_problem *why)
{
	const client_key *key = client_key_find(t, sha256);
	const client *c = key ? &t->clients[key->client] : NULL;

	*why = !c ? KEY_UNKNOWN : !c->enabled ? KEY_DISABLED : now_ms >= key->expires_ms ? KEY_EXPIRED : KEY_GOOD;
	return c;
}

const client *client_find(const client_table *t, const unsigned char sha256[CLIENT_HASH_LEN], int64_t now_ms,
			  key_problem *why)
{
	const client *c = client_of_key(t, sha256, now_ms, why);

	return *why == KEY_GOOD ? c : NULL;
}

client_project *client_project_of(const client_table *t, const client *c)
{
	return c->project_at == NO_PROJECT ? NULL : &t->projects[c->project_at];
}

bool client_allows_model(const client *c, slice model)
{
	for (uint32_t i = 0; i < c->models_count; i++) {
		slice one = slice_cstr(c->models[i]);
		bool prefix = one.len && one.ptr[one.len - 1] == '*';
		if (prefix ? slice_istarts(model, slice_first(one, one.len - 1)) : slice_ieq(model, one))
			return true;
	}
	return !c->models;
}

bool client_allows_route(const client *c, const char *route)
{
	for (uint32_t i = 0; i < c->routes_count; i++)
		if (strcmp(c->routes[i], route) == 0)
			return true;
	return !c->routes;
}

bool client_limits_counted(const client_limits *l)
{
	return l->budget_nano != BUDGET_NONE || l->tokens_per_minute > 0;
}

bool clients_counted(const client_table *t)
{
	for (uint32_t i = 0; t && i < t->count; i++)
		if (client_limits_counted(&t->clients[i].limits))
			return true;
	for (uint32_t i = 0; t && i < t->projects_count; i++)
		if (client_limits_counted(&t->projects[i].limits))
			return true;
	return false;
}

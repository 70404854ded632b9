/* SPDX-License-Identifier: MIT
 *
 * Checks what only the whole file of clients shows: names and keys that stand in it twice, and the projects that
 * clients name. */
#include "config/clients_impl.h"

#include <stdlib.h>

#include "base/hash.h"

static size_t line_of(const reader *r, uint32_t at)
{
	size_t line = 1;

	for (uint32_t i = 0; i < at; i++)
		line += r->text[i] == '\n';
	return line;
}

/* Finds names: open addressing, 1 + the index of the client or project; 0: free. */
typedef struct name_index {
	uint32_t *slots, mask;
	bool of_projects;
} name_index;

static bool index_init(reader *r, name_index *x, uint32_t count, bool of_projects)
{
	uint32_t slots = 2;

	while (slots / 2 < count)
		slots *= 2;
	*x = (name_index){ calloc(slots, sizeof *x->slots), slots - 1, of_projects };
	r->starved |= !x->slots;
	return x->slots != NULL;
}

/* Returns the slot of the item with this name, or the free one where it belongs. */
static uint32_t *index_find(const name_index *x, const client_table *t, const char *name)
{
	uint32_t at = (uint32_t)hash_of(hash_own_key(), 0, slice_cstr(name)) & x->mask;

	for (; x->slots[at]; at = (at + 1) & x->mask) {
		uint32_t i = x->slots[at] - 1;
		if (strcmp(name, x->of_projects ? t->projects[i].name : t->clients[i].name) == 0)
			break;
	}
	return &x->slots[at];
}

static void note_twice(reader *r, const char *what, const char *name, uint32_t first, uint32_t second)
{
	clients_mistake(r, r->text + second, "%s%s%s%s stands in line %zu already", what, name ? " \"" : "",
			name ? name : "", name ? "\"" : "", line_of(r, first));
}

void clients_check_clients(reader *r)
{
	name_index x;

	if (!index_init(r, &x, r->t->count, false))
		return;
	for (uint32_t i = 0; i < r->t->count && !clients_done(r); i++) {
		uint32_t *slot = index_find(&x, r->t, r->t->clients[i].name);
		if (*slot)
			note_twice(r, "the client", r->t->clients[i].name, r->clients_at[*slot - 1], r->clients_at[i]);
		else
			*slot = i + 1;
	}
	free(x.slots);
}

void clients_link_projects(reader *r)
{
	client_table *t = r->t;
	uint32_t listed = t->projects_count;
	name_index x;

	if (!index_init(r, &x, listed + t->count, true))
		return;
	for (uint32_t i = 0; i < listed && !clients_done(r); i++) {
		uint32_t *slot = index_find(&x, t, t->projects[i].name);
		if (*slot)
			note_twice(r, "the project", t->projects[i].name, r->projects_at[*slot - 1], r->projects_at[i]);
		else
			*slot = i + 1;
	}
	for (uint32_t i = 0; i < t->count && !clients_done(r); i++) {
		client *c = &t->clients[i];
		uint32_t *slot = c->project ? index_find(&x, t, c->project) : NULL;
		if (!slot)
			continue;
		if (!*slot) {
			client_project *p = client_table_add_project(t);
			r->starved |= !p;
			if (!p)
				break;
			p->name = c->project;
			*slot = t->projects_count;
		}
		c->project_at = *slot - 1;
	}
	free(x.slots);
}

void clients_check_keys(reader *r)
{
	client_table *t = r->t;

	for (uint32_t i = 0; i < t->keys_count && !clients_done(r); i++) {
		const client_key *first = client_key_find(t, t->keys[i].sha256);
		if (first != &t->keys[i])
			note_twice(r, "a key with this sha256", NULL, r->keys_at[first - t->keys], r->keys_at[i]);
	}
}

/* SPDX-License-Identifier: MIT */
#include "serve/changes.h"

#include <stdlib.h>

#include "base/hash.h"
#include "config/values.h"
#include "decide/settings_hash.h"

enum { LIST_MAX = 400 }; /* bytes of the names in one field of an event */

/* ---- lists of names */

typedef struct names {
	char text[LIST_MAX + 32]; /* separated by commas; the last entry may be "N more" */
	size_t len, count, left_out;
} names;

static void names_add(names *n, const char *name)
{
	size_t len = strlen(name) + (n->count ? 1 : 0);

	n->count++;
	if (n->left_out || n->len + len > LIST_MAX)
		n->left_out++;
	else
		n->len += (size_t)snprintf(n->text + n->len, sizeof n->text - n->len, "%s%s", n->len ? "," : "", name);
	if (n->left_out)
		snprintf(n->text + n->len, sizeof n->text - n->len, "%s%zu more", n->len ? "," : "", n->left_out);
}

/* ---- two lists side by side */

typedef struct item {
	const char *name;
	uint64_t settings, keys; /* hashes */
	size_t at;               /* its place among those of its table that the other one has too */
} item;

typedef struct items {
	item *all; /* owned */
	size_t count;
} items;

static bool items_init(items *l, size_t room)
{
	*l = (items){ calloc(room ? room : 1, sizeof *l->all), 0 };
	return l->all != NULL;
}

static void items_add(items *l, const char *name, uint64_t settings, uint64_t keys)
{
	l->all[l->count++] = (item){ name, settings, keys, SIZE_MAX };
}

/* Where each name stands in a list: 1 + its index, by the name's hash; 0: nothing. */
typedef struct places {
	size_t *slots; /* owned */
	size_t mask;
} places;

/* Returns the slot that has `name`, or the free one where it would be put. */
static size_t *place_of(const places *p, const items *l, const char *name)
{
	size_t i = hash_of(hash_own_key(), 0, slice_cstr(name)) & p->mask;

	while (p->slots[i] && strcmp(l->all[p->slots[i] - 1].name, name) != 0)
		i = (i + 1) & p->mask;
	return &p->slots[i];
}

static bool places_init(places *p, const items *l)
{
	p->mask = 15;
	while (p->mask < 2 * l->count)
		p->mask = 2 * p->mask + 1;
	p->slots = calloc(p->mask + 1, sizeof *p->slots);
	for (size_t i = 0; p->slots && i < l->count; i++)
		*place_of(p, l, l->all[i].name) = i + 1;
	return p->slots != NULL;
}

typedef struct difference {
	names added, removed, changed, keys;
	bool reordered;
} difference;

/* False: out of memory. */
static bool compare(items *before, items *after, difference *d)
{
	places p;
	size_t kept = 0;

	*d = (difference){ .reordered = false };
	if (!places_init(&p, before))
		return false;
	for (size_t i = 0; i < after->count; i++) {
		const item *now = &after->all[i];
		size_t at = *place_of(&p, before, now->name);
		if (!at) {
			names_add(&d->added, now->name);
			continue;
		}
		item *was = &before->all[at - 1];
		was->at = kept++;
		if (was->settings != now->settings)
			names_add(&d->changed, now->name);
		if (was->keys != now->keys)
			names_add(&d->keys, now->name);
	}
	free(p.slots);
	kept = 0;
	for (size_t i = 0; i < before->count; i++) {
		if (before->all[i].at == SIZE_MAX)
			names_add(&d->removed, before->all[i].name);
		else
			d->reordered = before->all[i].at != kept++ || d->reordered;
	}
	return true;
}

static bool differs(const difference *d)
{
	return d->added.count || d->removed.count || d->changed.count || d->keys.count;
}

/* ---- what is said */

static bool list_routes(items *l, const route_table *t)
{
	if (!items_init(l, t->count))
		return false;
	for (size_t i = 0; i < t->count; i++)
		if (t->routes[i].enabled)
			items_add(l, t->routes[i].name, settings_hash_route(&t->routes[i]) ^ (uint64_t)t->routes[i].tap,
				  0);
	return true;
}

void changes_of_routes(const route_table *before, const route_table *after, const char *file, const char *by)
{
	items was = { NULL, 0 }, now = { NULL, 0 };
	difference d;

	if (list_routes(&was, before) && list_routes(&now, after) && compare(&was, &now, &d) &&
	    (differs(&d) || d.reordered))
		log_event(routes_changed, LOG_C("file", file ? file : "none"), LOG_C("by", by),
			  LOG_C("added", d.added.text), LOG_C("removed", d.removed.text),
			  LOG_C("changed", d.changed.text), LOG_C("order", d.reordered ? "another" : "the same"));
	free(was.all);
	free(now.all);
}

static bool list_clients(items *l, const client_table *t)
{
	if (!items_init(l, t ? t->count : 0))
		return false;
	for (uint32_t i = 0; t && i < t->count; i++) {
		uint64_t keys, settings = settings_hash_client(t, &t->clients[i], &keys);
		items_add(l, t->clients[i].name, settings, keys);
	}
	return true;
}

static bool list_projects(items *l, const client_table *t)
{
	if (!items_init(l, t ? t->projects_count : 0))
		return false;
	for (uint32_t i = 0; t && i < t->projects_count; i++)
		items_add(l, t->projects[i].name, settings_hash_project(&t->projects[i]), 0);
	return true;
}

void changes_of_clients(const client_table *before, const client_table *after, const char *file, const char *by)
{
	items lists[4] = { { NULL, 0 } };
	difference d, projects;

	if (list_clients(&lists[0], before) && list_clients(&lists[1], after) && compare(&lists[0], &lists[1], &d) &&
	    list_projects(&lists[2], before) && list_projects(&lists[3], after) &&
	    compare(&lists[2], &lists[3], &projects) && (differs(&d) || projects.changed.count))
		log_event(clients_changed, LOG_C("file", file), LOG_C("by", by), LOG_C("added", d.added.text),
			  LOG_C("removed", d.removed.text), LOG_C("changed", d.changed.text),
			  LOG_C("keys", d.keys.text), LOG_C("projects", projects.changed.text));
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		free(lists[i].all);
}

void changes_of_options(config *before, config *after, const char *by)
{
	names changed = { .len = 0 };

	for (const option_info *o = options; o < options + options_count; o++)
		if (o->reloadable && o->type != OPTION_ROUTES && !value_same(before, after, o))
			names_add(&changed, o->key);
	if (changed.count)
		log_event(options_changed, LOG_C("by", by), LOG_C("options", changed.text));
}

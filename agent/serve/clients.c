/* SPDX-License-Identifier: MIT */
#include "serve/clients.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "config/clients.h"

/* Reads the file. Returns a new table; NULL: the text is that of the last time, or f->status.problem says what is
 * wrong. */
static client_table *load(clients_file *f, err *e)
{
	err_list all = { .items = NULL };
	client_table *t = NULL;
	err why = { 0 };
	size_t len;

	f->stamp = file_stamp_take(f->path);
	char *text = clients_text(f->path, &len, &why);
	uint64_t hash = text ? hash_of(hash_own_key(), 1, slice_of(text, len)) : 0;
	bool same = text && hash == f->hash;
	if (text && !same)
		t = clients_parse(f->path, text, &all, &why);
	if (!t && !same) {
		err_list_sum(&all, e);
		if (all.count == 0)
			*e = why;
		/* Read again in a second even if nothing about the file changes, because perhaps no descriptor or no
		 * memory was left. */
		f->stamp.failed = why.kind == ERR_MEMORY || (!text && f->stamp.exists);
	}
	f->hash = f->stamp.failed ? 0 : hash;
	free(text);
	err_list_deinit(&all);
	return t;
}

void clients_file_used(clients_file *f, const client_table *t)
{
	if (!f->path)
		return;
	f->status.problem[0] = '\0';
	f->status.loaded_ms = f->stamp.read_ms;
	log_event(clients_loaded, LOG_C("file", f->path), LOG_I("clients", t->count), LOG_I("keys", t->keys_count),
		  LOG_I("projects", t->projects_count));
}

bool clients_file_first(clients_file *f, const config *c, client_table **t, err *e)
{
	*f = (clients_file){ .path = NULL };
	*t = NULL;
	if (!*c->clients)
		return true;
	f->path = strdup(c->clients);
	if (!f->path)
		return err_memory(e);
	*t = load(f, e);
	return *t != NULL;
}

/* Notes and logs why the file is not in use, unless that is known. */
static void not_used(clients_file *f, const err *e, const char *instead)
{
	if (strcmp(e->text, f->status.problem) == 0)
		return;
	snprintf(f->status.problem, sizeof f->status.problem, "%s", e->text);
	log_event(clients_not_loaded, LOG_C("problem", e->text), LOG_C("instead", instead));
}

client_table *clients_file_missing(clients_file *f, const err *e)
{
	client_table *t = client_table_new();

	if (!t || !client_table_finish(t)) {
		client_table_unref(t);
		return NULL;
	}
	t->missing = true;
	f->stamp.failed = true; /* the problem may be another one than the file */
	f->hash = 0;
	not_used(f, e, "requests with a key are refused, as are all if require_client is set");
	return t;
}

static const char as_before[] = "the clients stay as they were";

void clients_file_lost(clients_file *f, const err *e)
{
	f->stamp.failed = true;
	f->hash = 0;
	not_used(f, e, as_before);
}

client_table *clients_file_look(clients_file *f)
{
	err e = { 0 };

	if (!f->path || !file_stamp_changed(&f->stamp, f->path))
		return NULL;
	client_table *t = load(f, &e);
	if (!t && *e.text)
		not_used(f, &e, as_before);
	return t;
}

void clients_file_deinit(clients_file *f)
{
	free(f->path);
	*f = (clients_file){ .path = NULL };
}

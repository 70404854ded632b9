/* SPDX-License-Identifier: MIT
 *
 * How the file of clients is read, for the files of this folder that begin with clients. */
#ifndef CONFIG_CLIENTS_IMPL_H
#define CONFIG_CLIENTS_IMPL_H

#include "config/clients.h"

/* Each mistake costs a pass over the text, in which its line is counted. */
enum { MISTAKES_MAX = 20 };

/* The text that is read, and what was made of it. */
typedef struct reader {
	const char *name, *text;
	client_table *t;
	uint32_t *clients_at, *projects_at, *keys_at; /* where each stands in the text */
	err_list *all;
	bool starved; /* memory ran out */
} reader;

/* True: memory ran out, or there are as many mistakes as are told. */
static inline bool clients_done(const reader *r)
{
	return r->starved || r->all->failed || r->all->count >= MISTAKES_MAX;
}

/* ---- clients.c */

/* Notes what is wrong at `at` in the text. */
__attribute__((format(printf, 3, 4))) void clients_mistake(reader *r, const char *at, const char *fmt, ...);

/* ---- clients_check.c; each notes mistakes, and sets r->starved if memory runs out */

/* Finds clients of the same name. */
void clients_check_clients(reader *r);
/* Checks the projects that are listed, adds those that only clients name, and links each client to its project. */
void clients_link_projects(reader *r);
/* Finds keys that stand in the file twice; r->t is finished. */
void clients_check_keys(reader *r);

#endif

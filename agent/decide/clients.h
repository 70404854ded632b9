/* SPDX-License-Identifier: MIT
 *
 * The clients that may ask, and their keys. A table does not change once it is built, and is shared by reference
 * counting; config/clients.h reads one from the file of clients. A key is known by its SHA-256 alone. */
#ifndef DECIDE_CLIENTS_H
#define DECIDE_CLIENTS_H

#include <stdatomic.h>

#include "base/must_check.h"
#include "base/slice.h"

enum {
	CLIENTS_MAX = 1000000,  /* clients of a table, and keys of all of them */
	CLIENT_NAME_MAX = 64,   /* bytes of the name of a client or project, as in the ledger */
	CLIENT_KEYS_MAX = 16,   /* keys of one client, expired ones included */
	CLIENT_LIST_MAX = 256,  /* entries of a client's `models` or `routes` */
	CLIENT_MODEL_MAX = 256, /* bytes of one of `models`, as no model has a longer name */
	CLIENT_HASH_LEN = 32,   /* bytes of a SHA-256 */
};

#define CLIENT_KEY_PREFIX "sk-spoa-" /* by which a key of ours is known from a provider's credential */
enum { CLIENT_KEY_LEN = 51 };        /* bytes of a key: the prefix and 256 random bits in base64url */

typedef enum budget_period { BUDGET_DAY, BUDGET_WEEK, BUDGET_MONTH } budget_period;

#define BUDGET_NONE INT64_C(-1) /* for budget_nano: there is no budget */
#define NO_ACCOUNT UINT32_MAX   /* for an account: there is none */
#define NO_PROJECT UINT32_MAX   /* for client.project_at: the client has none */
#define KEY_FOR_EVER INT64_MAX  /* for client_key.expires_ms */

/* What a client or a project may use. 0: there is no such limit. */
typedef struct client_limits {
	uint64_t tokens_per_minute;
	int64_t budget_nano;  /* nano-dollars that a period may cost; BUDGET_NONE */
	budget_period period; /* without a budget: BUDGET_MONTH, over which it is told what was spent */
} client_limits;

/* The texts and arrays belong to the table. */
typedef struct client {
	const char *name;
	const char *project;       /* NULL: the client has none */
	const char *const *models; /* each a name, or a prefix that ends in `*`; NULL: all are allowed */
	const char *const *routes; /* names; NULL: all are allowed */
	client_limits limits;
	uint32_t models_count, routes_count;
	uint32_t requests_per_minute, parallel; /* counted by HAProxy; 0: there is no such limit */
	uint32_t account;               /* in the budgets' memory; NO_ACCOUNT: it has no limit that the agent counts */
	uint32_t project_at;            /* index in client_table.projects */
	uint32_t first_key, keys_count; /* in client_table.keys */
	bool allow_unpriced;            /* with a budget: models without a price are allowed too */
	bool enabled;
} client;

/* A project that the file lists, or that a client names. */
typedef struct client_project {
	const char *name;
	client_limits limits;
	uint32_t account; /* as client.account */
	bool listed;      /* the file lists it among its projects */
} client_project;

typedef struct client_key {
	unsigned char sha256[CLIENT_HASH_LEN];
	int64_t expires_ms; /* by the wall clock; KEY_FOR_EVER */
	uint32_t client;    /* index in client_table.clients */
} client_key;

/* The arrays are in the file's order; the keys of a client stand together. */
typedef struct client_table {
	atomic_uint refs;
	bool missing; /* the file of clients could not be read, so nobody knows whose a key is */
	client *clients;
	client_project *projects;
	client_key *keys;
	uint32_t count, projects_count, keys_count;
	uint32_t mask;           /* of `slots` */
	uint32_t *slots;         /* by the hash: 1 + index of the key; 0: free */
	struct text_chunk *text; /* owns all texts and lists */
} client_table;

/* Makes an empty table with one reference, to be filled by the functions that follow, and then finished. NULL: out of
 * memory. */
MUST_CHECK client_table *client_table_new(void);
client_table *client_table_ref(client_table *t);
void client_table_unref(client_table *t); /* `t` may be NULL */

/* Copy a text, or room for `count` texts, into the table. NULL: out of memory. */
MUST_CHECK const char *client_table_text(client_table *t, slice text);
MUST_CHECK const char **client_table_list(client_table *t, size_t count);
/* Append a client, project or key to fill; it may move until the table is finished. A key is the last client's. NULL:
 * out of memory. */
MUST_CHECK client *client_table_add(client_table *t);
MUST_CHECK client_project *client_table_add_project(client_table *t);
MUST_CHECK client_key *client_table_add_key(client_table *t);
/* Makes the table ready for client_find(). Of two keys with one hash, which the reader of the file refuses, the first
 * one counts. False: out of memory. */
MUST_CHECK bool client_table_finish(client_table *t);

typedef enum key_problem {
	KEY_GOOD,
	KEY_UNKNOWN, /* no client has it, or it is no SHA-256 */
	KEY_EXPIRED,
	KEY_DISABLED, /* its client is disabled */
} key_problem;

/* Finds the first key with this hash; NULL: there is none. */
const client_key *client_key_find(const client_table *t, const unsigned char sha256[CLIENT_HASH_LEN]);
/* Finds the client whose key has this hash. `*why` says whether the key may be used at `now_ms`, by the wall clock.
 * NULL: KEY_UNKNOWN. */
const client *client_of_key(const client_table *t, const unsigned char sha256[CLIENT_HASH_LEN], int64_t now_ms,
			    key_problem *why);
/* The same, but returns NULL also if the key may not be used. */
const client *client_find(const client_table *t, const unsigned char sha256[CLIENT_HASH_LEN], int64_t now_ms,
			  key_problem *why);

/* Returns the project of `c`, a client of `t`. NULL: it has none. */
client_project *client_project_of(const client_table *t, const client *c);

/* True if the client may use `model`, whose case does not matter, or the route of that name. */
bool client_allows_model(const client *c, slice model);
bool client_allows_route(const client *c, const char *route);

/* True for a budget or tokens a minute, which the agent counts by the ledger's records. */
bool client_limits_counted(const client_limits *l);

/* True if a client or project has such a limit. `t` may be NULL. */
bool clients_counted(const client_table *t);

#endif

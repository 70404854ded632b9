/* SPDX-License-Identifier: MIT
 *
 * The file of clients: strict JSON, of which all is taken or nothing. No message repeats a key, or what may be one. */
#ifndef CONFIG_CLIENTS_H
#define CONFIG_CLIENTS_H

#include <stdio.h>

#include "config/err_list.h"
#include "decide/clients.h"

enum {
	CLIENTS_FILE_MAX = 512 << 20, /* bytes: what CLIENTS_MAX clients take, each with a few limits */
	CLIENTS_NUMBER_MAX = 1000000000,
};
#define CLIENTS_TOKENS_MAX INT64_C(1000000000000)
#define CLIENTS_BUDGET_MAX INT64_C(1000000000000000000) /* nano-dollars: a thousand million dollars */

/* Reads the whole file at `path`; the caller frees the text, which ends with a NUL and has `*len` bytes before it.
 * NULL: `e` says why it cannot be read. */
MUST_CHECK char *clients_text(const char *path, size_t *len, err *e);
/* Makes a table of `text`, which ends with a NUL and is called `name` in messages. NULL: `all` has what is wrong with
 * it; if that is empty, `e` says "out of memory". */
MUST_CHECK client_table *clients_parse(const char *name, const char *text, err_list *all, err *e);
/* Does both: makes a table of the file at `path`. */
MUST_CHECK client_table *clients_load(const char *path, err_list *all, err *e);

/* Writes `t` as clients_parse() reads it, a client a line, in the order of the table. */
void clients_write(FILE *f, const client_table *t);

/* Writes one client of `t`, as the file has it. */
void client_write(FILE *f, const client_table *t, const client *c);

/* Check the name of a client or project, an entry of a client's `models`, or one of its `routes`. False: `e` says what
 * is expected. */
MUST_CHECK bool client_name_check(slice name, err *e);
MUST_CHECK bool client_model_check(slice model, err *e);
MUST_CHECK bool client_route_check(slice name, err *e);
/* Reads dollars like 12.50 into `*nano`, exactly. False: `e` says what is expected. */
MUST_CHECK bool client_dollars(slice text, int64_t *nano, err *e);
/* Reads day, week or month. False: `e` says what is expected. */
MUST_CHECK bool client_period(slice text, budget_period *period, err *e);
extern const char *const client_periods[3]; /* their names, by budget_period */
/* Hashes a key. False: `key` has not the form of a key. */
MUST_CHECK bool client_key_hash(slice key, unsigned char hash[CLIENT_HASH_LEN]);
/* Reads 64 hexadecimal digits. */
MUST_CHECK bool client_hash(slice text, unsigned char out[CLIENT_HASH_LEN]);

#endif

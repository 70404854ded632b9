/* SPDX-License-Identifier: MIT
 *
 * The file of clients while the agent runs: reads it again when it changed, and says in the log what became of that.
 * Only the main thread calls these functions. A table that they return belongs to the caller. */
#ifndef SERVE_CLIENTS_H
#define SERVE_CLIENTS_H

#include "base/file_stamp.h"
#include "config/config.h"

/* What became of the file the last time. */
typedef struct clients_status {
	char problem[512]; /* "": the file is in use */
	int64_t loaded_ms; /* by the wall clock: when the clients in use were read */
} clients_status;

typedef struct clients_file {
	char *path; /* owned; NULL: there are no clients */
	file_stamp stamp;
	uint64_t hash; /* of the text that was read last, good or not */
	clients_status status;
} clients_file;

/* Reads the file that `c` names into `*t` (NULL: it names none), for a new configuration. False: `e` says what is wrong
 * with the file. Call clients_file_deinit() in either case. */
MUST_CHECK bool clients_file_first(clients_file *f, const config *c, client_table **t, err *e);
/* Notes and logs that the clients of `t`, which was read last, are in use. */
void clients_file_used(clients_file *f, const client_table *t);
/* Returns a table without clients, for a worker that has to start though the file cannot be used, because of `e`. It
 * refuses keys until the file can be used. NULL: out of memory. */
MUST_CHECK client_table *clients_file_missing(clients_file *f, const err *e);
/* Notes and logs that the table that was read last cannot be used, because of `e`, so that the file is read again. */
void clients_file_lost(clients_file *f, const err *e);
/* Reads the file again if it changed. Returns the new table, for clients_file_used() or clients_file_lost(); NULL: the
 * old one stays in use. */
client_table *clients_file_look(clients_file *f);
void clients_file_deinit(clients_file *f);

#endif

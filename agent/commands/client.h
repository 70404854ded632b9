/* SPDX-License-Identifier: MIT
 *
 * Reads the file of clients, for the commands about it. */
#ifndef COMMANDS_CLIENT_H
#define COMMANDS_CLIENT_H

#include "base/clock.h"
#include "base/rfc3339.h"
#include "commands/cli.h"
#include "config/clients.h"

/* Reads the file of clients. Returns EX_OK, or the exit code: what is wrong was said. `missing`: if there
 * is no file, that is a file without clients. */
MUST_CHECK int client_read(const config *c, bool missing, client_table **t);

/* Finds a client by its name. NULL: there is none, which was said. */
const client *client_named(const client_table *t, const char *name);

/* Writes when a key expires, or "never". */
void client_expires(int64_t expires_ms, char out[RFC3339_TEXT]);

#endif

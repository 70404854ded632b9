/* SPDX-License-Identifier: MIT
 *
 * What the commands about clients have in common. */
#ifndef COMMANDS_CLIENT_H
#define COMMANDS_CLIENT_H

#include "base/clock.h"
#include "base/rfc3339.h"
#include "commands/cli.h"
#include "config/clients.h"

/* Reads the file of clients. Returns EX_OK, or the exit code: what is wrong was said. `missing`: a file that there is
 * not is one without clients. */
MUST_CHECK int client_read(const config *c, bool missing, client_table **t);

/* Finds the client by its name. NULL: that there is none was said. */
const client *client_named(const client_table *t, const char *name);

/* Writes when a key expires, or "never". */
void client_expires(int64_t expires_ms, char out[RFC3339_TEXT]);

#endif

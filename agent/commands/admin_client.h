/* SPDX-License-Identifier: MIT
 *
 * Asks the agent that runs here, by its admin server. */
#ifndef COMMANDS_ADMIN_CLIENT_H
#define COMMANDS_ADMIN_CLIENT_H

#include "base/must_check.h"
#include "config/config.h"

/* Asks for `path` at the first address of admin_listen, with admin_token or else viewer_token, if this user can read
 * the token. Sets `*status` to the answer's status, and returns the answer's body, which the caller frees. NULL: `e`
 * says why there is no answer. */
MUST_CHECK char *admin_get(const config *c, const char *path, int *status, err *e);

#endif

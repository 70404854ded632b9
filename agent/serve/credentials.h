/* SPDX-License-Identifier: MIT
 *
 * Says in the log what becomes of the credentials of the routes: read, missing, about to expire. Each credential is
 * named once, however many routes use it. Only the main thread calls these functions. */
#ifndef SERVE_CREDENTIALS_H
#define SERVE_CREDENTIALS_H

#include "config/config.h"

typedef struct credentials credentials;

/* NULL: out of memory. */
MUST_CHECK credentials *credentials_new(void);
void credentials_free(credentials *c);
/* Logs what has changed since the last call: everything, at the first one. Call it after a change of the policy, and
 * every second, because time alone makes a credential expire. */
void credentials_look(credentials *c, const policy *p);

#endif

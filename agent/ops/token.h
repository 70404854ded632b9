/* SPDX-License-Identifier: MIT
 *
 * A bearer token of the admin server: admin_token or viewer_token. It is read anew at each request. */
#ifndef OPS_TOKEN_H
#define OPS_TOKEN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/must_check.h"

typedef struct token {
	const char *option;   /* its name, for the log */
	char *source;         /* owned: env:NAME or file:PATH; NULL: there is no such token */
	pthread_mutex_t lock; /* of what follows */
	bool looked;
	uint64_t seen; /* hash of what was read last, so that a change is logged once */
} token;

/* `option` has to outlive `t`; copies `source` ("": there is no such token). False: out of memory; token_deinit() is
 * needed then, too. */
MUST_CHECK bool token_init(token *t, const char *option, const char *source);
void token_deinit(token *t);

/* Reads the token of `t`, which has a source, and logs if it is another one than the last time, or cannot be used. From
 * any thread. */
void token_look(token *t);
/* Is `authorization` (the header's value, NULL: there is none) `Bearer` with the token that is there now? Takes the
 * same time wherever a wrong token differs. False, too, if `t` has no source, or that has no token. Logs as
 * token_look(). */
MUST_CHECK bool token_matches(token *t, const char *authorization);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Where a bearer token of the admin server is kept: `env:NAME` or `file:PATH`. */
#ifndef BASE_TOKEN_SOURCE_H
#define BASE_TOKEN_SOURCE_H

#include <stdbool.h>

#include "base/slice.h"

enum { TOKEN_MAX = 4096 }; /* bytes */

/* Is `source` written as `env:NAME` or `file:PATH`? */
bool token_source_valid(const char *source);
/* Reads the token that `source`, which is valid, has now, without white space around it. It stands in `room`, which the
 * caller wipes. Empty: there is no usable token, and `*problem`, a text that stays, says why; else `*problem` is NULL.
 */
slice token_source_read(const char *source, char room[TOKEN_MAX + 1], const char **problem);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The bearer token that the admin server may ask for. */
#ifndef OPS_TOKEN_H
#define OPS_TOKEN_H

#include "base/slice.h"

enum { TOKEN_MAX = 4096 }; /* bytes */

/* Is `authorization` (a header's value, NULL: there is none) `Bearer` and the token that `source` (env:NAME, file:PATH)
 * holds now? The time it takes says nothing of the token. No token to be had: nobody has it. */
bool token_matches(const char *source, const char *authorization);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The bearer token of the admin server. */
#ifndef OPS_TOKEN_H
#define OPS_TOKEN_H

#include "base/must_check.h"
#include "base/slice.h"

enum { TOKEN_MAX = 4096 }; /* bytes */

/* Is `authorization` (the header's value, NULL: there is none) `Bearer` with the token that `source` (env:NAME or
 * file:PATH) holds now? Takes the same time wherever a wrong token differs. False, too, if `source` has no token. */
MUST_CHECK bool token_matches(const char *source, const char *authorization);

#endif

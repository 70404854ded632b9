/* SPDX-License-Identifier: MIT
 *
 * Finds every mistake in a text that is meant to be JSON, and says what was expected there. */
#ifndef CONFIG_MEND_H
#define CONFIG_MEND_H

#include "base/must_check.h"
#include "config/locate.h"

/* Adds each mistake in the text of `where` to `all`, and makes of it two texts that the caller frees, so that the rest
 * can be checked: `*json`, which is JSON, and `*lines`, which has the same length and the places of the original.
 * Columns do not count what was inserted. False: out of memory, or nothing can be made of the text; both are NULL. */
MUST_CHECK bool json_mend(place where, err_list *all, char **json, char **lines);

#endif

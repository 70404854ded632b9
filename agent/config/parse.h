/* SPDX-License-Identifier: MIT
 *
 * JSON that an operator wrote, parsed by cJSON. */
#ifndef CONFIG_PARSE_H
#define CONFIG_PARSE_H

#include <cjson/cJSON.h>

#include "config/locate.h"

/* Most members of an object. There is a limit because each is compared with each other one; no object of a
 * configuration needs a quarter of it. */
enum { JSON_MEMBERS_MAX = 256 };

/* What was made of a text with mistakes; see json_mend(). Both are owned; NULL: the text has none. */
typedef struct mended {
	char *json, *lines;
} mended;

/* Parses the whole text of `where`; the caller frees the result by cJSON_Delete(). Adds each mistake to `all`: that the
 * text is not JSON, or has a \u0000. If there are some, the result is of what could be made of the text, and `where`,
 * whose texts are then in `m`, has the place of the original. NULL: nothing could be made of it, or `e` says "out of
 * memory". config_init() must have been called. */
cJSON *json_parse(place *where, mended *m, err_list *all, err *e);
void mended_deinit(mended *m);

/* Checks the members of `object`, which begins at `where`: adds an error for each that is given twice, or one that
 * there are too many. */
void json_no_duplicates(const cJSON *object, place where, err_list *all);

#endif

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

/* Parses the whole text of `where`; the caller frees the result by cJSON_Delete(). NULL: `e` says where the text is
 * not JSON or has a \u0000, or its kind is ERR_MEMORY. config_init() must have been called. */
cJSON *json_parse(place where, err *e);

/* Checks the members of `object`, which begins at `where`. False: `e` says which member is given twice, or that there
 * are too many. */
bool json_no_duplicates(const cJSON *object, place where, err *e);

#endif

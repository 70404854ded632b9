/* SPDX-License-Identifier: MIT
 *
 * JSON that an operator wrote, parsed by cJSON. */
#ifndef CONFIG_PARSE_H
#define CONFIG_PARSE_H

#include <cjson/cJSON.h>

#include "config/locate.h"

/* Members of an object. Each is compared with each; no object of a configuration has a quarter of so many. */
enum { JSON_MEMBERS_MAX = 256 };

/* Parses the whole text of `where`; the caller frees the result by cJSON_Delete(). NULL: `e` says where the text stops
 * being JSON, or its kind is ERR_MEMORY. config_init() must have been called. */
cJSON *json_parse(place where, err *e);

/* False: `e` says which member stands twice in `object`, or that there are too many. */
bool json_no_duplicates(const cJSON *object, place where, err *e);

#endif

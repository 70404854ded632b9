/* SPDX-License-Identifier: MIT */
#include "config/parse.h"

#include <stdlib.h>

#include "config/config.h"

/* cJSON reports being out of memory as it reports a text that is not JSON. For a routes variable the difference
 * matters: a text that is not JSON means "no routes". */
static _Thread_local bool starved;

static void *noting_malloc(size_t size)
{
	void *ptr = malloc(size);
	starved = starved || !ptr;
	return ptr;
}

void config_init(void)
{
	cJSON_InitHooks(&(cJSON_Hooks){ noting_malloc, free });
}

/* Finds an escape \u0000. It would become a NUL that cuts the string, and a shorter name would then match. */
static bool has_escaped_nul(place *where)
{
	for (const char *at = where->text; (at = strstr(at, "\\u0000")); at += 6) {
		const char *slash = at;
		while (slash > where->text && slash[-1] == '\\')
			slash--;
		if ((at - slash) % 2 == 0) {
			where->at = (size_t)(at - where->text);
			return true;
		}
	}
	return false;
}

cJSON *json_parse(place where, err *e)
{
	const char *end = NULL;

	starved = false;
	cJSON *json = cJSON_ParseWithOpts(where.text, &end, 1);
	if (json && !has_escaped_nul(&where))
		return json;
	if (json) {
		place_error(e, where, "a text must not contain \\u0000");
	} else if (starved) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", where.name);
	} else {
		where.at = end ? (size_t)(end - where.text) : 0;
		place_error(e, where, "this is not valid JSON%s",
			    where.text[where.at] ? "" : ": the text ends too early");
	}
	cJSON_Delete(json);
	return NULL;
}

bool json_no_duplicates(const cJSON *object, place where, err *e)
{
	int index = 0;

	for (const cJSON *item = object->child; item; item = item->next, index++) {
		if (index == JSON_MEMBERS_MAX)
			return place_error(e, place_child(where, index, true), "more than %d members",
					   JSON_MEMBERS_MAX);
		for (const cJSON *before = object->child; before != item; before = before->next)
			if (strcmp(item->string, before->string) == 0)
				return place_error(e, place_child(where, index, true), "\"%.60s\" is given twice",
						   item->string);
	}
	return true;
}

/* SPDX-License-Identifier: MIT */
#include "config/parse.h"

#include <stdlib.h>

#include "config/config.h"
#include "config/mend.h"

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

/* True if `at`, a digit of `text`, is the first one of a number. */
static bool begins_number(const char *text, const char *at)
{
	if (at > text && at[-1] == '-')
		at--;
	return at == text || strchr(" \t\r\n:,[", at[-1]);
}

/* Says what cJSON takes and JSON does not allow, and where it stands; NULL: nothing. */
static const char *not_json(place *where)
{
	bool in_text = false;

	for (const char *at = where->text; *at; at++) {
		where->at = (size_t)(at - where->text);
		if ((unsigned char)*at < ' ' && (in_text || !strchr("\t\r\n", *at)))
			return "a control character may not stand here; in a text it is written as \\n, \\t or \\u00..";
		if (*at == '"')
			in_text = !in_text;
		else if (in_text)
			at += *at == '\\';
		else if (*at == '0' && ascii_is_digit(at[1]) && begins_number(where->text, at))
			return "this is no number of JSON: it has a 0 in front";
		else if (*at == '.' && !ascii_is_digit(at[1]))
			return "this is no number of JSON: digits are expected behind the point";
	}
	return NULL;
}

static cJSON *parse(const char *text, size_t *stopped)
{
	const char *end = NULL;

	starved = false;
	cJSON *json = cJSON_ParseWithOpts(text, &end, 1);
	*stopped = end ? (size_t)(end - text) : 0;
	return json;
}

cJSON *json_parse(place *where, mended *m, err_list *all, err *e)
{
	place original = *where, stopped = *where;
	size_t known = all->count;
	err mistake;

	*m = (mended){ .json = NULL };
	cJSON *json = parse(where->text, &stopped.at);
	if (!json && !starved && json_mend(original, all, &m->json, &m->lines)) {
		*where = (place){ where->name, m->json, 0, m->lines };
		json = parse(where->text, &original.at);
	}
	if (starved || all->failed) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", where->name);
		cJSON_Delete(json);
		return NULL;
	}
	/* cJSON cannot read the text, but json_mend() has found no mistake in it. */
	if (!json && all->count == known) {
		place_error(&mistake, stopped, "this is not valid JSON");
		err_list_add(all, &mistake);
	}
	stopped = *where;
	const char *problem = json && all->count == known ? not_json(&stopped) : NULL;
	if (problem) {
		place_error(&mistake, stopped, "%s", problem);
		err_list_add(all, &mistake);
	}
	stopped = *where;
	if (json && has_escaped_nul(&stopped)) {
		place_error(&mistake, stopped, "a text must not contain \\u0000");
		err_list_add(all, &mistake);
	}
	return json;
}

void mended_deinit(mended *m)
{
	free(m->json);
	free(m->lines);
	*m = (mended){ .json = NULL };
}

void json_no_duplicates(const cJSON *object, place where, err_list *all)
{
	int index = 0;
	err mistake;

	for (const cJSON *item = object->child; item; item = item->next, index++) {
		if (index == JSON_MEMBERS_MAX) {
			place_error(&mistake, place_child(where, index, true), "more than %d members",
				    JSON_MEMBERS_MAX);
			err_list_add(all, &mistake);
			return;
		}
		for (const cJSON *before = object->child; before != item; before = before->next) {
			if (strcmp(item->string, before->string) != 0)
				continue;
			place at = place_child(where, index, true);
			if (place_mended(at))
				place_error(&mistake, at, "this name is given twice");
			else
				place_error(&mistake, at, "\"%.60s\" is given twice", item->string);
			err_list_add(all, &mistake);
			break;
		}
	}
}

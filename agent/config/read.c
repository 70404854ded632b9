/* SPDX-License-Identifier: MIT */
#include "config/read.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/whole_file.h"
#include "config/config.h"

static char *read_file(const char *path, err *e)
{
	FILE *f = fopen(path, "re");
	char *text = f ? malloc(CONFIG_FILE_MAX + 1) : NULL;
	size_t len = text ? fread(text, 1, CONFIG_FILE_MAX + 1, f) : 0;

	if (!text && (f || errno == ENOMEM)) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", path);
	} else if (!text) {
		err_set(e, "%s: %s%s", path, strerror(errno), whole_file_read_hint(errno));
	} else if (ferror(f) != 0) {
		err_set(e, "%s: cannot be read: %s", path, strerror(errno));
	} else if (len > CONFIG_FILE_MAX) {
		err_set(e, "%s: larger than %d bytes", path, CONFIG_FILE_MAX);
	} else if (memchr(text, '\0', len)) {
		err_set(e, "%s: has a NUL byte in it, so it is no JSON text", path);
	} else {
		fclose(f);
		text[len] = '\0';
		return text;
	}
	if (f)
		fclose(f);
	free(text);
	return NULL;
}

static const setting *add(settings *s, setting item)
{
	s->items[s->count] = item;
	return &s->items[s->count++];
}

static void add_members(settings *s, place where)
{
	int index = 0;

	for (const cJSON *item = s->file_json->child; item; item = item->next, index++) {
		const option_info *o = option_by_key(item->string);
		const setting *added = add(s, (setting){ .option = o,
							 .source = FROM_FILE,
							 .json = item,
							 .where = place_child(where, index, !o) });
		if (o && o->type == OPTION_ROUTES)
			s->routes_file = added;
	}
}

static void add_text(settings *s, const option_info *o, setting_source source, const char *text)
{
	const setting *added = add(s, (setting){ .option = o, .source = source, .text = text });

	if (o->type == OPTION_ROUTES)
		s->routes_text = added;
}

static void add_variable_and_flags(settings *s, const option_info *o, const option_text *flags, size_t count)
{
	char name[64];

	option_variable(o, name, sizeof name);
	const char *text = getenv(name);
	if (text && *text)
		add_text(s, o, FROM_VARIABLE, text);
	for (size_t i = 0; i < count; i++)
		if (flags[i].option == o)
			add_text(s, o, FROM_FLAG, flags[i].text);
}

static size_t members_of(const cJSON *object)
{
	size_t count = 0;

	for (const cJSON *item = object ? object->child : NULL; item; item = item->next)
		count++;
	return count;
}

static bool parse_file(settings *s, err *e)
{
	err mistake;

	s->file_text = read_file(s->file, e);
	if (!s->file_text)
		return false;
	s->file_place = (place){ s->file, s->file_text, 0, NULL };
	s->file_json = json_parse(&s->file_place, &s->file_mended, &s->errors, e);
	if (!s->file_json)
		return s->errors.count > 0;
	if (cJSON_IsObject(s->file_json)) {
		json_no_duplicates(s->file_json, s->file_place, &s->errors);
	} else {
		place_error(&mistake, s->file_place, "the configuration must be a JSON object");
		err_list_add(&s->errors, &mistake);
	}
	return true;
}

static bool parse_routes(settings *s, err *e)
{
	const setting *text = s->routes_text;

	s->routes_place = (place){ text->source == FROM_FLAG ? "--routes" : ROUTES_VARIABLE, text->text, 0, NULL };
	s->routes_json = json_parse(&s->routes_place, &s->routes_mended, &s->routes_errors, e);
	return s->routes_json || s->routes_errors.count;
}

bool settings_read(settings *s, const char *file, const option_text *flags, size_t count, err *e)
{
	*s = (settings){ .file = file };
	if (!s->file && access(CONFIG_FILE, F_OK) == 0)
		s->file = CONFIG_FILE;
	if (s->file && !parse_file(s, e))
		return false;
	/* A default and a variable for each option, the members of the file, and the flags. */
	s->items = calloc(2 * options_count + members_of(s->file_json) + count, sizeof *s->items);
	if (!s->items)
		return err_memory(e);
	for (const option_info *o = options; o < options + options_count; o++)
		if (o->fallback)
			add_text(s, o, FROM_DEFAULT, o->fallback);
	if (cJSON_IsObject(s->file_json) && members_of(s->file_json) <= JSON_MEMBERS_MAX)
		add_members(s, s->file_place);
	for (const option_info *o = options; o < options + options_count; o++)
		add_variable_and_flags(s, o, flags, count);
	return !s->routes_text || parse_routes(s, e);
}

void settings_deinit(settings *s)
{
	cJSON_Delete(s->file_json);
	cJSON_Delete(s->routes_json);
	mended_deinit(&s->file_mended);
	mended_deinit(&s->routes_mended);
	err_list_deinit(&s->errors);
	err_list_deinit(&s->routes_errors);
	free(s->file_text);
	free(s->items);
	*s = (settings){ 0 };
}

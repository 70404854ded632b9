/* SPDX-License-Identifier: MIT
 *
 * Reads what was said about each option, in the order in which it counts: the default, the file, the variable, the
 * flags. Nothing is judged here but that the file is a JSON object without duplicate members; see check.h. */
#ifndef CONFIG_READ_H
#define CONFIG_READ_H

#include "config/options.h"
#include "config/parse.h"

typedef enum setting_source { FROM_DEFAULT, FROM_FILE, FROM_VARIABLE, FROM_FLAG } setting_source;

/* One value of one option. Everything is borrowed. */
typedef struct setting {
	const option_info *option; /* NULL: a member of the file that is no option */
	setting_source source;
	const cJSON *json; /* FROM_FILE: the member; otherwise NULL */
	const char *text;  /* of the other sources */
	place where;       /* FROM_FILE: of the member's value, or of its name where it is no option */
} setting;

typedef struct settings {
	setting *items; /* owned; a later one of the same option counts more */
	size_t count;
	const char *file; /* borrowed; NULL: there is no configuration file */
	char *file_text;
	cJSON *file_json;
	/* The routes, where the file or a text (the variable, or the flag, which counts more) has them. */
	const setting *routes_file, *routes_text;
	cJSON *routes_json; /* parsed from `routes_text`; NULL: `routes_error` says why not */
	err routes_error;
} settings;

/* Reads all sources. `file` NULL: CONFIG_FILE, if there is one. False: `e` says what cannot be read. Call
 * settings_deinit() in either case. */
bool settings_read(settings *s, const char *file, const option_text *flags, size_t count, err *e);
void settings_deinit(settings *s);

/* Where the text of a routes variable or flag begins. */
place setting_text_place(const setting *s);

#endif

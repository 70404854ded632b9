/* SPDX-License-Identifier: MIT
 *
 * Collects the values that each source has for the options: the defaults, the file, the variables, the flags. Finds
 * mistakes in JSON and members that the file has twice; check.h does the rest. */
#ifndef CONFIG_READ_H
#define CONFIG_READ_H

#include "config/options.h"
#include "config/parse.h"

typedef enum setting_source { FROM_DEFAULT, FROM_FILE, FROM_VARIABLE, FROM_FLAG } setting_source;

/* One value of one option. All pointers are borrowed. */
typedef struct setting {
	const option_info *option; /* NULL: a member of the file that is no option */
	setting_source source;
	const cJSON *json; /* FROM_FILE: the member; otherwise NULL */
	const char *text;  /* of the other sources */
	place where;       /* FROM_FILE: of the member's value; of its name if `option` is NULL */
} setting;

typedef struct settings {
	setting *items; /* owned; of two settings of one option the later one counts */
	size_t count;
	const char *file; /* the configuration file; borrowed; NULL: there is none */
	char *file_text;
	mended file_mended, routes_mended;
	place file_place, routes_place; /* of the JSON texts that were parsed */
	cJSON *file_json;
	err_list errors;            /* of all that was given but `routes_text` */
	const setting *routes_file; /* the routes of the file; NULL: it has none */
	const setting *routes_text; /* the routes of the last flag, or else of the variable; NULL: there are none */
	cJSON *routes_json;         /* parsed from `routes_text`; if `routes_errors` has some, as far as possible */
	err_list routes_errors;
} settings;

/* Reads all sources. `file` NULL: CONFIG_FILE, if there is one. Mistakes are in s->errors. False: `e` says what cannot
 * be read. Call settings_deinit() in either case. */
bool settings_read(settings *s, const char *file, const option_text *flags, size_t count, err *e);
void settings_deinit(settings *s);

#endif

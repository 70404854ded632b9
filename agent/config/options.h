/* SPDX-License-Identifier: MIT
 *
 * The options: one table says for each its name, type, limits, default, variable and help. */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTES_VARIABLE "HEADROOM_UPSTREAM_ROUTES"

typedef enum option_type {
	OPTION_BOOL,
	OPTION_INT,
	OPTION_MODE,   /* octal permissions, a string */
	OPTION_CHOICE, /* one of `choices`; the value is its index */
	OPTION_STRING,
	OPTION_LIST, /* strings: an array in the file, several flags, commas in a variable */
	OPTION_ROUTES,
} option_type;

typedef struct option_info {
	const char *key; /* in the file; the flag is the same with dashes */
	option_type type;
	size_t offset;    /* in config */
	int64_t min, max; /* of the number, or of the length of a string */
	const char *choices[5];
	const char *fallback; /* the default, as text */
	const char *variable; /* NULL: SPOA_LLM_ and the key in capitals */
	bool reloadable;
	const char *arg; /* what --help shows for the value; NULL for booleans */
	const char *help;
} option_info;

extern const option_info options[];
extern const size_t options_count;

/* The option with this key; NULL: there is none. */
const option_info *option_by_key(const char *key);

/* Writes the name of the option's variable. */
void option_variable(const option_info *o, char *out, size_t cap);
/* Writes the option's flag without its dashes. */
void option_flag(const option_info *o, char *out, size_t cap);

/* A flag of the command line: its option and the text of its value. */
typedef struct option_text {
	const option_info *option;
	const char *text;
} option_text;

#endif

/* SPDX-License-Identifier: MIT
 *
 * The commands, the flags of single commands, and what a command line sets of both. Help, man pages and completions are
 * made of these tables. */
#ifndef COMMANDS_TABLE_H
#define COMMANDS_TABLE_H

#include "commands/cli.h"

/* Bits, so that a flag can name the commands that have it. */
typedef uint64_t command_id;

/* At most one of the functions is given; `run` has none, because its function is not in commands/. */
typedef struct command {
	command_id id;
	const char *name;     /* one word, or two */
	const char *argument; /* what has to stand after it: FILE, NAME; NULL: nothing */
	const char *help;     /* up to a comma or semicolon it is what the list of commands says */
	const char *examples; /* one a line */
	int (*backends)(config *c, const char *output);
	int (*check)(const char *file, const option_text *flags, size_t count, const check_flags *ask);
	int (*explain)(config *c, const explain_flags *ask);
	int (*ledger)(const config *c, const ledger_request *ask);
	int (*client)(const config *c, const client_flags *ask);
	int (*file)(const char *path); /* needs no configuration, as the next one */
	int (*tap)(const option_text *flags, size_t count, const tap_flags *ask);
} command;

extern const command commands[];
extern const size_t commands_count;

/* The command with this name; NULL: there is none. */
const command *command_by_name(const char *name);
/* True for a command of two words, of which `group` is the first. */
bool command_is_of(const command *c, const char *group);
/* Writes the names of the commands `of`: "explain, savings, ledger export". */
void command_list(command_id of, char *out, size_t cap);

/* A flag of single commands. It sets one thing: a text, a switch, or a list, to which the function `add` adds and
 * returns false if the list is full. Flags of one name may mean different things to different commands; all of them
 * have a value, or none has. */
typedef struct flag_info {
	const char *name;
	const char *arg; /* what help shows for the value; NULL: it is a switch */
	command_id of;   /* the commands that have it */
	const char *help;
	const char **text;
	bool *on;
	bool (*add)(const char *text);
	const char *values;   /* all that it takes, separated by spaces; NULL: anything */
	const char *expected; /* the same for a person */
} flag_info;

extern const flag_info own_flags[];
extern const size_t own_flags_count;

enum { FLAGS_MAX = 64 }; /* options of the configuration that may be given as flags */

/* The command line, parsed. */
typedef struct command_line {
	const command *command;
	const char *file; /* of the configuration */
	option_text flags[FLAGS_MAX];
	size_t flags_count;
	check_flags check;
	explain_flags ask;
	ledger_request ledger;
	client_flags client;
	tap_flags tap;
} command_line;

extern command_line line;

#endif

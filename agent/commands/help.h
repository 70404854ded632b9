/* SPDX-License-Identifier: MIT
 *
 * Help on standard output, made of the tables in table.h. */
#ifndef COMMANDS_HELP_H
#define COMMANDS_HELP_H

#include "commands/table.h"

/* Prints the list of commands. */
void help_print(void);
/* Prints how a command is used, its flags and examples. */
void help_print_command(const command *c);
/* Prints the commands of two words of which `group` is the first. */
void help_print_group(const char *group);

#endif

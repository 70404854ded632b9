/* SPDX-License-Identifier: MIT
 *
 * Reads the command line into `line` (table.h). */
#ifndef COMMANDS_LINE_H
#define COMMANDS_LINE_H

#include "commands/table.h"

enum { LINE_GO_ON = -1 }; /* what line_parse() returns instead of an exit code */

/* Reads the words of the command line, and answers those that ask for help or the version. Returns LINE_GO_ON if
 * line.command is to be run, or the exit code: of a mistake, which was said on standard error, or of help. Reorders
 * `argv`. */
int line_parse(int argc, char **argv);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The tables of commands, flags, options, log events and refusals for programs (`spoa-llm --help=table`); dist/manual
 * makes the man pages from them. */
#ifndef COMMANDS_MANUAL_H
#define COMMANDS_MANUAL_H

#include <stdio.h>

/* Prints a line each, with tabs between its parts:
 * - the word `command`, name, what has to stand after it, help;
 * - the word `flag`, name, name of the value, the commands that have it, help;
 * - the word `option`, key, flag, variable, type, smallest, largest, choices (with |), default, `reload` if SIGHUP
 *   reads it anew, name of the value, help;
 * - the word `event`, name, level, fields, what happened, what to do;
 * - the word `refusal`, code, status, message. */
void manual_write(FILE *out);

#endif

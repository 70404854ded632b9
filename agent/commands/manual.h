/* SPDX-License-Identifier: MIT
 *
 * The option table for programs: what dist/manual makes the man pages from. */
#ifndef COMMANDS_MANUAL_H
#define COMMANDS_MANUAL_H

#include <stdio.h>

/* One line per option: the word `option`, key, flag, variable, type, smallest, largest, choices (with |), default,
 * whether SIGHUP reads it anew, name of the value, help. Between them tabs. */
void manual_options(FILE *out);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The tables of options, log events and refusals for programs; dist/manual makes the man pages from them. */
#ifndef COMMANDS_MANUAL_H
#define COMMANDS_MANUAL_H

#include <stdio.h>

/* Prints one line per option, with tabs between its parts: the word `option`, key, flag, variable, type, smallest,
 * largest, choices (with |), default, whether SIGHUP reads it anew, name of the value, help. */
void manual_options(FILE *out);

/* Prints in the same way one line per log event: the word `event`, name, level, fields, what happened, what to do; and
 * one per refusal: the word `refusal`, code, status, message. */
void manual_events(FILE *out);

#endif

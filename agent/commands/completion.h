/* SPDX-License-Identifier: MIT
 *
 * Completions for shells, made of the tables in table.h and of the configuration's options. */
#ifndef COMMANDS_COMPLETION_H
#define COMMANDS_COMPLETION_H

/* Prints the completions for the shell `name`: bash, zsh or fish. Returns the exit code. */
int command_completion(const char *name);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Questions to the person at the terminal. */
#ifndef COMMANDS_ASK_H
#define COMMANDS_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* True if somebody is there to be asked. */
bool ask_possible(void);
/* Asks `question` on standard error. True if the answer is yes. */
bool ask_yes(const char *question);
/* Asks for a line that is not shown while it is typed, and writes it to `out` without its end. Returns its length; -1:
 * there is none, or it is too long. */
ssize_t ask_hidden(const char *prompt, char *out, size_t cap);

#endif

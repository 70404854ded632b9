/* SPDX-License-Identifier: MIT
 *
 * Ctrl-C in a long command, which then ends between two of its steps and says how far it came. */
#ifndef COMMANDS_INTERRUPT_H
#define COMMANDS_INTERRUPT_H

#include <stdbool.h>

enum { EXIT_INTERRUPTED = 130 }; /* 128 and SIGINT, as shells have it */

/* From now on the first SIGINT or SIGTERM is only noted. A second one kills the process. */
void interrupt_begin(void);
/* Returns a descriptor that can be read once a signal was noted; -1: there is none. */
int interrupt_fd(void);
/* True if a signal was noted. */
bool interrupted(void);

#endif

/* SPDX-License-Identifier: MIT
 *
 * What the commands about the fleet share. */
#ifndef COMMANDS_FLEET_COMMAND_H
#define COMMANDS_FLEET_COMMAND_H

#include "commands/cli.h"
#include "commands/progress.h"
#include "ship/pq.h"

/* Seconds that a statement may take: of a report, which reads much; of an export, whose reader may be slow. */
enum { FLEET_REPORT_S = 3600, FLEET_EXPORT_S = 86400 };

/* Connects to the PostgreSQL that `c` names. `statement_s`: how long a statement may take; 0: the usual time. NULL:
 * says why on standard error, and `*code` is the exit code. */
pq *fleet_command_open(const config *c, bool write, int statement_s, int *code);
/* The same for reading that takes long: shows by `p` how long it has taken, and a signal (interrupt.h) ends it. */
pq *fleet_command_open_long(const config *c, int statement_s, progress *p, int *code);

/* Says on standard error what went wrong. Returns the exit code for `result`. */
int fleet_command_failed(pq_result result, const err *e);

#endif

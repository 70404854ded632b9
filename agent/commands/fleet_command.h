/* SPDX-License-Identifier: MIT
 *
 * What the commands about the fleet share. */
#ifndef COMMANDS_FLEET_COMMAND_H
#define COMMANDS_FLEET_COMMAND_H

#include "commands/cli.h"
#include "commands/progress.h"
#include "ship/pq.h"

/* How long a statement may take that reads much; the reader of an export may be slow. */
enum { FLEET_REPORT_S = 3600, FLEET_EXPORT_S = 86400 };

/* Connects to the PostgreSQL that `c` names. `statement_s`: how long a statement may take; 0: the usual time. NULL:
 * says why on standard error, and `*code` is the exit code. */
pq *fleet_command_open(const config *c, bool write, int statement_s, int *code);
/* The same to read what takes long: shows in `p` how long that is, and a signal (interrupt.h) ends it. */
pq *fleet_command_open_long(const config *c, int statement_s, progress *p, int *code);

/* Says on standard error what went wrong. Returns the exit code for `result`. */
int fleet_command_failed(pq_result result, const err *e);

#endif

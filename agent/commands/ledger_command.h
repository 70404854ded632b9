/* SPDX-License-Identifier: MIT
 *
 * What the commands that open the ledger share. */
#ifndef COMMANDS_LEDGER_COMMAND_H
#define COMMANDS_LEDGER_COMMAND_H

#include "commands/cli.h"
#include "ledger/store.h"

/* Opens the ledger that `c` names. `writer`: also to write; `make`: creates it if there is none. NULL: says why on
 * standard error and in `e`, and sets `*code` to the exit code. */
store *ledger_command_open(const config *c, bool writer, bool make, int *code, err *e);

/* Says on standard error what went wrong. Returns the exit code for `result`. */
int ledger_command_failed(store_result result, const err *e);
/* Says on standard error that a signal ended the reading. Returns the exit code. */
int ledger_command_stopped(void);

#endif

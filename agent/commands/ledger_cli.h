/* SPDX-License-Identifier: MIT
 *
 * What the commands that open the ledger share. They work beside a running agent, and without one. */
#ifndef COMMANDS_LEDGER_CLI_H
#define COMMANDS_LEDGER_CLI_H

#include "config/config.h"
#include "ledger/store.h"

enum {
	LEDGER_PATIENCE = 100,
	LEDGER_PAUSE_MS = 100
}; /* how often and after how long a locked database is tried again */

/* The ledger that the configuration names. NULL: *code is the exit code, and what to do was said. `make`: where there
 * is none yet, one is made. */
store *ledger_open_store(const config *c, bool writer, bool make, int *code);
/* The same for a directory, without a word to anybody: `e` has it. */
store *ledger_try_open(const char *ledger, bool writer, bool make, int *code, err *e);
/* Says what went wrong; the exit code for it. */
int ledger_failed(store_result result, const err *e);
/* Whether to try again after `result`: waits a moment and counts `*tries`. */
bool ledger_again(store_result result, int *tries);
/* From any thread, for good: nobody waits for a lock any more. */
void ledger_hurry(void);

#endif

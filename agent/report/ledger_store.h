/* SPDX-License-Identifier: MIT
 *
 * Opens the ledger's database for a report or an import. Works beside a running agent and without one. */
#ifndef REPORT_LEDGER_STORE_H
#define REPORT_LEDGER_STORE_H

#include "ledger/store.h"

/* Opens the database in the directory `ledger` ("": none is configured); close it with store_close(). `writer`: also to
 * write. `make`: creates the database if there is none. NULL: `e` says why and what to do, and `*code` is the exit code
 * of a command that needs the database. */
store *ledger_store_open(const char *ledger, bool writer, bool make, int *code, err *e);

/* If `result` says that the database is locked: counts `*tries`, waits a moment and returns true. Then call the store's
 * function again. False: after 100 tries, and for any other result. */
bool ledger_store_retry(store_result result, int *tries);

/* Makes ledger_store_retry() return false from now on, so that a process that is ending does not wait for a lock. Can
 * be called from any thread and cannot be undone. */
void ledger_store_stop_retrying(void);

/* The exit code of a command whose store function returned `result`. */
int ledger_store_exit_code(store_result result);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Is the ledger whole, and when was there no request? */
#ifndef REPORT_VERIFY_H
#define REPORT_VERIFY_H

#include "base/must_check.h"
#include "ledger/store.h"

/* Checks the whole ledger and prints to standard output what is wrong with it, and the stretches of hours without a
 * request: as JSON all of them, as text the longest unless `all_gaps`. `*problems`: how many were found; a file too
 * damaged to be read is one, with STORE_OK. Other results: `e` says why the check did not end. */
MUST_CHECK store_result verify_print(store *s, bool json, bool all_gaps, size_t *problems, err *e);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Every recorded request, one line each. */
#ifndef REPORT_EXPORT_H
#define REPORT_EXPORT_H

#include "base/must_check.h"
#include "ledger/store.h"
#include "report/period.h"

/* Prints the requests of `p` to standard output, oldest first, as CSV or as one JSON object a line. Stops early, with
 * STORE_OK, if standard output fails: see finish_output(). */
MUST_CHECK store_result export_print(store *s, period p, bool csv, err *e);

#endif

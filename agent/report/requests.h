/* SPDX-License-Identifier: MIT
 *
 * Single requests for a person: a line each, or all that is known of one. */
#ifndef REPORT_REQUESTS_H
#define REPORT_REQUESTS_H

#include "ledger/record.h"
#include "report/print.h"

/* Prints the titles of the columns that a terminal of this width has room for; not a terminal: of all of them. */
void requests_heading(const terminal *t, bool gateways);
/* Prints the line of `r`; `gateway` NULL: without that column. */
void requests_line(const terminal *t, const record *r, const char *gateway);
/* Prints every field of `r`, a line each. */
void requests_one(const terminal *t, const record *r, const char *gateway);

#endif

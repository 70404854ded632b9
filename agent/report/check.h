/* SPDX-License-Identifier: MIT
 *
 * Which routes can serve requests: their backends and credentials, as they are now. */
#ifndef REPORT_CHECK_H
#define REPORT_CHECK_H

#include <stdio.h>

#include "decide/policy.h"

/* Writes a line for each enabled route and each target of `p`, and one that says what a route's credential goes along
 * with. Returns how many routes would refuse every request, because they have no backend or their credential is
 * missing. */
size_t check_write(FILE *f, const policy *p);

#endif

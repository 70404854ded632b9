/* SPDX-License-Identifier: MIT
 *
 * Which routes can serve requests: their backends and credentials, as they are now. */
#ifndef REPORT_CHECK_H
#define REPORT_CHECK_H

#include "decide/policy.h"
#include "report/findings.h"

/* Says of each enabled route and each target of `p` where its requests go, and with which credential. A route that
 * would refuse every request, because it has no backend or its credential is missing, is a problem. */
void check_write(findings *to, const policy *p);

#endif

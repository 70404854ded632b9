/* SPDX-License-Identifier: MIT
 *
 * How a gateway does: requests, errors and times by hour or day, by upstream, and what was refused. */
#ifndef REPORT_OPERATION_H
#define REPORT_OPERATION_H

#include "report/view.h"

/* See view_answer(). */
MUST_CHECK view_result operation_answer(const view_question *q, const figures_source *source, FILE *out, int *result,
					err *e);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The list of requests, a page of it at a time. */
#ifndef REPORT_REQUEST_LIST_H
#define REPORT_REQUEST_LIST_H

#include "report/view.h"

/* See view_answer(). */
MUST_CHECK view_result request_list_answer(const view_question *q, const figures_source *source, FILE *out, int *result,
					   err *e);

#endif

/* SPDX-License-Identifier: MIT
 *
 * One request, with words for what the ledger knows of it, and what would become of it now. */
#ifndef REPORT_REQUEST_VIEW_H
#define REPORT_REQUEST_VIEW_H

#include "decide/policy.h"
#include "ledger/price.h"
#include "report/view.h"

/* Answers a question VIEW_REQUEST, as view_answer() does. `prices`: those of today; NULL: none are known. `decides`: by
 * which the request would be decided now; NULL: whoever asks may not know. */
MUST_CHECK view_result request_view_answer(const view_question *q, const figures_source *source,
					   const price_table *prices, const policy *decides, FILE *out, int *result,
					   err *e);

#endif

/* SPDX-License-Identifier: MIT
 *
 * What `spoa-llm explain` says of a request's client: the limits, what is left of them, and what the request would
 * reserve. */
#ifndef REPORT_EXPLAIN_CLIENT_H
#define REPORT_EXPLAIN_CLIENT_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "decide/admission.h"

/* What explain knows of the client of a request. */
typedef struct explain_client {
	const policy *policy;
	const client *client;            /* NULL: the request has none, or its key is refused */
	slice name, project;             /* of the client whose key it is, good or not; empty: nobody's */
	const admission_estimate *takes; /* what the request would reserve; NULL: nothing */
	limits_left left;                /* of the tokens of a minute */
	bool by_ledger; /* the ledger alone says what is spent: what is charged and reserved, and how many tokens are
			   left of the minute, the agent's memory would say */
} explain_client;

/* Adds `client`, `project`, `limits` and `reserves` to `json`. If memory runs out, parts are missing, as cJSON does it.
 */
void explain_client_json(cJSON *json, const explain_client *x);
/* Writes the same to `f` for people, in lines. */
void explain_client_text(FILE *f, const explain_client *x);

#endif

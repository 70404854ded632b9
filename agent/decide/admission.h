/* SPDX-License-Identifier: MIT
 *
 * Admits a request by the budgets and the tokens a minute of its client and the client's project. */
#ifndef DECIDE_ADMISSION_H
#define DECIDE_ADMISSION_H

#include "decide/decision.h"

/* Where the number of an answer's tokens comes from. */
typedef enum output_from {
	OUTPUT_ASKED,   /* the request says how many there may be */
	OUTPUT_LEARNED, /* what answers of the model took lately */
	OUTPUT_ASSUMED, /* nothing is known of the model's answers */
} output_from;

/* What a request may take, before that is known. */
typedef struct admission_estimate {
	output_from from;
	int64_t input, output; /* tokens; `output` of all answers */
	int64_t answers;       /* that the request asks for */
	bool priced;           /* the model has a price */
	int64_t nano;          /* what it may cost; 0 if it is not priced */
} admission_estimate;

/* Estimates the tokens of a request's input: no fewer than the ledger estimates for the same body (ledger/usage.c). */
int64_t admission_input(const model_sample *s);

/* Reserves what a request that `d` lets through may take, or refuses the request. Takes no lock and allocates nothing.
 */
void admission_ask(const policy *p, const llm_request *r, decision *d);
/* Refuses the request if admission_ask() would, but reserves nothing: for those who only want to know. False: the agent
 * counts nothing of such a request, and `*e` is not set. */
bool admission_look(const policy *p, const llm_request *r, decision *d, admission_estimate *e);
/* Gives back what was reserved, because the ACK could not be sent. */
void admission_undo(const policy *p, const llm_request *r);

#endif

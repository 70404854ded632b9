/* SPDX-License-Identifier: MIT
 *
 * Admits a request by the budgets and the tokens a minute of its client and the client's project. */
#ifndef NET_ADMISSION_H
#define NET_ADMISSION_H

#include "decide/decision.h"

/* Reserves what a request that `d` lets through may cost, or refuses it. Takes no lock and allocates nothing. */
void admission_ask(const policy *p, const llm_request *r, decision *d);
/* Gives back what was reserved, because the ACK could not be sent. */
void admission_undo(const policy *p, const llm_request *r);

#endif

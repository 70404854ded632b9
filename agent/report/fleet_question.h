/* SPDX-License-Identifier: MIT
 *
 * What the page asks about the fleet, as a line of JSON from the agent to `spoa-llm ship` (ship/ask.h), and the
 * answers: those of the commands. */
#ifndef REPORT_FLEET_QUESTION_H
#define REPORT_FLEET_QUESTION_H

#include "ship/ask.h"
#include "ship/pq.h"

/* {"about":"savings","since":"30d","by":"model"}: `about` is the path of the agent's address, and the others are its
 * parameters (report/view.h), without `scope`. */
typedef struct fleet_parameter {
	const char *name, *value;
} fleet_parameter;
typedef struct fleet_question {
	const char *about; /* savings, operation, requests, request; gateways, as `spoa-llm fleet list` */
	size_t count;
	const fleet_parameter *items;
} fleet_question;

/* Asks the shipper at `address`: see ask_shipper(). */
MUST_CHECK ask_result fleet_question_ask(const char *address, int stop_fd, const fleet_question *q, FILE *out, err *e);

/* Writes the answer to `line` to `out`. Anything but ASK_OK: `e` says why there is none, and `*result` is what
 * PostgreSQL has said. */
MUST_CHECK ask_result fleet_question_answer(pq *c, slice line, FILE *out, pq_result *result, err *e);

#endif

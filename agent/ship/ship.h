/* SPDX-License-Identifier: MIT
 *
 * The process `spoa-llm ship`: a thread that ships, and the main thread, which tells the agent once a second how far it
 * is, handles signals, and speaks to the service manager. */
#ifndef SHIP_SHIP_H
#define SHIP_SHIP_H

#include "ship/answers.h"
#include "ship/otlp.h"
#include "ship/shipper.h"

typedef struct ship_settings {
	const char *db; /* the ledger's path */
	const char *name;
	const char *uri, *password_file; /* uri "": rows are not sent to PostgreSQL */
	const otlp_settings *otlp;       /* NULL: no spans are sent */
	/* Sockets of the agent, as "dgram@/PATH". */
	const char *const *agents;
	size_t agents_count;
	const char *listen; /* where the agent asks about the fleet (ask.h); "": nowhere */
	/* As `answer` of answers_settings. */
	ask_result (*answer)(pq *c, slice question, FILE *out, pq_result *result, err *e);
} ship_settings;

enum { SHIP_REPORT_MAX = 2048 }; /* bytes of a datagram */

/* Writes what the agent is told: a JSON object. Returns its length. */
size_t ship_report(char out[SHIP_REPORT_MAX], const ship_status *status);

/* Ships until SIGTERM or SIGINT. Returns the exit code. */
int ship_run(const ship_settings *settings);

#endif

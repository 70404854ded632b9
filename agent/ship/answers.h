/* SPDX-License-Identifier: MIT
 *
 * Answers the agent's questions about the fleet (ask.h), by a thread and a connection to PostgreSQL of its own, one
 * question after the other. Shipping goes on meanwhile, and neither waits for the other. */
#ifndef SHIP_ANSWERS_H
#define SHIP_ANSWERS_H

#include <pthread.h>

#include "net/listener.h"
#include "ship/ask.h"
#include "ship/pq.h"

enum {
	ANSWERS_STATEMENT_S = 10,     /* for each statement */
	ANSWERS_IDLE_MS = 60 * 1000,  /* without a question, after which the connection to PostgreSQL is closed */
	ANSWERS_ASKED_MS = 2000,      /* for an agent to send its question */
	ANSWERS_TAKEN_MS = 10 * 1000, /* and to take the answer, so that it cannot keep others from asking */
};

typedef struct answers_settings {
	const char *address; /* unix@/PATH */
	pq_settings server;
	/* Writes the answer to the question, a line of JSON, to `out`. ASK_WRONG, ASK_AWAY: `e` says why there is none;
	 * `*result` is what PostgreSQL has said. */
	ask_result (*answer)(pq *c, slice question, FILE *out, pq_result *result, err *e);
	/* True: PostgreSQL is not asked now, because it cannot be reached; `e` says why. */
	bool (*away)(void *ctx, err *e);
	void *ctx;
} answers_settings;

typedef struct answers {
	answers_settings set;
	listener at;
	pthread_t thread;
	bool running;
	pq *c; /* NULL: none is open */
} answers;

/* Opens the socket, which the group of its directory may use. Call it while the process has one thread. False: `e` says
 * why it is not open. */
MUST_CHECK bool answers_open(answers *a, const answers_settings *set, err *e);
/* Starts the thread, which ends when `set.server.stop_fd` can be read. 0, or an errno. */
MUST_CHECK int answers_start(answers *a);
/* Waits for the thread's end, until `until` (CLOCK_REALTIME). False: it has not ended. */
MUST_CHECK bool answers_join(answers *a, const struct timespec *until);
void answers_close(answers *a);

#endif

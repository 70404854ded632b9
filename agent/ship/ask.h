/* SPDX-License-Identifier: MIT
 *
 * Asks `spoa-llm ship` for figures of the fleet: the agent has no password of PostgreSQL, and the shipper has it.
 *
 * One question a connection to a unix socket: a line of JSON (report/fleet_question.h). The answer is a line "STATUS
 * LENGTH", and LENGTH bytes: what was asked for, or if STATUS is not "ok", why there is none. answers.h is the other
 * end. */
#ifndef SHIP_ASK_H
#define SHIP_ASK_H

#include <stdio.h>

#include "base/err.h"
#include "base/must_check.h"
#include "base/slice.h"

enum {
	ASK_QUESTION_MAX = 4096,   /* bytes, with the newline */
	ASK_ANSWER_MAX = 64 << 20, /* bytes */
	ASK_HEAD_MAX = 32,         /* bytes of "STATUS LENGTH", with the newline */
	ASK_TAKEN_MS = 5 * 1000,   /* for the question to be taken */
	ASK_WAIT_MS = 20 * 1000,   /* for the beginning of the answer */
	ASK_REST_MS = 5 * 1000,    /* for the rest of it */
};

typedef enum ask_result {
	ASK_OK,
	ASK_WRONG, /* the question is at fault */
	ASK_NONE,  /* there is no such request */
	ASK_AWAY,  /* there is no answer now */
} ask_result;

/* The names of the results in the answer. */
extern const char *const ask_result_names[ASK_AWAY + 1];

/* Sends `question`, a line, to the shipper at the unix socket `address`, and writes the answer to `out`. Gives up when
 * `stop_fd` can be read, or after the times above. Anything but ASK_OK: `e` says why, and `out` may have a part of the
 * answer. */
MUST_CHECK ask_result ask_shipper(const char *address, int stop_fd, slice question, FILE *out, err *e);

#endif

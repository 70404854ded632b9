/* SPDX-License-Identifier: MIT
 *
 * Sends OTLP over HTTP by libcurl, which is loaded when the first of these is made, so that the agent never has it. */
#ifndef SHIP_POST_H
#define SHIP_POST_H

#include "base/err.h"
#include "base/must_check.h"
#include "base/slice.h"

typedef enum post_result {
	POST_ANSWERED, /* `status` and the rest of the answer are set */
	POST_LOST,     /* no answer: no connection, or none in time */
	POST_REFUSED,  /* a setting is wrong, or the server's certificate */
	POST_STOPPED,
} post_result;

typedef struct post_settings {
	const char *url;
	const char *headers_file; /* "": none */
	const char *ca_file;      /* "": the system's authorities */
	const char *agent;        /* User-Agent */
	int stop_fd;              /* readable: the process has to end */
} post_settings;

enum { POST_ANSWER_MAX = 4096 }; /* bytes of an answer; the rest is not read */

typedef struct post_answer {
	int status;
	int64_t retry_s; /* by Retry-After; 0: it said nothing */
	char body[POST_ANSWER_MAX];
	size_t body_len;
	bool cut; /* there is more of the body */
} post_answer;

typedef struct post post;

/* Takes `settings`, which has to outlive it. NULL: `e` says what is missing. */
post *post_new(const post_settings *settings, err *e);
/* Sends `body`, protocol buffers packed by gzip. If the result is not POST_ANSWERED, `e` says what happened, without
 * anything that the server has sent. The file with headers is read each time. */
post_result post_send(post *p, slice body, post_answer *answer, err *e);
void post_free(post *p);

#endif

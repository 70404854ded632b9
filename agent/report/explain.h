/* SPDX-License-Identifier: MIT
 *
 * What would be done with a request, and why: decided by the code that answers HAProxy. A credential appears by its
 * source, never by its value. */
#ifndef REPORT_EXPLAIN_H
#define REPORT_EXPLAIN_H

#include <stdio.h>

#include "base/err.h"
#include "base/must_check.h"
#include "decide/policy.h"

enum { EXPLAIN_HEADERS_MAX = 64 };

/* A request that might come. */
typedef struct explain_request {
	const char *model;                        /* NULL: the body, path or query names it, if anything does */
	const char *method;                       /* NULL: POST if there is a body or a model, else GET */
	const char *path;                         /* with or without a query string; NULL: /v1/chat/completions */
	const char *headers[EXPLAIN_HEADERS_MAX]; /* "name: value" */
	size_t headers_count;
	slice body;      /* ptr NULL: none */
	const char *key; /* of a client; NULL: none */
	/* The policy's budgets know what the ledger says and nothing else, because no agent's memory is at hand. */
	bool by_ledger;
} explain_request;

/* Writes how `p` decides the request `ask`, as JSON or as text. False: `e` says what is wrong with `ask`. */
MUST_CHECK bool explain_write(FILE *f, const policy *p, const explain_request *ask, bool json, err *e);

/* The same for the JSON object `question` with model, method, path, headers (["k: v"]), body and key, each optional;
 * writes JSON. A NUL has to follow the bytes of `question`. */
MUST_CHECK bool explain_json(FILE *f, const policy *p, slice question, err *e);

#endif

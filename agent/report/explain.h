/* SPDX-License-Identifier: MIT
 *
 * What would be done with a request, and why: decided by the code that answers HAProxy. */
#ifndef REPORT_EXPLAIN_H
#define REPORT_EXPLAIN_H

#include <stdio.h>

#include "commands/cli.h"

/* `ask->body` is not looked at: `body` is the request's own, with a null pointer where there is none. False: `e` says
 * what is wrong with what was asked. */
bool explain_write(FILE *f, const policy *p, const explain_request *ask, slice body, bool json, err *e);

/* The same for {"model","method","path","headers":["k: v"],"body"}, as JSON. A NUL stands behind the bytes of
 * `question`. */
bool explain_json(FILE *f, const policy *p, slice question, err *e);

#endif

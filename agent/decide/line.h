/* SPDX-License-Identifier: MIT
 *
 * The agent's part of the log line that HAProxy writes at a request's end, as JSON. HAProxy puts it into the line as it
 * is (haproxy.cfg.example, log-format), which costs less than one variable and one conversion for each member. */
#ifndef DECIDE_LINE_H
#define DECIDE_LINE_H

#include "decide/decision.h"

/* Returns the bytes that line_write() writes at most for `d`. */
size_t line_room(const decision *d);

/* Writes the members route, protocol, model, project, client, ua, stream and metered to `out`, each behind a comma;
 * returns the length. All of it is ASCII: other characters become \uXXXX, and bytes that are not UTF-8 are left out.
 * `stream` and `metered` are "1" or "0", like a boolean in HAProxy's own texts. Others follow only in some lines: `op`,
 * what the model is asked for, if the protocol does not tell it (endpoint_operation()); `behind`, the backend behind a
 * leg, because HAProxy logs the name of the leg; `told_before`, if the answer tells the usage of an earlier request;
 * `keyed`, if project and client are those of a key; `refused`, if the
 * agent refuses the request. */
size_t line_write(const decision *d, char *out);

#endif

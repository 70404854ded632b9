/* SPDX-License-Identifier: MIT
 *
 * Who may reach the sockets of the tap and of HAProxy's legs, as far as the effective user can tell. */
#ifndef COMMANDS_CHECK_TAP_H
#define COMMANDS_CHECK_TAP_H

#include "decide/policy.h"
#include "report/findings.h"

/* Says nothing if no route, pool or target of `t` has a leg. */
void check_tap(findings *to, const route_table *t);

#endif

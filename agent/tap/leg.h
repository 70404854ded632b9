/* SPDX-License-Identifier: MIT
 *
 * The name of a leg, which HAProxy sends in the header x-llm-leg, and the unix socket that belongs to the name. */
#ifndef TAP_LEG_H
#define TAP_LEG_H

#include <sys/un.h>

#include "base/must_check.h"
#include "base/slice.h"

/* Bytes of a name that the tap takes. The agent makes shorter ones (decide/leg.h); a later version may make longer ones
 * than the tap that runs already knows. */
enum { LEG_NAME_TAKEN = 95 };

/* Writes the address of the socket DIR/NAME.sock. False: `name` is not the name of a leg ("leg." and then letters,
 * digits, dots, hyphens and underscores, at most LEG_NAME_TAKEN bytes), or the path is too long. So a name leads to no
 * other directory, and to nothing but legs. */
MUST_CHECK bool leg_address(struct sockaddr_un *to, const char *dir, slice name);

#endif

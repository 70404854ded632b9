/* SPDX-License-Identifier: MIT
 *
 * Which program sent a request, by its User-Agent: a few names, so that a report can have a line for each. */
#ifndef LEDGER_CLIENT_H
#define LEDGER_CLIENT_H

#include "base/slice.h"

/* Returns the family of a client by its User-Agent: "other" for an unknown one, "" for an empty one. Static text. */
const char *client_family(slice user_agent);

#endif

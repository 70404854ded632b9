/* SPDX-License-Identifier: MIT
 *
 * Tells requests whose usage is not known from requests that used nothing. */
#ifndef LEDGER_UNKNOWN_H
#define LEDGER_UNKNOWN_H

#include "ledger/record.h"

/* Sets r->usage to USAGE_UNKNOWN, and the counts to -1, if nothing told or estimated a usage and tokens may have been
 * used. Call it after usage_apply(). `metered`: the endpoint's answers cost tokens (endpoint_metered()).
 *
 *   the upstream answered                         becomes unknown
 *   2xx                                           if metered
 *   101: a WebSocket, in which models run         always
 *   nothing or not all of the head, and the       if metered: the client left, the time was over, or the upstream
 *   request had reached it                        ended the connection, while a model may have run
 *   anything else: an error, a redirect           never */
void unknown_apply(record *r, bool metered);

#endif

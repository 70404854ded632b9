/* SPDX-License-Identifier: MIT
 *
 * The text that says which members of a pool were tried before the one that served, and why they did not:
 *
 *   a:429,b:unreachable
 *
 * In the order of the attempts, each NAME:WHY. WHY is the status of the answer by which the member declined (429), or
 *
 *   unreachable   HAProxy had no connection to it
 *   resting       it rests, because it declined before
 *   credential    the agent has no usable credential for it
 */
#ifndef LEDGER_TRIED_H
#define LEDGER_TRIED_H

#include "ledger/record.h"

/* Returns how many members `tried` names; 0: it is empty; -1: it has another form, or more than RECORD_ATTEMPTS_MAX - 1
 * members. */
int tried_count(slice tried);

/* Takes the first entry away from `*tried`, a text that tried_count() has accepted. False: it is empty. */
bool tried_next(slice *tried, slice *member, slice *why);

/* True if a member of a pool may have this name. */
bool member_name_valid(slice name);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The text that says which members of a pool were tried before the one that served, and why they did not serve:
 *
 *   a:429,b:unreachable
 *
 * It has an entry NAME:WHY for each attempt, in the order of the attempts. WHY is the HTTP status of the answer by
 * which the member declined (429), or
 *
 *   unreachable   HAProxy had no connection to the member
 *   resting       the member rested, because it had declined another request
 *   credential    the agent had no usable credential for the member
 */
#ifndef LEDGER_TRIED_H
#define LEDGER_TRIED_H

#include "ledger/record.h"

/* Returns how many members `tried` names; 0: `tried` is empty; -1: `tried` has another form, or names more than
 * RECORD_ATTEMPTS_MAX - 1 members. */
int tried_count(slice tried);

/* Takes the first entry away from `*tried`, a text that tried_count() has accepted, and sets `*member` and `*why`,
 * which point into that text. False: `*tried` is empty. */
bool tried_next(slice *tried, slice *member, slice *why);

/* True if a member of a pool may have the name `name`. */
bool member_name_valid(slice name);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Rests of the members of pools. A member whose upstream declined a request is passed over for some time. What is known
 * outlives a reload, because it belongs to the upstream and the credential, and not to the route. */
#ifndef DECIDE_REST_H
#define DECIDE_REST_H

#include <stdatomic.h>

#include "base/must_check.h"
#include "base/slice.h"

enum {
	REST_MIN_MS = 1000,        /* of a rest; also the first one after an answer without retry-after */
	REST_TOLD_MAX_MS = 300000, /* of a rest that the upstream asked for by retry-after */
	REST_GUESS_MAX_MS = 30000, /* of a rest after an answer without retry-after */
	REST_FORGET_MS = 60000,    /* after so long without a rest, the next guess begins with REST_MIN_MS again */
};

/* One upstream with one credential. Any thread may read and write it. */
typedef struct member_rest {
	_Atomic int64_t until_ms; /* by the monotonic clock */
	_Atomic int status;       /* of the answer that the rest is for; 0: there was none */
	_Atomic unsigned guesses; /* how often in a row the rest had to be guessed */
	atomic_bool began;        /* and rest_ended() has not said yet that it is over */
	struct member_rest *next;
	char name[]; /* of the upstream and credential */
} member_rest;

/* Returns the rest of the upstream and credential `name`, always the same one while the process lives. Only for the
 * thread that reads the configuration. NULL: out of memory. */
MUST_CHECK member_rest *rest_named(const char *name);

/* Returns for how many milliseconds from `now_ms` on the member rests. 0: it does not, as with NULL. */
int64_t rest_left(const member_rest *r, int64_t now_ms);

/* Returns the status with which a request is refused that only this member could serve: the one by which the member
 * declined, if that says "later"; else 503. */
int rest_status(const member_rest *r);

/* Notes that the member declined by an answer of `status` with this retry-after: seconds, or a date of HTTP, which is
 * compared with `wall_ms`; empty or malformed: it has none. True: the member did not rest before, and does from now on.
 */
bool rest_declined(member_rest *r, int status, slice retry_after, int64_t now_ms, int64_t wall_ms);

/* True once for each rest, when it is over. */
bool rest_ended(member_rest *r, int64_t now_ms);

#endif

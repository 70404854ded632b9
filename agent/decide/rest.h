/* SPDX-License-Identifier: MIT
 *
 * Rests of the members of pools: a member whose upstream declined a request is passed over for some time. A rest
 * belongs to an upstream with a credential, not to a route, so it outlives a reload. All times `now_ms` are
 * milliseconds of the monotonic clock. */
#ifndef DECIDE_REST_H
#define DECIDE_REST_H

#include <stdatomic.h>

#include "base/must_check.h"
#include "base/slice.h"

enum {
	REST_MIN_MS = 1000,        /* the shortest rest; also the first one after an answer without retry-after */
	REST_TOLD_MAX_MS = 300000, /* the longest rest after an answer with retry-after */
	REST_GUESS_MAX_MS = 30000, /* the longest rest after an answer without retry-after */
	REST_FORGET_MS = 60000,    /* after so long without a rest, guesses begin with REST_MIN_MS again */
};

/* The rest of one upstream with one credential. Any thread may read and write it. */
typedef struct member_rest {
	_Atomic int64_t until_ms; /* the end of the last rest; 0: there was none */
	_Atomic int status;       /* HTTP status of the answer that began the last rest; 0: there was none */
	_Atomic unsigned guesses; /* how many of the last answers in a row had no retry-after */
	atomic_bool began;        /* a rest began, and rest_ended() has not said yet that it is over */
	struct member_rest *next;
	char name[]; /* of the upstream and credential */
} member_rest;

/* Returns the rest of the upstream with credential `name` (see leg.c): always the same one for a name, never freed.
 * Only the thread that reads the configuration may call it. NULL: out of memory. */
MUST_CHECK member_rest *rest_named(const char *name);

/* Returns for how many milliseconds from `now_ms` on `r` lasts. 0: the member does not rest, or `r` is NULL. */
int64_t rest_left(const member_rest *r, int64_t now_ms);

/* Returns the HTTP status for a request that only this member could serve, and that is refused because the member
 * rests: 429 or 529 if the member declined with that, else 503. */
int rest_status(const member_rest *r);

/* Notes that the member declined by an answer with `status`. `retry_after`: the answer's header, in seconds or as a
 * date of HTTP, which is compared with `wall_ms` (Unix time in milliseconds); if it is empty or malformed, the length
 * of the rest is guessed. True: the member did not rest before, and rests from now on. */
bool rest_declined(member_rest *r, int status, slice retry_after, int64_t now_ms, int64_t wall_ms);

/* True for the first call after the end of a rest, and only for that. */
bool rest_ended(member_rest *r, int64_t now_ms);

#endif

/* SPDX-License-Identifier: MIT
 *
 * How requests ended, counted by route and backend since the process started: what upstreams answered and how long that
 * took, and the refusals that HAProxy found by itself, of which the agent learns by the log line only. Of a pool, the
 * attempts are counted by member too. */
#ifndef LEDGER_ENDS_H
#define LEDGER_ENDS_H

#include "ledger/record.h"

enum {
	ENDS_PLACES = 100,  /* pairs of route and backend; all further ones are counted as one, "other" */
	ENDS_MEMBERS = 200, /* pairs of route and member; all further ones are counted as one, "other" */
	ENDS_NOTES = 32,    /* the last refusals, to be shown to people */
	ENDS_CLASSES = 5,   /* 1xx to 5xx */
	ENDS_BUCKETS = 13,  /* their upper bounds: ends_bounds_ms[]; one more bucket has no bound */
};

extern const int64_t ends_bounds_ms[ENDS_BUCKETS];

/* The refusals that HAProxy finds: what its rules answer, and what it answers for an upstream. */
typedef enum end_refusal {
	END_GATEWAY_UNAVAILABLE,
	END_NO_BACKEND,
	END_UPSTREAM_UNAVAILABLE,
	END_UPSTREAM_TIMEOUT,
	END_UPSTREAM_ERROR,
	END_GATEWAY_ERROR,
	END_TOO_LARGE,
	END_ORIGIN,
	END_INVALID_QUERY,
	END_INVALID_UPGRADE,
	END_METHOD_NOT_ALLOWED,
	END_BAD_REQUEST,
	END_REQUEST_TIMEOUT,
	END_REFUSALS,
	END_NOT_REFUSED = END_REFUSALS, /* or the agent refused the request, and has counted it */
} end_refusal;

typedef struct end_refusal_info {
	const char *code;    /* that the client got */
	const char *problem; /* what it means, for people */
	bool upstream;       /* a fault of an upstream, or on the way to it */
} end_refusal_info;

extern const end_refusal_info end_refusals[END_REFUSALS];

typedef struct end_times {
	uint64_t buckets[ENDS_BUCKETS + 1]; /* not cumulative */
	uint64_t sum_ms;
} end_times;

typedef struct end_place {
	char route[RECORD_LABEL_MAX + 1], backend[RECORD_BACKEND_MAX + 1];
	uint64_t answers[ENDS_CLASSES]; /* of the upstream, by class of status */
	uint64_t cut;                   /* those of them that the upstream, or HAProxy, broke off */
	uint64_t refusals[END_REFUSALS];
	end_times first_byte, whole; /* of the answers */
} end_place;

/* Why a member did not serve. A status that has none of its own is END_WHY_OTHER. */
typedef enum end_why {
	END_WHY_429,
	END_WHY_500,
	END_WHY_502,
	END_WHY_503,
	END_WHY_504,
	END_WHY_529,
	END_WHY_UNREACHABLE,
	END_WHY_RESTING,
	END_WHY_CREDENTIAL,
	END_WHY_OTHER,
	END_WHYS,
} end_why;

extern const char *const end_why_names[END_WHYS]; /* as tried.h has them, and "other" */

/* What came of the requests that were offered to a member of a pool. */
typedef struct end_member {
	char route[RECORD_LABEL_MAX + 1], member[RECORD_MEMBER_MAX + 1];
	uint64_t answers[ENDS_CLASSES]; /* that clients got, by class of status */
	uint64_t cut;                   /* those of them that the upstream, or HAProxy, broke off */
	uint64_t unanswered;            /* nothing came of it, and no other member was asked; or the client left */
	uint64_t declined[END_WHYS];    /* and the next member was asked, if there was one */
	int64_t reached_ms;             /* when the last request arrived that reached it; 0: none */
	int64_t unreachable_ms;         /* and the last one for which there was no connection */
} end_member;

typedef struct end_note {
	int64_t time_ms;
	end_refusal why;
	int32_t status;
	char id[RECORD_ID_MAX + 1], route[RECORD_LABEL_MAX + 1], backend[RECORD_BACKEND_MAX + 1],
		member[RECORD_MEMBER_MAX + 1], model[RECORD_LABEL_MAX + 1];
} end_note;

typedef struct ends {
	end_place places[ENDS_PLACES + 1];
	size_t places_count;
	end_member members[ENDS_MEMBERS + 1];
	size_t members_count;
	end_note notes[ENDS_NOTES];
	uint64_t notes_taken; /* the next one goes to notes[notes_taken % ENDS_NOTES] */
} ends;

/* Counts the request `r`. `named`: the backend that the agent named and HAProxy does not have; "": there is none such.
 * `decided`: the agent decided about the request.
 * Returns why HAProxy refused the request by itself, if it did, and sets `*backend` to the backend that this is about;
 * the text belongs to `e`, `r` or the caller. */
end_refusal ends_add(ends *e, const record *r, const char *named, bool decided, const char **backend);

/* Returns the counts of a member, which are 0 if it is new; beyond the limit those of "other". */
end_member *ends_member(ends *e, const char *route, slice member);

/* How many requests HAProxy refused for this reason, of all routes. */
uint64_t ends_refused(const ends *e, end_refusal why);
/* How many requests got no answer of their upstream. */
uint64_t ends_unanswered(const end_place *p);
/* Returns the time (Unix, in milliseconds) of the last request for which there was no connection to the member.
 * 0: it answered a later one, or there was none. */
int64_t ends_unreachable_at(const end_member *m);
/* How many requests were offered to the member. */
uint64_t ends_attempts(const end_member *m);
/* How many times were counted. */
uint64_t ends_count(const end_times *t);
/* Returns an estimate of the quantile `q` in milliseconds; -1: nothing was counted. Times are assumed to be spread
 * evenly within a bucket; those above the last bound count as that bound. */
int64_t ends_quantile(const end_times *t, double q);

#endif

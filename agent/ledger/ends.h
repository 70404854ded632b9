/* SPDX-License-Identifier: MIT
 *
 * How requests ended, counted by route and backend since the process started: what upstreams answered and how long that
 * took, and the refusals that HAProxy found by itself, of which the agent learns by the log line only. The
 * attempts of requests for a pool are counted by member, too. */
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
	END_RATE,
	END_NO_KEY,
	END_KEYS,
	END_MISPLACED_KEY,
	END_REFUSALS,
	END_NOT_REFUSED = END_REFUSALS, /* or the agent refused the request, and has counted it */
} end_refusal;

/* Whether the agent refused a request, and so has counted the refusal. */
typedef enum end_agent {
	AGENT_LET_IN, /* or was not asked */
	AGENT_REFUSED,
	AGENT_UNKNOWN, /* the ledger does not keep it: a code that is shared counts as the agent's */
} end_agent;

typedef struct end_refusal_info {
	const char *code;    /* that the client got */
	const char *problem; /* what it means, for people */
	bool upstream;       /* a fault of an upstream, or on the way to it */
	bool shared;         /* the agent often refuses with this code too */
} end_refusal_info;

extern const end_refusal_info end_refusals[END_REFUSALS];

typedef struct end_times {
	uint64_t buckets[ENDS_BUCKETS + 1]; /* not cumulative */
	uint64_t sum_ms;
} end_times;

typedef struct end_place {
	char route[RECORD_LABEL_MAX + 1], backend[RECORD_BACKEND_MAX + 1];
	uint64_t answers[ENDS_CLASSES]; /* of the upstream, by class of status */
	uint64_t cut;                   /* answers that the upstream, or HAProxy, broke off; counted in `answers` too */
	uint64_t refusals[END_REFUSALS];
	end_times first_byte, whole; /* of the answers: times since the request arrived */
} end_place;

/* Why a member did not serve a request. END_WHY_OTHER: the member declined with a status that is not listed here. */
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

extern const char *const end_why_names[END_WHYS]; /* the words and statuses of tried.h, and "other" */

/* What came of the attempts at a member of a pool. */
typedef struct end_member {
	char route[RECORD_LABEL_MAX + 1], member[RECORD_MEMBER_MAX + 1];
	uint64_t answers[ENDS_CLASSES]; /* answers that clients got, by class of status */
	uint64_t cut;                   /* answers that the upstream, or HAProxy, broke off; counted in `answers` too */
	uint64_t unanswered; /* attempts without an answer after which no other member was asked, or the client left */
	uint64_t declined[END_WHYS]; /* attempts after which the next member was asked, if there was one */
	int64_t reached_ms;          /* Unix time at which the last request arrived that reached the member; 0: none */
	int64_t unreachable_ms;      /* the same of the last request for which HAProxy had no connection */
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
 * `agent`: whether the agent refused it.
 * Returns why HAProxy refused the request by itself, if it did, and sets `*backend` to the backend of that refusal;
 * the text belongs to `e`, `r` or the caller. */
end_refusal ends_add(ends *e, const record *r, const char *named, end_agent agent, const char **backend);

/* Returns the counts of `member` of the pool of `route`, and adds them, all 0, if there are none yet. Once ENDS_MEMBERS
 * are counted, a new one gets the counts of "other". The counts belong to `e`. */
end_member *ends_member(ends *e, const char *route, slice member);

/* Returns how many requests of all routes HAProxy refused because of `why`. */
uint64_t ends_refused(const ends *e, end_refusal why);
/* Returns how many requests got no answer of their upstream. */
uint64_t ends_unanswered(const end_place *p);
/* Returns the arrival (Unix time in milliseconds) of the last request for which HAProxy had no connection to the
 * member. 0: there was none, or a later request reached the member. */
int64_t ends_unreachable_at(const end_member *m);
/* Returns how many attempts there were at the member. */
uint64_t ends_attempts(const end_member *m);
/* Returns how many times were counted. */
uint64_t ends_count(const end_times *t);
/* Returns an estimate of the quantile `q` in milliseconds; -1: nothing was counted. Times are assumed to be spread
 * evenly within a bucket; those above the last bound count as that bound. */
int64_t ends_quantile(const end_times *t, double q);

#endif

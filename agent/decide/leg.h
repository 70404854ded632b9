/* SPDX-License-Identifier: MIT
 *
 * Legs. A leg is a second frontend of the same HAProxy, which asks the agent for the upstream's credential. Streams go
 * through the tap to a leg, so that the tap never sees the credential; requests for a pool go to the leg of a member. A
 * leg serves one backend with one credential. Routes that have both in common share a leg, but each member of a pool
 * has a leg of its own. `spoa-llm backends` writes the legs. */
#ifndef DECIDE_LEG_H
#define DECIDE_LEG_H

#include "decide/backend_name.h"
#include "decide/decision.h"

enum {
	/* bytes of a leg's name: the path of a unix socket has to hold it, a directory, and the suffix that HAProxy
	 * appends */
	LEG_NAME_MAX = 44,
	LEG_ACK_MAX = 512 + BACKEND_NAME_MAX + CREDENTIAL_MAX, /* bytes of an ACK */
};

/* What the agent tells a leg. The slices point into the policy, the question or static text. */
typedef struct leg_answer {
	slice id, name;     /* the request's id in HAProxy's log, and the leg's name, as the leg gave them */
	const route *route; /* the first route or member that has this leg; NULL: a legacy target has it, or nothing */
	slice backend;      /* the only backend to which the leg may send the request */
	refusal refusal;
	int status;          /* HTTP status of the refusal; 0: the leg is not refused */
	int retry_after;     /* with REFUSE_RESTING: seconds until the member is back */
	const char *problem; /* why the leg gets no credential, for the operator; static text or NULL */
	auth_header header;  /* the header that carries the credential */
	slice credential;    /* SECRET: it goes into the ACK and nowhere else. Empty: the client's own passes through */
} leg_answer;

/* Names the legs of t's pools and their members, and those of the enabled routes and targets whose streams go through
 * the tap; gives each member its rest. A name is made of backend and credential (of a member, its pool and its own name
 * too), so that after a change of routes no name means another upstream or credential. False: out of memory. */
MUST_CHECK bool legs_name(route_table *t);

/* True if a route, a member or a target may have a leg. */
bool legs_any(const route_table *t);

/* Answers the question `m` of a leg. Malformed arguments fail m->from, and then nothing in `a` may be used. */
void leg_decide(const policy *p, spop_message *m, leg_answer *a);

/* Writes the ACK to `room`, and returns its size. If it does not fit the agreed frame size, it has no action, so that
 * the leg refuses the request. */
MUST_CHECK size_t leg_ack(const leg_answer *a, const spop_session *s, unsigned char *room, size_t room_len,
			  uint64_t stream_id, uint64_t frame_id);

/* What the leg of a pool's member tells when its upstream declines a request. */
typedef struct leg_decline {
	slice id, name;    /* the request's id in HAProxy's log, and the leg's name, as the leg gave them */
	int status;        /* HTTP status of the upstream's answer */
	slice retry_after; /* the answer's retry-after header, unread; empty: it has none */
} leg_decline;

/* Reads the message `m` of a leg into `*d`; the slices point into the message. Returns the member that has to rest,
 * which belongs to `p`. NULL: no member has such a leg; or the answer is a 429 and the client's own credential passes
 * through, so that the limit is that of one client, and the upstream still serves others. Malformed arguments fail
 * m->from, and then nothing in `d` may be used. */
const route *leg_declined(const policy *p, spop_message *m, leg_decline *d);

#endif

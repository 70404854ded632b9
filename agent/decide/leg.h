/* SPDX-License-Identifier: MIT
 *
 * Legs. A request whose answer is a stream goes from HAProxy through the tap to a leg: a second frontend of the same
 * HAProxy, which asks the agent for the upstream's credential, so that the tap never sees that one. A leg serves one
 * backend with one credential; routes that have both in common share a leg. `spoa-llm backends` writes the legs. */
#ifndef DECIDE_LEG_H
#define DECIDE_LEG_H

#include "decide/decision.h"

enum {
	/* bytes of a leg's name: the path of a unix socket has the name, a directory, and what HAProxy puts behind it
	 */
	LEG_NAME_MAX = 44,
	LEG_ACK_MAX = 512 + BACKEND_NAME_MAX + CREDENTIAL_MAX, /* bytes of an ACK */
};

/* What the agent tells a leg. The slices point into the policy, the question or static text. */
typedef struct leg_answer {
	slice id, name;     /* of the request in HAProxy's log, and of the leg, as the leg gave them */
	const route *route; /* the first one that has this leg; NULL: a legacy target has it, or nobody */
	slice backend;      /* the only one to which the leg may send the request */
	refusal refusal;
	int status;          /* of the refusal; 0: it is none */
	int retry_after;     /* with REFUSE_RESTING: seconds until the member is back */
	const char *problem; /* why the leg gets no credential, for the operator; static text or NULL */
	auth_header header;  /* the header that carries the credential */
	slice credential;    /* SECRET: it goes into the ACK and nowhere else. Empty: the client's own passes through */
} leg_answer;

/* Names the legs of the enabled routes and of the targets whose streams go through the tap. A name is made of backend
 * and credential, so that it never means another upstream or credential after a change of routes. False: out of memory.
 */
MUST_CHECK bool legs_name(route_table *t);

/* True if some requests go through the tap. */
bool legs_any(const route_table *t);

/* Answers the question `m` of a leg. Malformed arguments fail m->from, and then nothing in `a` may be used. */
void leg_decide(const policy *p, spop_message *m, leg_answer *a);

/* Writes the ACK to `room`, and returns its size. If it does not fit the agreed frame size, it has no action, so that
 * the leg refuses the request. */
MUST_CHECK size_t leg_ack(const leg_answer *a, const spop_session *s, unsigned char *room, size_t room_len,
			  uint64_t stream_id, uint64_t frame_id);

/* What the leg of a pool's member tells when its upstream declines a request. */
typedef struct leg_decline {
	slice id, name;    /* of the request in HAProxy's log, and of the leg, as the leg gave them */
	int status;        /* of the answer */
	slice retry_after; /* of the answer; empty: it has none */
} leg_decline;

/* Reads the message `m` of a leg into `*d`. Returns the member that has to rest. NULL: none has such a leg, or the
 * upstream limits (429) the credential of this one client, which passes through, and others are served. Malformed
 * arguments fail m->from, and then nothing in `d` may be used. */
const route *leg_declined(const policy *p, spop_message *m, leg_decline *d);

#endif

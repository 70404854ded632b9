/* SPDX-License-Identifier: MIT
 *
 * (policy, request) -> decision -> SPOP actions. Pure: no sockets, no clock, no disk, no allocation; the only thing
 * read from outside is the environment, for credentials of the kind env:NAME. */
#ifndef DECIDE_DECISION_H
#define DECIDE_DECISION_H

#include "decide/policy.h"
#include "decide/request.h"

/* Why a request is refused, in the words of clients, logs and metrics. */
typedef enum refusal {
	REFUSE_NOT,
	REFUSE_AUTH_UNAVAILABLE,
	REFUSE_NO_BACKEND,
	REFUSE_MODEL_NOT_IN_SAMPLE,
	REFUSE_AMBIGUOUS_MODEL,
	REFUSE_INVALID_MODEL,
	REFUSE_INVALID_JSON,
	REFUSE_WEBSOCKET,
	REFUSE_GATEWAY, /* the agent could not answer */
	REFUSALS,
} refusal;

typedef struct refusal_info {
	int status;
	const char *code;
	const char *message; /* for the client */
} refusal_info;

const refusal_info *refusal_describe(refusal r);

/* Slices point into the policy, the request or static text, and live as long as those. */
typedef struct decision {
	refusal refusal;
	const route *route; /* NULL: legacy */
	slice route_name;
	const upstream *upstream; /* NULL where refused before one was chosen */
	slice backend;
	protocol caller;     /* whose error shape the client understands */
	bool replace;        /* the client's credential is replaced */
	auth_header header;  /* where `replace` */
	slice credential;    /* where `replace`; SECRET: goes into the ACK and nowhere else */
	bool ask_again;      /* refused, but HAProxy holds more of the body than it has shown */
	const char *problem; /* for the operator: why it was refused; static text or NULL */
	model_result model;
} decision;

void decide(const policy *p, const llm_request *r, decision *d);

/* What a replaced credential strips: header names, ended by NULL. Besides them the query parameter `key` and a
 * WebSocket subprotocol that carries a key. haproxy.cfg.example does it; tests compare the two. */
extern const char *const stripped_headers[];

/* The ACK of one decision in `room`. When it does not fit the agreed frame size, the ACK is the refusal
 * REFUSE_GATEWAY instead (`*fell_back` says so), and that one fits every frame. Bytes written. */
size_t decision_ack(const decision *d, const spop_session *s, unsigned char *room, size_t room_len, uint64_t stream_id,
		    uint64_t frame_id, bool *fell_back);

/* Bytes of room that decision_ack() needs at most for this decision. */
size_t decision_ack_room(const decision *d);

#endif

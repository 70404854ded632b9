/* SPDX-License-Identifier: MIT
 *
 * (policy, request) -> decision -> SPOP actions. Pure: no sockets, no disk, no allocation. It reads only the clocks,
 * and the environment, for credentials of the kind env:NAME. */
#ifndef DECIDE_DECISION_H
#define DECIDE_DECISION_H

#include "decide/clients.h"
#include "decide/endpoint.h"
#include "decide/policy.h"
#include "decide/request.h"

/* Why a request is refused. refusal_describe() has the words for clients, logs and metrics. */
typedef enum refusal {
	REFUSE_NOT,
	REFUSE_AUTH_UNAVAILABLE,
	REFUSE_NO_BACKEND,
	REFUSE_MODEL_NOT_IN_SAMPLE,
	REFUSE_AMBIGUOUS_MODEL,
	REFUSE_INVALID_MODEL,
	REFUSE_INVALID_JSON,
	REFUSE_INVALID_FORM,
	REFUSE_INVALID_CODING, /* the body is not compressed as its content-encoding says */
	REFUSE_WEBSOCKET,      /* the handshake names no model */
	REFUSE_WEBSOCKET_HTTP, /* the endpoint also speaks HTTP, where each request is decided and metered */
	REFUSE_ENDPOINT,       /* the operator's credential does not go along to this endpoint */
	REFUSE_PATH,           /* upstreams read the path in more than one way */
	REFUSE_CONTRACT,       /* haproxy.cfg and spoe.conf do not fit the agent */
	REFUSE_NO_MODEL,       /* GET /v1/models/NAME: routes list models, and none lists this one */
	REFUSE_STREAM_USAGE,   /* a stream that does not ask for its usage, where the operator requires that */
	REFUSE_RESTING,        /* each member of the pool that could serve the request rests (see rest.h) */
	REFUSE_KEY,            /* the request has no good key of a client of ours */
	REFUSE_KEYS,           /* the request has two different keys of clients of ours */
	REFUSE_CLIENT_MODEL,   /* the client may not use this model or route */
	REFUSE_QUOTA,          /* the budget of the client, or of its project, does not suffice */
	REFUSE_RATE,           /* their tokens of this minute do not suffice */
	REFUSE_TOKENS,         /* the request takes more tokens than they have in a whole minute */
	REFUSE_UNPRICED,       /* the model has no price, and the client has a budget */
	REFUSE_LEDGER_OFF,     /* HAProxy sends no records, and the client has a budget or tokens a minute */
	REFUSE_GATEWAY,        /* the agent could not answer */
	REFUSALS,
} refusal;

typedef struct refusal_info {
	int status; /* HTTP; REFUSE_AUTH_UNAVAILABLE has the table's refusal_status instead, REFUSE_RESTING
		       rest_status() */
	const char *code;
	const char *message; /* for the client */
} refusal_info;

const refusal_info *refusal_describe(refusal r);

/* Why a request takes its route, or the target of the legacy rule. */
typedef enum chosen_by {
	CHOSEN_NONE,       /* it was refused or answered before that */
	CHOSEN_BY_MODEL,   /* the first route whose conditions hold for its model */
	CHOSEN_BY_PATH,    /* the first route that takes this path, whatever the model */
	CHOSEN_WITHOUT,    /* it names no model, and this is the first route that needs none */
	LEGACY_NO_ROUTES,  /* there are no routes */
	LEGACY_NO_MATCH,   /* the conditions of no route hold */
	LEGACY_BY_PROTOCOL /* it names no model, its endpoint runs none, and no path_prefix holds: the target of its API
			    */
} chosen_by;

/* Why the operator's credential goes along, where the client's is replaced. */
typedef enum released_by {
	RELEASED_NOT,
	RELEASED_BY_ENDPOINT, /* the endpoint runs a model */
	RELEASED_BY_ASKING,   /* GET .../models/NAME */
	RELEASED_BY_PATHS,    /* the route's `paths` */
} released_by;

/* What is left of a client's limits that the agent counts, for the headers of the answer. */
typedef struct limits_left {
	int used_percent;      /* of the budget; 0: there is none, or nothing of it is spent */
	uint64_t tokens_limit; /* of a minute; 0: there is none */
	uint64_t tokens_left, tokens_reset_s;
} limits_left;

/* The slices point into the policy, the request or static text, and are valid as long as those. */
typedef struct decision {
	const llm_request *request; /* the request that was decided on */
	const client *client;       /* whose key the request has; NULL: it has none, or the key is refused */
	refusal refusal;
	int status;         /* of the refusal; 0: it is none */
	const route *route; /* NULL: legacy */
	slice route_name;
	endpoint endpoint;
	bool metered;     /* an answer costs tokens: see endpoint_metered() */
	bool told_before; /* see endpoint_told_before(); never if `metered` */
	slice operation;  /* if `metered`: see endpoint_operation() */
	chosen_by chosen_by;
	released_by released_by;
	/* NULL: the request was refused before an upstream was chosen, or its route has a pool, in which HAProxy
	 * chooses the member */
	const upstream *upstream;
	/* Of a pool: the names of the members that must not get the request, with commas between them. */
	char passed_over[POOL_MEMBERS_MAX * (MEMBER_NAME_MAX + 1)];
	size_t passed_over_len;
	limits_left left; /* if there is a client; set by admission_ask() */
	int retry_after;  /* of a refusal: seconds until it is worth while to ask again; 0: not known */
	slice backend;
	slice leg; /* by which the request goes through the tap, where HAProxy has that leg; empty: it goes to the
		      backend */
	/* Not empty: the gateway answers the request itself, with 200 and this JSON. Without a `ptr` the JSON is what
	 * models_write() writes for `listed` and `client`. */
	slice answer;
	const model_list *listed;
	protocol caller;    /* the API whose error format the client understands */
	bool replace;       /* the client's credential is replaced */
	auth_header header; /* with `replace`: the header that carries the credential */
	/* with `replace`; SECRET: it goes into the ACK and nowhere else. With a pool it is a placeholder, because each
	 * member's leg sets the member's own credential. */
	slice credential;
	bool ask_again; /* refused, but HAProxy holds more of the body than it sent, and asks again with all of it */
	const char *problem; /* why the request is refused, for the operator; static text or NULL */
	model_result model;
} decision;

/* Decides what becomes of `r`. Sets every field of `*d`, and d->model as model_find() does. If `r` has the key of a
 * client, sets project and client of `r` to those of the key. */
void decide(const policy *p, llm_request *r, decision *d);

/* Refuses the request of `d`, whatever was decided on it before. `problem` is static text for the operator. */
void decision_refuse(decision *d, refusal why, const char *problem);

/* Decides whether the key of `r` lets it in, before its body is there: sets `*d` to the refusal, or to REFUSE_NOT and
 * the client. decide() decides the rest. */
void decide_key(const policy *p, llm_request *r, decision *d);

/* Says whether the key of `r` lets it in. REFUSE_NOT: it does, and `*asks` is its client, or NULL if `r` has no key and
 * needs none. Otherwise `*problem` says why not, for the operator. If the key is that of a client, good or not, project
 * and client of `r` become those of the key. */
refusal admit(const policy *p, llm_request *r, const client **asks, const char **problem);
/* Sets d->client, after everything else was decided. Refuses the request if its key does not let it in, or if the
 * client may not have what was decided. What is wrong with a key replaces any other refusal, so that a stranger learns
 * nothing else. */
void admit_decided(const policy *p, llm_request *r, decision *d);

/* True if another model could run than the one that the request of `d` names: a WebSocket, a file or a batch may name
 * models inside, and an upstream need not look where this model is named. */
bool decision_model_open(const decision *d);

/* Says why the member route_table.members[m] cannot serve d->request, a request for its pool, at `now_ms` (milliseconds
 * of the monotonic clock). REFUSE_NOT: it can. Sets d->released_by if the member has something of the operator's to
 * lend, and lends it. */
refusal member_passed_over(const policy *p, size_t m, int64_t now_ms, decision *d);

/* True if what the member `to` lends goes along with a request of this method and path. */
bool member_releases(const policy *p, const route *to, slice method, slice path, bool websocket);

/* The headers that HAProxy removes when it replaces a credential: their names, ended by NULL. It also removes the query
 * parameters that carry keys, and WebSocket subprotocols that could be one. haproxy.cfg.example has the same list:
 * change both. Tests check each of the two. */
extern const char *const stripped_headers[];

/* Writes the ACK of one decision to `room` and returns its size. If it does not fit the agreed frame size, the ACK is
 * the refusal REFUSE_GATEWAY instead, which fits every frame; *fell_back says so. */
size_t decision_ack(const decision *d, const spop_session *s, unsigned char *room, size_t room_len, uint64_t stream_id,
		    uint64_t frame_id, bool *fell_back);

/* Writes the ACK of decide_key(): that the client is welcome, or the refusal. */
size_t welcome_ack(const decision *d, const spop_session *s, unsigned char *room, size_t room_len, uint64_t stream_id,
		   uint64_t frame_id, bool *fell_back);

/* Returns the most bytes of room that decision_ack() needs for `d`; it may be more than the largest frame, and then
 * room for that frame is enough. */
size_t decision_ack_room(const decision *d);

#endif

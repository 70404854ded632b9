/* SPDX-License-Identifier: MIT
 *
 * One request as HAProxy's `llm-request` message describes it. The slices point into the frame. */
#ifndef DECIDE_REQUEST_H
#define DECIDE_REQUEST_H

#include "sample/model.h"
#include "spop/session.h"

typedef struct llm_request {
	slice id;
	slice user_agent;
	slice project;
	slice client;
	model_sample sample;
	/* What is known of the credential headers; their contents stay in HAProxy. */
	bool x_api_key;
	bool api_key;
	bool x_goog_api_key;
	bool anthropic_version;
	bool bearer_sk_ant;
	bool preflight;       /* a browser asks what it may send; it has no key */
	bool keys_differ;     /* the request has two different keys of clients of ours */
	bool clients_guarded; /* HAProxy's rules about such keys are on: a key goes to the agent, and to no upstream */
	slice key;            /* SHA-256 of the key of a client of ours; empty: the request has none */
	slice backends_hash;  /* of the backends that HAProxy has; empty: they were made before they had one */
	uint64_t contract; /* the version of the contract that haproxy.cfg and spoe.conf both keep; 0: they say none */
} llm_request;

/* Reads the arguments of `m`. Unknown ones are ignored; missing ones and NULLs are empty. Malformed arguments fail
 * m->from, and then nothing in `r` may be used. */
void request_read(llm_request *r, spop_message *m);

#endif

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
	slice headers;  /* the names of the request's headers, in lower case, with commas between them */
	uint64_t flags; /* FLAG_... */
	/* What is known of the credential headers; their contents stay in HAProxy. */
	bool x_api_key;
	bool x_goog_api_key;
	bool anthropic_version;
	bool bearer_sk_ant;
	bool preflight;       /* a browser asks what it may send; it has no key */
	bool keys_differ;     /* the request has two different keys of clients of ours */
	bool no_records;      /* HAProxy sends no record of the request (LLM_LEDGER=off) */
	bool clients_guarded; /* HAProxy's rules about such keys are on: a key goes to the agent, and to no upstream */
	slice key;            /* SHA-256 of the key of a client of ours; empty: the request has none */
	slice backends_hash;  /* of the backends that HAProxy has; empty: they were made before they had one */
	uint64_t contract;    /* the version of the contract that haproxy.cfg and spoe.conf both keep; 0: they say none.
				 Larger than CONTRACT: this agent does not know it, and nothing else here counts */
} llm_request;

/* The version of the contract between the agent, haproxy.cfg and spoe.conf. It stands at the end of the name of the
 * message and of its group, so that files of two versions do not start together, and an agent that does not know the
 * version lets nothing through. It grows when a rule of safety that the agent relies on is new in the files, or when
 * they say the same in another way. Files of contract 1 send the message `llm-request`, and the number as an argument.
 */
enum { CONTRACT = 2 };
#define REQUEST_MESSAGE "llm-request-2"

/* A contract that is larger than CONTRACT, whatever the number is. */
#define CONTRACT_UNKNOWN UINT64_MAX

/* The argument `flags` of llm-request-2; haproxy.cfg adds them up. */
enum { FLAG_UPGRADE = 1, FLAG_BEARER_SK_ANT = 2, FLAG_QUERY_UNCLEAR = 4, FLAG_NO_RECORDS = 8, FLAGS_KNOWN = 15 };

/* Reads the arguments of `m`. Unknown ones are ignored; missing ones and NULLs are empty. Malformed arguments fail
 * m->from, and then nothing in `r` may be used. */
void request_read(llm_request *r, spop_message *m);

#endif

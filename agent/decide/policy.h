/* SPDX-License-Identifier: MIT
 *
 * What the operator decided: the routes, the three targets, and the credentials as they are now. A policy is
 * immutable once built and shared by reference counting; a change (reload, a credential file) is a new policy. */
#ifndef DECIDE_POLICY_H
#define DECIDE_POLICY_H

#include <stdatomic.h>

#include "decide/credential.h"
#include "decide/upstream.h"

enum {
	ROUTES_MAX = 1024,      /* entries of a route table */
	ROUTE_NAME_MAX = 64,    /* bytes of a route's name */
	ROUTE_PREFIX_MAX = 256, /* bytes of a model prefix: no model is longer */
};

typedef enum protocol { PROTOCOL_OPENAI, PROTOCOL_ANTHROPIC, PROTOCOL_GEMINI, PROTOCOLS } protocol;

const char *protocol_name(protocol p);

/* Strings are owned. */
typedef struct route {
	char *name;
	char *prefix; /* lower case; "*" is the catch-all */
	protocol protocol;
	char *upstream_given; /* the text of `upstream`; NULL: the protocol's target */
	upstream own;         /* `upstream_given` taken apart; its url is NULL where that could not be done */
	char *backend_given;  /* NULL: the upstream's own */
	credential auth;
	char *reference_model; /* NULL: none */
	bool enabled;
	unsigned slot; /* of its counters (net/counters.h), given by whoever made the table; 0: none of its own */
} route;

/* The operator's table, shared by every policy made from it. */
typedef struct route_table {
	atomic_uint refs;
	route *routes;
	size_t count;
	size_t enabled;
	upstream targets[PROTOCOLS];
	/* What to do with a model that cannot be known: true sends the request the way of one that names no model. */
	bool unresolved_falls_through;
	/* And with a WebSocket handshake that names none: true sends it to the catch-all, false refuses it. */
	bool websocket_to_catch_all;
} route_table;

typedef struct policy {
	atomic_uint refs;
	route_table *table;
	secret *files; /* by index of the route: what its `file:` held when last read */
} policy;

/* NULL: out of memory. Routes are added by the caller through route_table_add(). */
route_table *route_table_new(void);
void route_table_unref(route_table *t);
/* A zeroed route to fill, or NULL: out of memory, or ROUTES_MAX. */
route *route_table_add(route_table *t);

/* Releases what a route owns. */
void route_deinit(route *r);

/* Takes over the reference to `t` and reads the credential files. NULL: out of memory (then `t` is released). */
policy *policy_new(route_table *t);
policy *policy_ref(policy *p);
void policy_unref(policy *p);
/* A policy with the credential files read anew where they changed; NULL: none did (or out of memory). */
policy *policy_refresh(const policy *p);

/* Where a route's requests go; NULL: nowhere, its upstream is unusable. */
const upstream *route_upstream(const route_table *t, const route *r);
/* The HAProxy backend; NULL: none. */
const char *route_backend(const route_table *t, const route *r);

/* First enabled route whose prefix begins `model`, ignoring ASCII case. NULL: none. */
const route *route_match(const route_table *t, slice model);
/* First enabled catch-all. NULL: none. */
const route *route_catch_all(const route_table *t);
bool route_is_catch_all(const route *r);

#endif

/* SPDX-License-Identifier: MIT
 *
 * What the operator configured: the routes, the three targets, and the credentials as they are now. A policy does not
 * change once it is built, and is shared by reference counting. A reload or a changed credential file makes a new one.
 */
#ifndef DECIDE_POLICY_H
#define DECIDE_POLICY_H

#include <stdatomic.h>

#include "base/must_check.h"
#include "decide/clients.h"
#include "decide/credential.h"
#include "decide/rest.h"
#include "decide/upstream.h"

enum {
	ROUTES_MAX = 1024,      /* entries of a route table */
	ROUTE_NAME_MAX = 64,    /* bytes of a route's name */
	ROUTE_PREFIX_MAX = 256, /* bytes of a model prefix, as no model has a longer name; and of a path prefix */
	ROUTE_PATHS_MAX = 64,   /* entries of a route's `paths` */
	MODELS_MAX = 1024,      /* models that all routes list together */
	ROUTE_METHOD_MAX = 32,  /* bytes of the method in an entry of `paths` */
	/* entries of a route's `forward_headers`, and bytes of each: all have to fit one line of haproxy.cfg */
	ROUTE_FORWARD_MAX = 16,
	ROUTE_FORWARD_NAME_MAX = 64,
	BACKENDS_HASH_LEN = 16,    /* hexadecimal digits */
	ROUTE_FILE_MAX = 1024,     /* bytes of the name of a file that HAProxy reads */
	ROUTE_TIMEOUT_MAX = 86400, /* seconds */
	ROUTE_CONNECTIONS_MAX = 1000000,
	POOL_MEMBERS_MAX =
		16, /* members of a pool, because HAProxy applies some rules for each of them to each request */
	MEMBER_NAME_MAX = 32, /* bytes of a member's name */
	MEMBER_WEIGHT_MAX = 256,
	POOL_STATUSES = 6, /* statuses that an operator may name in `retry_on` */
};

/* The oldest contract between the agent and HAProxy's files (CONTRACT) that has every rule of safety on which the agent
 * relies. */
enum { CONTRACT_SAFE = 1 };

typedef enum protocol { PROTOCOL_OPENAI, PROTOCOL_ANTHROPIC, PROTOCOL_GEMINI, PROTOCOLS } protocol;

const char *protocol_name(protocol p);

/* An entry of a route's `paths`: the route's credential goes along with requests like this, as it does with those that
 * run a model. The strings are owned. */
typedef struct path_rule {
	char *method; /* NULL: any */
	char *prefix; /* as a route's path_prefix */
} path_rule;

/* Whether a route's streams go through the tap. */
typedef enum tap_choice { TAP_AS_ALL, TAP_ON, TAP_OFF } tap_choice;

/* Whether the /v1 of requests gives way to the upstream's base. */
typedef enum strip_choice { STRIP_BY_URL, STRIP_NOT, STRIP_V1 } strip_choice;

/* How HAProxy reaches a route's upstream, where that differs from other upstreams. The strings are owned; NULL or 0: as
 * for all upstreams. */
typedef struct route_connect {
	char *ca_file;     /* the CAs by which the upstream's certificate is verified, or "@system-ca" */
	char *client_cert; /* the gateway's own certificate and key, for an upstream that asks for one */
	char *alpn;        /* the protocols that are offered, as HAProxy's `alpn` takes them */
	char *sni;         /* the name that the upstream's certificate has */
	unsigned timeout;  /* seconds that the upstream may be silent */
	unsigned max_connections;
} route_connect;

/* How a pool's backend chooses among the members that a request has not tried. */
typedef enum balance {
	BALANCE_FIRST,    /* the first one in the operator's order */
	BALANCE_WEIGHTED, /* by lot, in proportion to the weights */
	BALANCE_LEAST,    /* the one with the fewest requests in flight for its weight */
} balance;

/* The upstreams of a route that has several. A member is a `route` in route_table.members with a name, an upstream, a
 * credential, `paths` and `connect`, but without conditions: its pool's route has those. */
typedef struct pool {
	struct route *members; /* the pool's first member in route_table.members; set when all routes are read */
	size_t first, count;   /* its index there, and how many members the pool has */
	balance balance;
	unsigned retry_on; /* bit 1 << i: a member declines by an answer with pool_statuses[i] */
	unsigned retries;  /* how many members a request may try after the first one */
	bool replaces;     /* all members replace the client's credential; false: all pass it through */
	bool tells_client; /* the response has a header with the name of the member that served */
	char *backend;     /* the name of HAProxy's backend that chooses the member; owned */
	char *leg; /* the name of the leg by which a request comes back to `backend` for the next member; owned */
} pool;

extern const int pool_statuses[POOL_STATUSES];

/* Returns the bit of `status` in a pool's retry_on. 0: it is not one of pool_statuses. */
unsigned pool_status_bit(int status);

/* The strings are owned. */
typedef struct route {
	char *name;
	char *prefix;      /* of the model, in lower case; "*" matches every model; NULL: the model does not matter */
	char *path_prefix; /* without a slash at its end; NULL: the path does not matter */
	path_rule *paths;  /* owned; NULL: none */
	size_t paths_count;
	bool paths_any; /* the credential goes along with every request */
	/* What the route's forward_headers adds to the allow list, as the macros of forward.h take it; NULL: nothing.
	 */
	char *forward_names, *forward_prefixes;
	bool forwards; /* there are such headers, and a credential: the backend removes the others */
	route_connect connect;
	char *own_backend; /* with forward_headers or `connect`: the name of the backend that is made for them */
	protocol protocol;
	char *upstream_given; /* the text of `upstream`; NULL: the protocol's target */
	upstream own;         /* `upstream_given`, parsed; its url is NULL if it could not be parsed */
	strip_choice strip_v1;
	char *backend_given; /* NULL: the upstream's backend */
	credential auth;
	tap_choice tap;
	char *leg; /* the name of the leg behind the tap, see leg.h; NULL: no request of the route goes through the tap
		    */
	char *reference_model; /* NULL: none */
	bool require_stream_usage;
	char **models; /* that the route lists; in all routes at most MODELS_MAX */
	size_t models_count;
	pool *pool;   /* owned; NULL: the route has one upstream. With a pool, only the members have upstreams */
	char *member; /* a member's name in its pool, where `name` is ROUTE/MEMBER; NULL: this is a route, no member */
	size_t owner; /* of a member: the index of its pool's route in route_table.routes */
	unsigned weight;   /* of a member: 1 to MEMBER_WEIGHT_MAX */
	member_rest *rest; /* of a member: whether it rests, see rest.h; not owned */
	bool enabled;
	unsigned entry; /* the route's number in the operator's array, from 1; skipped entries count */
	unsigned slot; /* index of the route's counters (net/counters.h), set by serve/snapshot.c; 0: it has none of its
			  own */
} route;

/* A model that a route lists, and where it stands in each text of the list. */
typedef struct listed_model {
	const char *name, *route; /* owned by the route that lists the model */
	size_t at[PROTOCOLS], len[PROTOCOLS];
} listed_model;

/* The models that all routes list; see models.h. */
typedef struct model_list {
	char *text[PROTOCOLS]; /* the answer to GET /v1/models in the shape of each API; owned */
	size_t text_len[PROTOCOLS];
	listed_model *models; /* owned */
	size_t count;
} model_list;

/* The operator's table, shared by every policy made from it. */
typedef struct route_table {
	atomic_uint refs;
	route *routes;
	size_t count;
	route *members; /* of all pools */
	size_t members_count;
	size_t enabled;
	upstream targets[PROTOCOLS];
	bool tap;                     /* streams go through the tap, unless their route says otherwise */
	char *target_legs[PROTOCOLS]; /* as a route's `leg` */
	model_list listed;            /* empty: no route lists models, and upstreams answer GET /v1/models */
	/* The hash of HAProxy's backends for this table. `spoa-llm backends` writes it into them; "": not needed. */
	char backends_hash[BACKENDS_HASH_LEN + 1];
	/* A request whose model cannot be known: true treats it as if it named none, false refuses it. */
	bool unresolved_falls_through;
	int refusal_status; /* HTTP status for a request whose route has no usable credential */
	/* A WebSocket handshake that names no model: true sends it to the catch-all, false refuses it. */
	bool websocket_to_catch_all;
	/* True lets HAProxy have credentials if its files keep the contract before CONTRACT_SAFE. */
	bool older_contract_allowed;
	/* True refuses a stream that does not ask for its usage, where it tells none otherwise. This is for requests
	 * without a route; each route has its own. */
	bool require_stream_usage;
	bool require_client; /* refuses requests without the key of a client */
	/* True lets a WebSocket that names its model through where the endpoint speaks HTTP too, false refuses it. */
	bool websocket_allowed;
} route_table;

typedef struct policy {
	atomic_uint refs;
	route_table *table;
	client_table *clients;   /* NULL: requests need no key, and none has one */
	struct pricing *pricing; /* NULL: no client has a budget, or tokens a minute */
	secret *secrets;         /* by index for routes_at(): what a route's `auth` names, when it was last read */
} policy;

/* Makes an empty table with one reference, to be filled by route_table_add(). NULL: out of memory. */
MUST_CHECK route_table *route_table_new(void);
void route_table_unref(route_table *t);
/* Returns a zeroed route to fill. NULL: out of memory, or the table has ROUTES_MAX. */
MUST_CHECK route *route_table_add(route_table *t);

/* Returns a zeroed member to fill. NULL: out of memory. */
MUST_CHECK route *route_table_add_member(route_table *t);

/* Returns how many routes and members of pools the table has, and the `i`th of them: the routes come first. */
size_t routes_total(const route_table *t);
const route *routes_at(const route_table *t, size_t i);

/* Releases what a route owns. */
void route_deinit(route *r);

/* Takes over the references to `t` and `clients` (NULL: no clients), on failure too, and reads the credentials.
 * NULL: out of memory. */
MUST_CHECK policy *policy_new(route_table *t, client_table *clients);
/* Gives `p`, which nobody else has yet, the prices by which requests are admitted. Takes over one reference. */
void policy_set_pricing(policy *p, struct pricing *k);
policy *policy_ref(policy *p);
void policy_unref(policy *p);
/* Returns a new policy if a credential file of `p` changed, or if there are new `clients`, whose reference it takes
 * over on failure too. NULL: nothing changed, or out of memory. */
MUST_CHECK policy *policy_refresh(const policy *p, client_table *clients);

/* True: HAProxy's files, which keep this version of the contract, have every rule that the agent relies on when it
 * hands out a credential, or the operator says that those of the version before will do. */
bool policy_allows_contract(const policy *p, uint64_t contract);

/* True if some requests go through the tap. */
bool routes_tapped(const route_table *t);
/* Returns the upstream of a route. NULL: it has none, because its URL is not valid, or because it has a pool. */
const upstream *route_upstream(const route_table *t, const route *r);
/* Returns the HAProxy backend of a route. NULL: it has none. */
const char *route_backend(const route_table *t, const route *r);

/* Returns the first enabled route whose conditions hold for `model` and `path`; the case of a model does not matter.
 * NULL: none. */
const route *route_match(const route_table *t, slice model, slice path);
/* The same for a request that names no model: a route's model_prefix has to be "*" or missing. `by_path`: only a route
 * with a path_prefix counts. */
const route *route_without_model(const route_table *t, slice path, bool by_path);
/* Returns the enabled route that is taken whatever model a request for `path` names. NULL: that depends on the model.
 */
const route *route_whatever_model(const route_table *t, slice path);
/* True if the client's credential is replaced: by the route's own, or by those of its members. */
bool route_replaces(const route *r);
/* True if something of the operator's goes upstream with the route's requests: a credential or a client certificate. */
bool route_lends(const route *r);
/* True if the routes, of which `b` may be NULL (a target), need one and the same backend of HAProxy for an upstream. */
bool route_same_backend(const route *a, const route *b);
/* True if model_prefix is "*" */
bool route_is_catch_all(const route *r);
/* True if the route's `paths` says that its credential goes along with this request. */
bool route_releases(const route *r, slice method, slice path);

#endif

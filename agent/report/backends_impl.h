/* SPDX-License-Identifier: MIT
 *
 * What the files that write HAProxy's backends share. No written text can break HAProxy's configuration, because
 * upstream_parse() and legs_name() allow only harmless characters. */
#ifndef REPORT_BACKENDS_IMPL_H
#define REPORT_BACKENDS_IMPL_H

#include "report/backends.h"

/* For a backend behind which the client's credential must not come. */
#define DROP_TRAILERS \
	"    .if version_atleast(3.2)\n" \
	"        # A field behind the body could carry the client's credential. Older versions cannot drop it.\n" \
	"        option http-drop-request-trailers\n" \
	"    .endif\n"

enum {
	UPSTREAM_TIMEOUT = 600, /* seconds that an upstream may be silent, if its route says nothing else */
	QUEUE_TIMEOUT = 60, /* seconds that a request waits for one of the connections of a route that limits them */
	NAME_CONNECT_TIMEOUT = 3, /* seconds that an address of a name may take to accept a connection */
	NAME_RETRIES = 4,         /* how often another one is tried, for each address that a family may have */
};

/* What the operator configured for all backends. */
typedef struct backends_settings {
	const char *ca_file; /* the CAs by which HAProxy verifies upstreams, or "@system-ca" */
	unsigned addresses;  /* of each family: most that a name's backend uses */
	/* IP[:PORT], or a path: HAProxy reads /etc/resolv.conf. None: HAProxy looks names up when it starts only. */
	const char *const *name_servers;
	size_t name_servers_count;
	int refusal_status; /* with which a request is refused whose route has no usable credential */
} backends_settings;

/* The error `code` in the shape of the client's API, as haproxy.cfg.example has it, with the code where each API's
 * refusals have it. `kind`: its type, and `google`: what Gemini calls it. */
#define ERROR_BODY_OF(message, kind, code, status, google) \
	"'{%%[str(anthropic),strcmp(txn.llm.protocol),bool,iif(\"\",\"\\\"type\\\":\\\"error\\\",\")]\"error\":{\"message\":\"" message \
	"\",%%[str(gemini),strcmp(txn.llm.protocol),bool,iif(\"\\\"type\\\":\\\"" kind \
	"\\\",\\\"param\\\":null,\\\"code\\\":\\\"" code "\\\"\",\"\\\"code\\\":" status ",\\\"status\\\":\\\"" google \
	"\\\",\\\"details\\\":[{\\\"reason\\\":\\\"" code "\\\"}]\")]}}'"
#define ERROR_BODY(message, code, status) ERROR_BODY_OF(message, "api_error", code, status, "UNAVAILABLE")

/* For a backend that sends requests of a pool to a leg. */
#define POOL_ONE_EACH \
	"    # A connection to a leg has one request. If an upstream ends before its answer, HAProxy answers 502 to the first request of a\n" \
	"    # connection. To a later one it gives no answer at all, and writes no line for the log.\n" \
	"    option http-server-close\n"

/* What a backend sends with a request for a pool, and what it learns by the answer, for the log line. The names are
 * those that the pool's backends set, because the legs let none of an upstream's through. */
#define POOL_ASK \
	"    # The members that the agent passes over.\n" \
	"    http-request set-header x-llm-rest %[var(txn.llm.rest)] if { var(txn.llm.rest) -m found }\n"
#define MEMBER_TOLD ",\"member\":\"%%[res.fhdr(x-llm-member)]\",\"tried\":\"%%[res.fhdr(x-llm-why)]\""
#define POOL_TOLD \
	"    # For the log line: which member served, and what the others said before.\n" \
	"    http-response set-var-fmt(txn.llm.line) '%[var(txn.llm.line)],\"member\":\"%[res.fhdr(x-llm-member)]\",\"tried\":\"%[res.fhdr(x-llm-why)]\"' if { res.fhdr_cnt(x-llm-member) gt 0 }\n"

/* A leg, and what it stands for. */
typedef struct leg {
	const char *name, *backend;
	const credential *auth; /* NULL: the client's own credential passes through */
	unsigned timeout;       /* seconds that the upstream may be silent */
	const pool *pool;       /* it leads to this pool's backend; NULL: to an upstream's */
	const route *member;    /* it is the leg of this member; NULL: of no member */
} leg;

typedef struct entry {
	const upstream *upstream;
	const char *name;
	bool replaces;  /* the operator's credential goes there */
	const route *r; /* whose settings the backend has; NULL: those of all */
	char users[512];
} entry;

/* Writes which name servers HAProxy asks, if a backend of the `count` entries has a name to look up; otherwise HAProxy
 * needs no resolv.conf. */
void backends_name_servers(FILE *f, const backends_settings *s, const entry *entries, size_t count);
void backends_section(FILE *f, const backends_settings *s, const entry *e);

/* Writes the legs of t's routes and targets, and what leads to them through the tap; nothing, if there are none. */
void backends_legs(FILE *f, const backends_settings *s, const route_table *t);

/* Returns the leg of a route or a member as it is written. */
leg backends_leg(const route_table *t, const backends_settings *s, const route *r);
/* The parts of a leg's frontend that all legs have: its beginning; the rules by which it asks the agent, and
 * without the right answer forwards nothing; the rules for answers, and the end. */
void backends_leg_head(FILE *f, const leg *l);
void backends_leg_credential(FILE *f, const backends_settings *s, const leg *l);
void backends_leg_end(FILE *f, const leg *l);

/* Returns the seconds for which a request may wait before its upstream is silent: for a free connection, and for each
 * address; and some seconds more. */
static inline unsigned backends_wait(const backends_settings *s)
{
	return QUEUE_TIMEOUT + (1 + NAME_RETRIES * s->addresses) * NAME_CONNECT_TIMEOUT + 15;
}

/* Writes the backends and legs of t's pools; nothing, if there are none. */
void backends_pools(FILE *f, const backends_settings *s, const route_table *t);
/* Writes what the leg of a pool's member answers without a credential: the pool tries the next member then. */
void backends_member_refusals(FILE *f, const backends_settings *s);
/* Returns the seconds for which a pool may be silent: all its members, one after the other. */
unsigned backends_pool_timeout(const route_table *t, const backends_settings *s, const pool *p);

#endif

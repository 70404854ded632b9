/* SPDX-License-Identifier: MIT
 *
 * What the files that write HAProxy's backends share. No written text can break HAProxy's configuration, because
 * upstream_parse() and legs_name() allow only harmless characters. */
#ifndef REPORT_BACKENDS_IMPL_H
#define REPORT_BACKENDS_IMPL_H

#include "report/backends.h"

/* The lines of a backend whose upstream must not get the client's credential. */
#define DROP_TRAILERS \
	"    .if version_atleast(3.2)\n" \
	"        # A field behind the body could carry the client's credential. Older versions cannot drop it.\n" \
	"        option http-drop-request-trailers\n" \
	"    .endif\n"

enum {
	UPSTREAM_TIMEOUT = 600, /* seconds that an upstream may be silent, if its route says nothing else */
	QUEUE_TIMEOUT = 60, /* seconds that a request waits for one of the connections of a route that limits them */
	NAME_CONNECT_TIMEOUT = 3, /* seconds that an address of a name may take to accept a connection */
	NAME_RETRIES = 4, /* tries at a name after the first one, for each address of a family: see backends_settings */
};

/* What the operator configured for all backends. */
typedef struct backends_settings {
	const char *ca_file; /* the CAs by which HAProxy verifies upstreams, or "@system-ca" */
	unsigned addresses;  /* most addresses of a family (IPv4, IPv6) that the backend of a name uses */
	/* Each is IP[:PORT], or a path, which means that HAProxy reads /etc/resolv.conf. Without one, HAProxy looks
	 * names up only when it starts. */
	const char *const *name_servers;
	size_t name_servers_count;
	int refusal_status; /* of the refusal of a request whose route has no usable credential */
} backends_settings;

/* The body of a refusal in the shape of the client's API, as haproxy.cfg.example writes it. All parameters are texts:
 * `message`, the refusal's `code`, the HTTP `status`, `kind` (the error's type for OpenAI and Anthropic) and `google`
 * (Gemini's word for it). */
#define ERROR_BODY_OF(message, kind, code, status, google) \
	"'{%%[str(anthropic),strcmp(txn.llm.protocol),bool,iif(\"\",\"\\\"type\\\":\\\"error\\\",\")]\"error\":{\"message\":\"" message \
	"\",%%[str(gemini),strcmp(txn.llm.protocol),bool,iif(\"\\\"type\\\":\\\"" kind \
	"\\\",\\\"param\\\":null,\\\"code\\\":\\\"" code "\\\"\",\"\\\"code\\\":" status ",\\\"status\\\":\\\"" google \
	"\\\",\\\"details\\\":[{\\\"reason\\\":\\\"" code "\\\"}]\")]}}'"
#define ERROR_BODY(message, code, status) ERROR_BODY_OF(message, "api_error", code, status, "UNAVAILABLE")

/* The lines of a backend that sends requests of a pool to a leg. */
#define POOL_ONE_EACH \
	"    # Each connection to a leg carries one request only. If the upstream closes without an answer, HAProxy answers 502 to the first request\n" \
	"    # of a connection. To a later request it gives no answer at all, and writes no log line.\n" \
	"    option http-server-close\n"

/* What a backend sends with a request for a pool, and what it learns from the answer for the log line. The headers are
 * those that the pool's backends set: the legs remove headers with these names from an upstream's answer. */
#define POOL_ASK \
	"    # Names the members that the agent passes over.\n" \
	"    http-request set-header x-llm-rest %[var(txn.llm.rest)] if { var(txn.llm.rest) -m found }\n"
#define MEMBER_TOLD ",\"member\":\"%%[res.fhdr(x-llm-member)]\",\"tried\":\"%%[res.fhdr(x-llm-why)]\""
#define POOL_TOLD \
	"    # For the log line: which member served, and why the members before it did not.\n" \
	"    http-response set-var-fmt(txn.llm.line) '%[var(txn.llm.line)],\"member\":\"%[res.fhdr(x-llm-member)]\",\"tried\":\"%[res.fhdr(x-llm-why)]\"' if { res.fhdr_cnt(x-llm-member) gt 0 }\n"

/* A leg, and what it leads to. The pointers belong to the route table. */
typedef struct leg {
	const char *name, *backend;
	const credential *auth; /* NULL: the client's own credential passes through */
	unsigned timeout;       /* seconds that the upstream may be silent */
	const pool *pool;       /* the leg leads to this pool's backend; NULL: to the backend of an upstream */
	const route *member;    /* the pool's member whose leg this is; NULL: that of a route or a target */
} leg;

/* A backend of HAProxy, one for each upstream. The pointers belong to the route table. */
typedef struct entry {
	const upstream *upstream;
	const char *name;
	bool replaces;   /* the operator's credential goes to this upstream */
	const route *r;  /* the route or member that has settings of its own for the backend; NULL: none has */
	char users[512]; /* the names of the routes and targets that use the backend, for a comment */
} entry;

/* Writes which name servers HAProxy asks, if a backend of the `count` entries has a name to look up; otherwise HAProxy
 * needs no resolv.conf. */
void backends_name_servers(FILE *f, const backends_settings *s, const entry *entries, size_t count);
/* Writes the backend `e`. */
void backends_section(FILE *f, const backends_settings *s, const entry *e);

/* Writes the legs and pools of t's routes and targets, and the backends that lead to legs through the tap. Writes
 * nothing if there are none. */
void backends_legs(FILE *f, const backends_settings *s, const route_table *t);

/* Returns the leg of `r`, a route or a pool's member. Its name is NULL if `r` has no leg. */
leg backends_leg(const route_table *t, const backends_settings *s, const route *r);
/* Writes the beginning of the frontend of `l`. */
void backends_leg_head(FILE *f, const leg *l);
/* Writes the rules by which `l` asks the agent for its credential, or whether the client's own may pass through. Unless
 * the agent's answer is whole and names l->backend, the leg forwards nothing. */
void backends_leg_credential(FILE *f, const backends_settings *s, const leg *l);
/* Writes the rules for answers, and the end of the frontend of `l`. */
void backends_leg_end(FILE *f, const leg *l);

/* Returns the seconds that a request may take before its upstream has it: to wait for a free connection, to try each
 * address, and some to spare. */
static inline unsigned backends_wait(const backends_settings *s)
{
	return QUEUE_TIMEOUT + (1 + NAME_RETRIES * s->addresses) * NAME_CONNECT_TIMEOUT + 15;
}

/* Writes the backends and legs of t's pools; nothing, if there are none. */
void backends_pools(FILE *f, const backends_settings *s, const route_table *t);
/* Writes what the leg of a pool's member answers if the agent gives no credential (425), so that the pool tries the
 * next member. */
void backends_member_refusals(FILE *f, const backends_settings *s);
/* Returns the seconds for which a pool may be silent: as long as all its members may be, one after the other. */
unsigned backends_pool_timeout(const route_table *t, const backends_settings *s, const pool *p);

#endif

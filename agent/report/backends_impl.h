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

#endif

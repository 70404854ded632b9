/* SPDX-License-Identifier: MIT
 *
 * Relays HTTP between HAProxy's backends and HAProxy's legs, and changes no byte. Each connection that HAProxy opens is
 * joined with one to the leg that the header x-llm-leg of its request names. Beside that, the answers are read for the
 * usage that they tell, and a report of each goes to the agent.
 *
 * A connection that does not take its bytes holds up its own other side, and nobody else: what it has not taken is
 * kept, at most RELAY_READ bytes each way, and nothing more is read for it meanwhile. Until the head of a request has
 * named the leg, up to HTTP_HEAD_MAX bytes of it are kept beside that. */
#ifndef TAP_RELAY_H
#define TAP_RELAY_H

#include <ev.h>

#include "base/err.h"
#include "base/must_check.h"
#include "tap/reports.h"

enum {
	RELAY_READ = 64 * 1024,  /* bytes that are read at a time, and then leave together */
	RELAY_READ_LEAST = 1024, /* the same where the memory is used up */
};

typedef struct relay_settings {
	const char *legs;     /* the directory of the legs' sockets */
	unsigned connections; /* of HAProxy, at a time */
	size_t memory;        /* bytes of connections, of what they have not taken, and of readers */
} relay_settings;

/* What happened since the start, and what there is now. */
typedef struct relay_counts {
	unsigned connections; /* of HAProxy, now */
	unsigned streams;     /* requests with an id whose answers have not ended, now */
	size_t memory;        /* bytes, now */
	uint64_t streams_total;
	uint64_t bytes; /* of answers, relayed to HAProxy */
	uint64_t cut_client, cut_upstream, unreadable;
} relay_counts;

typedef struct relay relay;

/* `settings` and `out` have to outlive the relay. NULL: `e` says why. */
relay *relay_new(struct ev_loop *loop, const relay_settings *settings, reports *out, err *e);
void relay_free(relay *r);
/* Cuts all that is under way, and reports what was seen. */
void relay_cut(relay *r);
/* Takes over a connection of HAProxy. */
void relay_take(relay *r, int fd);
/* Closes the connections on which nothing has been under way since `since`, a time of clock_mono_ms(). */
void relay_close_idle(relay *r, int64_t since);
/* From now on closes each connection when its answer has ended. HAProxy may be just about to use it again. */
void relay_close_used(relay *r);
/* Frees what was closed. To be called when no callback of the relay runs. */
void relay_reap(relay *r);
const relay_counts *relay_count(const relay *r);
/* relay_is_full(): no more connections should come. relay_has_room(): there is room again, with some to spare. */
bool relay_is_full(const relay *r);
bool relay_has_room(const relay *r);

#endif

/* SPDX-License-Identifier: MIT
 *
 * GET /events: server-sent events. The clock publishes /stats each second. Each stream takes the newest text when it
 * has sent the one before, so a client that reads slowly misses some and delays nobody. */
#ifndef OPS_EVENTS_H
#define OPS_EVENTS_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct event_stream event_stream;

/* Returns what the client may do now, a static text; NULL: nothing any more, so that its stream ends. */
typedef const char *(*events_role)(void *ctx, struct MHD_Connection *connection);

typedef struct events {
	pthread_mutex_t lock; /* of all of it */
	event_stream *first;
	size_t count;
	char *text; /* owned: the last /stats */
	size_t len;
	uint64_t tick; /* counts the texts */
	uint64_t ledger_version;
	bool ended;
} events;

void events_init(events *es);
void events_deinit(events *es);

/* Makes a response that does not end; the caller destroys it. NULL: `*why`, a static text, says that
 * ADMIN_EVENT_STREAMS clients have one already, that events_end() was called, or that memory is out. `role` is asked
 * with `ctx` before each event, because a token may be taken out of use while the stream is open. */
struct MHD_Response *events_open(events *es, struct MHD_Connection *connection, events_role role, void *ctx,
				 const char **why);
/* Takes over `text`, the JSON of /stats, and sends it to all. `ledger_version`: changes with the ledger. */
void events_publish(events *es, char *text, size_t len, uint64_t ledger_version);
/* Is there a client? */
bool events_wanted(events *es);
/* Ends all streams, and those that begin later. */
void events_end(events *es);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The connections of one listener, to end those that are too slow: libmicrohttpd ends a connection that is silent, but
 * not one that sends a byte now and then. */
#ifndef OPS_CONNECTIONS_H
#define OPS_CONNECTIONS_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>

typedef struct http_connection http_connection;

typedef struct connections {
	pthread_mutex_t lock; /* of all of it */
	http_connection *first;
	size_t count;
	void (*request_free)(void *request);
} connections;

typedef enum connection_state {
	CONNECTION_ASKING,   /* waits for a request, or reads one */
	CONNECTION_ANSWERED, /* the client takes the answer */
	CONNECTION_EVENTS,   /* the client takes /events, which do not end */
} connection_state;

/* `request_free` frees what connections_set_request() noted. */
void connections_init(connections *c, void (*request_free)(void *request));
void connections_deinit(connections *c);

/* Adds or removes a connection: call it from libmicrohttpd's callback for MHD_OPTION_NOTIFY_CONNECTION. */
void connections_notify(connections *c, struct MHD_Connection *connection, void **context,
			enum MHD_ConnectionNotificationCode what);

/* Notes the request of `connection`, which is freed when the connection is closed; NULL: none any more. libmicrohttpd
 * 0.9.75 forgets to say that a request is completed if it finds a second error in it, as where too many arguments are
 * followed by too many headers. False: no memory. */
bool connections_set_request(struct MHD_Connection *connection, void *request);

/* Begins a new state of `connection`, and the time that it may take. */
void connections_set_state(struct MHD_Connection *connection, connection_state state);

/* True: no connection is there but those that take /events. */
bool connections_are_idle(connections *c);

/* Closes each connection that has been in its state for too long; call it each second. */
void connections_end_slow(connections *c);

#endif

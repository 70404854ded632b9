/* SPDX-License-Identifier: MIT */
#include "ops/connections.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "ops/admin.h"

enum {
	CROWDED = ADMIN_CONNECTIONS / 4 * 3, /* with more connections, each has only CROWDED_MS for its request */
	CROWDED_MS = 1000,
};

struct http_connection {
	http_connection *next, *prev;
	connections *owner;
	int fd;
	connection_state state;
	int64_t since_ms; /* monotonic: when `state` began */
	void *request;    /* NULL: none, or libmicrohttpd has said that it is completed */
};

void connections_init(connections *c, void (*request_free)(void *request))
{
	pthread_mutex_init(&c->lock, NULL);
	c->first = NULL;
	c->count = 0;
	c->request_free = request_free;
}

void connections_deinit(connections *c)
{
	pthread_mutex_destroy(&c->lock);
}

static void add(connections *c, struct MHD_Connection *connection, void **context)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	http_connection *h = info ? calloc(1, sizeof *h) : NULL;

	*context = h;
	if (!h)
		return;
	h->owner = c;
	h->fd = info->connect_fd;
	h->since_ms = clock_mono_ms();
	pthread_mutex_lock(&c->lock);
	h->next = c->first;
	if (h->next)
		h->next->prev = h;
	c->first = h;
	c->count++;
	pthread_mutex_unlock(&c->lock);
}

/* libmicrohttpd closes the descriptor only afterwards, so that connections_end_slow() cannot shut down a file that was
 * opened with the same number. */
static void delete (connections *c, http_connection *h)
{
	pthread_mutex_lock(&c->lock);
	if (h->next)
		h->next->prev = h->prev;
	if (h->prev)
		h->prev->next = h->next;
	else
		c->first = h->next;
	c->count--;
	pthread_mutex_unlock(&c->lock);
	if (h->request)
		c->request_free(h->request);
	free(h);
}

void connections_notify(connections *c, struct MHD_Connection *connection, void **context,
			enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		add(c, connection, context);
	} else if (*context) {
		delete (c, *context);
		*context = NULL;
	}
}

static http_connection *context_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

bool connections_set_request(struct MHD_Connection *connection, void *request)
{
	http_connection *h = context_of(connection);

	if (h)
		h->request = request;
	return h;
}

void connections_set_state(struct MHD_Connection *connection, connection_state state)
{
	http_connection *h = context_of(connection);

	if (!h)
		return;
	pthread_mutex_lock(&h->owner->lock);
	h->state = state;
	h->since_ms = clock_mono_ms();
	pthread_mutex_unlock(&h->owner->lock);
}

static int64_t allowed_ms(const connections *c, connection_state state)
{
	switch (state) {
	case CONNECTION_EVENTS:
		return INT64_MAX;
	case CONNECTION_ANSWERED:
		return ADMIN_ANSWER_S * 1000;
	case CONNECTION_ASKING:
		break;
	}
	return c->count > CROWDED ? CROWDED_MS : ADMIN_REQUEST_S * 1000;
}

void connections_end_slow(connections *c)
{
	int64_t now = clock_mono_ms();

	pthread_mutex_lock(&c->lock);
	for (http_connection *h = c->first; h; h = h->next)
		if (now - h->since_ms > allowed_ms(c, h->state))
			shutdown(h->fd, SHUT_RDWR);
	pthread_mutex_unlock(&c->lock);
}

bool connections_are_idle(connections *c)
{
	bool idle = true;

	pthread_mutex_lock(&c->lock);
	for (const http_connection *h = c->first; h; h = h->next)
		idle &= h->state == CONNECTION_EVENTS;
	pthread_mutex_unlock(&c->lock);
	return idle;
}

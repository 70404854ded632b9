/* SPDX-License-Identifier: MIT
 *
 * /events: server-sent events. The clock publishes /stats each second; each listener takes what is newest when it has
 * sent what it had, so one that reads slowly misses some and holds up nobody. */
#include <inttypes.h>
#include <stdlib.h>

#include "ops/admin_impl.h"

struct listener_of_events {
	listener_of_events *next, *prev;
	admin *admin;
	struct MHD_Connection *connection;
	bool suspended;
	uint64_t tick, ledger; /* the last that it was given */
	char *text;            /* on its way */
	size_t len, at;
};

/* The next events of this listener; the lock is held. False: nothing new, or no memory. */
static bool take_next(admin *a, listener_of_events *l)
{
	FILE *f;

	if (l->tick == a->events_tick || !a->events_text)
		return false;
	free(l->text);
	l->text = NULL;
	l->len = l->at = 0;
	f = open_memstream(&l->text, &l->len);
	if (!f)
		return false;
	/* After a break the client tries again after so many milliseconds. */
	if (l->tick == 0)
		fputs("retry: 2000\n\n", f);
	fputs("event: stats\ndata: ", f);
	fwrite(a->events_text, 1, a->events_len, f);
	fputs("\n\n", f);
	if (l->ledger != a->events_ledger || l->tick == 0)
		fprintf(f, "event: ledger\ndata: {\"ledger_version\":%" PRIu64 "}\n\n", a->events_ledger);
	bool ok = !ferror(f);
	fclose(f);
	if (!ok || !l->text) {
		l->len = 0;
		return false;
	}
	l->tick = a->events_tick;
	l->ledger = a->events_ledger;
	return true;
}

static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	listener_of_events *l = cls;
	admin *a = l->admin;
	ssize_t n = 0;

	(void)pos;
	pthread_mutex_lock(&a->events_lock);
	if (a->events_end) {
		n = MHD_CONTENT_READER_END_OF_STREAM;
	} else if (l->at < l->len || take_next(a, l)) {
		size_t left = l->len - l->at;
		size_t take = left < max ? left : max;
		memcpy(buf, l->text + l->at, take);
		l->at += take;
		n = (ssize_t)take;
	} else {
		/* Until there is more: libmicrohttpd would ask again at once. */
		l->suspended = true;
		MHD_suspend_connection(l->connection);
	}
	pthread_mutex_unlock(&a->events_lock);
	return n;
}

static void on_free(void *cls)
{
	listener_of_events *l = cls;
	admin *a = l->admin;

	pthread_mutex_lock(&a->events_lock);
	if (l->next)
		l->next->prev = l->prev;
	if (l->prev)
		l->prev->next = l->next;
	else
		a->listening = l->next;
	a->listening_count--;
	pthread_mutex_unlock(&a->events_lock);
	free(l->text);
	free(l);
}

struct MHD_Response *events_open(admin *a, struct MHD_Connection *connection)
{
	listener_of_events *l = calloc(1, sizeof *l);
	struct MHD_Response *response = NULL;
	uint64_t version = 0;
	size_t len = 0;

	if (!l)
		return NULL;
	/* The first one has nothing to wait for. */
	char *text = admin_stats(a, &len, &version);
	if (text)
		events_publish(a, text, len, version);
	l->admin = a;
	l->connection = connection;
	pthread_mutex_lock(&a->events_lock);
	bool room = a->listening_count < ADMIN_LISTENING && !a->events_end;
	if (room) {
		l->next = a->listening;
		if (l->next)
			l->next->prev = l;
		a->listening = l;
		a->listening_count++;
	}
	pthread_mutex_unlock(&a->events_lock);
	if (room)
		response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, on_read, l, on_free);
	if (room && !response)
		on_free(l);
	if (!room)
		free(l);
	return response;
}

/* The lock is held. */
static void wake_all(admin *a)
{
	for (listener_of_events *l = a->listening; l; l = l->next) {
		if (!l->suspended)
			continue;
		l->suspended = false;
		MHD_resume_connection(l->connection);
	}
}

void events_publish(admin *a, char *text, size_t len, uint64_t ledger_version)
{
	pthread_mutex_lock(&a->events_lock);
	free(a->events_text);
	a->events_text = text;
	a->events_len = len;
	a->events_ledger = ledger_version;
	a->events_tick++;
	wake_all(a);
	pthread_mutex_unlock(&a->events_lock);
}

bool events_wanted(admin *a)
{
	pthread_mutex_lock(&a->events_lock);
	bool wanted = a->listening_count > 0;
	pthread_mutex_unlock(&a->events_lock);
	return wanted;
}

void events_end(admin *a)
{
	pthread_mutex_lock(&a->events_lock);
	a->events_end = true;
	wake_all(a);
	pthread_mutex_unlock(&a->events_lock);
}

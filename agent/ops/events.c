/* SPDX-License-Identifier: MIT */
#include "ops/events.h"

#include <inttypes.h>
#include <stdlib.h>

#include "ops/admin.h"
#include "ops/stats.h"

/* One client of /events. */
struct event_stream {
	event_stream *next, *prev;
	events *events;
	struct MHD_Connection *connection;
	events_role role;
	void *ctx; /* of `role` */
	bool suspended;
	uint64_t tick, ledger_version; /* of the text that was taken last */
	char *text;                    /* owned; bytes before `at` are sent */
	size_t len, at;
};

/* Takes the newest text as the next events of `s`; the lock is held. False: nothing new, out of memory, or `*refused`.
 */
static bool take_next(const events *es, event_stream *s, bool *refused)
{
	FILE *f;

	if (s->tick == es->tick || !es->text)
		return false;
	const char *role = s->role(s->ctx, s->connection);
	*refused = !role;
	if (!role)
		return false;
	free(s->text);
	s->text = NULL;
	s->len = s->at = 0;
	f = open_memstream(&s->text, &s->len);
	if (!f)
		return false;
	/* How many milliseconds the client waits before it connects again. */
	if (s->tick == 0)
		fputs("retry: 2000\n\n", f);
	fputs("event: stats\ndata: ", f);
	stats_write_role(f, es->text, es->len, role);
	fputs("\n\n", f);
	if (s->ledger_version != es->ledger_version || s->tick == 0)
		fprintf(f, "event: ledger\ndata: {\"ledger_version\":%" PRIu64 "}\n\n", es->ledger_version);
	bool ok = !ferror(f);
	fclose(f);
	if (!ok || !s->text) {
		s->len = 0;
		return false;
	}
	s->tick = es->tick;
	s->ledger_version = es->ledger_version;
	return true;
}

static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	event_stream *s = cls;
	events *es = s->events;
	bool refused = false;
	ssize_t n = 0;

	(void)pos;
	pthread_mutex_lock(&es->lock);
	if (es->ended) {
		n = MHD_CONTENT_READER_END_OF_STREAM;
	} else if (s->at < s->len || take_next(es, s, &refused)) {
		size_t left = s->len - s->at;
		size_t take = left < max ? left : max;
		memcpy(buf, s->text + s->at, take);
		s->at += take;
		n = (ssize_t)take;
	} else if (refused) {
		n = MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		/* events_publish() resumes it. If the connection were not suspended, libmicrohttpd would call again at
		 * once. */
		s->suspended = true;
		MHD_suspend_connection(s->connection);
	}
	pthread_mutex_unlock(&es->lock);
	return n;
}

static void on_free(void *cls)
{
	event_stream *s = cls;
	events *es = s->events;

	pthread_mutex_lock(&es->lock);
	if (s->next)
		s->next->prev = s->prev;
	if (s->prev)
		s->prev->next = s->next;
	else
		es->first = s->next;
	es->count--;
	pthread_mutex_unlock(&es->lock);
	free(s->text);
	free(s);
}

void events_init(events *es)
{
	*es = (events){ .first = NULL };
	pthread_mutex_init(&es->lock, NULL);
}

void events_deinit(events *es)
{
	pthread_mutex_destroy(&es->lock);
	free(es->text);
}

struct MHD_Response *events_open(events *es, struct MHD_Connection *connection, events_role role, void *ctx,
				 const char **why)
{
	event_stream *s = calloc(1, sizeof *s);
	struct MHD_Response *response = NULL;

	*why = "out of memory";
	if (!s)
		return NULL;
	s->events = es;
	s->connection = connection;
	s->role = role;
	s->ctx = ctx;
	pthread_mutex_lock(&es->lock);
	bool room = es->count < ADMIN_EVENT_STREAMS && !es->ended;
	if (!room)
		*why = es->ended ? "this process of the agent ends" : "too many clients take events already";
	if (room) {
		s->next = es->first;
		if (s->next)
			s->next->prev = s;
		es->first = s;
		es->count++;
	}
	pthread_mutex_unlock(&es->lock);
	if (room)
		response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, on_read, s, on_free);
	if (room && !response)
		on_free(s);
	if (!room)
		free(s);
	return response;
}

/* The lock is held. */
static void wake_all(events *es)
{
	for (event_stream *s = es->first; s; s = s->next) {
		if (!s->suspended)
			continue;
		s->suspended = false;
		MHD_resume_connection(s->connection);
	}
}

void events_publish(events *es, char *text, size_t len, uint64_t ledger_version)
{
	pthread_mutex_lock(&es->lock);
	free(es->text);
	es->text = text;
	es->len = len;
	es->ledger_version = ledger_version;
	es->tick++;
	wake_all(es);
	pthread_mutex_unlock(&es->lock);
}

bool events_wanted(events *es)
{
	pthread_mutex_lock(&es->lock);
	bool wanted = es->count > 0;
	pthread_mutex_unlock(&es->lock);
	return wanted;
}

void events_end(events *es)
{
	pthread_mutex_lock(&es->lock);
	es->ended = true;
	wake_all(es);
	pthread_mutex_unlock(&es->lock);
}

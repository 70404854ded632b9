/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "ops/admin_impl.h"

enum {
	TICK_MS = 1000,
	TOTALS_EVERY_MS = 5000,     /* where something was committed */
	TOTALS_AT_LEAST_MS = 60000, /* where nothing was: another process may have written */
	TOTALS_SHARE = 20,          /* reading them takes at most this part of the time */
	CROWDED = ADMIN_CONNECTIONS / 4 *
		  3, /* connections, from which on one that says nothing has to go after CROWDED_MS */
	CROWDED_MS = 1000,
};

char *admin_stats(admin *a, size_t *len, uint64_t *ledger_version)
{
	host_check checks[HOST_CHECKS_MAX];
	host_snapshot s;
	char *text = NULL;

	*len = 0;
	if (!a->host.snapshot(a->host.ctx, &s))
		return NULL;
	size_t count = a->host.checks(a->host.ctx, checks);
	FILE *f = open_memstream(&text, len);
	if (f) {
		pthread_mutex_lock(&a->ring_lock);
		stats_write(f, &s, checks, count, &a->ring);
		pthread_mutex_unlock(&a->ring_lock);
		if (fclose(f) != 0) {
			free(text);
			text = NULL;
		}
	}
	*ledger_version = s.ledger_kept ? s.ledger.commits : 0;
	host_snapshot_deinit(&s);
	return text;
}

/* ---- the clock */

/* libmicrohttpd ends a connection that is silent; one that sends a byte now and then it does not. */
static void end_the_slow(admin *a)
{
	int64_t now = clock_mono_ms();

	pthread_mutex_lock(&a->connections_lock);
	for (http_connection *v = a->connections; v; v = v->next) {
		int64_t allowed = v->state == VISITOR_LISTENING           ? INT64_MAX :
				  v->state == VISITOR_ANSWERED            ? ADMIN_REQUEST_S * 3000 :
				  v->http_listener->connections > CROWDED ? CROWDED_MS :
									    ADMIN_REQUEST_S * 1000;
		if (now - v->since_ms > allowed)
			shutdown(v->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&a->connections_lock);
}

static void ask_for_totals(admin *a, uint64_t commits)
{
	int64_t now = clock_mono_ms(), since = now - a->totals_asked_ms;
	job *j;

	if (!a->totals || a->totals_pending || since < a->totals_took_ms * TOTALS_SHARE)
		return;
	if (a->totals_asked_ms && since < (commits == a->totals_commits ? TOTALS_AT_LEAST_MS : TOTALS_EVERY_MS))
		return;
	j = calloc(1, sizeof *j);
	if (!j)
		return;
	j->kind = JOB_TOTALS;
	a->totals_pending = true;
	a->totals_asked_ms = now;
	a->totals_commits = commits;
	if (!jobs_add(a, j))
		a->totals_pending = false;
}

static void tick(admin *a)
{
	host_check checks[HOST_CHECKS_MAX];
	host_snapshot s;

	if (a->host.snapshot(a->host.ctx, &s)) {
		pthread_mutex_lock(&a->ring_lock);
		stats_take(&a->ring, &s);
		pthread_mutex_unlock(&a->ring_lock);
		ask_for_totals(a, s.ledger.commits);
		host_snapshot_deinit(&s);
	}
	/* Checks look at what changes; they have to be looked at for that. */
	a->host.checks(a->host.ctx, checks);
	end_the_slow(a);
	if (events_wanted(a)) {
		uint64_t version;
		size_t len;
		char *text = admin_stats(a, &len, &version);
		if (text)
			events_publish(a, text, len, version);
	}
}

static void *clock_main(void *arg)
{
	admin *a = arg;
	int64_t next = clock_mono_ms();

	pthread_mutex_lock(&a->jobs_lock);
	while (!a->stopping) {
		pthread_mutex_unlock(&a->jobs_lock);
		tick(a);
		next += TICK_MS;
		/* After a standstill there is nothing to catch up with. */
		int64_t now = clock_mono_ms();
		if (now > next)
			next = now;
		struct timespec until = clock_timespec(next);
		pthread_mutex_lock(&a->jobs_lock);
		while (!a->stopping && pthread_cond_timedwait(&a->clock_wake, &a->jobs_lock, &until) != ETIMEDOUT)
			;
	}
	admin_thread_ends(a);
	pthread_mutex_unlock(&a->jobs_lock);
	return NULL;
}

/* ---- life */

bool admin_thread_start(admin *a, pthread_t *thread, void *(*run)(void *), err *e)
{
	pthread_mutex_lock(&a->jobs_lock);
	int rc = thread_start(thread, run, a);
	a->running += rc == 0;
	pthread_mutex_unlock(&a->jobs_lock);
	return rc == 0 || err_set(e, "a thread of the admin server: %s", strerror(rc));
}

void admin_thread_end(pthread_t thread, bool ended)
{
	if (ended)
		pthread_join(thread, NULL);
	else
		pthread_detach(thread);
}

void admin_thread_ends(admin *a)
{
	a->running--;
	pthread_cond_signal(&a->ended);
}

static bool open_door(admin *a, const admin_listener *l, err *e)
{
	http_listener *d = &a->listeners[a->listeners_count];
	const unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;

	d->admin = a;
	d->local = l->local;
	snprintf(d->address, sizeof d->address, "%s", l->address ? l->address : "");
	for (char *c = d->address; *c; c++)
		*c = ascii_lower(*c);
	/* libmicrohttpd closes what it is given. */
	int fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, "the admin server at %s: %s", d->address, strerror(errno));
	d->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, http_handle, d, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)ADMIN_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)ADMIN_IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)ADMIN_MEMORY, MHD_OPTION_URI_LOG_CALLBACK, http_begin, d,
		MHD_OPTION_NOTIFY_COMPLETED, http_end, d, MHD_OPTION_NOTIFY_CONNECTION, http_visit, d,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	if (!d->daemon) {
		close(fd);
		return err_set(e, "the admin server at %s: libmicrohttpd cannot start it: %s", d->address,
			       strerror(errno));
	}
	a->listeners_count++;
	return true;
}

static char *copy(const char *text)
{
	return text && *text ? strdup(text) : NULL;
}

admin *admin_start(const admin_listener *listeners, size_t count, const admin_options *o, ops_host host, err *e)
{
	admin *a = calloc(1, sizeof *a);
	bool ok = true;

	if (!a) {
		err_memory(e);
		return NULL;
	}
	a->host = host;
	a->jobs_end = &a->jobs;
	pthread_mutex_init(&a->connections_lock, NULL);
	pthread_mutex_init(&a->ring_lock, NULL);
	pthread_mutex_init(&a->totals_lock, NULL);
	pthread_mutex_init(&a->jobs_lock, NULL);
	pthread_mutex_init(&a->events_lock, NULL);
	pthread_cond_init(&a->jobs_wake, NULL);
	thread_cond_init(&a->clock_wake);
	thread_cond_init(&a->ended);
	a->token_source = copy(o->token_source);
	a->ledger_db = copy(o->ledger_db);
	a->totals = a->ledger_db ? calloc(1, sizeof *a->totals) : NULL;
	if ((o->token_source && *o->token_source && !a->token_source) || (o->ledger_db && *o->ledger_db && !a->totals))
		ok = err_memory(e);
	if (count > ADMIN_LISTENERS)
		ok = err_set(e, "more than %d admin listeners", ADMIN_LISTENERS);
	ok = ok && jobs_start(a, e);
	sigset_t old = thread_block_signals();
	for (size_t i = 0; ok && i < count; i++)
		ok = open_door(a, &listeners[i], e);
	thread_restore_signals(&old);
	a->clock_runs = ok && admin_thread_start(a, &a->clock_thread, clock_main, e);
	if (a->clock_runs)
		return a;
	admin_stop(a);
	return NULL;
}

bool admin_stop(admin *a)
{
	if (!a)
		return true;
	/* No new connections; then nothing is suspended any more, as libmicrohttpd wants it. */
	for (size_t i = 0; i < a->listeners_count; i++) {
		int fd = MHD_quiesce_daemon(a->listeners[i].daemon);
		if (fd >= 0)
			close(fd);
	}
	bool ended = jobs_stop(a);
	if (a->clock_runs)
		admin_thread_end(a->clock_thread, ended);
	if (!ended)
		return false;
	events_end(a);
	for (size_t i = 0; i < a->listeners_count; i++)
		MHD_stop_daemon(a->listeners[i].daemon);
	pthread_mutex_destroy(&a->connections_lock);
	pthread_mutex_destroy(&a->ring_lock);
	pthread_mutex_destroy(&a->totals_lock);
	pthread_mutex_destroy(&a->jobs_lock);
	pthread_mutex_destroy(&a->events_lock);
	pthread_cond_destroy(&a->jobs_wake);
	pthread_cond_destroy(&a->clock_wake);
	pthread_cond_destroy(&a->ended);
	free(a->token_source);
	free(a->ledger_db);
	free(a->totals);
	free(a->events_text);
	free(a);
	return true;
}

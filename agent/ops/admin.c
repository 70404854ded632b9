/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "ops/admin_impl.h"
#include "ops/http.h"

enum {
	TICK_MS = 1000,
	FILES_TICKS = 10, /* between two looks at the open descriptors */
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
		stats_write(f, &s, checks, count, &a->ring, a->alerts);
		if (fclose(f) != 0) {
			free(text);
			text = NULL;
		}
	}
	*ledger_version = s.ledger_kept ? s.ledger.commits : 0;
	host_snapshot_deinit(&s);
	return text;
}

jobs *admin_lane(admin *a, const job *j)
{
	const char *about = j->kind == JOB_FIGURES ? j->question.about : "";

	if (j->fleet && a->fleet)
		return &a->lanes[LANE_FLEET];
	if (strcmp(about, "requests") == 0)
		return &a->lanes[LANE_REQUESTS];
	if (strcmp(about, "request") == 0)
		return &a->lanes[LANE_REQUEST];
	if (strcmp(about, "operation") == 0)
		return &a->lanes[LANE_OPERATION];
	return &a->lanes[*about || j->kind == JOB_STATS_HISTORY ? LANE_SAVINGS : LANE_WORK];
}

/* ---- the clock */

static void ask_for_totals(admin *a, uint64_t commits)
{
	if (!totals_due(&a->totals, commits))
		return;
	job *j = calloc(1, sizeof *j);
	if (j)
		j->kind = JOB_TOTALS;
	if (!j || !jobs_add(&a->lanes[LANE_WORK], j))
		totals_skip(&a->totals);
}

static void look_at_alerts(admin *a, const host_snapshot *s, const host_check *checks, size_t count)
{
	alerts_moment now = {
		.mono_ms = clock_mono_ms(),
		.wall_ms = clock_wall_ms(),
		.s = s,
		.checks = checks,
		.checks_count = count,
	};

	/* Not each second, because there may be many. */
	if (a->ticks++ % FILES_TICKS == 0)
		host_open_files(&a->open_files, &a->max_files);
	now.open_files = a->open_files;
	now.max_files = a->max_files;
	const totals *t = totals_lock(&a->totals);
	now.sums_known = t != NULL;
	for (size_t i = 0; t && i <= t->models.count; i++) {
		const store_sums *row = i < t->models.count ? &t->models.rows[i] : &t->models.rows[TOTALS_LABELS];
		if (i == t->models.count && !t->models.has_other)
			break;
		now.model_requests += (uint64_t)row->requests;
		now.unpriced_requests += (uint64_t)row->unpriced_requests;
	}
	totals_unlock(&a->totals);
	alerts_look(a->alerts, &now);
}

/* Takes a sample for the rates, and one for the alerts. */
static void look(admin *a)
{
	host_check checks[HOST_CHECKS_MAX];
	host_snapshot s;
	/* Run the checks every second even if nobody asks, because they detect changes between two calls. */
	size_t count = a->host.checks(a->host.ctx, checks);

	if (a->host.snapshot(a->host.ctx, &s)) {
		stats_take(&a->ring, &s);
		look_at_alerts(a, &s, checks, count);
		ask_for_totals(a, s.ledger.commits);
		host_snapshot_deinit(&s);
	}
}

static void tick(admin *a)
{
	look(a);
	/* Whoever rotates a token learns from the log that it is in use, before anybody asks. */
	if (a->admin_token.source)
		token_look(&a->admin_token);
	if (a->viewer_token.source)
		token_look(&a->viewer_token);
	for (size_t i = 0; i < a->listeners_count; i++)
		connections_end_slow(&a->listeners[i].connections);
	if (events_wanted(&a->events)) {
		uint64_t version;
		size_t len;
		char *text = admin_stats(a, &len, &version);
		if (text)
			events_publish(&a->events, text, len, version);
	}
}

static void run_clock(void *arg)
{
	admin *a = arg;
	int64_t next = clock_mono_ms() + TICK_MS;

	pthread_mutex_lock(&a->clock_lock);
	while (!a->clock_stops) {
		struct timespec until = clock_timespec(next);
		if (pthread_cond_timedwait(&a->clock_wake, &a->clock_lock, &until) != ETIMEDOUT)
			continue;
		pthread_mutex_unlock(&a->clock_lock);
		tick(a);
		next += TICK_MS;
		/* After a standstill, do not make up for the ticks that were missed. */
		int64_t now = clock_mono_ms();
		if (now > next)
			next = now;
		pthread_mutex_lock(&a->clock_lock);
	}
	pthread_mutex_unlock(&a->clock_lock);
}

static void stop_clock(admin *a)
{
	pthread_mutex_lock(&a->clock_lock);
	a->clock_stops = true;
	pthread_cond_signal(&a->clock_wake);
	pthread_mutex_unlock(&a->clock_lock);
}

/* ---- start and stop */

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	connections_notify(cls, connection, context, what);
}

static bool start_listener(admin *a, const admin_listener *from, err *e)
{
	http_listener *l = &a->listeners[a->listeners_count];
	const unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;

	l->admin = a;
	l->local = from->local;
	snprintf(l->address, sizeof l->address, "%s", from->address ? from->address : "");
	for (char *c = l->address; *c; c++)
		*c = ascii_lower(*c);
	/* A copy, because libmicrohttpd closes the descriptor. */
	int fd = fcntl(from->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, "the admin server at %s: %s", l->address, strerror(errno));
	connections_init(&l->connections, http_free);
	l->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, http_handle, l, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)ADMIN_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)ADMIN_IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)ADMIN_MEMORY, MHD_OPTION_URI_LOG_CALLBACK, http_begin, l,
		MHD_OPTION_NOTIFY_COMPLETED, http_end, l, MHD_OPTION_NOTIFY_CONNECTION, on_connection, &l->connections,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	if (!l->daemon) {
		connections_deinit(&l->connections);
		close(fd);
		return err_set(e, "the admin server at %s: libmicrohttpd cannot start it: %s", l->address,
			       strerror(errno));
	}
	a->listeners_count++;
	return true;
}

static size_t threads_of(const admin *a, lane at)
{
	return at == LANE_WORK || at == LANE_SAVINGS ? 2 : at != LANE_FLEET || a->fleet;
}

/* Starts the threads and the listeners. False: `e` says why; what has started is left to admin_stop(). */
static bool start(admin *a, const admin_listener *listeners, size_t count, err *e)
{
	bool ok = true;

	/* Not by the clock's thread, which may run for the first time after the first requests: the rates and the
	 * alerts would never know of these. */
	look(a);
	for (lane at = 0; ok && at < LANES; at++)
		for (size_t i = 0; ok && i < threads_of(a, at); i++)
			ok = threads_start(&a->threads, jobs_run, &a->lanes[at], e);
	/* libmicrohttpd's threads inherit the mask. */
	sigset_t old = thread_block_signals();
	for (size_t i = 0; ok && i < count; i++)
		ok = start_listener(a, &listeners[i], e);
	thread_restore_signals(&old);
	return ok && threads_start(&a->threads, run_clock, a, e);
}

admin *admin_start(const admin_listener *listeners, size_t count, const admin_options *o, ops_host host, err *e)
{
	admin *a = calloc(1, sizeof *a);

	if (!a) {
		err_memory(e);
		return NULL;
	}
	a->host = host;
	a->fleet = o->fleet;
	stats_init(&a->ring);
	a->alerts = alerts_new();
	bool ok = totals_init(&a->totals, o->ledger_db) && a->alerts;
	for (lane at = 0; at < LANES; at++)
		jobs_init(&a->lanes[at], &a->host, &a->totals);
	events_init(&a->events);
	threads_init(&a->threads);
	pthread_mutex_init(&a->clock_lock, NULL);
	thread_cond_init(&a->clock_wake);
	ok = token_init(&a->admin_token, "admin_token", o->admin_token) && ok;
	ok = token_init(&a->viewer_token, "viewer_token", o->viewer_token) && ok;
	if (!ok)
		err_memory(e);
	if (count > ADMIN_LISTENERS)
		ok = err_set(e, "more than %d admin listeners", ADMIN_LISTENERS);
	if (ok && start(a, listeners, count, e))
		return a;
	/* Nothing was asked yet, so no thread waits for a disk. */
	if (!admin_stop(a))
		err_set(e, "a thread of the admin server does not end");
	return NULL;
}

void admin_quiesce(admin *a)
{
	for (size_t i = 0; i < a->listeners_count; i++) {
		int fd = MHD_quiesce_daemon(a->listeners[i].daemon);
		if (fd >= 0)
			close(fd);
	}
}

bool admin_is_idle(admin *a)
{
	for (size_t i = 0; i < a->listeners_count; i++)
		if (!connections_are_idle(&a->listeners[i].connections))
			return false;
	return true;
}

bool admin_stop(admin *a)
{
	if (!a)
		return true;
	/* After this, jobs_stop() lets every suspended connection be resumed, as MHD_stop_daemon() requires. */
	admin_quiesce(a);
	for (lane at = 0; at < LANES; at++)
		jobs_stop(&a->lanes[at]);
	stop_clock(a);
	if (!threads_join(&a->threads, ADMIN_STOP_S * 1000))
		return false;
	events_end(&a->events);
	/* MHD_stop_daemon() closes connections, also those whose last answer has not gone out yet. */
	for (int i = 0; i < ADMIN_LAST_ANSWERS_MS && !admin_is_idle(a); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	for (size_t i = 0; i < a->listeners_count; i++) {
		MHD_stop_daemon(a->listeners[i].daemon);
		connections_deinit(&a->listeners[i].connections);
	}
	stats_deinit(&a->ring);
	alerts_free(a->alerts);
	totals_deinit(&a->totals);
	for (lane at = 0; at < LANES; at++)
		jobs_deinit(&a->lanes[at]);
	events_deinit(&a->events);
	threads_deinit(&a->threads);
	pthread_mutex_destroy(&a->clock_lock);
	pthread_cond_destroy(&a->clock_wake);
	token_deinit(&a->admin_token);
	token_deinit(&a->viewer_token);
	free(a);
	return true;
}

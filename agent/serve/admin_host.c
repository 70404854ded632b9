/* SPDX-License-Identifier: MIT */
#include "serve/admin_host.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "ops/admin.h"
#include "report/explain.h"
#include "report/fleet_question.h"
#include "report/headroom.h"
#include "report/ledger_store.h"
#include "report/request_view.h"
#include "serve/accounts.h"
#include "serve/checks.h"
#include "serve/checks_seen.h"
#include "serve/snapshot.h"

enum {
	LAST_MS = 1000, /* how long a worker that was replaced waits for those who ask its admin server */
};

struct admin_host {
	const config *config;
	spop_threads *spop_threads;
	struct ev_loop *loop;
	ev_async *reload;
	int64_t started_ms;
	unsigned restarts;
	char *ledger_db;
	int stop_fd; /* readable: nobody waits for the shipper any more */

	admin *admin;
	bool left; /* `admin` could not be stopped, and its threads may still run */
	admin_listener listeners[ADMIN_LISTENERS];
	size_t listeners_count;

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t reloaded;
	policy *policy;
	recording *recording;
	bool draining, stopping;
	uint64_t reloads, reloads_failed;
	int64_t reloaded_ms;
	clients_status clients;
	char reload_problem[sizeof((host_check){ 0 }).detail]; /* of the last reload; "": it succeeded */
	/* How many times POST /reload was asked for, and how many of them the main thread has done. */
	uint64_t asked, done;
	bool done_ok;
	size_t done_routes;
	err done_error;
	checks_seen seen; /* by on_checks() */

	accounts accounts; /* has a lock of its own */
};

/* ---- snapshot */

static policy *policy_now(admin_host *h)
{
	pthread_mutex_lock(&h->lock);
	policy *p = policy_ref(h->policy);
	pthread_mutex_unlock(&h->lock);
	return p;
}

static bool on_snapshot(void *ctx, host_snapshot *s)
{
	admin_host *h = ctx;
	policy *p = policy_now(h);

	*s = (host_snapshot){ .version = SPOA_LLM_VERSION, .started_ms = h->started_ms, .restarts = h->restarts };
	s->max_connections = (uint64_t)h->config->max_connections;
	s->max_memory = (uint64_t)h->config->max_memory;
	s->max_in_flight = (uint64_t)h->config->max_in_flight;
	s->journal_max = (uint64_t)h->config->journal_max;
	s->fleet_backlog = (uint64_t)h->config->fleet_backlog;
	s->memory = spop_threads_memory(h->spop_threads);
	pthread_mutex_lock(&h->lock);
	s->ends = h->recording ? calloc(1, sizeof *s->ends) : NULL;
	bool ok = s->ends || !h->recording;
	if (s->ends)
		recording_ends(h->recording, s->ends);
	pthread_mutex_unlock(&h->lock);
	ok = ok && snapshot_take(s, h->spop_threads, p) && accounts_read(&h->accounts, p, &s->budgets);
	policy_unref(p);
	pthread_mutex_lock(&h->lock);
	s->reloads = h->reloads;
	s->reloads_failed = h->reloads_failed;
	s->reloaded_ms = h->reloaded_ms;
	s->ledger_kept = h->recording != NULL;
	if (h->recording) {
		s->ledger = recording_stats(h->recording);
		s->tap = recording_tap(h->recording);
		s->fleet = recording_fleet(h->recording);
		s->spans = recording_spans(h->recording);
		s->fleet.figures = s->fleet.kept && *h->config->ship_listen;
	}
	pthread_mutex_unlock(&h->lock);
	if (!ok)
		host_snapshot_deinit(s);
	return ok;
}

/* ---- checks */

static size_t on_checks(void *ctx, host_check out[HOST_CHECKS_MAX])
{
	admin_host *h = ctx;
	int64_t now = clock_mono_ms();
	policy *p = policy_now(h);
	size_t n = 0;

	pthread_mutex_lock(&h->lock);
	checks_threads(&out[n++], &h->seen, h->spop_threads, now);
	n += checks_routes(&out[n], p);
	n += checks_pools(&out[n], p);
	n += checks_clients(&out[n], p, &h->clients);
	checks_contract(&out[n++], &h->seen, h->spop_threads, p,
			h->recording ? recording_refused(h->recording, END_NO_KEY) : 0, now);
	checks_backends(&out[n++], &h->seen, h->spop_threads, p, now);
	if (*h->reload_problem)
		checks_set(&out[n++], "reload", false, false,
			   "the last reload failed, the configuration before it is in use: %s", h->reload_problem);
	else
		checks_set(&out[n++], "reload", true, false, "%s",
			   h->reloads ? "the last reload succeeded" : "no reload since the start");
	checks_set(&out[n++], "draining", !h->draining, true, "%s",
		   h->draining ? "HAProxy is told to use another agent" : "no");
	if (h->recording) {
		ledger_stats l = recording_stats(h->recording);
		n += checks_ledger(&out[n], &l);
		checks_log_lines(&out[n++], &h->seen, h->spop_threads, &l, now);
		host_tap tap = recording_tap(h->recording);
		if (tap.kept)
			checks_tap(&out[n++], &tap);
		host_fleet fleet = recording_fleet(h->recording);
		if (fleet.kept)
			checks_fleet(&out[n++], &fleet);
		host_spans sent = recording_spans(h->recording);
		if (sent.kept)
			checks_spans(&out[n++], &sent);
	}
	pthread_mutex_unlock(&h->lock);
	policy_unref(p);
	return n;
}

/* ---- requests */

static bool on_reload(void *ctx, size_t *routes, err *e)
{
	admin_host *h = ctx;

	pthread_mutex_lock(&h->lock);
	uint64_t mine = ++h->asked;
	if (!h->stopping)
		ev_async_send(h->loop, h->reload);
	while (!h->stopping && h->done < mine)
		pthread_cond_wait(&h->reloaded, &h->lock);
	bool done = h->done >= mine, ok = done && h->done_ok;
	*routes = h->done_routes;
	if (!ok)
		err_set(e, "%s", done ? h->done_error.text : "the agent is stopping");
	pthread_mutex_unlock(&h->lock);
	return ok;
}

static host_result on_explain(void *ctx, const char *request, size_t len, FILE *out, err *e)
{
	policy *p = policy_now(ctx);
	bool ok = explain_json(out, p, slice_of(request, len), e);

	policy_unref(p);
	return ok ? HOST_OK : HOST_BAD_REQUEST;
}

/* Has `spoa-llm ship` answer. Does not ask a silent one, because the page would wait if it hangs. */
static host_result ask_fleet(admin_host *h, const fleet_question *q, FILE *out, err *e)
{
	host_fleet fleet = { .kept = false };

	pthread_mutex_lock(&h->lock);
	if (h->recording)
		fleet = recording_fleet(h->recording);
	pthread_mutex_unlock(&h->lock);
	if (!*h->config->fleet_uri || !*h->config->ship_listen) {
		err_set(e, "no figures of a fleet are configured: set fleet_uri and ship_listen");
		return HOST_BAD_REQUEST;
	}
	if (fleet.silent) {
		err_set(e, "`spoa-llm ship` has said nothing for %lld seconds: start it, or look at its log",
			(long long)fleet.silent_ms / 1000);
		return HOST_UNAVAILABLE;
	}
	switch (fleet_question_ask(h->config->ship_listen, h->stop_fd, q, out, e)) {
	case ASK_OK:
		return HOST_OK;
	case ASK_WRONG:
		return HOST_BAD_REQUEST;
	case ASK_NONE:
		return HOST_NOT_FOUND;
	case ASK_AWAY:
		break;
	}
	return HOST_UNAVAILABLE;
}

/* Passes the question on to the shipper. The shipper gets the parameters as they came, and reads them itself, because
 * it may be of another version. */
static host_result ask_fleet_figures(admin_host *h, const host_question *ask, FILE *out, err *e)
{
	fleet_parameter items[HOST_PARAMETERS];
	fleet_question q = { ask->about, 0, items };

	for (size_t i = 0; i < ask->count; i++)
		if (strcmp(ask->items[i].name, "scope") != 0)
			items[q.count++] = (fleet_parameter){ ask->items[i].name, ask->items[i].value };
	return ask_fleet(h, &q, out, e);
}

static price_table *prices_now(admin_host *h)
{
	pthread_mutex_lock(&h->lock);
	price_table *prices = h->recording ? recording_prices_now(h->recording) : NULL;
	pthread_mutex_unlock(&h->lock);
	return prices;
}

/* Answers from the ledger. */
static host_result own_figures(admin_host *h, const view_question *q, bool explain, FILE *out, err *e)
{
	view_result got = VIEW_FAILED;
	int code, result;
	store *s = ledger_store_open(h->config->ledger, false, false, &code, e);

	if (s) {
		const figures_source source = figures_of_store(s);
		if (q->about == VIEW_REQUEST) {
			price_table *prices = prices_now(h);
			policy *p = explain ? policy_now(h) : NULL;
			got = request_view_answer(q, &source, prices, p, out, &result, e);
			policy_unref(p);
			price_table_unref(prices);
		} else {
			got = view_answer(q, &source, out, &result, e);
		}
	}
	store_close(s);
	switch (got) {
	case VIEW_OK:
		return HOST_OK;
	case VIEW_WRONG:
		return HOST_BAD_REQUEST;
	case VIEW_NONE:
		return HOST_NOT_FOUND;
	case VIEW_FAILED:
		break;
	}
	return HOST_UNAVAILABLE;
}

static host_result on_figures(void *ctx, const host_question *ask, FILE *out, err *e)
{
	view_about about;

	if (!view_about_of(ask->about, &about))
		return ask_fleet_figures(ctx, ask, out, e); /* the list of gateways */
	view_question q = view_question_of(about);
	for (size_t i = 0; i < ask->count; i++)
		if (!view_set(&q, ask->items[i].name, ask->items[i].value, e))
			return HOST_BAD_REQUEST;
	if (!view_ready(&q, e))
		return HOST_BAD_REQUEST;
	return q.fleet ? ask_fleet_figures(ctx, ask, out, e) : own_figures(ctx, &q, ask->explain, out, e);
}

static host_result on_stats_history(void *ctx, const char *series, bool csv, FILE *out, err *e)
{
	admin_host *h = ctx;
	store_result result = STORE_ERROR;
	int code;

	if (series && !headroom_series_valid(series)) {
		err_set(e, "series \"%.60s\": history, hourly, daily, weekly or monthly is expected", series);
		return HOST_BAD_REQUEST;
	}
	store *s = ledger_store_open(h->config->ledger, false, false, &code, e);
	price_table *prices = s ? prices_now(h) : NULL;
	if (s && !prices)
		err_set(e, "another process has taken over the ledger");
	headroom *x = prices ? headroom_read(s, prices, &result, e) : NULL;
	bool ok = x && result == STORE_OK;
	if (ok)
		headroom_stats_history(out, x, h->ledger_db, series, csv);
	headroom_free(x);
	store_close(s);
	price_table_unref(prices);
	return ok ? HOST_OK : HOST_UNAVAILABLE;
}

/* ---- start and stop */

admin_host *admin_host_new(const config *c, spop_threads *ts, policy *p, recording *r, unsigned restarts,
			   struct ev_loop *loop, ev_async *reload)
{
	admin_host *h = calloc(1, sizeof *h);
	unsigned threads = spop_threads_count(ts);

	if (!h)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->reloaded, NULL);
	accounts_init(&h->accounts);
	h->config = c;
	h->spop_threads = ts;
	h->policy = policy_ref(p);
	h->recording = r;
	h->restarts = restarts;
	h->loop = loop;
	h->reload = reload;
	h->started_ms = clock_wall_ms();
	bool seen = checks_seen_init(&h->seen, threads ? threads : 1);
	h->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!seen || h->stop_fd < 0 || asprintf(&h->ledger_db, "%s/ledger.db", c->ledger) < 0) {
		h->ledger_db = NULL;
		admin_host_free(h);
		return NULL;
	}
	return h;
}

bool admin_host_free(admin_host *h)
{
	if (!h)
		return true;
	if (!admin_host_stop_serving(h))
		return false;
	policy_unref(h->policy);
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->reloaded);
	accounts_deinit(&h->accounts);
	if (h->stop_fd >= 0)
		close(h->stop_fd);
	free(h->ledger_db);
	checks_seen_deinit(&h->seen);
	free(h);
	return true;
}

bool admin_host_serve_on(admin_host *h, const listener listeners[LISTEN_MAX], err *e)
{
	h->listeners_count = 0;
	for (size_t i = 0; i < h->config->admin_listen.count; i++) {
		if (listeners[i].fd < 0)
			continue;
		h->listeners[h->listeners_count++] = (admin_listener){ listeners[i].fd, !listeners[i].inet,
								       h->config->admin_listen.items[i] };
	}
	return admin_host_serve(h, e);
}

bool admin_host_serve(admin_host *h, err *e)
{
	bool fleet = *h->config->ledger && *h->config->fleet_uri && *h->config->ship_listen;
	admin_options with = { h->config->admin_token, h->config->viewer_token,
			       *h->config->ledger ? h->ledger_db : NULL, fleet };
	ops_host host = { h, on_snapshot, on_checks, on_reload, on_explain, on_figures, on_stats_history };

	if (h->admin || !h->listeners_count)
		return true;
	pthread_mutex_lock(&h->lock);
	h->stopping = false;
	/* Forget when iterations changed: nobody ran the checks meanwhile. */
	memset(h->seen.iterations, 0, spop_threads_count(h->spop_threads) * sizeof *h->seen.iterations);
	pthread_mutex_unlock(&h->lock);
	h->admin = admin_start(h->listeners, h->listeners_count, &with, host, e);
	return h->admin != NULL;
}

void admin_host_quiesce(admin_host *h)
{
	if (h->admin)
		admin_quiesce(h->admin);
}

void admin_host_finish(const admin_host *h)
{
	const struct timespec pause = { 0, 2 * 1000 * 1000 };
	int64_t until = clock_mono_ms() + LAST_MS;

	while (h->admin && !admin_is_idle(h->admin) && clock_mono_ms() < until)
		nanosleep(&pause, NULL);
}

bool admin_host_stop_serving(admin_host *h)
{
	ledger_store_stop_retrying();
	if (h->stop_fd >= 0)
		eventfd_write(h->stop_fd, 1);
	/* Answer the requests that wait for a reload, because this thread would have to do the reload. */
	pthread_mutex_lock(&h->lock);
	h->stopping = true;
	pthread_cond_broadcast(&h->reloaded);
	pthread_mutex_unlock(&h->lock);
	if (!h->left && !admin_stop(h->admin)) {
		h->left = true;
		log_event(admin_left, LOG_C("problem", "a request to the admin server still waits for a disk"),
			  LOG_C("instead", "this process ends without answering it"));
	}
	if (!h->left)
		h->admin = NULL;
	return !h->left;
}

/* ---- changes */

void admin_host_set_policy(admin_host *h, policy *p)
{
	pthread_mutex_lock(&h->lock);
	policy *old = h->policy;
	h->policy = policy_ref(p);
	pthread_mutex_unlock(&h->lock);
	policy_unref(old);
}

void admin_host_set_recording(admin_host *h, recording *r)
{
	pthread_mutex_lock(&h->lock);
	h->recording = r;
	pthread_mutex_unlock(&h->lock);
}

void admin_host_draining(admin_host *h)
{
	pthread_mutex_lock(&h->lock);
	h->draining = true;
	pthread_mutex_unlock(&h->lock);
}

void admin_host_clients(admin_host *h, const clients_file *f)
{
	pthread_mutex_lock(&h->lock);
	h->clients = f->status;
	pthread_mutex_unlock(&h->lock);
}

void admin_host_reloaded(admin_host *h, bool ok, const char *problem)
{
	pthread_mutex_lock(&h->lock);
	if (ok) {
		h->reloads++;
		h->reloaded_ms = clock_wall_ms();
	} else {
		h->reloads_failed++;
	}
	snprintf(h->reload_problem, sizeof h->reload_problem, "%s", ok ? "" : *problem ? problem : "?");
	pthread_mutex_unlock(&h->lock);
}

bool admin_host_reload_asked(admin_host *h)
{
	pthread_mutex_lock(&h->lock);
	bool asked = h->done < h->asked && !h->stopping;
	pthread_mutex_unlock(&h->lock);
	return asked;
}

void admin_host_reload_done(admin_host *h, bool ok, size_t routes, const err *e)
{
	pthread_mutex_lock(&h->lock);
	/* One at a time: a request that came during this reload may need what the file holds now. */
	h->done++;
	h->done_ok = ok;
	h->done_routes = routes;
	if (!ok)
		h->done_error = *e;
	pthread_cond_broadcast(&h->reloaded);
	pthread_mutex_unlock(&h->lock);
}

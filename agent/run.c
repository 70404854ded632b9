/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <ev.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "intake.h"
#include "net/workers.h"

/* How often credential files are looked at, in seconds. */
static const double REFRESH_EVERY = 1.;

typedef struct agent {
	config *config;
	const option_text *flags;
	size_t flags_count;
	listener listeners[LISTEN_MAX];
	workers *workers;
	policy *policy;
	ledger *ledger; /* NULL: none is kept */
	intake *intake;
	bool stopping;
} agent;

/* ---- the ledger */

/* NULL: `e` says why. */
static price_table *load_prices(const config *c, err *e)
{
	return price_table_load(*c->prices ? c->prices : NULL, e);
}

static void set_references(agent *a)
{
	const route_table *t = a->policy->table;
	ledger_reference *references = calloc(t->count ? t->count : 1, sizeof *references);
	size_t count = 0;

	for (size_t i = 0; references && i < t->count; i++)
		if (t->routes[i].enabled && t->routes[i].reference_model)
			references[count++] = (ledger_reference){ t->routes[i].name, t->routes[i].reference_model };
	if (!references || !ledger_set_references(a->ledger, references, count))
		log_event(LOG_ERROR, "references_lost", LOG_C("problem", "out of memory"));
	free(references);
}

static bool ledger_begin(agent *a, err *e)
{
	const config *c = a->config;
	const char *key = getenv("SPOA_LLM_LOG_KEY");
	listener socks[LISTEN_MAX];
	listener_rules rules = { (unsigned)c->listen_mode, c->allow_remote, true };
	ledger_options options_ = { c->ledger, key ? key : "", (uint64_t)c->journal_max, c->retention_days * 86400000 };
	size_t opened = 0;

	if (!*c->ledger)
		return true;
	if (!key || !*key)
		log_event(LOG_WARN, "log_key_missing", LOG_C("problem", "SPOA_LLM_LOG_KEY is not set"),
			  LOG_C("instead", "every local process can write the ledger"));
	price_table *prices = load_prices(c, e);
	if (!prices)
		return false;
	a->ledger = ledger_open(&options_, prices, e);
	if (!a->ledger)
		return false;
	set_references(a);
	for (; opened < c->log_listen.count; opened++) {
		if (!listener_open(&socks[opened], c->log_listen.items[opened], &rules, e))
			break;
		log_event(LOG_INFO, "listening", LOG_C("address", c->log_listen.items[opened]), LOG_C("for", "log lines"));
	}
	if (opened == c->log_listen.count)
		a->intake = intake_start(socks, opened, a->ledger, e);
	while (!a->intake && opened)
		listener_close(&socks[--opened]);
	return a->intake != NULL;
}

static void ledger_end(agent *a)
{
	intake_stop(a->intake);
	ledger_close(a->ledger);
}

/* ---- life */

static void publish(agent *a, policy *next)
{
	policy_unref(a->policy);
	a->policy = next;
	workers_set_policy(a->workers, policy_ref(next));
}

static void on_refresh(struct ev_loop *loop, ev_timer *timer, int events)
{
	agent *a = timer->data;
	policy *next = policy_refresh(a->policy);

	(void)loop;
	(void)events;
	if (!next)
		return;
	publish(a, next);
	log_event(LOG_DEBUG, "credentials_read", LOG_I("routes", next->table->count));
}

/* Builds everything anew and takes it, or keeps everything as it was. */
static void on_reload(struct ev_loop *loop, ev_signal *sig, int events)
{
	agent *a = sig->data;
	config fresh;
	err e;

	(void)loop;
	(void)events;
	if (!config_load(&fresh, a->config->file, a->flags, a->flags_count, &e)) {
		log_setup((log_level)a->config->log_level, (log_format)a->config->log_format);
		log_event(LOG_ERROR, "reload_failed", LOG_C("problem", e.text), LOG_C("instead", "nothing changed"));
		return;
	}
	price_table *prices = a->ledger ? load_prices(&fresh, &e) : NULL;
	if (a->ledger && !prices) {
		config_deinit(&fresh);
		log_event(LOG_ERROR, "reload_failed", LOG_C("problem", e.text), LOG_C("instead", "nothing changed"));
		return;
	}
	policy *next = policy_new(fresh.table);
	fresh.table = NULL;
	a->config->log_level = fresh.log_level;
	a->config->log_format = fresh.log_format;
	config_deinit(&fresh);
	if (!next) {
		price_table_unref(prices);
		log_event(LOG_ERROR, "reload_failed", LOG_C("problem", "out of memory"), LOG_C("instead", "nothing changed"));
		return;
	}
	publish(a, next);
	if (a->ledger) {
		ledger_set_prices(a->ledger, prices);
		set_references(a);
	}
	log_event(LOG_INFO, "reloaded", LOG_I("routes", next->table->enabled));
}

static void on_stop(struct ev_loop *loop, ev_signal *sig, int events)
{
	agent *a = sig->data;

	(void)loop;
	(void)events;
	if (a->stopping)
		_exit(128 + sig->signum);
	a->stopping = true;
	log_event(LOG_INFO, "stopping", LOG_C("signal", sig->signum == SIGINT ? "SIGINT" : "SIGTERM"));
	workers_stop(a->workers);
}

static void on_ended(struct ev_loop *loop, ev_async *async, int events)
{
	(void)async;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

static bool listen_all(agent *a, err *e)
{
	listener_rules rules = { (unsigned)a->config->listen_mode, a->config->allow_remote, false };

	for (size_t i = 0; i < a->config->listen.count; i++) {
		if (!listener_open(&a->listeners[i], a->config->listen.items[i], &rules, e))
			return false;
		log_event(LOG_INFO, "listening", LOG_C("address", a->config->listen.items[i]));
	}
	return true;
}

int run(config *c, const option_text *flags, size_t count)
{
	agent a = { .config = c, .flags = flags, .flags_count = count };
	struct ev_loop *loop = ev_default_loop(EVFLAG_NOENV);
	worker_limits limits = { (uint32_t)c->max_frame_size, (unsigned)c->max_connections, (uint64_t)c->max_memory,
				 (worker_pipelining)c->pipelining };
	unsigned threads = c->threads ? (unsigned)c->threads : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	ev_signal term, intr, hup;
	ev_timer refresh;
	ev_async ended;
	err e;

	for (size_t i = 0; i < LISTEN_MAX; i++)
		a.listeners[i].fd = -1;
	signal(SIGPIPE, SIG_IGN);
	if (!loop) {
		log_event(LOG_ERROR, "start_failed", LOG_C("problem", "no event loop can be had from the kernel"));
		return EX_OSERR;
	}
	a.policy = policy_new(c->table);
	c->table = NULL;
	bool ok = a.policy ? listen_all(&a, &e) : err_set(&e, "out of memory");
	ev_async_init(&ended, on_ended);
	ev_async_start(loop, &ended);
	ok = ok && ledger_begin(&a, &e);
	a.workers = ok ? workers_new(a.listeners, c->listen.count, threads, limits, policy_ref(a.policy), loop, &ended, &e) : NULL;
	ok = a.workers && workers_start(a.workers, &e);
	if (!ok) {
		log_event(LOG_ERROR, "start_failed", LOG_C("problem", e.text));
	} else {
		ev_signal_init(&term, on_stop, SIGTERM);
		ev_signal_init(&intr, on_stop, SIGINT);
		ev_signal_init(&hup, on_reload, SIGHUP);
		ev_timer_init(&refresh, on_refresh, REFRESH_EVERY, REFRESH_EVERY);
		term.data = intr.data = hup.data = refresh.data = &a;
		ev_signal_start(loop, &term);
		ev_signal_start(loop, &intr);
		ev_signal_start(loop, &hup);
		ev_timer_start(loop, &refresh);
		log_event(LOG_INFO, "ready", LOG_C("version", SPOA_LLM_VERSION), LOG_I("routes", a.policy->table->enabled));
		ev_run(loop, 0);
		workers_free(a.workers);
		a.workers = NULL;
		log_event(LOG_INFO, "stopped", LOG_C("version", SPOA_LLM_VERSION));
	}
	workers_free(a.workers);
	/* Last, so that the end of every request that was decided has had its chance to come in. */
	ledger_end(&a);
	for (size_t i = 0; i < LISTEN_MAX; i++)
		listener_close(&a.listeners[i]);
	policy_unref(a.policy);
	ev_loop_destroy(loop);
	return ok ? EX_OK : EX_UNAVAILABLE;
}

/* SPDX-License-Identifier: MIT */
#include "serve/recording.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "decide/settings_hash.h"
#include "ledger/log_key.h"

/* Datagrams: less is too little for a stall of some seconds. systemd raises the kernel's 10 to 512 when it boots. */
enum { QUEUE_SHORT = 256 };

struct recording {
	char *dir;
	char *key;
	uint64_t journal_max;
	int64_t retention_ms;
	int64_t backlog; /* bytes; -1: there is no fleet */
	price_table *prices;
	ledger_reference *references;
	size_t references_count;
	intake *intake;
	pthread_mutex_t lock; /* guards what other threads read: `prices`, `ledger`, `problem` */
	ledger *ledger;       /* NULL: not opened yet, or it cannot be opened: see `problem` */
	char problem[sizeof((ledger_stats){ 0 }).problem];
	ledger_budgets budgets;
	store_settings settings;
};

price_table *recording_prices(const config *c, err *e)
{
	price_table *t = price_table_load(*c->prices ? c->prices : NULL, e);

	if (!t)
		err_of_option(e, "prices");
	return t;
}

static void references_free(recording *r)
{
	for (size_t i = 0; i < r->references_count; i++) {
		free(r->references[i].route);
		free(r->references[i].model);
	}
	free(r->references);
	r->references = NULL;
	r->references_count = 0;
}

static bool references_copy(recording *r, const route_table *t)
{
	references_free(r);
	r->references = calloc(t->count ? t->count : 1, sizeof *r->references);
	for (size_t i = 0; r->references && i < t->count; i++) {
		if (!t->routes[i].enabled || !t->routes[i].reference_model)
			continue;
		ledger_reference *at = &r->references[r->references_count++];
		at->route = strdup(t->routes[i].name);
		at->model = strdup(t->routes[i].reference_model);
		if (!at->route || !at->model)
			return false;
	}
	return r->references != NULL;
}

static void references_pass_on(recording *r, bool ok)
{
	if (!ok || (r->ledger && !ledger_set_references(r->ledger, r->references, r->references_count)))
		log_event(references_lost, LOG_C("problem", "out of memory"));
}

/* Warns of an address that lets other local users in, and of a queue that is too short for a stall of the agent. */
static void warn_of(const char *address, const listener *l)
{
	if (l->inet)
		log_event(log_listen_open, LOG_C("address", address),
			  LOG_C("problem", "permissions do not guard TCP and UDP: while the agent is down, any local "
					   "user can bind this address and read HAProxy's lines and the key"),
			  LOG_C("hint", "use unix sockets: unix@/PATH and dgram@/PATH"));
	unsigned queue = l->datagram && !l->inet ? listener_datagram_queue(QUEUE_SHORT) : QUEUE_SHORT;
	if (queue < QUEUE_SHORT)
		log_event(log_queue_short, LOG_I("datagrams", queue),
			  LOG_C("problem", "HAProxy drops lines that do not fit while the agent is busy"),
			  LOG_C("hint", "sysctl -w net.unix.max_dgram_qlen=4096, then start the agent, or the socket "
					"unit, again"));
}

typedef struct opening {
	listener_rules rules;
	bool (*opened)(void *ctx, listener *l, err *e);
	void *ctx;
} opening;

/* Opens a socket at each address of `option`. `what`: what they are for, in the log. False: `e` says why; some may be
 * open. */
static bool open_all(const opening *o, const char *option, const address_list *addresses, const char *what,
		     intake_sockets *out, err *e)
{
	for (size_t i = 0; i < addresses->count; i++) {
		if (!listener_open(&out->items[i], addresses->items[i], &o->rules, e))
			return err_of_option(e, option);
		out->count++;
		if (!o->opened(o->ctx, &out->items[i], e))
			return false;
		log_event(listening, LOG_C("address", addresses->items[i]), LOG_C("for", what));
	}
	return true;
}

static void close_all(intake_sockets *s)
{
	while (s->count)
		listener_close(&s->items[--s->count]);
}

recording *recording_new(const config *c, const route_table *routes, bool (*opened)(void *ctx, listener *l, err *e),
			 void *ctx, err *e)
{
	const char *key = getenv("SPOA_LLM_LOG_KEY");
	opening o = { { (unsigned)c->listen_mode, { c->allow_remote, true } }, opened, ctx };
	intake_sockets lines = { .count = 0 }, reports = { .count = 0 }, fleet = { .count = 0 };
	const intake_ships ships = { .rows = *c->fleet_uri != '\0', .spans = *c->otlp_endpoint != '\0' };
	recording *r = calloc(1, sizeof *r);

	if (!r) {
		err_memory(e);
		return NULL;
	}
	pthread_mutex_init(&r->lock, NULL);
	snprintf(r->problem, sizeof r->problem, "not opened yet");
	r->journal_max = (uint64_t)c->journal_max;
	r->retention_ms = c->retention_days * DAY_MS;
	r->backlog = *c->fleet_uri ? c->fleet_backlog : -1;
	r->dir = strdup(c->ledger);
	r->key = strdup(key ? key : "");
	bool ok = !key || log_key_usable(key) || err_set(e, LOG_KEY_PROBLEM);
	r->prices = ok ? recording_prices(c, e) : NULL;
	ok = r->prices && ((r->dir && r->key && references_copy(r, routes)) || err_memory(e));
	ok = ok && open_all(&o, "log_listen", &c->log_listen, "log lines", &lines, e) &&
	     (!routes_tapped(routes) ||
	      open_all(&o, "tap_listen", &c->tap_listen, "reports of the tap", &reports, e)) &&
	     ((!*c->fleet_uri && !*c->otlp_endpoint) ||
	      open_all(&o, "fleet_listen", &c->fleet_listen, "what the shipper says", &fleet, e));
	for (size_t i = 0; ok && i < lines.count; i++)
		warn_of(c->log_listen.items[i], &lines.items[i]);
	if (ok) {
		r->intake = intake_new(&lines, &reports, &fleet, &ships);
		ok = r->intake || err_memory(e);
		lines.count = reports.count = fleet.count = 0;
	}
	if (ok && (!key || !*key))
		log_event(log_key_missing, LOG_C("problem", "SPOA_LLM_LOG_KEY is not set"),
			  LOG_C("instead", "every local process can write the ledger"));
	close_all(&lines);
	close_all(&reports);
	close_all(&fleet);
	if (!ok) {
		recording_stop(r, NULL, NULL);
		return NULL;
	}
	return r;
}

void recording_keep(recording *r, spending *to)
{
	r->budgets = spending_budgets(to);
	if (r->ledger)
		ledger_set_budgets(r->ledger, r->budgets);
	intake_keep(r->intake, to);
}

bool recording_started(const recording *r)
{
	return r->ledger != NULL;
}

void recording_adopt(recording *r, int fd, slice begun)
{
	intake_adopt(r->intake, fd, begun);
}

bool recording_start(recording *r, err *e)
{
	ledger_options o = { r->dir, r->key, r->journal_max, r->retention_ms, r->backlog, r->budgets };
	ledger *l = ledger_open(&o, price_table_ref(r->prices), e);
	bool ok = l && intake_start(r->intake, l, e);

	if (l && !ok) {
		ledger_close(l);
		l = NULL;
	}
	pthread_mutex_lock(&r->lock);
	r->ledger = l;
	if (!ok)
		snprintf(r->problem, sizeof r->problem, "%.*s", (int)sizeof r->problem - 1, e->text);
	pthread_mutex_unlock(&r->lock);
	if (ok) {
		references_pass_on(r, true);
		ledger_set_settings(l, &r->settings);
	}
	return ok;
}

price_table *recording_prices_now(recording *r)
{
	pthread_mutex_lock(&r->lock);
	price_table *prices = price_table_ref(r->prices);
	pthread_mutex_unlock(&r->lock);
	return prices;
}

void recording_set(recording *r, price_table *prices, const route_table *routes)
{
	pthread_mutex_lock(&r->lock);
	price_table *old = r->prices;
	r->prices = prices;
	pthread_mutex_unlock(&r->lock);
	price_table_unref(old);
	bool copied = references_copy(r, routes);
	if (r->ledger)
		ledger_set_prices(r->ledger, price_table_ref(prices));
	references_pass_on(r, copied);
}

void recording_settings(recording *r, const policy *p)
{
	_Static_assert(sizeof r->settings.routes == SETTINGS_HASH_LEN + 1, "room for a hash");
	if (r->backlog < 0)
		return;
	settings_hash_routes(p->table, r->settings.routes);
	settings_hash_clients(p->clients, r->settings.clients);
	if (r->ledger)
		ledger_set_settings(r->ledger, &r->settings);
}

ledger_stats recording_stats(recording *r)
{
	ledger_stats stats = { .state = LEDGER_FAILING };

	pthread_mutex_lock(&r->lock);
	if (r->ledger)
		stats = ledger_get_stats(r->ledger);
	else
		snprintf(stats.problem, sizeof stats.problem, "%s", r->problem);
	pthread_mutex_unlock(&r->lock);
	return stats;
}

void recording_ends(recording *r, ends *out)
{
	pthread_mutex_lock(&r->lock);
	if (r->ledger)
		ledger_get_ends(r->ledger, out);
	pthread_mutex_unlock(&r->lock);
}

uint64_t recording_refused(recording *r, end_refusal why)
{
	pthread_mutex_lock(&r->lock);
	uint64_t n = r->ledger ? ledger_refused(r->ledger, why) : 0;
	pthread_mutex_unlock(&r->lock);
	return n;
}

host_tap recording_tap(recording *r)
{
	return intake_tap(r->intake);
}

host_fleet recording_fleet(recording *r)
{
	return intake_fleet(r->intake);
}

host_spans recording_spans(recording *r)
{
	return intake_spans(r->intake);
}

void recording_stop(recording *r, bool (*each)(void *ctx, int fd, slice begun), void *ctx)
{
	if (!r)
		return;
	intake_stop(r->intake, each, ctx);
	pthread_mutex_lock(&r->lock);
	ledger *l = r->ledger;
	r->ledger = NULL;
	pthread_mutex_unlock(&r->lock);
	ledger_close(l);
	references_free(r);
	price_table_unref(r->prices);
	if (r->key)
		explicit_bzero(r->key, strlen(r->key));
	free(r->key);
	free(r->dir);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

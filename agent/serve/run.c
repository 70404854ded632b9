/* SPDX-License-Identifier: MIT */
#include "serve/run_impl.h"

#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/unused.h"
#include "net/handover.h"
#include "report/backends.h"
#include "serve/changes.h"
#include "serve/snapshot.h"
#include "serve/takeover.h"

/* Seconds between two looks at the files of credentials and clients, and between two tries to open a ledger that cannot
 * be opened. */
static const double REFRESH_EVERY = 1.;
/* Seconds between two ALIVE messages to the master. An idle event loop iterates twice as often. */
static const double ALIVE_EVERY = 1.;

/* ---- sockets: the master holds them, so that the next worker has them too */

static bool on_opened(void *ctx, listener *l, err *e)
{
	agent *a = ctx;
	unsigned char ours = l->path != NULL;

	if (!control_say(a->master, CONTROL_KEEP, slice_of(&ours, 1), &l->fd, 1, e))
		return false;
	/* The master removes the file when it closes the socket. */
	free(l->path);
	l->path = NULL;
	return true;
}

/* Opens a socket at each address of `option`. `what`: what they are for, in the log. */
static bool listen_all(agent *a, const char *option, const address_list *addresses, const listener_rules *rules,
		       listener *out, const char *what, err *e)
{
	for (size_t i = 0; i < addresses->count; i++) {
		if (!listener_open(&out[i], addresses->items[i], rules, e))
			return err_of_option(e, option);
		if (!on_opened(a, &out[i], e))
			return false;
		log_event(listening, LOG_C("address", addresses->items[i]), LOG_C("for", what));
	}
	return true;
}

/* ---- policy */

static void publish(agent *a, policy *next)
{
	policy_unref(a->policy);
	a->policy = next;
	if (a->spending)
		spending_use(a->spending, next);
	spop_threads_set_policy(a->spop_threads, policy_ref(next));
	admin_host_set_policy(a->admin_host, next);
	admin_host_clients(a->admin_host, &a->clients);
	credentials_look(a->credentials, next);
}

/* Has budgets admit the requests of `next`, a policy that nobody else has yet, if a client or project has a limit that
 * the agent counts. Takes over one reference of `prices`, on failure too. False: `e` says why. */
static bool prepare_spending(agent *a, policy *next, price_table *prices, err *e)
{
	bool needed = clients_counted(next->clients);

	if (needed && !a->recording) {
		price_table_unref(prices);
		return err_set(
			e,
			"%s: a client or project has a budget or tokens_per_minute, which need the option \"ledger\"",
			a->config->clients);
	}
	if (needed && !a->spending) {
		a->spending = spending_new(a->master, *a->config->fleet_uri != '\0', e);
		if (a->spending)
			recording_keep(a->recording, a->spending);
	}
	if (needed && !a->spending) {
		price_table_unref(prices);
		return false;
	}
	if (a->spending)
		return spending_equip(a->spending, next, prices, e);
	price_table_unref(prices);
	return true;
}

/* Sets the log as the configuration in use says: config_load() sets it as the new one says, on failure too. */
static void restore_log(const agent *a)
{
	log_setup((log_level)a->config->log_level, (log_format)a->config->log_format);
}

/* Builds the whole new configuration and then uses it. False: `e` says why; everything stays as it was. */
static bool reload(agent *a, const char *by, err *e)
{
	config fresh;
	clients_file clients;
	client_table *table = NULL;

	if (!config_load(&fresh, a->config->file, a->flags, a->flags_count, e)) {
		restore_log(a);
		return false;
	}
	bool ok = clients_file_first(&clients, &fresh, &table, e);
	price_table *prices = ok && a->recording ? recording_prices(&fresh, e) : NULL;
	ok = ok && (prices || !a->recording);
	policy *next = NULL;
	if (ok) {
		snapshot_assign_slots(fresh.table);
		if (backends_hash(&fresh)) {
			next = policy_new(fresh.table, table);
			fresh.table = NULL;
			table = NULL;
		}
		ok = next || err_memory(e);
	}
	if (ok && !prepare_spending(a, next, price_table_ref(prices), e)) {
		policy_unref(next);
		ok = false;
	}
	if (ok) {
		changes_of_options(a->config, &fresh, by);
		changes_of_routes(a->policy->table, next->table, fresh.file, by);
		changes_of_clients(a->policy->clients, next->clients, clients.path ? clients.path : "none", by);
		config_reload(a->config, &fresh);
		clients_file_deinit(&a->clients);
		a->clients = clients;
		if (next->clients)
			clients_file_used(&a->clients, next->clients);
		publish(a, next);
		if (a->recording) {
			recording_set(a->recording, prices, next->table);
			recording_settings(a->recording, next);
		}
		if (a->recording && routes_tapped(next->table) && !recording_tap(a->recording).kept)
			log_event(not_reloaded, LOG_C("option", "tap_listen"),
				  LOG_C("hint", "upgrade (SIGUSR2) or restart, so that the agent listens for the tap"));
	} else {
		restore_log(a);
		price_table_unref(prices);
		client_table_unref(table);
		clients_file_deinit(&clients);
	}
	config_deinit(&fresh);
	return ok;
}

/* Tells the master what it needs of the configuration. */
static bool say_prepared(agent *a, err *e)
{
	const uint32_t numbers[] = { CONTROL_VERSION, (uint32_t)a->config->watchdog, (uint32_t)a->config->log_level,
				     (uint32_t)a->config->log_format };
	unsigned char body[sizeof numbers];

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		put_u32be(body + 4 * i, numbers[i]);
	return control_say(a->master, CONTROL_PREPARED, slice_of(body, sizeof body), NULL, 0, e);
}

static bool say(agent *a, control_type type, err *e)
{
	return control_say(a->master, type, (slice){ NULL, 0 }, NULL, 0, e);
}

/* Logs that a message to the master was lost, once until the master takes a message again. Decisions go on meanwhile.
 * If the master is gone, leave_on_control() ends this process. */
static void note_said(agent *a, bool said, const err *e)
{
	if (!said && !a->master_deaf)
		log_event(master_deaf, LOG_C("problem", e->text), LOG_C("instead", "decisions go on"));
	a->master_deaf = !said;
}

void run_tell(agent *a, control_type type)
{
	err e;
	bool said = say(a, type, &e);

	note_said(a, said, &e);
}

/* Reloads, and tells the master, the log and the admin server. */
static bool reload_and_tell(agent *a, const char *by, err *e)
{
	err why = { 0 };

	run_tell(a, CONTROL_RELOADING);
	bool ok = reload(a, by, e);
	if (ok)
		note_said(a, say_prepared(a, &why), &why);
	if (ok)
		log_event(reloaded, LOG_I("routes", a->policy->table->enabled), LOG_C("by", by));
	else
		log_event(reload_failed, LOG_C("problem", e->text), LOG_C("by", by),
			  LOG_C("instead", "nothing changed"));
	run_tell(a, CONTROL_READY);
	admin_host_reloaded(a->admin_host, ok, ok ? "" : e->text);
	return ok;
}

static void on_hup(struct ev_loop *loop UNUSED, ev_signal *sig, int events UNUSED)
{
	err e;

	reload_and_tell(sig->data, "SIGHUP", &e);
}

/* A thread of the admin server waits for the result. */
static void on_reload_asked(struct ev_loop *loop UNUSED, ev_async *async, int events UNUSED)
{
	agent *a = async->data;
	err e;

	while (admin_host_reload_asked(a->admin_host)) {
		bool ok = reload_and_tell(a, "POST /reload", &e);
		admin_host_reload_done(a->admin_host, ok, a->policy->table->enabled, &e);
	}
}

/* ---- the ledger */

/* Begins to record, unless that has begun, or the old worker still has the ledger. */
static void try_recording(agent *a)
{
	err e;

	if (!a->recording || recording_started(a->recording) || a->handover >= 0 || a->stopping)
		return;
	if (!recording_start(a->recording, &e))
		log_event(ledger_waits, LOG_C("problem", e.text), LOG_C("instead", "it is tried again every second"));
}

/* Logs which members of pools rest no more. */
static void look_at_members(const route_table *t)
{
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < t->members_count; i++) {
		const route *m = &t->members[i];
		if (m->rest && rest_ended(m->rest, now))
			log_event(member_back, LOG_C("route", t->routes[m->owner].name), LOG_C("member", m->member));
	}
}

static void on_refresh(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	agent *a = timer->data;
	client_table *clients = clients_file_look(&a->clients);
	policy *next = policy_refresh(a->policy, clients);
	err e;

	if (clients && !next)
		err_memory(&e);
	if (clients && next &&
	    !prepare_spending(a, next, a->recording ? recording_prices_now(a->recording) : NULL, &e)) {
		policy_unref(next);
		next = NULL;
	}
	if (clients && !next)
		clients_file_lost(&a->clients, &e);
	if (clients && next)
		changes_of_clients(a->policy->clients, clients, a->clients.path, "its file");
	if (next)
		publish(a, next);
	else
		credentials_look(a->credentials, a->policy);
	if (clients && next)
		clients_file_used(&a->clients, clients);
	if (clients && next && a->recording)
		recording_settings(a->recording, next);
	admin_host_clients(a->admin_host, &a->clients);
	look_at_members(a->policy->table);
	try_recording(a);
	if (!a->stopping && !a->leaving)
		admin_host_serve(a->admin_host, &e);
}

/* Takes the old worker's log streams, and its message that the ledger is closed. */
static void on_handover(struct ev_loop *loop, ev_io *io, int events UNUSED)
{
	agent *a = io->data;

	leave_hear_old(a);
	if (a->handover >= 0)
		return;
	ev_io_stop(loop, io);
	try_recording(a);
}

/* Says ALIVE if the event loop of every thread has iterated since the last ALIVE. */
static void on_alive(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	agent *a = timer->data;
	bool all = true;

	for (unsigned i = 0; i < spop_threads_count(a->spop_threads); i++)
		all = all && counter_get(&spop_threads_counters(a->spop_threads, i)->iterations) != a->iterations[i];
	if (!all)
		return;
	for (unsigned i = 0; i < spop_threads_count(a->spop_threads); i++)
		a->iterations[i] = counter_get(&spop_threads_counters(a->spop_threads, i)->iterations);
	run_tell(a, CONTROL_ALIVE);
}

/* ---- life */

static unsigned cores(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
	return n < 1 ? 1 : n > 256 ? 256 : (unsigned)n;
}

/* Checks the limit of open files, because libev aborts where it gets no descriptor. */
static bool room_for(unsigned threads, err *e)
{
	unsigned long needed = threads * (unsigned long)THREAD_FILES + WORKER_FILES;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= needed)
		return true;
	return err_set(
		e,
		"%u threads need %lu open files at least, and the limit is %lu: raise it (ulimit -n, LimitNOFILE=) or lower threads",
		threads, needed, (unsigned long)files.rlim_cur);
}

/* Lets this worker start without clients, because those of the configuration cannot be used (`e`), if it replaces one
 * that crashed. False: it replaces none, or out of memory. */
static bool do_without_clients(agent *a, const err *e)
{
	client_table *none = a->master->restarts ? clients_file_missing(&a->clients, e) : NULL;
	policy *next = none ? policy_refresh(a->policy, none) : NULL;

	if (!next)
		return false;
	policy_unref(a->policy);
	a->policy = next;
	return true;
}

/* Does everything that fails for a wrong configuration, before the master hears PREPARED. */
static bool prepare(agent *a, err *e)
{
	config *c = a->config;
	client_table *clients;
	listener_rules rules = { (unsigned)c->listen_mode, { c->allow_remote, false } };
	spop_limits limits = { (uint32_t)c->max_frame_size, (unsigned)c->max_connections, (uint64_t)c->max_memory,
			       (unsigned)c->max_in_flight, c->pipelining != PIPELINING_OFF };

	snapshot_assign_slots(c->table);
	if (!backends_hash(c))
		return err_memory(e);
	if (!clients_file_first(&a->clients, c, &clients, e)) {
		/* Only after a crash is that no reason to end, because HAProxy waits for answers. */
		clients = a->master->restarts ? clients_file_missing(&a->clients, e) : NULL;
		if (!clients)
			return false;
	}
	a->policy = policy_new(c->table, clients);
	c->table = NULL;
	if (!a->policy)
		return err_memory(e);
	if (!listen_all(a, "listen", &c->listen, &rules, a->listeners, "SPOP", e))
		return false;
	rules.addresses.allow_remote = c->allow_remote && (*c->admin_token || *c->viewer_token);
	if (!listen_all(a, "admin_listen", &c->admin_listen, &rules, a->admin_listeners, "admin", e))
		return false;
	if (*c->ledger) {
		a->recording = recording_new(c, a->policy->table, on_opened, a, e);
		if (!a->recording)
			return false;
	}
	if (!prepare_spending(a, a->policy, a->recording ? recording_prices_now(a->recording) : NULL, e) &&
	    !do_without_clients(a, e))
		return false;
	if (a->policy->clients && !a->policy->clients->missing)
		clients_file_used(&a->clients, a->policy->clients);
	if (a->spending)
		spending_use(a->spending, a->policy);
	if (a->recording)
		recording_settings(a->recording, a->policy);
	/* systemd's unit makes the sockets for reports and for the shipper, whether there are a tap and a fleet or not.
	 */
	for (size_t i = 0; i < c->tap_listen.count; i++)
		listener_close_inherited(c->tap_listen.items[i]);
	for (size_t i = 0; i < c->fleet_listen.count; i++)
		listener_close_inherited(c->fleet_listen.items[i]);
	listener_close_unused();
	unsigned threads = c->threads ? (unsigned)c->threads : cores();
	a->iterations = calloc(threads, sizeof *a->iterations);
	a->credentials = credentials_new();
	if (!room_for(threads, e))
		return false;
	a->spop_threads = spop_threads_new(a->listeners, c->listen.count, threads, limits, policy_ref(a->policy),
					   a->loop, &a->ended, e);
	if (!a->spop_threads)
		return false;
	a->admin_host = admin_host_new(c, a->spop_threads, a->policy, a->recording, a->master->restarts, a->loop,
				       &a->reload);
	if (a->admin_host)
		admin_host_clients(a->admin_host, &a->clients);
	return (a->iterations && a->credentials && a->admin_host) || err_memory(e);
}

static bool begin(agent *a, err *e)
{
	/* Only at a first start is a ledger that cannot be opened an error: after a crash HAProxy waits for answers. */
	bool ledger_first = a->recording && a->master->handover < 0 && a->master->restarts == 0;

	if (a->master->handover >= 0) {
		takeover_taken taken = takeover_take(a->master->handover, a->spop_threads);
		if (taken == TAKEOVER_HALF)
			return err_set(e, "the connections could not be taken over");
		if (taken == TAKEOVER_ALL) {
			a->handover = a->master->handover;
			ev_io_init(&a->handover_io, on_handover, a->handover, EV_READ);
			a->handover_io.data = a;
			ev_io_start(a->loop, &a->handover_io);
		} else {
			close(a->master->handover);
		}
	}
	if (ledger_first && !recording_start(a->recording, e))
		return false;
	if (ledger_first && a->spending)
		spending_wait(a->spending, a->policy);
	/* Before the threads that answer, so that its first sample is of no request. */
	if (!admin_host_serve_on(a->admin_host, a->admin_listeners, e)) {
		/* With HAProxy's connections taken over, a missing admin server is no reason to end. */
		if (a->master->handover < 0)
			return false;
		log_event(admin_waits, LOG_C("problem", e->text), LOG_C("instead", "it is tried again every second"));
	}
	if (!spop_threads_start(a->spop_threads, e))
		return false;
	if (!say(a, CONTROL_READY, e))
		return false;
	credentials_look(a->credentials, a->policy);
	log_event(ready, LOG_C("version", SPOA_LLM_VERSION), LOG_I("routes", a->policy->table->enabled),
		  LOG_I("threads", spop_threads_count(a->spop_threads)));
	try_recording(a);
	return true;
}

static void watch(agent *a)
{
	ev_io_init(&a->control_io, leave_on_control, a->master->fd, EV_READ);
	ev_signal_init(&a->term, leave_on_term, SIGTERM);
	ev_signal_init(&a->hup, on_hup, SIGHUP);
	ev_signal_init(&a->usr1, leave_on_usr1, SIGUSR1);
	ev_timer_init(&a->refresh, on_refresh, REFRESH_EVERY, REFRESH_EVERY);
	ev_timer_init(&a->alive, on_alive, ALIVE_EVERY, ALIVE_EVERY);
	ev_async_init(&a->ended, leave_on_ended);
	ev_async_init(&a->reload, on_reload_asked);
	a->control_io.data = a->term.data = a->hup.data = a->usr1.data = a->refresh.data = a->alive.data =
		a->reload.data = a;
	ev_signal_start(a->loop, &a->term);
	ev_signal_start(a->loop, &a->hup);
	ev_signal_start(a->loop, &a->usr1);
	ev_async_start(a->loop, &a->ended);
	ev_async_start(a->loop, &a->reload);
}

static void end(agent *a, int code)
{
	/* Close the ledger after the last connection, so that the log lines of the last requests still come in; and
	 * before the admin server, which may hang on a disk. */
	if (a->recording)
		leave_ledger(a, -1);
	if (!admin_host_free(a->admin_host)) {
		spop_threads_freeze(a->spop_threads);
		_exit(code);
	}
	spop_threads_free(a->spop_threads);
	for (size_t i = 0; i < LISTEN_MAX; i++) {
		listener_close(&a->listeners[i]);
		listener_close(&a->admin_listeners[i]);
	}
	policy_unref(a->policy);
	spending_free(a->spending);
	credentials_free(a->credentials);
	clients_file_deinit(&a->clients);
	free(a->iterations);
}

int run(config *c, const option_text *flags, size_t count, control *master)
{
	agent a = { .config = c, .flags = flags, .flags_count = count, .master = master, .handover = -1 };
	err e;

	for (size_t i = 0; i < LISTEN_MAX; i++)
		a.listeners[i].fd = a.admin_listeners[i].fd = -1;
	signal(SIGPIPE, SIG_IGN);
	/* These are for the master alone; a terminal or a service manager may send them to both processes. */
	signal(SIGINT, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	/* An arena for each thread would cost memory for nothing, because the threads hardly allocate. */
	mallopt(M_ARENA_MAX, 2);
	a.loop = ev_default_loop(EVFLAG_NOENV);
	if (!a.loop) {
		log_event(start_failed, LOG_C("problem", "the kernel gives no event loop"));
		return EX_OSERR;
	}
	watch(&a);
	bool ok = prepare(&a, &e) && say_prepared(&a, &e) && begin(&a, &e);
	if (!ok) {
		log_event(start_failed, LOG_C("problem", e.text));
	} else {
		ev_io_start(a.loop, &a.control_io);
		ev_timer_start(a.loop, &a.refresh);
		ev_timer_start(a.loop, &a.alive);
		ev_run(a.loop, 0);
		run_tell(&a, CONTROL_RELEASED);
		leave_record_late(&a);
		log_event(stopped, LOG_C("version", SPOA_LLM_VERSION));
	}
	int code = ok ? EX_OK : EX_UNAVAILABLE;
	end(&a, code);
	ev_loop_destroy(a.loop);
	return code;
}

/* SPDX-License-Identifier: MIT
 *
 * The master's workers: how they start, the messages they send, how they end. */
#include "proc/master_impl.h"

#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "base/log.h"
#include "base/unused.h"
#include "proc/control.h"
#include "proc/notify.h"
#include "proc/spawn.h"

enum {
	HEAR_MAX = 64, /* messages read at a time */
	/* So many workers in a row that were READY, but ended within STEADY, are replaced without a delay. */
	QUICK_MAX = 20,
};

/* Times in milliseconds. */
enum {
	START_MIN = 30 * 1000,    /* from the start to READY, or three times the watchdog if that is more */
	HANDOVER_MAX = 10 * 1000, /* from PREPARED to READY of an upgrade */
	RETIRE_MAX = 30 * 1000,   /* from the new worker's READY to the old worker's end */
	/* The same, if the old worker drains instead of handing over: more than the longest drain_timeout. */
	DRAIN_MAX = 25 * 3600 * 1000,
	LOST_MAX = 5 * 1000, /* from the end of a worker's control socket to the worker's end */
	STEADY = 500,        /* a worker that lived this long is replaced without a delay */
	BACKOFF_MIN = 100,   /* the first delay; each further one is twice as long, up to BACKOFF_MAX */
	BACKOFF_MAX = 5 * 1000,
	MESSAGE_MAX = 1000,   /* for sending or receiving one message */
	STOP_MAX = 30 * 1000, /* from SIGTERM to SIGKILL; the service manager waits longer than STOP_MAX + KILL_MAX */
	/* Added to the watchdog, because ALIVE comes once a second and is about the second before. */
	ALIVE_GRACE = 1500,
};

/* Sets the worker's deadline; 0: no limit. */
static void give_until(worker *w, int64_t deadline)
{
	/* While it is stopped or killed, STOP_MAX or KILL_MAX is its deadline already. */
	if (!w->killed && !w->master->stopping)
		w->deadline = deadline;
}

static void give(worker *w, int64_t ms)
{
	give_until(w, clock_mono_ms() + ms);
}

void child_arm(worker *w)
{
	give_until(w, w->watchdog ? clock_mono_ms() + (int64_t)w->watchdog * 1000 + ALIVE_GRACE : 0);
}

/* Sends a signal to a worker. The assertion stands here because a pid of 0, 1 or -1 would reach other processes. */
static void tell(const worker *w, int sig)
{
	assert(w->pid > 1);
	if (!w->dead)
		kill(w->pid, sig);
}

void child_pass(worker *w, int sig)
{
	if (!w)
		return;
	w->passed = sig;
	tell(w, sig);
}

void child_stop(worker *w)
{
	if (!w)
		return;
	if (!w->killed)
		w->deadline = clock_mono_ms() + STOP_MAX;
	child_pass(w, SIGTERM);
}

void child_kill(worker *w)
{
	if (!w->killed)
		w->deadline = clock_mono_ms() + KILL_MAX;
	w->killed = true;
	tell(w, SIGKILL);
}

void master_close_pair(master *m)
{
	if (m->pair >= 0)
		close(m->pair);
	m->pair = -1;
}

static void on_control(struct ev_loop *loop, ev_io *io, int events);

worker *child_add(master *m, pid_t pid, int sock, phase as)
{
	worker *w = m->workers;

	while (w < m->workers + WORKERS && w->phase != GONE)
		w++;
	assert(w < m->workers + WORKERS);
	*w = (worker){ .master = m,
		       .phase = as,
		       .pid = pid,
		       .control = sock,
		       .memory = -1,
		       .serial = ++m->serial,
		       .started = clock_mono_ms() };
	w->log_level = m->log_level;
	w->log_format = m->log_format;
	if (as == STARTING)
		w->deadline = w->started + START_MIN;
	ev_io_init(&w->io, on_control, sock, EV_READ);
	w->io.data = w;
	ev_io_start(m->loop, &w->io);
	return w;
}

worker *child_start(master *m, bool same, int handover, err *e)
{
	spawn_request r = { m->path, same, m->argv, &m->held, handover, m->memory, m->restarts };
	int sock;

	pid_t pid = spawn_worker(&r, &sock, e);
	return pid < 0 ? NULL : child_add(m, pid, sock, STARTING);
}

void master_end(master *m)
{
	m->ended = true;
	ev_break(m->loop, EVBREAK_ALL);
}

void master_end_if_last(master *m)
{
	if (!m->current && !m->next && !m->old)
		master_end(m);
}

static void schedule_restart(master *m, int64_t delay)
{
	if (m->drain_later) {
		master_drain(m); /* no worker is left to drain: this ends the master */
		return;
	}
	ev_timer_stop(m->loop, &m->restart);
	ev_timer_set(&m->restart, (double)delay / 1000, 0.);
	ev_timer_start(m->loop, &m->restart);
}

/* The delay before the next start, after a worker that lived `lived` ms and was READY (`answered`) or not. */
static int64_t next_delay(master *m, int64_t lived, bool answered)
{
	if (lived < STEADY && answered && m->quick < QUICK_MAX) {
		m->quick++;
		return 0;
	}
	if (lived >= STEADY)
		m->backoff = m->quick = 0;
	else
		m->backoff = m->backoff ? m->backoff * 2 : BACKOFF_MIN;
	if (m->backoff > BACKOFF_MAX)
		m->backoff = BACKOFF_MAX;
	return m->backoff;
}

void master_start_worker(master *m)
{
	err e;

	m->current = child_start(m, !m->by_path, -1, &e);
	if (!m->current && m->by_path)
		m->current = child_start(m, true, -1, &e);
	if (m->current)
		return;
	log_event(worker_start_failed, LOG_C("problem", e.text));
	m->exit_code = EX_OSERR;
	if (m->ever_ready)
		schedule_restart(m, next_delay(m, 0, false));
	else
		master_end(m);
}

/* ---- messages of workers */

void child_use_log(const worker *w)
{
	log_setup((log_level)w->log_level, (log_format)w->log_format);
}

/* The new worker has a good configuration: tells the old one to give it the connections, if both speak the
 * `same_version` of the messages. Otherwise the old one drains when the new one is READY: see upgraded(). */
static void hand_over(master *m, bool same_version)
{
	worker *old = m->current;
	err e;

	give(m->next, HANDOVER_MAX);
	if (old && old->phase == READY && same_version && m->pair >= 0 &&
	    fdpass_send(old->control, CONTROL_HANDOVER, (slice){ NULL, 0 }, &m->pair, 1, MESSAGE_MAX, &e)) {
		old->phase = HANDING;
		/* The old worker sends no ALIVE during the handover: the new one's deadline holds for both. */
		give_until(old, 0);
	}
	/* If no old worker got this end of the pair, closing it gives the new worker EOF: it starts without
	 * connections. */
	master_close_pair(m);
}

static void on_prepared(worker *w, const fdpass_message *msg)
{
	master *m = w->master;
	cursor c = cursor_of(buf_slice(&msg->body));
	uint32_t version = cursor_u32be(&c), watchdog = cursor_u32be(&c);

	if (!c.failed)
		w->watchdog = watchdog;
	if (version == CONTROL_VERSION) {
		uint32_t level = cursor_u32be(&c), format = cursor_u32be(&c);
		w->log_level = !c.failed && level <= LOG_ERROR ? level : w->log_level;
		w->log_format = !c.failed && format <= LOG_JSON ? format : w->log_format;
	}
	if (!m->next || w == m->current)
		child_use_log(w);
	if (w->phase == READY)
		child_arm(w);
	if (w->phase != STARTING || w->killed)
		return;
	w->phase = PREPARED;
	int64_t most = (int64_t)w->watchdog * 3000;
	give_until(w, w->watchdog ? w->started + (most > START_MIN ? most : START_MIN) : 0);
	/* Logged only now, because PREPARED brings the log format of the configuration. */
	log_event(worker_started, LOG_I("pid", w->pid), LOG_I("restarts", m->restarts));
	if (w == m->next)
		hand_over(m, version == CONTROL_VERSION);
}

static void upgraded(worker *w)
{
	master *m = w->master;
	err e;

	m->old = m->current;
	m->current = w;
	m->next = NULL;
	m->by_path = true;
	master_close_pair(m);
	child_use_log(w);
	log_event(upgraded, LOG_I("pid", w->pid), LOG_I("in_ms", clock_mono_ms() - m->upgrade_began));
	if (!m->old)
		return;
	bool drain = m->old->phase != HANDING;
	m->old->phase = RETIRING;
	give(m->old, drain || m->old->drains ? DRAIN_MAX : RETIRE_MAX);
	if (drain && !fdpass_send(m->old->control, CONTROL_UPGRADE_DRAIN, (slice){ NULL, 0 }, NULL, 0, MESSAGE_MAX, &e))
		child_kill(m->old);
}

/* Holds the memory that the worker gave. */
static void take_memory(worker *w)
{
	master *m = w->master;

	if (w->memory < 0)
		return;
	if (m->memory >= 0)
		close(m->memory);
	m->memory = w->memory;
	w->memory = -1;
	notify_store("budgets", m->memory);
}

static void on_memory(worker *w, fdpass_message *msg)
{
	if (msg->fds_count != 1)
		return;
	if (w->memory >= 0)
		close(w->memory);
	w->memory = msg->fds[0];
	msg->fds[0] = -1;
	if (w->phase == READY)
		take_memory(w);
}

static void on_ready(worker *w)
{
	master *m = w->master;
	char lines[96];

	if (w->phase == READY) {
		m->told_ready = notify_send("READY=1"); /* reloaded */
		return;
	}
	if ((w->phase != STARTING && w->phase != PREPARED) || w->killed)
		return; /* the worker was killed before its READY was read */
	w->phase = READY;
	take_memory(w);
	child_arm(w);
	if (w == m->next)
		upgraded(w);
	/* Close sockets this worker did not name, except at the first start: the service manager may have passed them
	 * for a later version. */
	if (m->ever_ready)
		sockets_drop_unnamed(&m->held, w->serial);
	m->ever_ready = true;
	snprintf(lines, sizeof lines, "READY=1\nSTATUS=Worker process %d answers HAProxy", (int)w->pid);
	/* The service manager knows that we are ready: do not wait for its socket, because a crash may need the master.
	 */
	if (m->told_ready)
		notify_inform(lines);
	else
		m->told_ready = notify_send(lines);
	if (m->hup)
		child_pass(w, SIGHUP);
	m->hup = false;
	if (m->drain_later && !m->stopping)
		master_drain(m);
	else
		master_settle(m);
}

static void on_resumed(worker *w)
{
	master *m = w->master;
	err e;

	if (w->phase == HANDING) {
		w->phase = READY;
		child_arm(w);
		/* The old worker answers again and has the ledger: the new one must not answer beside it. */
		if (m->next && !m->next->problem) {
			m->next->problem = "the connections could not be handed over";
			child_kill(m->next);
		}
		master_settle(m);
	} else if (w->phase == RETIRING) {
		give(w, DRAIN_MAX);
		if (!fdpass_send(w->control, CONTROL_UPGRADE_DRAIN, (slice){ NULL, 0 }, NULL, 0, MESSAGE_MAX, &e))
			child_kill(w);
	}
}

/* The current worker takes no new connections, and the worker that was to replace it died: starts another one. */
static void replace_draining(worker *w)
{
	master *m = w->master;

	m->old = w;
	m->current = NULL;
	w->phase = RETIRING;
	give(w, DRAIN_MAX);
	schedule_restart(m, 0);
}

static void on_draining(worker *w)
{
	if (w->phase == RETIRING)
		give(w, DRAIN_MAX);
	else if (w->phase == HANDING && !w->master->next)
		replace_draining(w);
	else if (w->phase == HANDING)
		w->drains = true;
}

static void on_message(worker *w, fdpass_message *msg)
{
	cursor c = cursor_of(buf_slice(&msg->body));

	switch (msg->type) {
	case CONTROL_KEEP:
		if (msg->fds_count != 1)
			return;
		if (!sockets_keep(&w->master->held, msg->fds[0], cursor_u8(&c) == 1, w->serial))
			log_event(socket_not_kept, LOG_I("pid", w->pid), LOG_I("most", MASTER_SOCKETS),
				  LOG_C("problem", "it is closed for a moment when the worker process is replaced"));
		msg->fds[0] = -1;
		return;
	case CONTROL_PREPARED:
		on_prepared(w, msg);
		return;
	case CONTROL_READY:
		on_ready(w);
		return;
	case CONTROL_ALIVE:
		if (w->phase == READY && !w->stuck)
			child_arm(w);
		return;
	case CONTROL_RELOADING:
		notify_reloading();
		w->master->told_ready = false;
		return;
	case CONTROL_RELEASED:
		/* It closes the ledger, which may take long on a slow disk, and says ALIVE no more. */
		if (w->phase == RETIRING)
			give(w, RETIRE_MAX);
		else if (w->master->draining)
			give(w, STOP_MAX);
		return;
	case CONTROL_RESUMED:
		on_resumed(w);
		return;
	case CONTROL_DRAINING:
		on_draining(w);
		return;
	case CONTROL_MEMORY:
		on_memory(w, msg);
		return;
	default:
		return; /* a message of a newer version */
	}
}

/* Reads one message. False: the control socket has ended or is broken. */
static bool hear(worker *w)
{
	fdpass_message msg;
	err e;

	fdpass_result rc = fdpass_receive(w->control, &msg, MESSAGE_MAX, &e);
	if (rc == FDPASS_OK)
		on_message(w, &msg);
	else if (rc == FDPASS_FAILED)
		log_event(control_failed, LOG_I("pid", w->pid), LOG_C("problem", e.text));
	fdpass_deinit(&msg);
	return rc == FDPASS_OK;
}

static void hear_or_lose(worker *w)
{
	if (hear(w))
		return;
	ev_io_stop(w->master->loop, &w->io);
	w->lost = true;
	give(w, LOST_MAX); /* the worker is ending; if not, it is killed, because nobody can talk to it */
}

static void on_control(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	hear_or_lose(io->data);
}

void child_hear(worker *w)
{
	for (int i = 0; i < HEAR_MAX && w->phase != GONE && !w->lost; i++) {
		struct pollfd p = { w->control, POLLIN, 0 };
		if (poll(&p, 1, 0) != 1)
			return;
		hear_or_lose(w);
	}
}

/* ---- the end of workers */

/* A log field: the signal if there is one, else the exit code. */
#define LOG_END(code, sig) LOG_I((sig) ? "signal" : "exit_code", (sig) ? (sig) : (code))

static void crashed(master *m, const worker *w, int code, int sig)
{
	int64_t delay = w->stuck ? 0 : next_delay(m, clock_mono_ms() - w->started, w->phase >= READY);

	m->restarts++;
	log_event(worker_crashed, LOG_I("pid", w->pid), LOG_END(code, sig), LOG_I("restarts", m->restarts),
		  LOG_I("in_ms", delay));
	notify_inform("STATUS=The worker process has crashed; it is started again");
	schedule_restart(m, delay);
}

static void upgrade_failed(master *m, const worker *w, int code, int sig)
{
	bool early = w->phase == STARTING && !w->problem;

	log_event(
		upgrade_failed, LOG_I("pid", w->pid),
		LOG_C("problem", w->problem ? w->problem :
				 early      ? "the new version does not start" :
					      "the new version ended before it was ready"),
		LOG_END(code, sig), LOG_C("instead", "the running version goes on"),
		LOG_C("hint",
		      "the new process has said why, above; `check` with the new binary finds a wrong configuration"));
	sockets_drop_added(&m->held, w->serial);
	master_close_pair(m);
	m->next = NULL;
	if (!m->current)
		schedule_restart(m, 0); /* the old worker crashed meanwhile */
	else if (m->current->drains)
		replace_draining(m->current);
	else if (m->current->phase == HANDING)
		give(m->current, RETIRE_MAX); /* the old worker says RESUMED when it sees the end of the pair */
}

static void current_ended(master *m, const worker *w, int code, int sig)
{
	m->current = NULL;
	if (!m->ever_ready) {
		m->exit_code = code;
		master_end(m);
		return;
	}
	if (m->next && w->phase == HANDING && code == 0)
		return; /* the old worker has handed over; the new one will say READY */
	if (m->next) {
		log_event(worker_crashed, LOG_I("pid", w->pid), LOG_END(code, sig), LOG_I("restarts", m->restarts),
			  LOG_C("instead", "the new version takes over"));
		master_close_pair(m);
		return;
	}
	crashed(m, w, code, sig);
}

void child_ended(worker *w, int status)
{
	master *m = w->master;
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	int code = sig ? 128 + sig : WEXITSTATUS(status);
	struct pollfd p = { w->control, POLLIN, 0 };

	w->dead = true;
	while (poll(&p, 1, 0) == 1 && hear(w))
		;
	ev_io_stop(m->loop, &w->io);
	close(w->control);
	if (w->memory >= 0)
		close(w->memory);
	worker gone = *w;
	w->phase = GONE;
	/* Killed by our SIGTERM or SIGUSR1 before it had a handler: that is a clean exit. */
	if (sig && sig == gone.passed && (sig == SIGTERM || sig == SIGUSR1))
		code = 0;
	if (m->stopping || m->draining) {
		if (w == m->current && m->exit_code == 0)
			m->exit_code = code;
		m->current = w == m->current ? NULL : m->current;
		m->next = w == m->next ? NULL : m->next;
		m->old = w == m->old ? NULL : m->old;
		master_end_if_last(m);
		return;
	}
	if (w == m->old) {
		m->old = NULL;
		log_event(worker_retired, LOG_I("pid", gone.pid), LOG_END(code, sig));
	} else if (w == m->next) {
		upgrade_failed(m, &gone, code, sig);
	} else if (w == m->current) {
		current_ended(m, &gone, code, sig);
	}
	master_settle(m);
}

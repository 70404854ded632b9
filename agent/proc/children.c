/* SPDX-License-Identifier: MIT
 *
 * The master's workers: how they start, what they say, how they end. */
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
#include "proc/control.h"
#include "proc/notify.h"
#include "proc/spawn.h"

enum { HEAR_MAX = 64 }; /* messages at a time */

/* Workers that answered, but not for as long as STEADY, one after another: so many are replaced at once. More is no
 * accident. */
enum { QUICK_MAX = 20 };

/* Times in milliseconds. */
enum {
	START_MIN =
		30 *
		1000, /* what a worker has at least until it is ready; three times its watchdog, where that is more */
	HANDOVER_MAX = 10 * 1000,     /* from PREPARED to READY of an upgrade */
	RETIRE_MAX = 30 * 1000,       /* what the old worker has after that */
	DRAIN_MAX = 25 * 3600 * 1000, /* the same where its connections could not be handed over */
	LOST_MAX = 5 * 1000,          /* from the end of its control socket to its own */
	STEADY = 500,                 /* a worker that lived as long is started again at once */
	BACKOFF_MIN = 100,            /* before another one is started in place of one that did not */
	BACKOFF_MAX = 5 * 1000,
	SEND_MAX = 1000,
	KILL_MAX = 5 * 1000, /* from SIGKILL to its end */
	STRAY_POLL = 10,
	STOP_MAX = 30 * 1000, /* from SIGTERM to SIGKILL; the service manager waits for longer than both */
	ALIVE_GRACE = 1500, /* a healthy worker says ALIVE once a second, of the turns before it; that may come a little
			       later */
};

/* 0: no limit. */
static void give_until(worker *w, int64_t deadline)
{
	/* Its end has a time of its own then. */
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

/* The one place that signals a worker: a number that is no single process's would reach every process there is. */
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

/* Notes a worker that SIGKILL does not end. False: as many as may be are noted already, and the master is not stopping.
 */
static bool note_unkillable(master *m, pid_t pid)
{
	size_t i = 0;

	while (i < UNKILLABLE && m->unkillable[i])
		i++;
	if (i == UNKILLABLE && !m->stopping)
		return false;
	if (i < UNKILLABLE)
		m->unkillable[i] = pid;
	log_event(worker_unkillable, LOG_I("pid", pid), LOG_C("problem", "SIGKILL does not end it"),
		  LOG_C("instead", "the master goes on without it"),
		  LOG_C("hint", "it waits within the kernel: look for a disk or a file system that hangs"));
	return true;
}

void child_give_up(worker *w)
{
	if (note_unkillable(w->master, w->pid))
		child_ended(w, SIGKILL);
	else
		w->deadline = clock_mono_ms() +
			      KILL_MAX; /* a new worker would only join them: one of them must end first */
}

void child_kill_stray(master *m, pid_t pid)
{
	int64_t until = clock_mono_ms() + KILL_MAX;

	kill(pid, SIGKILL);
	m->restarts++;
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (clock_mono_ms() >= until) {
			note_unkillable(m, pid);
			return;
		}
		poll(NULL, 0, STRAY_POLL);
	}
}

bool child_was_given_up(master *m, pid_t pid)
{
	for (size_t i = 0; i < UNKILLABLE; i++)
		if (m->unkillable[i] == pid) {
			m->unkillable[i] = 0;
			log_event(worker_retired, LOG_I("pid", pid), LOG_I("signal", SIGKILL));
			return true;
		}
	return false;
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
	*w = (worker){
		.master = m, .phase = as, .pid = pid, .control = sock, .serial = ++m->serial, .started = clock_mono_ms()
	};
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
	spawn_request r = { m->path, same, m->argv, &m->held, handover, m->restarts };
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
		master_drain(m); /* nothing is left that it could be of use to */
		return;
	}
	ev_timer_stop(m->loop, &m->restart);
	ev_timer_set(&m->restart, (double)delay / 1000, 0.);
	ev_timer_start(m->loop, &m->restart);
}

/* How long to wait before the next start, after a worker that lived for so long, and was READY or not. */
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

/* ---- what workers say */

void child_use_log(const worker *w)
{
	log_setup((log_level)w->log_level, (log_format)w->log_format);
}

/* The new worker has a good configuration: the old one is told to give it its connections. */
static void hand_over(master *m)
{
	err e = { 0 };

	give(m->next, HANDOVER_MAX);
	if (m->current && m->current->phase == READY && !m->next->drain && m->pair >= 0) {
		if (fdpass_send(m->current->control, CONTROL_HANDOVER, (slice){ NULL, 0 }, &m->pair, 1, SEND_MAX, &e)) {
			m->current->phase = HANDING;
			give_until(m->current,
				   0); /* it does nothing else meanwhile; the new one's deadline holds for both */
		} else {
			m->next->drain = true;
		}
	}
	/* Where nobody else has it, the new worker sees its end, and begins without connections. */
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
	w->drain = version != CONTROL_VERSION;
	int64_t most = (int64_t)w->watchdog * 3000;
	give_until(w, w->watchdog ? w->started + (most > START_MIN ? most : START_MIN) : 0);
	/* Not before: now the format is known that the operator wants. */
	log_event(worker_started, LOG_I("pid", w->pid), LOG_I("restarts", m->restarts));
	if (w == m->next)
		hand_over(m);
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
	if (drain && !fdpass_send(m->old->control, CONTROL_UPGRADE_DRAIN, (slice){ NULL, 0 }, NULL, 0, SEND_MAX, &e))
		child_kill(m->old);
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
		return; /* too late: it is killed already */
	w->phase = READY;
	child_arm(w);
	if (w == m->next)
		upgraded(w);
	/* Nobody answers there any more; the first worker leaves alone what the service manager gave for later versions
	 * too. */
	if (m->ever_ready)
		sockets_drop_unnamed(&m->held, w->serial);
	m->ever_ready = true;
	snprintf(lines, sizeof lines, "READY=1\nSTATUS=Worker process %d answers HAProxy", (int)w->pid);
	/* Known already, a manager that takes nothing must not keep the master from the next crash. */
	if (m->told_ready)
		notify_inform(lines);
	else
		m->told_ready = notify_send(lines);
	if (m->hup)
		child_pass(w, SIGHUP);
	m->hup = false;
	if (m->drain_later && !m->stopping)
		master_drain(m); /* not only when the one before has ended */
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
		/* Two would answer, and the ledger is the old one's. */
		if (m->next && !m->next->problem) {
			m->next->problem = "the connections could not be handed over";
			child_kill(m->next);
		}
		master_settle(m);
	} else if (w->phase == RETIRING) {
		give(w, DRAIN_MAX);
		if (!fdpass_send(w->control, CONTROL_UPGRADE_DRAIN, (slice){ NULL, 0 }, NULL, 0, SEND_MAX, &e))
			child_kill(w);
	}
}

/* It answers nobody new: the next one, which died, was to do that. */
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
		if (w->phase == RETIRING)
			give(w, RETIRE_MAX);
		return;
	case CONTROL_RESUMED:
		on_resumed(w);
		return;
	case CONTROL_DRAINING:
		on_draining(w);
		return;
	default:
		return; /* of a newer version */
	}
}

/* False: there is no more to come. */
static bool hear(worker *w)
{
	fdpass_message msg;
	err e;

	fdpass_result rc = fdpass_receive(w->control, &msg, SEND_MAX, &e);
	if (rc == FDPASS_OK)
		on_message(w, &msg);
	else if (rc == FDPASS_FAILED)
		log_event(control_failed, LOG_I("pid", w->pid), LOG_C("problem", e.text));
	fdpass_deinit(&msg);
	return rc == FDPASS_OK;
}

/* One message. */
static void hear_or_lose(worker *w)
{
	if (hear(w))
		return;
	ev_io_stop(w->master->loop, &w->io);
	w->lost = true;
	give(w, LOST_MAX); /* it ends; if it does not, it is of no use */
}

static void on_control(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
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

/* ---- their end */

/* Of `code` or `sig`; a log event has one of them. */
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
		schedule_restart(m, 0); /* it crashed meanwhile */
	else if (m->current->drains)
		replace_draining(m->current);
	else if (m->current->phase == HANDING)
		give(m->current, RETIRE_MAX); /* RESUMED follows, when it is done with what it does between turns */
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
		return; /* its work is done; READY of the new one is on its way */
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
	worker gone = *w;
	w->phase = GONE;
	/* One that had no handler yet does with the signal what was wanted. */
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

/* SPDX-License-Identifier: MIT */
#include "proc/master_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/unused.h"
#include "proc/binary.h"
#include "proc/control.h"
#include "proc/notify.h"
#include "proc/state.h"

/* Times in milliseconds. */
enum {
	TICK = 500,
	LATE = 1000, /* a tick so late means that the machine held up this process, and the workers too */
};

/* ---- time */

static void on_restart(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	master_start_worker(timer->data);
}

static void expired(worker *w)
{
	master *m = w->master;

	if (w->killed) {
		child_give_up(w);
		return;
	}
	if (m->stopping) {
		log_event(worker_killed, LOG_I("pid", w->pid), LOG_C("problem", "it did not end after SIGTERM"));
	} else if (w->lost) {
		log_event(control_failed, LOG_I("pid", w->pid),
			  LOG_C("problem", "it has closed its control socket; it is killed"));
	} else if (w == m->next) {
		w->problem = w->phase == PREPARED ? "the new version was not ready in time" :
						    "the new version did not start in time";
	} else if (w == m->old) {
		log_event(worker_killed, LOG_I("pid", w->pid), LOG_C("problem", "it did not end after the upgrade"));
	} else if (w->phase == HANDING) {
		w->stuck = true;
		log_event(worker_stuck, LOG_I("pid", w->pid),
			  LOG_C("problem", "it did not go on after the upgrade that failed"),
			  LOG_C("hint", "it is killed and started again: look for a disk or a file system that hangs"));
	} else {
		bool ready = w->phase == READY;
		w->stuck = ready;
		log_event(
			worker_stuck, LOG_I("pid", w->pid),
			LOG_I("seconds", ready ? w->watchdog : (clock_mono_ms() - w->started) / 1000),
			LOG_C("hint",
			      ready ? "it is killed and started again, because one of its threads did nothing for so long: look "
				      "for a disk or a file system that hangs, or raise \"watchdog\"" :
				      "it is killed, because it did not become ready: look for a disk or a file system that hangs"));
	}
	child_kill(w);
}

static bool is_late(const worker *w)
{
	return w->phase != GONE && w->deadline && clock_mono_ms() >= w->deadline;
}

static void on_tick(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	master *m = timer->data;
	int64_t now = clock_mono_ms(), late = now - m->last_tick - TICK;

	m->last_tick = now;
	for (size_t i = 0; i < WORKERS; i++) {
		worker *w = &m->workers[i];
		if (w->phase == GONE || !w->deadline)
			continue;
		/* The machine slept, or everything was stopped: the worker could do nothing in that time either. */
		if (late > LATE && w->phase == READY && !w->lost && !w->killed && !m->stopping)
			child_arm(w);
		else if (late > LATE)
			w->deadline += late;
		if (!is_late(w))
			continue;
		/* libev runs timers before I/O: read pending messages before calling a worker late. */
		child_hear(w);
		if (is_late(w))
			expired(w);
	}
}

static bool in_time(const worker *w)
{
	return w && !w->killed && !is_late(w);
}

/* Tells the service manager that the master is healthy, if the master waits to start a worker again, or some worker is
 * in time. A worker that fails at every start does not count, because a new master would not help it. */
static void on_systemd(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	master *m = timer->data;

	if (ev_is_active(&m->restart) || in_time(m->current) || in_time(m->next) || in_time(m->old))
		notify_inform("WATCHDOG=1");
}

/* ---- upgrade */

static void upgrade_begin(master *m)
{
	int pair[2];
	err e;

	m->again = false;
	m->stay = false;
	m->upgrade_began = clock_mono_ms();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		err_set(&e, "socketpair: %s", strerror(errno));
	} else {
		m->next = child_start(m, false, pair[1], &e);
		close(pair[1]);
		m->pair = pair[0];
	}
	if (m->next) {
		log_event(upgrading, LOG_C("binary", m->path), LOG_I("pid", m->next->pid));
		return;
	}
	master_close_pair(m);
	log_event(upgrade_failed, LOG_C("problem", e.text), LOG_C("instead", "the running version goes on"));
}

static bool binary_is_another(const char *path)
{
	struct stat own, there;

	return stat("/proc/self/exe", &own) == 0 && stat(path, &there) == 0 &&
	       (own.st_dev != there.st_dev || own.st_ino != there.st_ino);
}

/* True: one worker answers, and nothing is under way that an upgrade would disturb. */
static bool settled(const master *m)
{
	const worker *w = m->current;

	return !m->next && !m->old && w && !w->dead && !w->killed && w->phase == READY && !m->stopping && !m->draining;
}

/* Execs the new binary; returns errno only if that failed. */
static int exec_new(const master *m)
{
	const worker *w = m->current;
	master_state s = { .worker = w->pid,
			   .control = w->control,
			   .memory = m->memory,
			   .watchdog = w->watchdog,
			   .restarts = m->restarts,
			   .log_level = w->log_level,
			   .log_format = w->log_format,
			   .again = m->again,
			   .held = m->held };

	memcpy(s.path, m->path, sizeof s.path);
	if (state_save(&s))
		execv(m->path, m->argv);
	int why = errno;
	state_unsave(&s);
	return why;
}

/* Makes this process the new version, which its worker is already. Returns only if that failed, or if a signal has to
 * be handled first. */
static void become_new(master *m)
{
	sigset_t all, old;
	int why = 0;

	/* Signals wait in the kernel until the new version has its handlers. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	/* Signals that were caught before are in the event loop's pipe, which exec closes: handle them now. */
	m->becoming = true;
	ev_run(m->loop, EVRUN_NOWAIT);
	m->becoming = false;
	bool now = settled(m);
	if (now)
		why = exec_new(m);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (!now)
		return;
	m->stay = true;
	log_event(upgrade_failed, LOG_C("problem", strerror(why)), LOG_C("binary", m->path),
		  LOG_C("instead", "the master stays the old version"));
}

void master_settle(master *m)
{
	if (m->becoming || !settled(m))
		return;
	if (m->drain_later) {
		master_drain(m);
		return;
	}
	if (m->by_path && !m->stay && binary_is_another(m->path)) {
		become_new(m);
		if (!settled(m))
			return;
	}
	if (m->again)
		upgrade_begin(m);
}

/* ---- signals */

static void on_stop(struct ev_loop *loop UNUSED, ev_signal *sig, int events UNUSED)
{
	master *m = sig->data;

	if (m->stopping) {
		if (m->exit_code >= 128)
			master_end(m); /* the third signal: do not wait for SIGKILL's effect either */
		m->exit_code = 128 + sig->signum;
		for (size_t i = 0; i < WORKERS; i++)
			if (m->workers[i].phase != GONE)
				child_kill(&m->workers[i]);
		return;
	}
	m->stopping = sig->signum;
	m->exit_code = 0;
	notify_send("STOPPING=1");
	ev_timer_stop(m->loop, &m->restart);
	/* HAProxy's ring connects again as soon as the worker has closed its log stream: let it find nobody, because
	 * what it sent to a socket that only the master has would be lost. */
	sockets_stop_listening(&m->held);
	master_end_if_last(m);
	/* Workers get SIGTERM for SIGINT too, because they ignore SIGINT. */
	child_stop(m->current);
	child_stop(m->next);
	child_stop(m->old);
}

void master_drain(master *m)
{
	m->draining = true;
	m->exit_code = 0;
	ev_timer_stop(m->loop, &m->restart);
	sockets_stop_listening(&m->held); /* as in on_stop() */
	if (m->next) {
		log_event_at(LOG_WARN, upgrade_failed, LOG_I("pid", m->next->pid),
			     LOG_C("problem", "SIGUSR1 asked for a drain"));
		master_close_pair(m);
		child_kill(m->next);
	}
	child_pass(m->current, SIGUSR1);
	master_end_if_last(m);
}

static void on_drain(struct ev_loop *loop UNUSED, ev_signal *sig, int events UNUSED)
{
	master *m = sig->data;
	/* During a handover some connections belong to neither worker: drain when it is over. */
	bool handing = m->current ? m->current->phase == HANDING : m->next && m->next->phase == PREPARED;

	if (handing)
		m->drain_later = true;
	else
		master_drain(m);
}

static void on_hup(struct ev_loop *loop UNUSED, ev_signal *sig, int events UNUSED)
{
	master *m = sig->data;
	bool ready = m->current && (m->current->phase == READY || m->current->phase == HANDING);

	if (ready)
		child_pass(m->current, SIGHUP);
	/* A worker that is starting may have read its configuration already, and may not have a handler yet. */
	m->hup = !ready || m->next;
}

static void on_upgrade(struct ev_loop *loop UNUSED, ev_signal *sig, int events UNUSED)
{
	master *m = sig->data;

	m->again = true;
	master_settle(m);
}

/* ---- life */

static void on_child(struct ev_loop *loop UNUSED, ev_child *child, int events UNUSED)
{
	master *m = child->data;

	if (!WIFEXITED(child->rstatus) && !WIFSIGNALED(child->rstatus))
		return;
	if (child_was_given_up(m, child->rpid))
		return;
	for (size_t i = 0; i < WORKERS; i++)
		if (m->workers[i].phase != GONE && m->workers[i].pid == child->rpid) {
			child_ended(&m->workers[i], child->rstatus);
			return;
		}
}

/* Sets the level and format of the master's own lines until a worker has read the configuration. */
static void log_by_environment(master *m)
{
	static const char *const levels[] = { "debug", "info", "warn", "error" };
	const char *level = getenv("SPOA_LLM_LOG_LEVEL"), *format = getenv("SPOA_LLM_LOG_FORMAT");

	m->log_level = LOG_INFO;
	for (size_t i = 0; level && i < sizeof levels / sizeof levels[0]; i++)
		if (strcmp(level, levels[i]) == 0)
			m->log_level = (unsigned)i;
	m->log_format = format && strcmp(format, "json") == 0 ? LOG_JSON : LOG_KV;
	log_setup((log_level)m->log_level, (log_format)m->log_format);
}

static void watch(master *m)
{
	static const struct {
		int sig;
		void (*handler)(struct ev_loop *loop, ev_signal *sig, int events);
	} handlers[] = { { SIGTERM, on_stop },
			 { SIGINT, on_stop },
			 { SIGHUP, on_hup },
			 { SIGUSR1, on_drain },
			 { SIGUSR2, on_upgrade } };
	int64_t systemd = notify_watchdog_ms();
	sigset_t none;

	for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
		ev_signal_init(&m->signals[i], handlers[i].handler, handlers[i].sig);
		m->signals[i].data = m;
		ev_signal_start(m->loop, &m->signals[i]);
	}
	signal(SIGPIPE, SIG_IGN);
	ev_child_init(&m->child, on_child, 0, 0);
	ev_timer_init(&m->tick, on_tick, TICK / 1000., TICK / 1000.);
	ev_timer_init(&m->restart, on_restart, 0., 0.);
	ev_timer_init(&m->systemd, on_systemd, 0., (double)systemd / 2000);
	m->child.data = m->tick.data = m->restart.data = m->systemd.data = m;
	ev_child_start(m->loop, &m->child);
	ev_timer_start(m->loop, &m->tick);
	if (systemd)
		ev_timer_start(m->loop, &m->systemd);
	m->last_tick = clock_mono_ms();
	/* become_new() has blocked all signals before the exec: those that came meanwhile arrive now. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Goes on with the worker of the old version that this process was before. */
static void adopt(master *m, const master_state *s)
{
	m->held = s->held;
	m->memory = s->memory;
	memcpy(m->path, s->path, sizeof m->path);
	m->restarts = s->restarts;
	m->again = s->again;
	m->ever_ready = true;
	worker *w = m->current = child_add(m, s->worker, s->control, READY);
	w->watchdog = s->watchdog;
	w->log_level = s->log_level <= LOG_ERROR ? s->log_level : m->log_level;
	w->log_format = s->log_format <= LOG_JSON ? s->log_format : m->log_format;
	child_arm(w);
	child_use_log(w);
	log_event(master_upgraded, LOG_C("version", SPOA_LLM_VERSION), LOG_I("worker", w->pid));
	ev_feed_signal_event(m->loop, SIGCHLD); /* the worker may have ended before there was a handler */
	master_settle(m);
}

/* Takes over the descriptors that this process began with, before it opens any of its own. */
static state_result take_over(master *m, master_state *s)
{
	err e;

	/* Fill 0 to 2, so that no socket gets a number that a worker takes for its standard error. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			break;
	state_result rc = state_take(s, 1, &e);
	if (rc == STATE_UNREADABLE) {
		log_event(upgrade_failed, LOG_C("problem", e.text),
			  LOG_C("instead", "a new worker process is started"));
		if (s->worker) {
			child_kill_stray(m, s->worker);
			sockets_keep_any(&m->held);
		}
	}
	if (rc != STATE_TAKEN)
		m->memory = sockets_take_inherited(&m->held);
	return rc;
}

/* Checks that a worker with one SPOP thread could start, because with fewer open files libev aborts, or an exec fails
 * without a word. */
static bool enough_files(void)
{
	enum { NEEDED = WORKER_FILES + THREAD_FILES };
	struct rlimit files;
	err e;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= NEEDED)
		return true;
	err_set(&e, "the agent needs %d open files at least, and the limit is %lu: raise it (ulimit -n, LimitNOFILE=)",
		NEEDED, (unsigned long)files.rlim_cur);
	log_event(start_failed, LOG_C("problem", e.text));
	return false;
}

int master_run(int argc, char **argv)
{
	master m = { .argv = argv, .pair = -1, .memory = -1 };
	master_state s;

	log_by_environment(&m);
	state_result state = take_over(&m, &s);
	/* A master that was upgraded has its worker already. */
	if (state != STATE_TAKEN && !enough_files())
		return EX_UNAVAILABLE;
	m.loop = ev_default_loop(EVFLAG_NOENV);
	bool ok = binary_path(m.path, sizeof m.path, argc ? argv[0] : NULL);
	if (!m.loop || !ok) {
		log_event(start_failed,
			  LOG_C("problem",
				m.loop ?
					"the path of the binary is not known: argv[0] has no /, and there is no /proc" :
					"the kernel gives no event loop"));
		return EX_OSERR;
	}
	watch(&m);
	if (state == STATE_TAKEN)
		adopt(&m, &s);
	else
		master_start_worker(&m);
	/* If the first start failed, ev_break() was called before ev_run() and had no effect. */
	if (!m.ended)
		ev_run(m.loop, 0);
	sockets_drop_all(&m.held);
	ev_loop_destroy(m.loop);
	return m.exit_code;
}

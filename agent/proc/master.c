/* SPDX-License-Identifier: MIT */
#include "proc/master.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/log.h"
#include "proc/control.h"
#include "proc/notify.h"
#include "proc/spawn.h"
#include "proc/state.h"

/* Times in milliseconds, on the monotonic clock. */
enum {
	TICK = 500,
	LATE = 1000,             /* a tick later than that: this process was held up, and its workers with it */
	START_MIN = 30 * 1000,   /* what a worker has at least until it is ready; three times its watchdog, where that is more */
	HANDOVER_MAX = 10 * 1000,/* from PREPARED to READY of an upgrade */
	RETIRE_MAX = 30 * 1000,  /* what the old worker has after that */
	DRAIN_MAX = 3700 * 1000, /* the same where its connections could not be handed over */
	LOST_MAX = 5 * 1000,     /* from the end of its control socket to its own */
	STEADY = 10 * 1000,      /* a worker that lived as long is started again at once */
	BACKOFF_MIN = 100,
	BACKOFF_MAX = 5 * 1000,
	SEND_MAX = 1000,
};

typedef enum phase {
	GONE,
	STARTING,
	PREPARED,
	READY,
	HANDING, /* was told to hand its connections over */
	RETIRING /* another one is READY in its place */
} phase;

typedef struct worker {
	struct master *master;
	phase phase;
	pid_t pid;
	int control;
	ev_io io;
	unsigned serial;
	unsigned watchdog; /* seconds */
	unsigned log_level, log_format;
	int64_t started, deadline; /* 0: none. What it means is the phase's */
	int passed;                /* the last signal that was passed on, which may be its end */
	bool stuck;                /* and killed for it */
	bool dead;                 /* its last words are read */
	bool lost;                 /* its control socket has ended */
	bool drain;                /* the one before it cannot hand over to it */
	const char *problem;       /* of an upgrade, where we ended it ourselves */
} worker;

enum { WORKERS = 3 }; /* one that retires, one that runs, one that comes */

typedef struct master {
	struct ev_loop *loop;
	char **argv;
	char path[PATH_MAX]; /* what an upgrade starts */
	bool by_path;        /* the worker is of that binary, which need not be this process's */
	bool stay;           /* the last exec of it for this process failed */
	sockets held;
	worker workers[WORKERS];
	worker *current, *next, *old; /* next and old: of an upgrade */
	int pair;                     /* the old worker's end, until it gets it; -1: none */
	unsigned serial, restarts;
	unsigned log_level, log_format; /* of the environment */
	int64_t backoff, upgrade_began, last_tick;
	bool ever_ready;
	bool hup, again; /* SIGHUP, SIGUSR2 came when it could not be followed */
	int stopping;    /* the signal */
	bool draining;
	int exit_code;
	ev_timer tick, restart, systemd;
	ev_child child;
	ev_signal signals[5];
} master;

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void upgrade_begin(master *m);
static void settle(master *m);

/* ---- workers */

static void arm_watchdog(worker *w)
{
	w->deadline = w->watchdog ? now_ms() + (int64_t)w->watchdog * 1000 : 0;
}

/* The one place that signals a worker: a number that is no single process's would reach every process there is. */
static void tell(const worker *w, int sig)
{
	assert(w->pid > 1);
	if (!w->dead)
		kill(w->pid, sig);
}

static void pass(worker *w, int sig)
{
	if (!w)
		return;
	w->passed = sig;
	tell(w, sig);
}

/* What follows, follows from its end. */
static void kill_worker(worker *w)
{
	w->deadline = 0;
	tell(w, SIGKILL);
}

static void close_pair(master *m)
{
	if (m->pair >= 0)
		close(m->pair);
	m->pair = -1;
}

static void on_control(struct ev_loop *loop, ev_io *io, int events);

static worker *add_worker(master *m, pid_t pid, int sock, phase as)
{
	worker *w = m->workers;

	while (w->phase != GONE)
		w++;
	*w = (worker){ .master = m, .phase = as, .pid = pid, .control = sock, .serial = ++m->serial, .started = now_ms() };
	w->log_level = m->log_level;
	w->log_format = m->log_format;
	if (as == STARTING)
		w->deadline = w->started + START_MIN;
	ev_io_init(&w->io, on_control, sock, EV_READ);
	w->io.data = w;
	ev_io_start(m->loop, &w->io);
	return w;
}

/* NULL: `e` says why. */
static worker *start_worker(master *m, bool same, int handover, err *e)
{
	spawn_request r = { m->path, same, m->argv, &m->held, handover, m->restarts };
	int sock;

	pid_t pid = spawn_worker(&r, &sock, e);
	return pid < 0 ? NULL : add_worker(m, pid, sock, STARTING);
}

static void end(master *m)
{
	ev_break(m->loop, EVBREAK_ALL);
}

static void end_if_last(master *m)
{
	if (!m->current && !m->next && !m->old)
		end(m);
}

static void schedule_restart(master *m, int64_t delay)
{
	ev_timer_stop(m->loop, &m->restart);
	ev_timer_set(&m->restart, (double)delay / 1000, 0.);
	ev_timer_start(m->loop, &m->restart);
}

/* How long to wait before the next start. */
static int64_t next_delay(master *m, int64_t lived)
{
	if (lived >= STEADY)
		m->backoff = 0;
	else
		m->backoff = m->backoff ? m->backoff * 2 : BACKOFF_MIN;
	if (m->backoff > BACKOFF_MAX)
		m->backoff = BACKOFF_MAX;
	return m->backoff;
}

/* The first one, or one in the place of one that has crashed. */
static void start_current(master *m)
{
	err e;

	m->current = start_worker(m, !m->by_path, -1, &e);
	if (!m->current && m->by_path)
		m->current = start_worker(m, true, -1, &e);
	if (m->current)
		return;
	log_event(LOG_ERROR, "worker_start_failed", LOG_C("problem", e.text));
	m->exit_code = EX_OSERR;
	if (m->ever_ready)
		schedule_restart(m, next_delay(m, 0));
	else
		end(m);
}

static void on_restart(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	start_current(timer->data);
}

/* ---- what workers say */

static void use_log(const worker *w)
{
	log_setup((log_level)w->log_level, (log_format)w->log_format);
}

/* The new worker has a good configuration: the old one is told to give it its connections. */
static void hand_over(master *m)
{
	err e = { "" };

	m->next->deadline = now_ms() + HANDOVER_MAX;
	if (m->current && m->current->phase == READY && !m->next->drain && m->pair >= 0) {
		if (fdpass_send(m->current->control, CONTROL_HANDOVER, (slice){ NULL, 0 }, &m->pair, 1, SEND_MAX, &e)) {
			m->current->phase = HANDING;
			m->current->deadline = 0; /* it does nothing else meanwhile; the new one's deadline holds for both */
		} else {
			m->next->drain = true;
		}
	}
	/* Where nobody else has it, the new worker sees its end, and begins without connections. */
	close_pair(m);
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
		use_log(w);
	if (w->phase == READY)
		arm_watchdog(w);
	if (w->phase != STARTING)
		return;
	w->phase = PREPARED;
	w->drain = version != CONTROL_VERSION;
	int64_t most = (int64_t)w->watchdog * 3000;
	w->deadline = w->watchdog ? w->started + (most > START_MIN ? most : START_MIN) : 0;
	/* Not before: now the format is known that the operator wants. */
	log_event(LOG_INFO, "worker_started", LOG_I("pid", w->pid), LOG_I("restarts", m->restarts));
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
	close_pair(m);
	use_log(w);
	log_event(LOG_INFO, "upgraded", LOG_I("pid", w->pid), LOG_I("in_ms", now_ms() - m->upgrade_began));
	if (!m->old)
		return;
	bool drain = m->old->phase != HANDING;
	m->old->phase = RETIRING;
	m->old->deadline = now_ms() + (drain ? DRAIN_MAX : RETIRE_MAX);
	if (drain && !fdpass_send(m->old->control, CONTROL_UPGRADE_DRAIN, (slice){ NULL, 0 }, NULL, 0, SEND_MAX, &e))
		kill_worker(m->old);
}

static void on_ready(worker *w)
{
	master *m = w->master;
	char lines[96];

	if (w->phase == READY) {
		notify_send("READY=1"); /* reloaded */
		return;
	}
	if (w->phase != STARTING && w->phase != PREPARED)
		return;
	w->phase = READY;
	arm_watchdog(w);
	if (w == m->next)
		upgraded(w);
	/* Nobody answers there any more; the first worker leaves alone what the service manager gave for later versions too. */
	if (m->ever_ready)
		sockets_drop_unnamed(&m->held, w->serial);
	m->ever_ready = true;
	snprintf(lines, sizeof lines, "READY=1\nSTATUS=Worker process %d answers HAProxy", (int)w->pid);
	notify_send(lines);
	if (m->hup)
		pass(w, SIGHUP);
	m->hup = false;
	settle(m);
}

static void on_resumed(worker *w)
{
	master *m = w->master;
	err e;

	if (w->phase == HANDING) {
		w->phase = READY;
		arm_watchdog(w);
		/* Two would answer, and the ledger is the old one's. */
		if (m->next) {
			m->next->problem = "the connections could not be handed over";
			kill_worker(m->next);
		}
	} else if (w->phase == RETIRING) {
		w->deadline = now_ms() + DRAIN_MAX;
		if (!fdpass_send(w->control, CONTROL_UPGRADE_DRAIN, (slice){ NULL, 0 }, NULL, 0, SEND_MAX, &e))
			kill_worker(w);
	}
}

static void on_message(worker *w, fdpass_message *msg)
{
	cursor c = cursor_of(buf_slice(&msg->body));

	switch (msg->type) {
	case CONTROL_KEEP:
		if (msg->fds_count != 1)
			return;
		if (!sockets_keep(&w->master->held, msg->fds[0], cursor_u8(&c) == 1, w->serial))
			log_event(LOG_WARN, "socket_not_kept", LOG_I("pid", w->pid), LOG_I("most", MASTER_SOCKETS),
				  LOG_C("problem", "it is closed for a moment when the worker process is replaced"));
		msg->fds[0] = -1;
		return;
	case CONTROL_PREPARED: on_prepared(w, msg); return;
	case CONTROL_READY: on_ready(w); return;
	case CONTROL_ALIVE:
		if (w->phase == READY && !w->stuck)
			arm_watchdog(w);
		return;
	case CONTROL_RELOADING: notify_reloading(); return;
	case CONTROL_RELEASED:
		if (w->phase == RETIRING)
			w->deadline = now_ms() + RETIRE_MAX;
		return;
	case CONTROL_RESUMED: on_resumed(w); return;
	default: return; /* of a newer version */
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
		log_event(LOG_ERROR, "control_failed", LOG_I("pid", w->pid), LOG_C("problem", e.text));
	fdpass_deinit(&msg);
	return rc == FDPASS_OK;
}

static void on_control(struct ev_loop *loop, ev_io *io, int events)
{
	worker *w = io->data;

	(void)events;
	if (hear(w))
		return;
	ev_io_stop(loop, io);
	w->lost = true;
	w->deadline = now_ms() + LOST_MAX; /* it ends; if it does not, it is of no use */
}

/* ---- their end */

/* Of `code` or `sig`; a log event has one of them. */
#define LOG_END(code, sig) LOG_I((sig) ? "signal" : "exit_code", (sig) ? (sig) : (code))

static void crashed(master *m, const worker *w, int code, int sig)
{
	int64_t delay = w->stuck ? 0 : next_delay(m, now_ms() - w->started);

	m->restarts++;
	log_event(LOG_ERROR, "worker_crashed", LOG_I("pid", w->pid), LOG_END(code, sig), LOG_I("restarts", m->restarts), LOG_I("in_ms", delay));
	notify_send("STATUS=The worker process has crashed; it is started again");
	schedule_restart(m, delay);
}

static void upgrade_failed(master *m, const worker *w, int code, int sig)
{
	bool early = w->phase == STARTING && !w->problem;

	log_event(LOG_ERROR, "upgrade_failed", LOG_I("pid", w->pid),
		  LOG_C("problem", w->problem ? w->problem : early ? "the new version does not start" : "the new version ended before it was ready"),
		  LOG_END(code, sig), LOG_C("instead", "the running version goes on"),
		  LOG_C("hint", "the new process has said why, above; `check` with the new binary finds a wrong configuration"));
	sockets_drop_added(&m->held, w->serial);
	close_pair(m);
	m->next = NULL;
	if (!m->current)
		schedule_restart(m, 0); /* it crashed meanwhile */
	else if (m->current->phase == HANDING) {
		m->current->phase = READY; /* RESUMED follows */
		arm_watchdog(m->current);
	}
}

static void current_ended(master *m, const worker *w, int code, int sig)
{
	m->current = NULL;
	if (!m->ever_ready) {
		m->exit_code = code;
		end(m);
		return;
	}
	if (m->next && w->phase == HANDING && code == 0)
		return; /* its work is done; READY of the new one is on its way */
	if (m->next) {
		log_event(LOG_ERROR, "worker_crashed", LOG_I("pid", w->pid), LOG_END(code, sig), LOG_I("restarts", m->restarts),
			  LOG_C("instead", "the new version takes over"));
		close_pair(m);
		return;
	}
	crashed(m, w, code, sig);
}

static void ended(worker *w, int status)
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
	if (sig && sig == gone.passed && (sig == SIGTERM || sig == SIGINT || sig == SIGUSR1))
		code = 0;
	if (m->stopping || m->draining) {
		if (w == m->current && m->exit_code == 0)
			m->exit_code = code;
		m->current = w == m->current ? NULL : m->current;
		m->next = w == m->next ? NULL : m->next;
		m->old = w == m->old ? NULL : m->old;
		end_if_last(m);
		return;
	}
	if (w == m->old) {
		m->old = NULL;
		log_event(LOG_DEBUG, "worker_retired", LOG_I("pid", gone.pid), LOG_END(code, sig));
	} else if (w == m->next) {
		upgrade_failed(m, &gone, code, sig);
	} else if (w == m->current) {
		current_ended(m, &gone, code, sig);
	}
	settle(m);
}

static void on_child(struct ev_loop *loop, ev_child *child, int events)
{
	master *m = child->data;

	(void)loop;
	(void)events;
	if (!WIFEXITED(child->rstatus) && !WIFSIGNALED(child->rstatus))
		return;
	for (size_t i = 0; i < WORKERS; i++)
		if (m->workers[i].phase != GONE && m->workers[i].pid == child->rpid) {
			ended(&m->workers[i], child->rstatus);
			return;
		}
}

/* ---- time */

static void expired(worker *w)
{
	master *m = w->master;

	if (w->lost) {
		log_event(LOG_ERROR, "control_failed", LOG_I("pid", w->pid), LOG_C("problem", "it has closed its control socket; it is killed"));
	} else if (w == m->next) {
		w->problem = w->phase == PREPARED ? "the new version was not ready in time" : "the new version did not start in time";
	} else if (w == m->old) {
		log_event(LOG_WARN, "worker_killed", LOG_I("pid", w->pid), LOG_C("problem", "it did not end after the upgrade"));
	} else {
		bool ready = w->phase == READY;
		w->stuck = ready;
		log_event(LOG_ERROR, "worker_stuck", LOG_I("pid", w->pid), LOG_I("seconds", ready ? w->watchdog : (now_ms() - w->started) / 1000),
			  LOG_C("hint", ready ? "it is killed and started again; a thread did not turn for as long: look for a disk or a "
						"file system that hangs, or raise \"watchdog\""
					      : "it is killed; it did not become ready: look for a disk or a file system that hangs"));
	}
	kill_worker(w);
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	master *m = timer->data;
	int64_t now = now_ms(), late = now - m->last_tick - TICK;

	(void)loop;
	(void)events;
	m->last_tick = now;
	for (size_t i = 0; i < WORKERS; i++) {
		worker *w = &m->workers[i];
		if (w->phase == GONE || !w->deadline || m->stopping)
			continue;
		/* The machine slept, or everything was stopped: what the worker did not do in that time is not its fault. */
		if (late > LATE && w->phase == READY && !w->lost)
			arm_watchdog(w);
		else if (late > LATE)
			w->deadline += late;
		else if (now >= w->deadline)
			expired(w);
	}
}

static void on_systemd(struct ev_loop *loop, ev_timer *timer, int events)
{
	master *m = timer->data;
	const worker *w = m->current;

	(void)loop;
	(void)events;
	if (w && (w->phase == READY || w->phase == HANDING) && !w->stuck && (!w->deadline || now_ms() < w->deadline))
		notify_send("WATCHDOG=1");
}

/* ---- upgrade */

static void upgrade_begin(master *m)
{
	int pair[2];
	err e;

	m->again = false;
	m->stay = false;
	m->upgrade_began = now_ms();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		err_set(&e, "socketpair: %s", strerror(errno));
	} else {
		m->next = start_worker(m, false, pair[1], &e);
		close(pair[1]);
		m->pair = pair[0];
	}
	if (m->next) {
		log_event(LOG_INFO, "upgrading", LOG_C("binary", m->path), LOG_I("pid", m->next->pid));
		return;
	}
	close_pair(m);
	log_event(LOG_ERROR, "upgrade_failed", LOG_C("problem", e.text), LOG_C("instead", "the running version goes on"));
}

static bool binary_is_another(const char *path)
{
	struct stat own, there;

	return stat("/proc/self/exe", &own) == 0 && stat(path, &there) == 0 && (own.st_dev != there.st_dev || own.st_ino != there.st_ino);
}

/* The master follows its worker: from here on this process is the new version. Returns only where that failed. */
static void become_new(master *m)
{
	const worker *w = m->current;
	master_state s = { .worker = w->pid, .control = w->control, .watchdog = w->watchdog, .restarts = m->restarts,
			   .log_level = w->log_level, .log_format = w->log_format, .again = m->again, .held = m->held };
	sigset_t all, old;

	memcpy(s.path, m->path, sizeof s.path);
	/* Signals wait until the new one has its handlers. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	if (state_save(&s))
		execv(m->path, m->argv);
	int why = errno;
	state_unsave(&s);
	sigprocmask(SIG_SETMASK, &old, NULL);
	m->stay = true;
	log_event(LOG_ERROR, "upgrade_failed", LOG_C("problem", strerror(why)), LOG_C("binary", m->path),
		  LOG_C("instead", "the master stays the old version"));
}

/* What waits until no upgrade is under way. */
static void settle(master *m)
{
	if (m->next || m->old || !m->current || m->current->dead || m->current->phase != READY || m->stopping || m->draining)
		return;
	if (m->by_path && !m->stay && binary_is_another(m->path))
		become_new(m);
	if (m->again)
		upgrade_begin(m);
}

/* ---- signals */

static void on_stop(struct ev_loop *loop, ev_signal *sig, int events)
{
	master *m = sig->data;

	(void)loop;
	(void)events;
	if (m->stopping) {
		if (m->exit_code >= 128)
			end(m); /* the third: even the kernel is slow */
		m->exit_code = 128 + sig->signum;
		for (size_t i = 0; i < WORKERS; i++)
			if (m->workers[i].phase != GONE)
				kill_worker(&m->workers[i]);
		return;
	}
	m->stopping = sig->signum;
	m->exit_code = 0;
	notify_send("STOPPING=1");
	ev_timer_stop(m->loop, &m->restart);
	end_if_last(m);
	pass(m->current, sig->signum);
	pass(m->next, sig->signum);
	pass(m->old, sig->signum);
}

static void on_drain(struct ev_loop *loop, ev_signal *sig, int events)
{
	master *m = sig->data;

	(void)loop;
	(void)events;
	m->draining = true;
	m->exit_code = 0;
	ev_timer_stop(m->loop, &m->restart);
	if (m->next) {
		log_event(LOG_WARN, "upgrade_failed", LOG_I("pid", m->next->pid), LOG_C("problem", "SIGUSR1 asked for a drain"));
		close_pair(m);
		kill_worker(m->next);
	}
	pass(m->current, SIGUSR1);
	end_if_last(m);
}

static void on_hup(struct ev_loop *loop, ev_signal *sig, int events)
{
	master *m = sig->data;
	bool ready = m->current && (m->current->phase == READY || m->current->phase == HANDING);

	(void)loop;
	(void)events;
	if (ready)
		pass(m->current, SIGHUP);
	/* One that starts may have read its configuration already, and has no handler yet. */
	m->hup = !ready || m->next;
}

static void on_upgrade(struct ev_loop *loop, ev_signal *sig, int events)
{
	master *m = sig->data;

	(void)loop;
	(void)events;
	m->again = true;
	settle(m);
}

/* ---- life */

/* Of its own lines, until a worker has read the configuration. */
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

/* An upgrade starts what stands at this path then. False: no path is known. */
static bool find_path(char *out, size_t cap, const char *argv0)
{
	const slice deleted = SLICE(" (deleted)");
	char cwd[PATH_MAX];
	int n = 0;

	if (argv0 && argv0[0] == '/')
		n = snprintf(out, cap, "%s", argv0);
	else if (argv0 && strchr(argv0, '/') && getcwd(cwd, sizeof cwd))
		n = snprintf(out, cap, "%s/%s", cwd, argv0);
	if (n > 0 && (size_t)n < cap)
		return true;
	ssize_t len = readlink("/proc/self/exe", out, cap - 1);
	if (len <= 0)
		return false;
	out[len] = '\0';
	slice path = slice_cstr(out);
	if (slice_ends(path, deleted))
		out[path.len - deleted.len] = '\0';
	return true;
}

static void watch(master *m)
{
	static const struct {
		int sig;
		void (*handler)(struct ev_loop *loop, ev_signal *sig, int events);
	} handlers[] = { { SIGTERM, on_stop }, { SIGINT, on_stop }, { SIGHUP, on_hup }, { SIGUSR1, on_drain }, { SIGUSR2, on_upgrade } };
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
	m->last_tick = now_ms();
	/* A master that became this one has blocked them; what came meanwhile comes now. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The worker of the master that this process was before. */
static void adopt(master *m, const master_state *s)
{
	m->held = s->held;
	memcpy(m->path, s->path, sizeof m->path);
	m->restarts = s->restarts;
	m->again = s->again;
	m->ever_ready = true;
	worker *w = m->current = add_worker(m, s->worker, s->control, READY);
	w->watchdog = s->watchdog;
	w->log_level = s->log_level <= LOG_ERROR ? s->log_level : m->log_level;
	w->log_format = s->log_format <= LOG_JSON ? s->log_format : m->log_format;
	arm_watchdog(w);
	use_log(w);
	log_event(LOG_INFO, "master_upgraded", LOG_C("version", SPOA_LLM_VERSION), LOG_I("worker", w->pid));
	ev_feed_signal_event(m->loop, SIGCHLD); /* it may have ended before there was a handler */
	settle(m);
}

/* The descriptors that this process began with, before it opens any of its own. */
static state_result take_over(master *m, master_state *s)
{
	err e;

	/* No socket gets a number that a worker takes for its standard error. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			break;
	state_result rc = state_take(s, 1, &e);
	if (rc == STATE_UNREADABLE) {
		log_event(LOG_ERROR, "upgrade_failed", LOG_C("problem", e.text), LOG_C("instead", "a new worker process is started"));
		if (s->worker) {
			kill(s->worker, SIGKILL);
			waitpid(s->worker, NULL, 0);
			for (int fd = 3; fd < 1024; fd++) /* what it cannot tell apart any more */
				close(fd);
		}
	}
	if (rc != STATE_TAKEN)
		sockets_take_inherited(&m->held);
	return rc;
}

int master_run(int argc, char **argv)
{
	master m = { .argv = argv, .pair = -1 };
	master_state s;

	log_by_environment(&m);
	state_result state = take_over(&m, &s);
	m.loop = ev_default_loop(EVFLAG_NOENV);
	bool ok = find_path(m.path, sizeof m.path, argc ? argv[0] : NULL);
	if (!m.loop || !ok) {
		log_event(LOG_ERROR, "start_failed", LOG_C("problem", m.loop ? "the path of the binary is not known: argv[0] has no /, and there is no /proc"
									   : "no event loop can be had from the kernel"));
		return EX_OSERR;
	}
	watch(&m);
	if (state == STATE_TAKEN)
		adopt(&m, &s);
	else
		start_current(&m);
	/* A start that failed at once has asked for the end already, before there was a loop to leave. */
	if (m.current)
		ev_run(m.loop, 0);
	sockets_drop_all(&m.held);
	ev_loop_destroy(m.loop);
	return m.exit_code;
}

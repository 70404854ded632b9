/* SPDX-License-Identifier: MIT */
#include "tap/successor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/unused.h"
#include "proc/binary.h"

/* The number of the descriptor to which the successor writes a byte when it is ready. */
#define READY_VARIABLE "SPOA_LLM_TAP_READY"

/* Seconds within which it has to be ready. */
static const double PATIENCE = 10.;

static void end(successor *s, bool ready)
{
	ev_io_stop(s->loop, &s->said);
	ev_timer_stop(s->loop, &s->patience);
	close(s->said.fd);
	s->pid = 0;
	s->ended(s->ctx, ready);
}

static void on_said(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	successor *s = io->data;
	char byte;
	ssize_t n = read(io->fd, &byte, 1);

	if (n == 1)
		log_event(tap_upgraded, LOG_I("pid", s->pid), LOG_I("in_ms", clock_mono_ms() - s->began));
	else
		log_event(tap_upgrade_failed, LOG_C("problem", "the new process ended before it was ready"));
	end(s, n == 1);
}

static void on_patience(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	successor *s = timer->data;

	log_event(tap_upgrade_failed, LOG_C("problem", "the new process was not ready in time"));
	kill(s->pid, SIGKILL);
	end(s, false);
}

bool successor_init(successor *s, struct ev_loop *loop, char **argv, err *e)
{
	s->loop = loop;
	s->argv = argv;
	s->pid = 0;
	ev_io_init(&s->said, on_said, -1, EV_READ);
	ev_timer_init(&s->patience, on_patience, 0., 0.);
	s->said.data = s->patience.data = s;
	return binary_path(s->path, sizeof s->path, argv[0]) ||
	       err_set(e, "the path of the binary is not known: argv[0] has no /, and there is no /proc");
}

static void set_number(const char *name, long n)
{
	char text[24];

	snprintf(text, sizeof text, "%ld", n);
	setenv(name, text, 1);
}

/* In the successor, which writes its id to `fd`; all signals are blocked. `between` is its parent, which ends. */
static _Noreturn void become(const successor *s, int fd, pid_t between)
{
	const struct timespec pause = { .tv_nsec = 100000 };
	const pid_t self = getpid();
	sigset_t none;

	while (getppid() == between)
		nanosleep(&pause, NULL);
	if (write(fd, &self, sizeof self) != sizeof self)
		_exit(127);
	fcntl(fd, F_SETFD, 0);
	set_number(READY_VARIABLE, fd);
	/* The service manager expects signs of life from the new process. */
	if (getenv("WATCHDOG_PID"))
		set_number("WATCHDOG_PID", getpid());
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(s->path, s->argv);
	_exit(127);
}

/* Forks twice and returns the id of the successor, whose parent is the service manager then. systemd waits for a main
 * process that it is to stop only if it was the parent when that process became the main one, and kills it at once
 * otherwise, with its streams. -1: errno says why not. */
static pid_t start(const successor *s, const int ready[2])
{
	pid_t pid, between = fork();
	int status = 0;

	if (between == 0) {
		between = getpid();
		pid = fork();
		if (pid == 0)
			become(s, ready[1], between);
		_exit(pid < 0 ? errno : 0);
	}
	int why = errno;
	close(ready[1]);
	while (between > 0 && waitpid(between, &status, 0) < 0 && errno == EINTR)
		;
	errno = between < 0 ? why : WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
	return !errno && read(ready[0], &pid, sizeof pid) == sizeof pid ? pid : -1;
}

bool successor_start(successor *s, err *e)
{
	int ready[2];
	sigset_t all, old;

	if (s->pid)
		return true;
	if (pipe2(ready, O_CLOEXEC) != 0)
		return err_set(e, "pipe: %s", strerror(errno));
	/* A signal that reaches the child before its exec would run our handlers there. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid_t pid = start(s, ready);
	int why = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0) {
		close(ready[0]);
		return err_set(e, "fork: %s", strerror(why));
	}
	s->pid = pid;
	s->began = clock_mono_ms();
	ev_io_set(&s->said, ready[0], EV_READ);
	ev_io_start(s->loop, &s->said);
	ev_timer_set(&s->patience, PATIENCE, 0.);
	ev_timer_start(s->loop, &s->patience);
	log_event(tap_upgrading, LOG_C("binary", s->path), LOG_I("pid", pid));
	return true;
}

bool successor_is_one(void)
{
	return getenv(READY_VARIABLE);
}

void successor_say_ready(void)
{
	const char *text = getenv(READY_VARIABLE);
	int fd = text ? (int)strtol(text, NULL, 10) : -1;

	if (fd < 3)
		return;
	unsetenv(READY_VARIABLE);
	ssize_t n = write(fd, "", 1);
	(void)n; /* the other process is gone, and nobody waits */
	close(fd);
}

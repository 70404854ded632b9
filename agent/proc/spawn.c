/* SPDX-License-Identifier: MIT */
#include "proc/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/control.h"

/* A worker's first descriptor beside 0 to 2, by sd_listen_fds(3). From there on come the held sockets, the control
 * socket, the worker's end of the pair, and the memory. */
enum { FIRST = 3 };

static void set_number(const char *name, long n)
{
	char text[24];

	snprintf(text, sizeof text, "%ld", n);
	setenv(name, text, 1);
}

/* Gives the descriptors their numbers in the worker. First copies each above the range that they will fill, so that
 * none is overwritten before it has been copied. */
static bool place_fds(const spawn_request *r, int sock, int *status)
{
	int count = (int)r->held->count, wanted = count + 3;
	int high[MASTER_SOCKETS + 3];
	const int others[] = { sock, r->handover, r->memory };

	*status = fcntl(*status, F_DUPFD_CLOEXEC, FIRST + wanted);
	for (int i = 0; i < wanted; i++) {
		int from = i < count ? r->held->items[i].fd : others[i - count];
		high[i] = from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC, FIRST + wanted);
		if (from >= 0 && high[i] < 0)
			return false;
	}
	for (int i = 0; i < wanted; i++)
		if (high[i] >= 0 && dup2(high[i], FIRST + i) < 0)
			return false;
	return true;
}

static void set_environment(const spawn_request *r)
{
	static const char *const not_for_workers[] = { "NOTIFY_SOCKET",   "WATCHDOG_USEC", "WATCHDOG_PID",
						       "LISTEN_FDS",      "LISTEN_PID",    "LISTEN_FDNAMES",
						       HANDOVER_VARIABLE, MEMORY_VARIABLE };
	int count = (int)r->held->count;

	for (size_t i = 0; i < sizeof not_for_workers / sizeof not_for_workers[0]; i++)
		unsetenv(not_for_workers[i]);
	if (count) {
		set_number("LISTEN_FDS", count);
		set_number("LISTEN_PID", getpid());
	}
	set_number(CONTROL_VARIABLE, FIRST + count);
	if (r->handover >= 0)
		set_number(HANDOVER_VARIABLE, FIRST + count + 1);
	if (r->memory >= 0)
		set_number(MEMORY_VARIABLE, FIRST + count + 2);
	set_number(RESTARTS_VARIABLE, r->restarts);
}

/* In the child; all signals are blocked. */
static _Noreturn void become_worker(const spawn_request *r, int sock, int status, pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1); /* the parent died before prctl() */
	/* A group of its own: ^C in a terminal then reaches the master alone, which passes it on. */
	setpgid(0, 0);
	if (!place_fds(r, sock, &status))
		goto failed;
	set_environment(r);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (r->same)
		execv("/proc/self/exe", r->argv);
	if (!r->same || errno == ENOENT) /* ENOENT: there is no /proc */
		execv(r->path, r->argv);
failed:;
	int why = errno;
	ssize_t n = write(status, &why, sizeof why);
	(void)n;
	_exit(127);
}

pid_t spawn_worker(const spawn_request *r, int *sock, err *e)
{
	int pair[2], status[2], why = 0;
	sigset_t all, old;
	pid_t self = getpid();

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		err_set(e, "socketpair: %s", strerror(errno));
		return -1;
	}
	if (pipe2(status, O_CLOEXEC) != 0) {
		err_set(e, "pipe: %s", strerror(errno));
		close(pair[0]);
		close(pair[1]);
		return -1;
	}
	/* A signal that reaches the child before its exec would run our handlers there. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid_t pid = fork();
	if (pid == 0)
		become_worker(r, pair[1], status[1], self);
	if (pid < 0)
		err_set(e, "fork: %s", strerror(errno));
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(pair[1]);
	close(status[1]);
	/* Reads an errno, or EOF when exec has closed the child's end. */
	ssize_t n = 0;
	while (pid > 0 && (n = read(status[0], &why, sizeof why)) < 0 && errno == EINTR)
		;
	close(status[0]);
	if (pid > 0 && n == (ssize_t)sizeof why) {
		err_set(e, "exec of %.256s: %s", r->path, strerror(why));
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	if (pid < 0) {
		close(pair[0]);
		return -1;
	}
	*sock = pair[0];
	return pid;
}

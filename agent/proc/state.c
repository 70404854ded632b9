/* SPDX-License-Identifier: MIT */
#include "proc/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* VERSION WORKER CONTROL WATCHDOG RESTARTS LEVEL FORMAT AGAIN SOCKETS {FD OURS DEV INO MADE} PATH, in decimal. Every
 * version begins with VERSION and WORKER. */
enum { TEXT_MAX = 512 + MASTER_SOCKETS * 96 + PATH_MAX };

/* Lets the descriptors survive an exec, or not. */
static void pass_on(const master_state *s, bool on)
{
	fcntl(s->control, F_SETFD, on ? 0 : FD_CLOEXEC);
	if (s->memory >= 0)
		fcntl(s->memory, F_SETFD, on ? 0 : FD_CLOEXEC);
	for (size_t i = 0; i < s->held.count; i++)
		fcntl(s->held.items[i].fd, F_SETFD, on ? 0 : FD_CLOEXEC);
}

bool state_save(const master_state *s)
{
	char text[TEXT_MAX];
	size_t len = (size_t)snprintf(text, sizeof text, "%d %d %d %u %u %u %u %d %zu", STATE_VERSION, (int)s->worker,
				      s->control, s->watchdog, s->restarts, s->log_level, s->log_format, s->again,
				      s->held.count);

	for (size_t i = 0; i < s->held.count; i++) {
		const held_socket *h = &s->held.items[i];
		len += (size_t)snprintf(text + len, sizeof text - len, " %d %d %llu %llu %llu", h->fd, h->ours,
					(unsigned long long)h->file_dev, (unsigned long long)h->file_ino,
					(unsigned long long)h->file_made);
	}
	snprintf(text + len, sizeof text - len, " %s", s->path);
	if (setenv(STATE_VARIABLE, text, 1) != 0)
		return false;
	snprintf(text, sizeof text, "%d", s->memory);
	if (s->memory >= 0 && setenv(STATE_MEMORY_VARIABLE, text, 1) != 0)
		return false;
	pass_on(s, true);
	return true;
}

void state_unsave(const master_state *s)
{
	unsetenv(STATE_VARIABLE);
	unsetenv(STATE_MEMORY_VARIABLE);
	pass_on(s, false);
}

static unsigned long long number(char **at, unsigned long long max, bool *ok)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(*at, &end, 10);
	if (errno || end == *at || **at == '-' || *end != ' ' || n > max)
		*ok = false;
	else
		*at = end + 1;
	return *ok ? n : 0;
}

/* Takes the memory's descriptor from the environment. -1: there is none. */
static int take_memory(void)
{
	const char *have = getenv(STATE_MEMORY_VARIABLE);
	long fd = have ? strtol(have, NULL, 10) : -1;
	struct stat st;

	unsetenv(STATE_MEMORY_VARIABLE);
	if (fd < 3 || fd > INT_MAX || fstat((int)fd, &st) != 0 || !S_ISREG(st.st_mode))
		return -1;
	fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	return (int)fd;
}

static bool is_our_child(pid_t pid)
{
	siginfo_t info;
	return pid > 1 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* Reads what follows the first two numbers. */
static bool read_rest(master_state *s, char *at, unsigned serial)
{
	bool ok = true;

	s->control = (int)number(&at, INT_MAX, &ok);
	s->watchdog = (unsigned)number(&at, INT_MAX, &ok);
	s->restarts = (unsigned)number(&at, UINT_MAX, &ok);
	s->log_level = (unsigned)number(&at, UINT_MAX, &ok);
	s->log_format = (unsigned)number(&at, UINT_MAX, &ok);
	s->again = number(&at, 1, &ok) != 0;
	size_t count = (size_t)number(&at, MASTER_SOCKETS, &ok);
	for (size_t i = 0; i < count; i++) {
		int fd = (int)number(&at, INT_MAX, &ok);
		bool ours = number(&at, 1, &ok) != 0;
		dev_t dev = (dev_t)number(&at, ULLONG_MAX, &ok);
		ino_t ino = (ino_t)number(&at, ULLONG_MAX, &ok);
		uint64_t made = number(&at, ULLONG_MAX, &ok);
		held_socket *h = ok ? sockets_keep(&s->held, fd, false, serial) : NULL;
		if (!h)
			return false;
		h->ours = ours;
		h->file_dev = dev;
		h->file_ino = ino;
		h->file_made = made;
	}
	if (!ok || *at != '/' || strlen(at) >= sizeof s->path || !is_socket(s->control))
		return false;
	memcpy(s->path, at, strlen(at) + 1);
	fcntl(s->control, F_SETFD, FD_CLOEXEC);
	return true;
}

state_result state_take(master_state *s, unsigned serial, err *e)
{
	char text[TEXT_MAX], *at = text;
	const char *have = getenv(STATE_VARIABLE);
	bool ok = true;

	memset(s, 0, sizeof *s);
	s->control = -1;
	s->memory = -1;
	if (!have)
		return STATE_NONE;
	snprintf(text, sizeof text, "%s", have);
	unsetenv(STATE_VARIABLE);
	unsigned long long version = number(&at, UINT_MAX, &ok);
	pid_t pid = (pid_t)number(&at, INT_MAX, &ok);
	if (ok && is_our_child(pid))
		s->worker = pid;
	if (!s->worker) {
		err_set(e, STATE_VARIABLE " does not name a worker of this process");
	} else if (version != STATE_VERSION) {
		err_set(e, "the master before was of another version: its state is version %llu, this one reads %d",
			version, STATE_VERSION);
	} else if (!read_rest(s, at, serial)) {
		err_set(e, STATE_VARIABLE " is damaged");
	} else {
		s->memory = take_memory();
		return STATE_TAKEN;
	}
	return STATE_UNREADABLE;
}

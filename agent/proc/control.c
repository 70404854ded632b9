/* SPDX-License-Identifier: MIT */
#include "proc/control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "proc/sockets.h"

enum {
	NO_SUCH = -1,
	HEAR_MS = 1000, /* how long to wait for the rest of a message; the master writes each in one piece */
};

/* Reads the variable `name` and removes it from the environment. NO_SUCH: it was not set, or `*ok` is false and `e`
 * says why. */
static int take_number(const char *name, bool *ok, err *e)
{
	const char *text = getenv(name);
	char *end;

	if (!text)
		return NO_SUCH;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < 0 || n > INT32_MAX)
		*ok = err_set(e, "%s is \"%.32s\", which the master did not set; remove it from the environment", name,
			      text);
	unsetenv(name);
	return *ok ? (int)n : NO_SUCH;
}

bool control_init(control *c, err *e)
{
	bool ok = true;

	e->text[0] = '\0';
	*c = (control){ -1, -1, -1, 0 };
	c->fd = take_number(CONTROL_VARIABLE, &ok, e);
	c->handover = take_number(HANDOVER_VARIABLE, &ok, e);
	c->memory = take_number(MEMORY_VARIABLE, &ok, e);
	int restarts = take_number(RESTARTS_VARIABLE, &ok, e);
	c->restarts = restarts > 0 ? (unsigned)restarts : 0;
	if (!ok || c->fd < 0)
		return false;
	if (!is_socket(c->fd) || (c->handover >= 0 && !is_socket(c->handover)))
		return err_set(e, CONTROL_VARIABLE
			       " is set, but there is no socket of a master; remove it from the environment");
	fcntl(c->fd, F_SETFD, FD_CLOEXEC);
	if (c->handover >= 0)
		fcntl(c->handover, F_SETFD, FD_CLOEXEC);
	if (c->memory >= 0)
		fcntl(c->memory, F_SETFD, FD_CLOEXEC);
	/* Set again: exec clears it for a file with capabilities. If the master died before, the socket reads EOF. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The master execs /proc/self/exe, and ps would show "exe". */
	prctl(PR_SET_NAME, program_invocation_short_name);
	return true;
}

bool control_say(control *c, control_type type, slice body, const int *fds, size_t fds_count, err *e)
{
	err why;
	return fdpass_send(c->fd, (uint8_t)type, body, fds, fds_count, 0, &why) ||
	       err_set(e, "the master process cannot be told: %.200s", why.text);
}

fdpass_result control_hear(control *c, fdpass_message *m, err *e)
{
	return fdpass_receive(c->fd, m, HEAR_MS, e);
}

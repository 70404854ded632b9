/* SPDX-License-Identifier: MIT */
#include "proc/control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NO_SUCH = -1 };

/* Takes the variable out of the environment. NO_SUCH: it was not there; `e` then stays as it was. */
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

static bool is_socket(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

bool control_init(control *c, err *e)
{
	bool ok = true;

	e->text[0] = '\0';
	*c = (control){ -1, -1, 0 };
	c->fd = take_number(CONTROL_VARIABLE, &ok, e);
	c->handover = take_number(HANDOVER_VARIABLE, &ok, e);
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
	/* Again, as exec drops it from a file with capabilities. Who lost the master before this sees the socket's end.
	 */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* It was started as /proc/self/exe, and "exe" is what ps would say. */
	prctl(PR_SET_NAME, program_invocation_short_name);
	return true;
}

bool control_say(control *c, control_type type, slice body, const int *fds, size_t fds_count)
{
	err e;
	return fdpass_send(c->fd, (uint8_t)type, body, fds, fds_count, CONTROL_TIMEOUT_MS, &e);
}

fdpass_result control_hear(control *c, fdpass_message *m, err *e)
{
	return fdpass_receive(c->fd, m, CONTROL_TIMEOUT_MS, e);
}

/* SPDX-License-Identifier: MIT
 *
 * Workers that SIGKILL does not end, because they wait within the kernel. */
#include "proc/master_impl.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"

enum { STRAY_POLL = 10 }; /* milliseconds between two looks whether a worker has ended */

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
		/* So many workers hang that a new one would hang too: wait until one of them ends. */
		w->deadline = clock_mono_ms() + KILL_MAX;
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

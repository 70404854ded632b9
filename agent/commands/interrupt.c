/* SPDX-License-Identifier: MIT */
#include "commands/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>

static volatile sig_atomic_t noted;
static volatile sig_atomic_t wake = -1;

static void note(int number)
{
	int kept = errno;

	noted = number;
	if (wake >= 0)
		eventfd_write(wake, 1);
	errno = kept;
}

int interrupt_fd(void)
{
	return wake;
}

void interrupt_begin(void)
{
	/* Without SA_RESTART, so that a read from a terminal or a pipe that waits ends. */
	struct sigaction action = { .sa_handler = note, .sa_flags = (int)SA_RESETHAND };

	if (wake < 0)
		wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool interrupted(void)
{
	return noted != 0;
}

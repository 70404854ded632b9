/* SPDX-License-Identifier: MIT */
#include "commands/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t noted;

static void note(int number)
{
	noted = number;
}

void interrupt_begin(void)
{
	/* Without SA_RESTART, so that a read from a terminal or a pipe that waits ends. */
	struct sigaction action = { .sa_handler = note, .sa_flags = (int)SA_RESETHAND };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool interrupted(void)
{
	return noted != 0;
}

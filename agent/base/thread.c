/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <time.h>

int thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t old = thread_block_signals();
	int rc = pthread_create(thread, NULL, run, arg);

	thread_restore_signals(&old);
	return rc;
}

sigset_t thread_block_signals(void)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	return old;
}

void thread_restore_signals(const sigset_t *old)
{
	pthread_sigmask(SIG_SETMASK, old, NULL);
}

void thread_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

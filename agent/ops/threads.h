/* SPDX-License-Identifier: MIT
 *
 * Threads that may wait for a disk, so that waiting for their end has a limit. */
#ifndef OPS_THREADS_H
#define OPS_THREADS_H

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"
#include "base/must_check.h"

enum { THREADS_MAX = 9 }; /* those of all lanes (ops/admin_impl.h), and the clock */

typedef struct threads {
	pthread_mutex_t lock; /* of `running` */
	pthread_cond_t ended; /* when a thread has run to its end */
	size_t running;
	size_t count;
	struct thread_entry {
		struct threads *owner;
		pthread_t thread;
		void (*run)(void *arg);
		void *arg;
	} entries[THREADS_MAX];
} threads;

void threads_init(threads *t);
void threads_deinit(threads *t);

/* Starts a thread that calls run(arg). */
MUST_CHECK bool threads_start(threads *t, void (*run)(void *arg), void *arg, err *e);

/* Waits until every run() has returned, `ms` at most. False: some have not; those threads are left alone, and what they
 * use has to stay until the process ends. */
MUST_CHECK bool threads_join(threads *t, int64_t ms);

#endif

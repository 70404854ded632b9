/* SPDX-License-Identifier: MIT
 *
 * Threads beside the main thread. Each runs with all signals blocked, because the main thread handles them. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <signal.h>

#include "base/must_check.h"

/* Starts run(arg) in a thread of its own, to be joined or detached by the caller. 0, or an errno: there is no thread.
 */
MUST_CHECK int thread_start(pthread_t *thread, void *(*run)(void *), void *arg);

/* Blocks all signals of the calling thread, so that threads which a library starts now inherit that. Returns the mask
 * to give to thread_restore_signals(). */
sigset_t thread_block_signals(void);
void thread_restore_signals(const sigset_t *old);

/* Initializes a condition whose deadlines are by the monotonic clock (clock.h). */
void thread_cond_init(pthread_cond_t *cond);

#endif

/* SPDX-License-Identifier: MIT */
#include "ops/threads.h"

#include <assert.h>
#include <errno.h>

#include "base/clock.h"
#include "base/thread.h"

void threads_init(threads *t)
{
	pthread_mutex_init(&t->lock, NULL);
	thread_cond_init(&t->ended);
	t->running = t->count = 0;
}

void threads_deinit(threads *t)
{
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->ended);
}

static void *entry_main(void *arg)
{
	struct thread_entry *entry = arg;
	threads *t = entry->owner;

	entry->run(entry->arg);
	pthread_mutex_lock(&t->lock);
	t->running--;
	pthread_cond_signal(&t->ended);
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

bool threads_start(threads *t, void (*run)(void *arg), void *arg, err *e)
{
	assert(t->count < THREADS_MAX);
	struct thread_entry *entry = &t->entries[t->count];

	*entry = (struct thread_entry){ .owner = t, .run = run, .arg = arg };
	pthread_mutex_lock(&t->lock);
	int rc = thread_start(&entry->thread, entry_main, entry);
	t->running += rc == 0;
	t->count += rc == 0;
	pthread_mutex_unlock(&t->lock);
	return rc == 0 || err_set(e, "a thread of the admin server: %s", strerror(rc));
}

bool threads_join(threads *t, int64_t ms)
{
	struct timespec until = clock_timespec(clock_mono_ms() + ms);

	pthread_mutex_lock(&t->lock);
	while (t->running && pthread_cond_timedwait(&t->ended, &t->lock, &until) != ETIMEDOUT)
		;
	bool ended = !t->running;
	pthread_mutex_unlock(&t->lock);
	for (; t->count; t->count--) {
		if (ended)
			pthread_join(t->entries[t->count - 1].thread, NULL);
		else
			pthread_detach(t->entries[t->count - 1].thread);
	}
	return ended;
}

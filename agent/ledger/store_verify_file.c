/* SPDX-License-Identifier: MIT
 *
 * SQLite's own check of the ledger's file. */
#include "ledger/store_impl.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/thread.h"

/* Texts, each of which the list owns. */
typedef struct texts {
	char **at;
	size_t count, room;
} texts;

static bool texts_add(texts *t, const char *text)
{
	char **at = list_grow(t->at, &t->room, t->count, sizeof *at);
	char *own = strdup(text ? text : "");

	if (at)
		t->at = at;
	if (at && own)
		at[t->count++] = own;
	else
		free(own);
	return at && own;
}

static void texts_empty(texts *t)
{
	while (t->count)
		free(t->at[--t->count]);
}

/* SQLite's own check, which takes as long as all the rest: a thread of its own does it beside that. */
struct file_check {
	pthread_t thread;
	bool threaded;
	pthread_mutex_t lock; /* of `done` */
	pthread_cond_t ended;
	bool done;
	char *path; /* owned */
	bool (*stop)(void);
	texts found;
	int rc;
};

enum { WAIT_MS = 100 }; /* between two looks whether the check is done, or is to end */

static void check_file(file_check *in, store *s)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA integrity_check", -1, &st, NULL);

	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
			const char *text = (const char *)sqlite3_column_text(st, 0);
			if ((!text || strcmp(text, "ok") != 0) && !texts_add(&in->found, text ? text : "?")) {
				rc = SQLITE_NOMEM;
				break;
			}
		}
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	sqlite3_finalize(st);
	in->rc = rc;
}

static void *check_file_main(void *arg)
{
	file_check *in = arg;
	store_result result;
	err e;
	store *own = store_open(in->path, false, &result, &e);

	in->rc = SQLITE_BUSY;
	if (own) {
		store_stop_if(own, in->stop);
		sqlite3_progress_handler(own->db, STORE_STEPS, store_wants_end, own);
		check_file(in, own);
	}
	store_close(own);
	pthread_mutex_lock(&in->lock);
	in->done = true;
	pthread_cond_signal(&in->ended);
	pthread_mutex_unlock(&in->lock);
	return NULL;
}

file_check *file_check_begin(const store *s)
{
	file_check *in = calloc(1, sizeof *in);

	if (!in || !(in->path = strdup(s->path))) {
		free(in);
		return NULL;
	}
	pthread_mutex_init(&in->lock, NULL);
	thread_cond_init(&in->ended);
	in->stop = s->stop;
	in->threaded = thread_start(&in->thread, check_file_main, in) == 0;
	return in;
}

/* False: the check is to end, and SQLite looks at that too seldom to be waited for. */
static bool check_file_wait(file_check *in, store *s, void (*tell)(void *ctx), void *ctx)
{
	bool end = false;

	pthread_mutex_lock(&in->lock);
	while (!in->done && !end) {
		struct timespec until = clock_timespec(clock_mono_ms() + WAIT_MS);
		pthread_cond_timedwait(&in->ended, &in->lock, &until);
		end = !in->done && store_wants_end(s);
		tell(ctx);
	}
	pthread_mutex_unlock(&in->lock);
	return !end;
}

int file_check_end(file_check *in, store *s, void (*tell)(void *ctx), void (*found)(void *ctx, const char *text),
		   void *ctx)
{
	if (!in)
		return SQLITE_NOMEM;
	if (in->threaded && !check_file_wait(in, s, tell, ctx)) {
		pthread_detach(in->thread); /* which goes on using `in` */
		return SQLITE_INTERRUPT;
	}
	if (in->threaded)
		pthread_join(in->thread, NULL);
	if (!in->threaded || in->rc == SQLITE_BUSY)
		check_file(in, s);
	for (size_t i = 0; i < in->found.count; i++)
		found(ctx, in->found.at[i]);
	int rc = in->rc;
	texts_empty(&in->found);
	free(in->found.at);
	pthread_mutex_destroy(&in->lock);
	pthread_cond_destroy(&in->ended);
	free(in->path);
	free(in);
	return rc;
}

/* SPDX-License-Identifier: MIT
 *
 * What journal.c and journal_replay.c share; nobody else includes it. */
#ifndef LEDGER_JOURNAL_IMPL_H
#define LEDGER_JOURNAL_IMPL_H

#include <pthread.h>
#include <sys/types.h>

#include "base/buf.h"
#include "ledger/journal.h"

#define JOURNAL_SUFFIX ".journal"

/* A file on disk. `last` is the position behind its last entry: positions count bytes of entries through all segments,
 * as they were appended, and say nothing about where in a file an entry stands. */
typedef struct segment {
	uint64_t number;
	uint64_t size;
	uint64_t first, last;
	bool old;   /* of a process before this one */
	bool keep;  /* unreadable: left for a person */
	bool dirty; /* written since the last fdatasync */
} segment;

struct journal {
	pthread_mutex_t lock;
	char *dir;
	int dir_fd; /* holds the flock; -1 after the directory went away */
	bool dir_dirty;
	uint64_t segment_bytes, max_bytes;
	uint32_t salt;

	segment *segs; /* oldest first */
	size_t count, cap;
	uint64_t bytes; /* of all of them */
	uint64_t next_number;
	int fd; /* of the last segment, while it is written; else -1 */
	dev_t fd_dev;
	ino_t fd_ino;

	buf pending;      /* whole entries */
	uint64_t flushed; /* the position where `pending` begins */
	uint64_t released;

	journal_stats stats; /* without what is counted above */
	pthread_mutex_t shown_lock;
	journal_stats shown; /* for journal_get_stats(), which waits for no disk */
};

/* Around whatever touches a journal; leaving brings up to date what journal_get_stats() shows. */
void journal_enter(journal *j);
void journal_leave(journal *j);
/* For people; while the journal is entered. */
__attribute__((format(printf, 2, 3))) void journal_set_problem(journal *j, const char *fmt, ...);
/* The caller's to free. NULL: no memory. */
char *journal_segment_path(const journal *j, uint64_t number);

#endif

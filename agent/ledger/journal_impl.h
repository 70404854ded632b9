/* SPDX-License-Identifier: MIT
 *
 * For journal.c and journal_replay.c only. */
#ifndef LEDGER_JOURNAL_IMPL_H
#define LEDGER_JOURNAL_IMPL_H

#include <pthread.h>
#include <sys/types.h>

#include "base/buf.h"
#include "ledger/journal.h"

#define JOURNAL_SUFFIX ".journal"

/* A file on disk, from the position `first` to the position `last`. Positions count bytes across all segments: of a
 * segment that an earlier process wrote all bytes, of one that this process writes only the entries. So a position is
 * no offset in a file. */
typedef struct segment {
	uint64_t number;
	uint64_t size;
	uint64_t first, last;
	bool old;   /* an earlier process wrote it */
	bool keep;  /* it cannot be read, and stays for a person to look at */
	bool dirty; /* written since the last fdatasync */
	bool lost;  /* fdatasync failed, and the file was not written again since */
} segment;

struct journal {
	pthread_mutex_t lock;
	char *dir;
	int dir_fd;     /* holds the flock; -1 after the directory went away */
	bool dir_dirty; /* a segment was made since the last fsync of the directory */
	bool dir_new;   /* the directory was made, and its parent not synced since */
	uint64_t segment_bytes, max_bytes;
	uint32_t salt;

	segment *segs; /* oldest first */
	size_t count, cap;
	uint64_t bytes; /* of all segments */
	uint64_t next_number;
	int fd; /* the last segment's, while this process writes to it; else -1 */
	dev_t fd_dev;
	ino_t fd_ino;

	buf pending;      /* whole entries that wait to be written */
	uint64_t flushed; /* the position where `pending` begins */
	uint64_t released;

	bool unsynced; /* the last sync failed */

	journal_stats stats; /* journal_leave() fills in `segments`, `bytes` and `waiting` */
	pthread_mutex_t shown_lock;
	journal_stats shown; /* a copy for journal_get_stats(), which must not wait for `lock` and so for a disk */
};

/* Lock and unlock a journal. journal_leave() also updates what journal_get_stats() returns. */
void journal_enter(journal *j);
void journal_leave(journal *j);
/* Writes stats.problem. The journal has to be locked. */
__attribute__((format(printf, 2, 3))) void journal_set_problem(journal *j, const char *fmt, ...);
/* Notes, and logs once, that the disk refused a write or a sync. Returns false. */
bool journal_refuse(journal *j, const char *why);
/* Logs that the disk takes the journal again, if it refused it before. */
void journal_recover(journal *j);
/* Is `name` that of a segment's file? Sets `*number`. */
bool journal_is_segment(const char *name, uint64_t *number);
/* Returns the path of a segment's file, for the caller to free. NULL: no memory. */
char *journal_segment_path(const journal *j, uint64_t number);

#endif

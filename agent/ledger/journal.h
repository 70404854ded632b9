/* SPDX-License-Identifier: MIT
 *
 * An append-only log of records on disk, in segments: a record is here before it is anywhere else, and stays until the
 * store has committed it. One process at a time; a kill at any moment leaves a readable journal.
 *
 * Segment: DIR/<16 hex digits>.journal, 0600, never written again by a later process.
 *   header  "SPOALLMJ", version, salt, CRC32 of these (u32 big endian each)
 *   entry   length, CRC32 (begun with the salt, over length and payload), payload (record_codec.h)
 *
 * What cannot be read: an entry that ends beyond the file is torn (its writer was killed) and cut off; damage before
 * that is skipped up to the next entry whose CRC is right, counted once each, and the rest is delivered. The salt keeps
 * bytes inside a record (a model's name) from passing for an entry. A segment whose header is damaged, or of a newer
 * version, is left where it is for a person.
 *
 * Every function may be called from any thread; one that writes or syncs keeps the others waiting, journal_get_stats()
 * excepted. What is odd is logged as well: journal_torn, journal_damaged, journal_failing, journal_recovered. */
#ifndef LEDGER_JOURNAL_H
#define LEDGER_JOURNAL_H

#include "base/err.h"
#include "ledger/record.h"

enum {
	JOURNAL_MEMORY_MAX =
		4 << 20, /* bytes waiting to be written; beyond it the newest records are dropped: ~20,000 */
};

typedef struct journal journal;

/* A place in the journal: everything before it. Holds within one journal_open(); later is greater. */
typedef struct journal_mark {
	uint64_t position;
} journal_mark;

typedef struct journal_stats {
	uint64_t segments, bytes; /* on disk */
	uint64_t waiting;         /* bytes in memory: appended, neither written nor released */
	uint64_t torn, corrupt;   /* places where a replay found a torn end, damage */
	uint64_t failed;          /* flushes and syncs refused by the disk */
	uint64_t dropped;         /* records lost because the disk refused and the memory limit was reached */
	bool failing;             /* the disk refuses now */
	char problem[128];        /* why, or what was last found wrong */
} journal_stats;

/* `dir` is made if it is not there (0700; its parent has to be). `max_bytes`: beyond that appends fail, as on a full
 * disk. A segment takes `segment_bytes`, less where max_bytes has no room for two. NULL: `e` says why; another process
 * that has this journal is one reason, and then it is worth trying again. */
journal *journal_open(const char *dir, uint64_t segment_bytes, uint64_t max_bytes, err *e);
/* Flushes; where everything was released the directory is left empty. */
void journal_close(journal *j);

/* Calls `each` for every whole entry, oldest first, with the mark behind it. `each` returning false stops; it may call
 * journal_release(). To be called before anything is released: a mark stands for everything before it, read or not.
 * False: some segment could not be read (the others were). */
bool journal_replay(journal *j, bool (*each)(void *ctx, const record *r, journal_mark after), void *ctx, err *e);

/* Appends in memory; journal_flush() writes all of it in one write(2) (no fsync: a killed process loses nothing).
 * False: no room, dropped and counted; `*after` is where the journal ended anyway. */
bool journal_append(journal *j, const record *r, journal_mark *after);
/* False: the disk refused; what was not written is kept and tried again with the next flush. */
bool journal_flush(journal *j);
/* fdatasync of what was flushed, for the loss of power. */
bool journal_sync(journal *j);
/* The store has everything before `upto`: segments that are wholly before it are removed, and what waits in memory
 * before it need not be written any more. */
void journal_release(journal *j, journal_mark upto);
journal_stats journal_get_stats(journal *j);

#endif

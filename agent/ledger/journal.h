/* SPDX-License-Identifier: MIT
 *
 * An append-only log of records, and of the tap's reports, on disk, in files called segments. Each is written here
 * first, as an entry, and stays until the store has it on the disk. One process at a time has a journal; a kill at any
 * moment leaves it readable.
 *
 * Segment: DIR/<16 hex digits>.journal, mode 0600; a later process does not write to it again.
 *   header  "SPOALLMJ", version, salt, CRC32 of these (each a big-endian u32)
 *   entry   length, CRC32 (begun with the salt, over length and payload), payload (record_codec.h, tap_report.h)
 *
 * An entry that the end of the file cuts is torn, because its writer was killed: it is cut off. Damage before the end
 * is skipped up to the next entry with a right CRC, and counted once. The salt keeps bytes inside a record (a model's
 * name) from passing for an entry. A segment with a damaged header or of a newer version stays where it is, unread, for
 * a person to look at.
 *
 * Every function may be called from any thread. While one of them writes, all others but journal_get_stats() wait.
 * While journal_sync() waits for the disk, none of the others waits.
 * The journal also logs what goes wrong: see journal_* in base/log_events.h. */
#ifndef LEDGER_JOURNAL_H
#define LEDGER_JOURNAL_H

#include "base/err.h"
#include "base/must_check.h"
#include "ledger/tap_report.h"

enum {
	/* Bytes in memory that wait to be written, about 20,000 records; beyond it the newest entries are dropped. */
	JOURNAL_MEMORY_MAX = 4 << 20,
};

typedef struct journal journal;

/* A place in the journal; it stands for everything before it. Valid until journal_close(); later places are greater. */
typedef struct journal_mark {
	uint64_t position;
} journal_mark;

typedef struct journal_stats {
	uint64_t segments, bytes; /* on disk */
	uint64_t waiting;         /* bytes in memory: appended, and neither written nor released yet */
	uint64_t torn, corrupt;   /* torn ends, and stretches of damage, that a replay found */
	uint64_t failed;          /* flushes and syncs that the disk refused */
	uint64_t dropped;         /* entries lost because the disk refused and the memory was full */
	bool failing;             /* the disk refused the last write */
	char problem[128];        /* the last thing that went wrong; "": nothing */
} journal_stats;

/* Opens the journal in `dir`, and makes the directory (0700) if it is not there; its parent has to be. The journal
 * takes at most `max_bytes` on disk; beyond that it fails as on a full disk. A segment takes `segment_bytes`, or less
 * where `max_bytes` has no room for two. NULL: `e` says why; it is of the kind ERR_BUSY if another process has
 * the journal. */
MUST_CHECK journal *journal_open(const char *dir, uint64_t segment_bytes, uint64_t max_bytes, err *e);
/* Flushes, and removes what was released: the directory may then be empty. NULL: does nothing. */
void journal_close(journal *j);

/* Is given each entry of a journal, with the mark after it: `r` or `report`; the other one is NULL. Returns whether to
 * go on. */
typedef bool (*journal_each)(void *ctx, const record *r, const tap_report *report, journal_mark after);

/* Calls `each` for every whole entry, oldest first, also for those that were appended and not written yet; `each` may
 * call journal_release(). Replay before you release anything: a mark stands for everything before it, read or not.
 * False: a segment could not be read, `e` says why; the others were read. If `e` is of the kind ERR_MEMORY, nothing
 * was read. */
MUST_CHECK bool journal_replay(journal *j, journal_each each, void *ctx, err *e);

/* Append `r` in memory, and set `*after` to the end of the journal, on failure too. False: there is no room; the entry
 * is dropped and counted. */
bool journal_append(journal *j, const record *r, journal_mark *after);
bool journal_append_report(journal *j, const tap_report *r, journal_mark *after);
/* Writes what was appended. Without fsync: what was written survives the end of this process, but no loss of power.
 * False: the disk refused; the next flush tries again. */
bool journal_flush(journal *j);
/* Brings what was flushed and not released to the disk by fdatasync(2), with the directory. False: the disk refused;
 * the next sync tries again. */
bool journal_sync(journal *j);
/* Tells the journal that the store has everything before `upto` on the disk. Segments that end before it are removed,
 * and what is only in memory is not written any more. */
void journal_release(journal *j, journal_mark upto);
journal_stats journal_get_stats(journal *j);

/* A journal that another process may have open, as it is on the disk now. */
typedef struct journal_view journal_view;

/* Opens the segments in `dir`; a later removal takes nothing from the view. An absent directory has none. NULL: `e`
 * says why. */
MUST_CHECK journal_view *journal_view_open(const char *dir, err *e);
void journal_view_close(journal_view *v);
/* Calls `each` for every whole entry, oldest first; `after` tells nothing. Damage is passed over. False: a segment
 * could not be read. */
MUST_CHECK bool journal_view_read(const journal_view *v, journal_each each, void *ctx, err *e);

#endif

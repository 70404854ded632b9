/* SPDX-License-Identifier: MIT
 *
 * Reading a journal back: delivers whole entries, cuts off torn ones, and skips damage. Entries in memory, which are
 * not written yet, come last. */
#include "ledger/journal_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "ledger/journal_entry.h"

/* NULL: the segment was released meanwhile. */
static segment *find_segment(journal *j, uint64_t number)
{
	for (size_t i = 0; i < j->count; i++)
		if (j->segs[i].number == number)
			return &j->segs[i];
	return NULL;
}

static void note_torn(journal *j, const segment *seg, const char *path, uint64_t at, uint64_t len)
{
	journal_enter(j);
	segment *s = find_segment(j, seg->number);
	j->stats.torn++;
	journal_set_problem(j, "%016llx%s: torn entry at byte %llu, %llu bytes cut off",
			    (unsigned long long)seg->number, JOURNAL_SUFFIX, (unsigned long long)at,
			    (unsigned long long)len);
	/* A segment that has grown meanwhile is being written by this process: nothing in it is torn. */
	if (s && s->size == seg->size && truncate(path, (off_t)at) == 0) {
		j->bytes -= s->size - at;
		s->size = at;
	}
	journal_leave(j);
	log_event(journal_torn, LOG_C("file", path), LOG_I("at", at), LOG_I("bytes", len));
}

static void note_damage(journal *j, const segment *seg, const char *path, const char *what, uint64_t at, uint64_t len,
			bool keep)
{
	journal_enter(j);
	segment *s = find_segment(j, seg->number);
	j->stats.corrupt++;
	journal_set_problem(j, "%016llx%s: %s (%llu bytes from byte %llu on)", (unsigned long long)seg->number,
			    JOURNAL_SUFFIX, what, (unsigned long long)len, (unsigned long long)at);
	if (s && keep)
		s->keep = true;
	journal_leave(j);
	log_event(journal_damaged, LOG_C("file", path), LOG_C("problem", what), LOG_I("at", at), LOG_I("bytes", len));
}

typedef enum replayed { REPLAYED, REPLAY_STOPPED, REPLAY_FAILED } replayed;

/* Sets `*delivered` to the position after the last entry that `each` was given. REPLAY_FAILED: errno says why. */
static replayed replay_segment(journal *j, const segment *seg, const char *path, scan *s, uint64_t *delivered,
			       journal_each each, void *ctx)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	replayed result = REPLAYED;
	bool done = false;

	if (fd < 0)
		return errno == ENOENT ? REPLAYED : REPLAY_FAILED;
	scan_begin(s, fd, seg->size);
	while (!done) {
		switch (scan_next(s)) {
		case SCAN_ENTRY:
			*delivered = seg->first + s->next;
			if (!each(ctx, s->record, s->report, (journal_mark){ *delivered })) {
				result = REPLAY_STOPPED;
				done = true;
			}
			break;
		case SCAN_DAMAGED:
			note_damage(j, seg, path, "damage was skipped", s->at, s->len, false);
			break;
		case SCAN_TORN:
			note_torn(j, seg, path, s->at, s->len);
			break;
		case SCAN_HEADER:
			note_damage(j, seg, path, "the header is damaged; the file is kept", s->at, s->len, true);
			break;
		case SCAN_NEWER:
			note_damage(j, seg, path, "a newer version wrote this; the file is kept", s->at, s->len, true);
			break;
		case SCAN_FAILED:
			result = REPLAY_FAILED;
			done = true;
			break;
		case SCAN_END:
			done = true;
			break;
		}
	}
	int why = errno;
	close(fd);
	errno = why;
	return result;
}

/* Calls `each` for the entries in `pending`, which begins at the position `from`. */
static void replay_memory(slice pending, uint64_t from, scan *s, journal_each each, void *ctx)
{
	for (size_t at = 0; at < pending.len;) {
		const unsigned char *entry = (const unsigned char *)pending.ptr + at;
		at += entry_size(entry);
		if (scan_memory(s, entry) && !each(ctx, s->record, s->report, (journal_mark){ from + at }))
			return;
	}
}

bool journal_replay(journal *j, journal_each each, void *ctx, err *e)
{
	scan *s = malloc(sizeof *s);
	segment *segs = NULL;
	size_t count = 0;
	uint64_t delivered = 0;
	bool ok = true, stopped = false;

	journal_enter(j);
	const size_t held = buf_len(&j->pending);
	const uint64_t flushed = j->flushed;
	char *pending = malloc(held ? held : 1);
	if (pending && held)
		memcpy(pending, j->pending.data + j->pending.start, held);
	if (s && j->count && (segs = malloc(j->count * sizeof *segs))) {
		count = j->count;
		memcpy(segs, j->segs, count * sizeof *segs);
		/* Make `first` such that first + an offset in the file is the position there. In a segment of an
		 * earlier process it is that already, and `last` may lie before the file's end. In one of this process
		 * positions count no header, so count back from `last`, which is at the file's end; in the first
		 * segment that wraps around below 0, by the header's bytes. */
		for (size_t i = 0; i < count; i++)
			if (!segs[i].old)
				segs[i].first = segs[i].last - segs[i].size;
	}
	bool enough = s && pending && (segs || !j->count);
	journal_leave(j);
	if (!enough) {
		ok = err_set_kind(e, ERR_MEMORY, "journal %s: out of memory", j->dir);
		goto out;
	}
	for (size_t i = 0; i < count && !stopped; i++) {
		char *path = journal_segment_path(j, segs[i].number);
		errno = ENOMEM;
		replayed result = path ? replay_segment(j, &segs[i], path, s, &delivered, each, ctx) : REPLAY_FAILED;
		if (result == REPLAY_FAILED)
			ok = err_set(e, "journal %s: %s", path ? path : j->dir, strerror(errno));
		journal_enter(j);
		segment *seg = find_segment(j, segs[i].number);
		if (result == REPLAY_FAILED) {
			journal_set_problem(j, "%s", e->text);
			if (seg)
				seg->keep = true;
		}
		/* No entry follows the last good one: let the segment end there, so that releasing that entry removes
		 * the segment. */
		if (result == REPLAYED && seg && seg->old)
			seg->last = delivered;
		journal_leave(j);
		free(path);
		stopped = result == REPLAY_STOPPED;
	}
	if (!stopped)
		replay_memory(slice_of(pending, held), flushed, s, each, ctx);
out:
	free(pending);
	free(segs);
	free(s);
	return ok;
}

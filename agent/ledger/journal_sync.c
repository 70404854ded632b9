/* SPDX-License-Identifier: MIT
 *
 * Syncs the journal. The lock is not held while the disk works, because that may take long, and the lines that come
 * have to be in the journal before the queue of datagrams is full. */
#include "ledger/journal_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Returns the first segment from number `from` on, and before `end`, that has to be synced. NULL: none. */
static segment *next_dirty(const journal *j, uint64_t from, uint64_t end)
{
	for (size_t i = 0; i < j->count; i++) {
		segment *s = &j->segs[i];
		/* What the store has on the disk does not need to be on it twice. */
		if (s->number >= from && s->number < end && s->dirty && s->last > j->released)
			return s;
	}
	return NULL;
}

/* Marks the segment `number` as not synced, and as lost, if it is still there. */
static void mark_lost(journal *j, uint64_t number)
{
	for (size_t i = 0; i < j->count; i++)
		if (j->segs[i].number == number)
			j->segs[i].dirty = j->segs[i].lost = true;
}

/* Opens the file of `s`; if it is the one that is being written, duplicates its descriptor, so that the file stays open
 * without the lock. -1: errno says why. */
static int segment_fd(const journal *j, const segment *s)
{
	if (!s->lost && j->fd >= 0 && s == &j->segs[j->count - 1])
		return fcntl(j->fd, F_DUPFD_CLOEXEC, 0);
	char *path = journal_segment_path(j, s->number);
	int fd = -1;

	errno = ENOMEM;
	if (path)
		fd = open(path, (s->lost ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC);
	int why = errno;
	free(path);
	errno = why;
	return fd;
}

/* Writes the first `size` bytes of a file once more, as they are. After an fdatasync(2) that failed, the kernel takes
 * them for written, and the next one would succeed without them. Returns 0, or errno. */
static int write_again(int fd, uint64_t size)
{
	enum { ROOM = 65536 };
	char *room = malloc(ROOM);
	int why = room ? 0 : ENOMEM;

	for (uint64_t at = 0; !why && at < size;) {
		size_t want = size - at < ROOM ? (size_t)(size - at) : ROOM;
		ssize_t n = pread(fd, room, want, (off_t)at);
		if (n > 0)
			n = pwrite(fd, room, (size_t)n, (off_t)at);
		if (n == 0)
			break;
		if (n < 0)
			why = errno == EINTR ? 0 : errno;
		else
			at += (uint64_t)n;
	}
	free(room);
	return why;
}

static bool refuse_sync(journal *j, const char *what, int why)
{
	char text[128];

	snprintf(text, sizeof text, "%s: %s", what, strerror(why));
	return journal_refuse(j, text);
}

/* Syncs the file of `s`. Gives up the lock meanwhile, so that `s` may not be used afterwards: the array may have moved.
 */
static bool sync_segment(journal *j, segment *s)
{
	const uint64_t number = s->number, size = s->lost ? s->size : 0;
	int fd = segment_fd(j, s), why = fd < 0 ? errno : 0;

	if (fd < 0 && why == ENOENT) {
		s->dirty = false;
		return true;
	}
	if (fd >= 0) {
		/* What is written from now on makes it dirty again. */
		s->dirty = s->lost = false;
		journal_leave(j);
		why = write_again(fd, size);
		if (!why && fdatasync(fd) != 0)
			why = errno;
		close(fd);
		journal_enter(j);
	}
	if (!why)
		return true;
	mark_lost(j, number);
	return refuse_sync(j, "fdatasync", why);
}

/* Syncs the directory above that of `dir_fd`. Returns 0, or errno. */
static int sync_parent(int dir_fd)
{
	int fd = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int why = fd >= 0 && fsync(fd) == 0 ? 0 : errno;

	if (fd >= 0)
		close(fd);
	return why;
}

/* Syncs the directory, and the one above it if the journal made the directory. Gives up the lock meanwhile. */
static bool sync_dir(journal *j)
{
	bool dirty = j->dir_dirty, is_new = j->dir_new;

	if (j->dir_fd < 0 || (!dirty && !is_new))
		return true;
	int fd = fcntl(j->dir_fd, F_DUPFD_CLOEXEC, 0), why = fd < 0 ? errno : 0, why_above = why;
	if (fd >= 0) {
		j->dir_dirty = j->dir_new = false;
		journal_leave(j);
		why = dirty && fsync(fd) != 0 ? errno : 0;
		why_above = is_new && !why ? sync_parent(fd) : why;
		close(fd);
		journal_enter(j);
	}
	if (why)
		refuse_sync(j, "fsync of the directory", why);
	else if (why_above)
		refuse_sync(j, "fsync of the directory above", why_above);
	j->dir_dirty |= dirty && why;
	j->dir_new |= is_new && why_above;
	return !why && !why_above;
}

bool journal_sync(journal *j)
{
	bool ok = true;
	uint64_t from = 0;

	journal_enter(j);
	const uint64_t end = j->next_number;
	for (segment *s; (s = next_dirty(j, from, end));) {
		from = s->number + 1;
		ok = sync_segment(j, s) && ok;
	}
	ok = ok && sync_dir(j);
	if (ok && j->unsynced && !buf_len(&j->pending))
		journal_recover(j);
	j->unsynced = !ok;
	journal_leave(j);
	return ok;
}

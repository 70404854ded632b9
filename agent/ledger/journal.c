/* SPDX-License-Identifier: MIT */
#include "ledger/journal_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "ledger/journal_entry.h"

enum {
	BUF_KEEP = 256 << 10, /* bytes of the memory buffer that stay allocated */
	NAME_DIGITS = 16,
	SEGMENT_TRIES = 16, /* how many numbers to try while there are files of these names */
};

void journal_enter(journal *j)
{
	pthread_mutex_lock(&j->lock);
}

void journal_leave(journal *j)
{
	j->stats.segments = j->count;
	j->stats.bytes = j->bytes;
	j->stats.waiting = buf_len(&j->pending);
	pthread_mutex_lock(&j->shown_lock);
	j->shown = j->stats;
	pthread_mutex_unlock(&j->shown_lock);
	pthread_mutex_unlock(&j->lock);
}

journal_stats journal_get_stats(journal *j)
{
	pthread_mutex_lock(&j->shown_lock);
	journal_stats stats = j->shown;
	pthread_mutex_unlock(&j->shown_lock);
	return stats;
}

void journal_set_problem(journal *j, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(j->stats.problem, sizeof j->stats.problem, fmt, args);
	va_end(args);
}

char *journal_segment_path(const journal *j, uint64_t number)
{
	char *path;
	return asprintf(&path, "%s/%016llx%s", j->dir, (unsigned long long)number, JOURNAL_SUFFIX) < 0 ? NULL : path;
}

/* ---- opening */

/* Opens the directory, makes it if it is not there, and locks it. False: errno says why; EWOULDBLOCK: another process
 * has it. */
static bool take_dir(journal *j)
{
	if (mkdir(j->dir, 0700) == 0)
		j->dir_new = true;
	else if (errno != EEXIST)
		return false;
	int fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int why = errno;
		close(fd);
		errno = why;
		return false;
	}
	j->dir_fd = fd;
	return true;
}

bool journal_is_segment(const char *name, uint64_t *number)
{
	*number = 0;
	if (strlen(name) != NAME_DIGITS + sizeof JOURNAL_SUFFIX - 1 || strcmp(name + NAME_DIGITS, JOURNAL_SUFFIX) != 0)
		return false;
	for (size_t i = 0; i < NAME_DIGITS; i++) {
		char c = name[i];
		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
		*number = *number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return true;
}

static segment *add_segment(journal *j, uint64_t number)
{
	if (j->count == j->cap) {
		size_t cap = j->cap ? j->cap * 2 : 16;
		segment *segs = realloc(j->segs, cap * sizeof *segs);
		if (!segs)
			return NULL;
		j->segs = segs;
		j->cap = cap;
	}
	segment *s = &j->segs[j->count++];
	*s = (segment){ .number = number };
	return s;
}

static void drop_segment(journal *j, size_t i)
{
	j->bytes -= j->segs[i].size;
	memmove(&j->segs[i], &j->segs[i + 1], (j->count - i - 1) * sizeof *j->segs);
	j->count--;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = ((const segment *)a)->number, y = ((const segment *)b)->number;
	return (x > y) - (x < y);
}

static bool list_segments(journal *j, err *e)
{
	DIR *dir = opendir(j->dir);
	bool ok = false;

	if (!dir)
		return err_set(e, "journal %s: %s", j->dir, strerror(errno));
	for (;;) {
		uint64_t number;
		struct stat st;
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (!entry)
			break;
		if (!journal_is_segment(entry->d_name, &number))
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
			continue;
		segment *s = add_segment(j, number);
		if (!s) {
			err_set_kind(e, ERR_MEMORY, "journal %s: out of memory", j->dir);
			goto out;
		}
		s->size = (uint64_t)st.st_size;
		s->old = true;
		s->dirty = true;
	}
	if (errno) {
		err_set(e, "journal %s: %s", j->dir, strerror(errno));
		goto out;
	}
	if (j->count)
		qsort(j->segs, j->count, sizeof *j->segs, by_number);
	for (size_t i = 0; i < j->count; i++) {
		segment *s = &j->segs[i];
		s->first = j->flushed;
		s->last = j->flushed += s->size;
		j->bytes += s->size;
		j->next_number = s->number + 1;
	}
	ok = true;
out:
	closedir(dir);
	return ok;
}

journal *journal_open(const char *dir, uint64_t segment_bytes, uint64_t max_bytes, err *e)
{
	journal *j = calloc(1, sizeof *j);

	if (!j || !(j->dir = strdup(dir))) {
		free(j);
		err_set_kind(e, ERR_MEMORY, "journal %s: out of memory", dir);
		return NULL;
	}
	pthread_mutex_init(&j->lock, NULL);
	pthread_mutex_init(&j->shown_lock, NULL);
	j->dir_fd = j->fd = -1;
	j->next_number = 1;
	/* `max_bytes` needs room for two segments, because the one that is written is only released when it is full;
	 * and a segment needs room for an entry. */
	const uint64_t least = SEGMENT_HEADER + ENTRY_MAX;
	j->max_bytes = max_bytes < 2 * least ? 2 * least : max_bytes;
	j->segment_bytes = segment_bytes < j->max_bytes / 2 ? segment_bytes : j->max_bytes / 2;
	if (j->segment_bytes < least)
		j->segment_bytes = least;
	buf_init(&j->pending, JOURNAL_MEMORY_MAX);
	if (getrandom(&j->salt, sizeof j->salt, GRND_NONBLOCK) != sizeof j->salt)
		j->salt = (uint32_t)clock_wall_ms() ^ (uint32_t)getpid() << 16;

	if (!take_dir(j)) {
		if (errno == EWOULDBLOCK)
			err_set_kind(e, ERR_BUSY, "journal %s: another process has it; is another agent running?", dir);
		else
			err_set(e, "journal %s: %s; this user has to be able to write to the directory, or to make it",
				dir, strerror(errno));
		goto fail;
	}
	if (!list_segments(j, e))
		goto fail;
	journal_enter(j);
	journal_leave(j);
	return j;
fail:
	buf_deinit(&j->pending);
	if (j->dir_fd >= 0)
		close(j->dir_fd);
	free(j->segs);
	free(j->dir);
	free(j);
	return NULL;
}

/* ---- writing */

/* Returns the segment that this process writes to. NULL: the next flush begins one. */
static segment *open_segment(const journal *j)
{
	return j->fd >= 0 && j->count ? &j->segs[j->count - 1] : NULL;
}

/* Stops writing to the open segment, and removes its file if it is empty. The next flush begins a new one. */
static void end_segment(journal *j)
{
	const segment *s = open_segment(j);

	if (!s)
		return;
	close(j->fd);
	j->fd = -1;
	if (s->size == 0) {
		char *path = journal_segment_path(j, s->number);
		if (path)
			unlink(path);
		free(path);
		drop_segment(j, j->count - 1);
	}
}

/* Forgets the open segment if somebody has removed its file or the directory, because a removed file is lost when this
 * process ends. */
static void check_segment(journal *j)
{
	uint64_t number = j->segs[j->count - 1].number;
	char *path = journal_segment_path(j, number);
	struct stat st;
	bool gone = path && (stat(path, &st) == 0 ? st.st_dev != j->fd_dev || st.st_ino != j->fd_ino :
						    errno == ENOENT || errno == ENOTDIR);

	free(path);
	if (!gone)
		return;
	log_event(journal_segment_gone, LOG_C("dir", j->dir), LOG_I("segment", number));
	close(j->fd);
	j->fd = -1;
	drop_segment(j, j->count - 1);
}

/* Makes sure that `dir_fd` is the directory at the path; somebody may have removed or replaced it. False: errno says
 * why there is none. */
static bool have_dir(journal *j)
{
	struct stat ours, there;

	if (j->dir_fd >= 0) {
		if (fstat(j->dir_fd, &ours) == 0 && stat(j->dir, &there) == 0 && ours.st_dev == there.st_dev &&
		    ours.st_ino == there.st_ino)
			return true;
		close(j->dir_fd);
		j->dir_fd = -1;
	}
	return take_dir(j);
}

/* Makes the file of the next segment. False: errno says why there is none. */
static bool begin_segment(journal *j)
{
	struct stat st;
	segment *s = NULL;

	if (!have_dir(j))
		return false;
	for (int tries = 0; j->fd < 0 && tries < SEGMENT_TRIES; tries++) {
		char *path = journal_segment_path(j, j->next_number);
		if (!path)
			return false;
		j->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		int why = errno;
		free(path);
		if (j->fd < 0 && why != EEXIST) {
			errno = why;
			return false;
		}
		j->next_number++;
	}
	if (j->fd < 0)
		return false;
	if (fstat(j->fd, &st) == 0)
		s = add_segment(j, j->next_number - 1);
	if (!s) {
		close(j->fd);
		j->fd = -1;
		errno = ENOMEM;
		return false;
	}
	s->first = s->last = j->flushed;
	j->fd_dev = st.st_dev;
	j->fd_ino = st.st_ino;
	j->dir_dirty = true;
	return true;
}

/* Returns how many bytes of `pending` are whole entries that fit into `room`. */
static size_t entries_within(const journal *j, uint64_t room)
{
	const unsigned char *at = j->pending.data + j->pending.start;
	size_t held = buf_len(&j->pending), len = 0;

	while (len < held) {
		size_t entry = entry_size(at + len);
		if (entry > room - len)
			break;
		len += entry;
	}
	return len;
}

/* Writes `len` bytes of whole entries at the end of the last segment. What a refused write left of an entry is cut off;
 * if the disk refuses that too, the next write overwrites it or the next process finds it torn. False: see errno. */
static bool write_entries(journal *j, size_t len)
{
	segment *s = &j->segs[j->count - 1];
	unsigned char header[SEGMENT_HEADER];
	size_t head = s->size ? 0 : sizeof header;

	segment_header(header, j->salt);
	while (len) {
		struct iovec iov[2] = { { header, head }, { j->pending.data + j->pending.start, len } };
		ssize_t n = pwritev(j->fd, iov, 2, (off_t)s->size);
		int why = n < 0 ? errno : ENOSPC;
		if (n < 0 && why == EINTR)
			continue;
		size_t good = n > 0 && (size_t)n > head ? entries_within(j, (size_t)n - head) : 0;
		if (good) {
			j->bytes += head + good;
			s->size += head + good;
			s->last = j->flushed += good;
			s->dirty = true;
			buf_consume(&j->pending, good, BUF_KEEP);
			len -= good;
			head = 0;
		} else {
			int cut = ftruncate(j->fd, (off_t)s->size);
			(void)cut; /* see above */
			errno = why;
			return false;
		}
	}
	return true;
}

bool journal_refuse(journal *j, const char *why)
{
	j->stats.failed++;
	journal_set_problem(j, "%s", why);
	if (!j->stats.failing)
		log_event(journal_failing, LOG_C("dir", j->dir), LOG_C("problem", why),
			  LOG_I("waiting", buf_len(&j->pending)));
	j->stats.failing = true;
	return false;
}

void journal_recover(journal *j)
{
	if (!j->stats.failing)
		return;
	log_event(journal_recovered, LOG_C("dir", j->dir), LOG_C("problem", j->stats.problem),
		  LOG_I("dropped", j->stats.dropped));
	j->stats.failing = false;
	j->stats.problem[0] = '\0';
}

static bool flush(journal *j)
{
	bool wrote = false;

	if (buf_len(&j->pending) && j->fd >= 0)
		check_segment(j);
	while (buf_len(&j->pending)) {
		const segment *last = open_segment(j);
		uint64_t size = last && last->size ? last->size : SEGMENT_HEADER;
		uint64_t head = last && last->size ? 0 : SEGMENT_HEADER;
		size_t first = entry_size(j->pending.data + j->pending.start);
		if (size >= j->segment_bytes || first > j->segment_bytes - size) {
			end_segment(j);
			continue;
		}
		if (j->bytes > j->max_bytes || head + first > j->max_bytes - j->bytes)
			return journal_refuse(j, "the journal has reached its size limit");
		uint64_t room = j->max_bytes - j->bytes - head;
		if (room > j->segment_bytes - size)
			room = j->segment_bytes - size;
		if (!last && !begin_segment(j))
			return journal_refuse(j, strerror(errno));
		if (!write_entries(j, entries_within(j, room))) {
			int why = errno;
			/* If the write failed for another reason than lack of room, a new file may help. */
			if ((why != ENOSPC && why != EDQUOT && why != EFBIG) || j->segs[j->count - 1].size == 0)
				end_segment(j);
			return journal_refuse(j, strerror(why));
		}
		wrote = true;
	}
	/* A flush that had nothing to write says nothing about the disk. */
	if (wrote && !j->unsynced)
		journal_recover(j);
	return true;
}

static bool append(journal *j, const unsigned char *entry, size_t len, journal_mark *after)
{
	pthread_mutex_lock(&j->lock);
	bool ok = buf_append(&j->pending, entry, len);
	/* If the memory is full and the disk has not failed, the caller has appended much without a flush. */
	if (!ok && !j->stats.failing && flush(j))
		ok = buf_append(&j->pending, entry, len);
	after->position = j->flushed + buf_len(&j->pending);
	if (ok) {
		/* journal_get_stats() knows of the entry after the next flush: journal_leave() would tell it now, and
		 * take a second lock for each entry. */
		pthread_mutex_unlock(&j->lock);
		return true;
	}
	j->stats.dropped++;
	journal_leave(j);
	return false;
}

bool journal_append(journal *j, const record *r, journal_mark *after)
{
	unsigned char entry[ENTRY_MAX];
	return append(j, entry, entry_encode(r, j->salt, entry), after);
}

bool journal_append_report(journal *j, const tap_report *r, journal_mark *after)
{
	unsigned char entry[ENTRY_MAX];
	return append(j, entry, entry_encode_report(r, j->salt, entry), after);
}

bool journal_flush(journal *j)
{
	journal_enter(j);
	bool ok = flush(j);
	journal_leave(j);
	return ok;
}

/* ---- releasing */

static bool remove_segment(journal *j, size_t i)
{
	char *path = journal_segment_path(j, j->segs[i].number);
	bool gone = path && (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR);

	if (!gone)
		journal_set_problem(j, "a segment that is not needed any more cannot be removed: %s", strerror(errno));
	free(path);
	if (gone)
		drop_segment(j, i);
	return gone;
}

static void remove_released(journal *j, bool active_too)
{
	for (size_t i = 0; i < j->count;) {
		segment *s = &j->segs[i];
		bool active = j->fd >= 0 && i == j->count - 1;
		if (s->keep || s->last > j->released || (active && !active_too)) {
			i++;
			continue;
		}
		if (active) {
			close(j->fd);
			j->fd = -1;
		}
		if (!remove_segment(j, i))
			i++;
	}
}

void journal_release(journal *j, journal_mark upto)
{
	journal_enter(j);
	uint64_t end = j->flushed + buf_len(&j->pending);
	if (upto.position > end)
		upto.position = end;
	if (upto.position > j->released)
		j->released = upto.position;
	if (upto.position > j->flushed) {
		/* A mark is the end of an entry, so whole entries stay. */
		buf_consume(&j->pending, (size_t)(upto.position - j->flushed), BUF_KEEP);
		j->flushed = upto.position;
	}
	/* The segment that is being written stays until it is half full, unless the journal fails: then its room is
	 * needed. */
	const segment *last = open_segment(j);
	bool full = last && last->size > j->segment_bytes / 2;
	remove_released(j, full || j->stats.failing);
	journal_leave(j);
}

void journal_close(journal *j)
{
	if (!j)
		return;
	journal_enter(j);
	if (!flush(j))
		log_event(journal_closed_unwritten, LOG_C("dir", j->dir), LOG_C("problem", j->stats.problem),
			  LOG_I("bytes", buf_len(&j->pending)));
	remove_released(j, true);
	end_segment(j);
	journal_leave(j);
	if (j->dir_fd >= 0)
		close(j->dir_fd);
	buf_deinit(&j->pending);
	pthread_mutex_destroy(&j->lock);
	pthread_mutex_destroy(&j->shown_lock);
	free(j->segs);
	free(j->dir);
	free(j);
}

/* SPDX-License-Identifier: MIT
 *
 * Reads the journal of another process, for a backup. */
#include "ledger/journal_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "ledger/journal_entry.h"

typedef struct viewed {
	uint64_t number;
	int fd;
} viewed;

struct journal_view {
	char *dir;
	viewed *segments; /* oldest first */
	size_t count, room;
};

static int by_number(const void *a, const void *b)
{
	uint64_t x = ((const viewed *)a)->number, y = ((const viewed *)b)->number;
	return (x > y) - (x < y);
}

static bool add(journal_view *v, int dir_fd, const char *name, uint64_t number, err *e)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0) /* a segment that was removed meanwhile is in the database */
		return errno == ENOENT || err_set(e, "journal %s/%s: %s", v->dir, name, strerror(errno));
	viewed *segments = list_grow(v->segments, &v->room, v->count, sizeof *segments);
	if (!segments) {
		close(fd);
		return err_memory(e);
	}
	v->segments = segments;
	segments[v->count++] = (viewed){ number, fd };
	return true;
}

journal_view *journal_view_open(const char *dir, err *e)
{
	journal_view *v = calloc(1, sizeof *v);
	DIR *listed = opendir(dir);
	bool ok = v && (v->dir = strdup(dir));

	if (!ok)
		err_memory(e);
	else if (!listed && errno != ENOENT)
		ok = err_set(e, "journal %s: %s", dir, strerror(errno));
	for (const struct dirent *entry; ok && listed && (entry = readdir(listed));) {
		uint64_t number;
		if (journal_is_segment(entry->d_name, &number))
			ok = add(v, dirfd(listed), entry->d_name, number, e);
	}
	if (listed)
		closedir(listed);
	if (!ok) {
		journal_view_close(v);
		return NULL;
	}
	if (v->count)
		qsort(v->segments, v->count, sizeof *v->segments, by_number);
	return v;
}

void journal_view_close(journal_view *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->count; i++)
		close(v->segments[i].fd);
	free(v->segments);
	free(v->dir);
	free(v);
}

bool journal_view_read(const journal_view *v, journal_each each, void *ctx, err *e)
{
	scan *s = malloc(sizeof *s);
	bool ok = s || err_memory(e), more = true;

	for (size_t i = 0; ok && more && i < v->count; i++) {
		struct stat st;
		scan_event event = SCAN_FAILED;
		if (fstat(v->segments[i].fd, &st) == 0) {
			scan_begin(s, v->segments[i].fd, (uint64_t)st.st_size);
			do {
				event = scan_next(s);
				more = event != SCAN_ENTRY ||
				       each(ctx, s->record, s->report, (journal_mark){ s->next });
			} while (more && event != SCAN_END && event != SCAN_FAILED);
		}
		if (event == SCAN_FAILED)
			ok = err_set(e, "journal %s: %s", v->dir, strerror(errno));
	}
	free(s);
	return ok;
}

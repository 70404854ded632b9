/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: a disk for the directory $POWERCUT whose power can be cut. A sync does not reach the real disk.
 * Instead:
 *
 *   fsync() or fdatasync() of a file       copies the file, as it is now, to $POWERCUT.synced/data-INODE
 *   fsync() or fdatasync() of a directory  writes its names to $POWERCUT.synced/names-INODE, one a line: inode, name
 *
 * If $POWERCUT.synced/refuse is there, the next sync of a file whose path ends as it says fails with EIO, and takes it
 * away. Linux takes the pages of that sync for written afterwards, although they are not: a later sync does not bring
 * them to the disk, unless they were written again.
 *
 * So these files have what a cut of power leaves for certain, whatever was written, truncated, made, renamed or removed
 * since: tests/rig/powercut.py rebuilds the directory from them. A hard link, $POWERCUT.synced/held-INODE, keeps the
 * inode of a file whose contents were synced from being used again. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *top; /* NULL: every sync only succeeds */

__attribute__((constructor)) static void begin(void)
{
	top = getenv("POWERCUT");
}

static void must(int ok)
{
	if (!ok)
		abort();
}

/* ---- syncs that were refused */

enum { PAGE = 4096, PAGES = 8192, LOST = 4 };

/* Which pages of a file a refused sync left behind. */
static struct lost {
	ino_t inode; /* 0: none */
	bool page[PAGES];
} lost[LOST];
static pthread_mutex_t lost_lock = PTHREAD_MUTEX_INITIALIZER;

/* `lost_lock` has to be held. NULL: no sync of this file was refused. */
static struct lost *lost_of(ino_t inode)
{
	for (size_t i = 0; i < LOST; i++)
		if (lost[i].inode == inode)
			return &lost[i];
	return NULL;
}

/* Says which bytes of a file are written again. */
static void written(int fd, off_t at, ssize_t len)
{
	struct stat st;
	int why = errno;

	pthread_mutex_lock(&lost_lock);
	if (len > 0 && (lost[0].inode || lost[1].inode) && fstat(fd, &st) == 0) {
		struct lost *l = lost_of(st.st_ino);
		for (off_t page = at / PAGE; l && page < PAGES && page * PAGE < at + len; page++)
			l->page[page] = false;
	}
	pthread_mutex_unlock(&lost_lock);
	errno = why;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	ssize_t (*next)(int, const void *, size_t, off_t);

	*(void **)&next = dlsym(RTLD_NEXT, "pwrite");
	ssize_t n = next(fd, data, len, at);

	written(fd, at, n);
	return n;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
	return pwrite(fd, data, len, at);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	ssize_t (*next)(int, const struct iovec *, int, off_t);

	*(void **)&next = dlsym(RTLD_NEXT, "pwritev");
	ssize_t n = next(fd, iov, count, at);

	written(fd, at, n);
	return n;
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t at)
{
	return pwritev(fd, iov, count, at);
}

/* True if the sync of the file at `path` is to fail: all that was not synced before is lost. */
static bool refused(const char *path, const struct stat *st)
{
	char name[PATH_MAX], end[64] = "", now[PAGE], before[PAGE];

	snprintf(name, sizeof name, "%s.synced/refuse", top);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, end, sizeof end - 1);
	if (fd >= 0)
		close(fd);
	if (len <= 0 || strlen(path) < (size_t)len || strcmp(path + strlen(path) - len, end) != 0)
		return false;
	must(unlink(name) == 0 && st->st_size <= PAGE * PAGES);
	snprintf(name, sizeof name, "%s.synced/data-%llu", top, (unsigned long long)st->st_ino);
	int file = open(path, O_RDONLY | O_CLOEXEC), synced = open(name, O_RDONLY | O_CLOEXEC);
	pthread_mutex_lock(&lost_lock);
	struct lost *l = lost_of(st->st_ino) ? lost_of(st->st_ino) : lost_of(0);
	must(file >= 0 && l != NULL);
	l->inode = st->st_ino;
	for (off_t page = 0; page * PAGE < st->st_size; page++) {
		ssize_t has = pread(file, now, PAGE, page * PAGE);
		ssize_t had = synced < 0 ? -1 : pread(synced, before, PAGE, page * PAGE);
		l->page[page] |= has != had || memcmp(now, before, (size_t)has) != 0;
	}
	pthread_mutex_unlock(&lost_lock);
	close(file);
	if (synced >= 0)
		close(synced);
	return true;
}

/* Puts into `out`, a copy of the file, what the disk has of the pages that are lost: what `before` has, or nothing. */
static void lose(int out, const char *before, const struct stat *st)
{
	ssize_t (*put)(int, const void *, size_t, off_t);
	int synced = open(before, O_RDONLY | O_CLOEXEC);

	*(void **)&put = dlsym(RTLD_NEXT, "pwrite");
	pthread_mutex_lock(&lost_lock);
	const struct lost *l = lost_of(st->st_ino);
	for (off_t page = 0; l && page < PAGES && page * PAGE < st->st_size; page++) {
		char old[PAGE] = "";
		size_t len = (size_t)(st->st_size - page * PAGE < PAGE ? st->st_size - page * PAGE : PAGE);
		if (!l->page[page])
			continue;
		ssize_t had = synced < 0 ? 0 : pread(synced, old, len, page * PAGE);
		must(had >= 0 && put(out, old, len, page * PAGE) == (ssize_t)len);
	}
	pthread_mutex_unlock(&lost_lock);
	if (synced >= 0)
		close(synced);
}

/* ---- what was synced */

/* Opens $POWERCUT.synced/WHAT-INODE.new; finish() gives it its name, so that a kill leaves the old file or the new one.
 */
static int create(const char *what, ino_t inode, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s.synced/%s-%llu", top, what, (unsigned long long)inode);
	char beside[PATH_MAX + 8];
	snprintf(beside, sizeof beside, "%s.new", path);
	int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(fd >= 0);
	return fd;
}

static void finish(int fd, const char *path)
{
	char beside[PATH_MAX + 8];

	snprintf(beside, sizeof beside, "%s.new", path);
	close(fd);
	must(rename(beside, path) == 0);
}

static void keep_file(const char *self, const char *path, const struct stat *st)
{
	char copy[PATH_MAX], held[PATH_MAX];
	int in = open(self, O_RDONLY | O_CLOEXEC), out = create("data", st->st_ino, copy);
	off_t left = st->st_size;

	must(in >= 0);
	while (left > 0) {
		ssize_t n = sendfile(out, in, NULL, (size_t)left);
		must(n >= 0);
		if (n == 0)
			break;
		left -= n;
	}
	close(in);
	lose(out, copy, st);
	finish(out, copy);
	snprintf(held, sizeof held, "%s.synced/held-%llu", top, (unsigned long long)st->st_ino);
	/* A file that was removed meanwhile cannot be linked any more. */
	must(link(path, held) == 0 || errno == EEXIST || errno == ENOENT);
}

static void keep_names(const char *path, const struct stat *st)
{
	char names[PATH_MAX], line[512];
	int out = create("names", st->st_ino, names);
	DIR *dir = opendir(path);

	must(dir != NULL);
	for (const struct dirent *e; (e = readdir(dir));) {
		int len = snprintf(line, sizeof line, "%llu %s\n", (unsigned long long)e->d_ino, e->d_name);
		must(e->d_name[0] == '.' || write(out, line, (size_t)len) == len);
	}
	closedir(dir);
	finish(out, names);
}

static int sync_of(int fd)
{
	char self[64], path[PATH_MAX];
	struct stat st;
	int why = errno;

	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	ssize_t len = readlink(self, path, sizeof path - 1);
	size_t within = top ? strlen(top) : 0;
	if (len < 0 || fstat(fd, &st) != 0) {
		errno = EBADF;
		return -1;
	}
	path[len] = '\0';
	if (top && strncmp(path, top, within) == 0 && (path[within] == '/' || !path[within])) {
		if (S_ISREG(st.st_mode) && refused(path, &st)) {
			errno = EIO;
			return -1;
		}
		if (S_ISDIR(st.st_mode))
			keep_names(path, &st);
		else
			keep_file(self, path, &st);
	}
	errno = why;
	return 0;
}

int fsync(int fd)
{
	return sync_of(fd);
}

int fdatasync(int fd)
{
	return sync_of(fd);
}

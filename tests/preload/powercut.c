/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: a disk for the directory $POWERCUT whose power can be cut. A sync does not reach the real disk.
 * Instead:
 *
 *   fsync() or fdatasync() of a file       copies the file, as it is now, to $POWERCUT.synced/data-INODE
 *   fsync() or fdatasync() of a directory  writes its names to $POWERCUT.synced/names-INODE, one a line: inode, name
 *
 * So these files have what a cut of power leaves for certain, whatever was written, truncated, made, renamed or removed
 * since: tests/rig/powercut.py rebuilds the directory from them. A hard link, $POWERCUT.synced/held-INODE, keeps the
 * inode of a file whose contents were synced from being used again. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
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

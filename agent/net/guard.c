/* SPDX-License-Identifier: MIT */
#include "net/guard.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_trusted(uid_t owner)
{
	return owner == 0 || owner == geteuid();
}

/* True: users other than root and this process's, or members of a group that this process does not run as, may write.
 */
static bool is_open(const struct stat *dir)
{
	return (dir->st_mode & S_IWOTH) || ((dir->st_mode & S_IWGRP) && dir->st_gid != 0 && dir->st_gid != getegid());
}

/* Checks the directory `dir`; `last`: it is the one in which the file is. */
static bool check_directory(const char *path, const char *dir, bool last, err *e)
{
	struct stat st;

	if (lstat(dir, &st) != 0)
		return err_set(e, "%s: %s%s", path, strerror(errno),
			       errno == ENOENT ? "; create its directory first" : "");
	if (!is_trusted(st.st_uid))
		return err_set(
			e,
			"%s: user %u owns %s and could put another socket at this path; give it to root or to user %u",
			path, (unsigned)st.st_uid, dir, (unsigned)geteuid());
	if (S_ISLNK(st.st_mode))
		return true;
	if (is_open(&st) && (last || !(st.st_mode & S_ISVTX)))
		return err_set(e, "%s: other users can write to %s and could put another socket at this path; %s", path,
			       dir, last ? "use a directory of mode 0750 or 0755" : "run chmod go-w on it");
	return true;
}

/* Checks `dir` and each directory above it, from the top on. */
static bool check_all(const char *path, const char *dir, err *e)
{
	char above[PATH_MAX];

	if (dir[0] == '/' && !check_directory(path, "/", dir[1] == '\0', e))
		return false;
	for (size_t at = 1; at <= strlen(dir); at++) {
		if (dir[at] != '/' && dir[at] != '\0')
			continue;
		memcpy(above, dir, at);
		above[at] = '\0';
		if (!check_directory(path, above, dir[at] == '\0', e))
			return false;
	}
	return true;
}

bool guard_path(const char *path, err *e)
{
	char dir[PATH_MAX], real[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (len >= sizeof dir)
		return err_set(e, "%s: the path is too long", path);
	memcpy(dir, path, len);
	dir[len] = '\0';
	if (!slash)
		memcpy(dir, ".", 2);
	else if (len == 0)
		memcpy(dir, "/", 2);
	/* First the path as it is written, for its symbolic links, then the one that it leads to. */
	if (!check_all(path, dir, e))
		return false;
	if (!realpath(dir, real))
		return err_set(e, "%s: %s: %s", path, dir, strerror(errno));
	return check_all(path, real, e);
}

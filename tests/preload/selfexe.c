/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD under valgrind, where /proc/self/exe is valgrind itself, to everybody but readlink(): a master starts
 * its worker, and looks for another binary, by the path that readlink() says. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *path_of(const char *path, char real[PATH_MAX])
{
	ssize_t len = strcmp(path, "/proc/self/exe") == 0 ? readlink(path, real, PATH_MAX - 1) : -1;

	if (len <= 0)
		return path;
	real[len] = '\0';
	return real;
}

int execv(const char *path, char *const argv[])
{
	char real[PATH_MAX];

	return execve(path_of(path, real), argv, environ);
}

int stat(const char *restrict path, struct stat *restrict st)
{
	char real[PATH_MAX];

	return fstatat(AT_FDCWD, path_of(path, real), st, 0);
}

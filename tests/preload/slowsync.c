/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: a disk on which each sync takes $SLOWSYNC_MS milliseconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int slowly(const char *name, int fd)
{
	const char *text = getenv("SLOWSYNC_MS");
	long ms = text ? atol(text) : 0;
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
	int (*sync)(int);

	nanosleep(&t, NULL);
	*(void **)&sync = dlsym(RTLD_NEXT, name);
	return sync(fd);
}

int fsync(int fd)
{
	return slowly("fsync", fd);
}

int fdatasync(int fd)
{
	return slowly("fdatasync", fd);
}

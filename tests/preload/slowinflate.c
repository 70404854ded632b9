/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: zlib's inflate(), which a decision about a gzipped body waits for, takes as many microseconds longer
 * as the file $SLOW_INFLATE holds (an int64_t of this machine), which may change at any time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

static const volatile int64_t *longer_us;
static int (*real)(z_stream *stream, int flush);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("SLOW_INFLATE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *map = fd >= 0 ? mmap(NULL, sizeof *longer_us, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		abort();
	longer_us = map;
	*(void **)&real = dlsym(RTLD_NEXT, "inflate");
}

int inflate(z_stream *stream, int flush)
{
	struct timespec t = { .tv_sec = *longer_us / 1000000, .tv_nsec = *longer_us % 1000000 * 1000 };

	if (t.tv_sec || t.tv_nsec)
		nanosleep(&t, NULL);
	return real(stream, flush);
}

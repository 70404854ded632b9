/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: allocations that fail, in an agent's worker only (the master is what has to bring a new one). The
 * file $FAIL_MALLOC holds a `struct plan` that all workers of the agent share and the test may change at any time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct plan {
	_Atomic int64_t left;  /* allocations until one fails; below 1: it failed */
	_Atomic int64_t burst; /* how many fail from there on */
	_Atomic int64_t seen, failed;
};

static struct plan *plan;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("SPOA_LLM_CONTROL") ? getenv("FAIL_MALLOC") : NULL;
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd >= 0 ? mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (map != MAP_FAILED)
		plan = map;
}

static int refused(void)
{
	if (!plan)
		return 0;
	plan->seen++;
	int64_t at = plan->left--;
	if (at > 1 || at <= 1 - plan->burst)
		return 0;
	plan->failed++;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return refused() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *ptr, size_t size)
{
	return refused() ? NULL : __libc_realloc(ptr, size);
}

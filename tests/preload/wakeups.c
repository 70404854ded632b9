/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: counts, in the file $WAKEUPS (three uint64_t of this machine), how often epoll_wait() returned with
 * something to do, how often recv() was called, and how often send() on a stream. A recv() that peeks is not counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct counts {
	uint64_t wakeups, reads, writes;
} * counts;

/* Returns the C library's function of this name. */
static void *real(const char *name)
{
	const char *path = getenv("WAKEUPS");

	if (!counts) {
		int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
		void *map = fd >= 0 ? mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) :
				      MAP_FAILED;
		if (map == MAP_FAILED)
			abort();
		close(fd);
		counts = map;
	}
	return dlsym(RTLD_NEXT, name);
}

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
	int (*wait)(int, struct epoll_event *, int, int);

	*(void **)&wait = real("epoll_wait");
	int n = wait(fd, events, most, timeout);
	counts->wakeups += n > 0;
	return n;
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
	ssize_t (*receive)(int, void *, size_t, int);

	*(void **)&receive = real("recv");
	counts->reads += !(flags & MSG_PEEK);
	return receive(fd, bytes, len, flags);
}

/* What the compiler makes of recv() into an array whose size it knows. */
ssize_t __recv_chk(int fd, void *bytes, size_t len, size_t size, int flags);
ssize_t __recv_chk(int fd, void *bytes, size_t len, size_t size, int flags)
{
	if (len > size)
		abort();
	return recv(fd, bytes, len, flags);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	ssize_t (*give)(int, const void *, size_t, int);
	int type = 0;
	socklen_t type_len = sizeof type;

	*(void **)&give = real("send");
	counts->writes += getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM;
	return give(fd, bytes, len, flags);
}

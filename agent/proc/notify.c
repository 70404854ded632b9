/* SPDX-License-Identifier: MIT */
#include "proc/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* Sends `lines`, and `pass`, a descriptor, with them; -1: none. */
static bool send_lines(const char *lines, int flags, int pass)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct iovec text = { (void *)(uintptr_t)lines, strlen(lines) };
	struct msghdr msg = { .msg_name = &to, .msg_iov = &text, .msg_iovlen = 1 };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = { 0 } };
	struct timeval patience = { .tv_sec = 1 }; /* a busy service manager must not hold up the master */
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len >= sizeof to.sun_path || (*path != '/' && *path != '@'))
		return false;
	memcpy(to.sun_path, path, len);
	if (*path == '@')
		to.sun_path[0] = '\0'; /* an abstract name begins with a NUL */
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	msg.msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (pass >= 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = sizeof control.room;
		control.head = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.head), &pass, sizeof pass);
	}
	ssize_t sent = sendmsg(fd, &msg, MSG_NOSIGNAL | flags);
	close(fd);
	return sent > 0;
}

bool notify_send(const char *lines)
{
	return send_lines(lines, 0, -1);
}

void notify_inform(const char *lines)
{
	send_lines(lines, MSG_DONTWAIT, -1);
}

void notify_store(const char *name, int fd)
{
	char lines[96];

	snprintf(lines, sizeof lines, "FDSTOREREMOVE=1\nFDNAME=%s", name);
	notify_send(lines);
	snprintf(lines, sizeof lines, "FDSTORE=1\nFDNAME=%s", name);
	send_lines(lines, 0, fd);
}

void notify_reloading(void)
{
	char lines[64];

	snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_mono_ns() / 1000);
	notify_send(lines);
}

int64_t notify_watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (!usec || (pid && strtol(pid, NULL, 10) != getpid()))
		return 0;
	long long n = strtoll(usec, NULL, 10);
	return n > 0 ? n / 1000 : 0;
}

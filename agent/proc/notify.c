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

static bool send_lines(const char *lines, int flags)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
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
	ssize_t sent = sendto(fd, lines, strlen(lines), MSG_NOSIGNAL | flags, (const struct sockaddr *)&to,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
	return sent > 0;
}

bool notify_send(const char *lines)
{
	return send_lines(lines, 0);
}

void notify_inform(const char *lines)
{
	send_lines(lines, MSG_DONTWAIT);
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

/* SPDX-License-Identifier: MIT
 *
 * Messages between our own processes. The first byte chooses: any bytes on the socket (128), or a message with so many
 * descriptors. Checked: any bytes are read as messages or refused, and no memory or descriptor is left behind; a
 * message that is sent arrives as it was, with its descriptors. */
#include "fuzz.h"

#include "base/fdpass.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Returns the lowest free descriptor. If it changes, a descriptor was left open. */
static int lowest(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	HOLDS(fd >= 0);
	close(fd);
	return fd;
}

static void any_bytes(slice bytes)
{
	int s[2];
	fdpass_message m;
	err e;
	fdpass_result result;
	unsigned count = 0;

	HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	HOLDS(bytes.len == 0 || send(s[0], bytes.ptr, bytes.len, MSG_NOSIGNAL) == (ssize_t)bytes.len);
	close(s[0]);
	do {
		e.text[0] = '\0';
		result = fdpass_receive(s[1], &m, 100, &e);
		HOLDS(result != FDPASS_FAILED || e.text[0]);
		if (result == FDPASS_OK) {
			HOLDS(buf_len(&m.body) <= bytes.len && m.fds_count == 0);
			fdpass_deinit(&m);
		}
	} while (result == FDPASS_OK && ++count < 10000);
	close(s[1]);
}

static void there_and_back(slice bytes, size_t fds_count)
{
	int s[2], fds[FDPASS_MAX];
	fdpass_message m;
	err e;

	HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	for (size_t i = 0; i < fds_count; i++)
		fds[i] = s[i % 2];
	HOLDS(fdpass_send(s[0], 7, bytes, fds, fds_count, 100, &e));
	HOLDS(fdpass_receive(s[1], &m, 100, &e) == FDPASS_OK);
	HOLDS(m.type == 7 && slice_eq(buf_slice(&m.body), bytes) && m.fds_count == fds_count);
	for (size_t i = 0; i < fds_count; i++)
		HOLDS(fcntl(m.fds[i], F_GETFD) == FD_CLOEXEC);
	fdpass_deinit(&m);
	close(s[0]);
	HOLDS(fdpass_receive(s[1], &m, 100, &e) == FDPASS_END);
	close(s[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int before = lowest();

	if (size < 1 || size > 30000)
		return 0;
	slice bytes = slice_of(data + 1, size - 1);
	if (data[0] & 128)
		any_bytes(bytes);
	else
		there_and_back(bytes, data[0] % (FDPASS_MAX + 1));
	HOLDS(lowest() == before);
	return 0;
}

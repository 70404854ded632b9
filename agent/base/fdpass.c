/* SPDX-License-Identifier: MIT */
#include "base/fdpass.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cursor.h"

enum {
	HEAD = 6,               /* u8 type, u8 descriptors, u32 bytes of the body */
	BODY_CHUNK = 64 * 1024, /* memory is taken as the body comes, not as its head promises */
};

typedef union rights {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * FDPASS_MAX)];
} rights;

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool wait_for(int sock, short events, int64_t deadline, err *e)
{
	for (;;) {
		struct pollfd p = { sock, events, 0 };
		int64_t left = deadline - now_ms();
		int rc = poll(&p, 1, left > 0 ? (int)left : 0);

		if (rc > 0)
			return true;
		if (rc == 0)
			return err_set(e, "the other process does not answer");
		if (errno != EINTR)
			return err_set(e, "poll: %s", strerror(errno));
	}
}

bool fdpass_send(int sock, uint8_t type, slice body, const int *fds, size_t fds_count, int timeout_ms, err *e)
{
	int64_t deadline = now_ms() + timeout_ms;
	unsigned char head[HEAD] = { type, (unsigned char)fds_count, (unsigned char)(body.len >> 24), (unsigned char)(body.len >> 16),
				     (unsigned char)(body.len >> 8), (unsigned char)body.len };
	union {
		const char *in;
		char *out;
	} bytes = { body.ptr }; /* sendmsg() takes what it does not write as writable */
	rights ancillary;
	size_t sent = 0;

	if (body.len > FDPASS_BODY_MAX || fds_count > FDPASS_MAX)
		return err_set(e, "a message of %zu bytes and %zu descriptors is too large", body.len, fds_count);
	while (sent < HEAD + body.len) {
		size_t from = sent > HEAD ? sent - HEAD : 0;
		struct iovec parts[2] = { { head + (sent < HEAD ? sent : HEAD), sent < HEAD ? HEAD - sent : 0 },
					  { body.len ? bytes.out + from : NULL, body.len - from } };
		struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };

		if (fds_count && sent == 0) {
			memset(&ancillary, 0, sizeof ancillary);
			msg.msg_control = &ancillary;
			msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
			struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
			memcpy(CMSG_DATA(c), fds, sizeof(int) * fds_count);
		}
		ssize_t n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			sent += (size_t)n;
		else if (n < 0 && errno == EAGAIN) {
			if (!wait_for(sock, POLLOUT, deadline, e))
				return false;
		} else if (n < 0 && errno != EINTR)
			return err_set(e, "sendmsg: %s", strerror(errno));
	}
	return true;
}

/* The descriptors of one recvmsg(). False: there are more than a message can have. */
static bool take_fds(struct msghdr *msg, fdpass_message *m)
{
	bool ok = !(msg->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (m->fds_count < FDPASS_MAX) {
				m->fds[m->fds_count++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	return ok;
}

/* Bytes read; 0 at the end of the stream; -1: `e` says why. */
static ssize_t receive_some(int sock, void *out, size_t len, fdpass_message *m, int64_t deadline, err *e)
{
	for (;;) {
		rights ancillary;
		struct iovec part = { out, len };
		struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary };
		ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

		if (n >= 0) {
			if (take_fds(&msg, m))
				return n;
			err_set(e, "more descriptors than a message has");
			return -1;
		}
		if (errno == ECONNRESET)
			return 0; /* the peer closed before it had read everything */
		if (errno != EAGAIN && errno != EINTR) {
			err_set(e, "recvmsg: %s", strerror(errno));
			return -1;
		}
		if (errno != EINTR && !wait_for(sock, POLLIN, deadline, e))
			return -1;
	}
}

fdpass_result fdpass_receive(int sock, fdpass_message *m, int timeout_ms, err *e)
{
	int64_t deadline = now_ms() + timeout_ms;
	unsigned char head[HEAD];
	size_t have = 0;
	ssize_t n;

	*m = (fdpass_message){ .type = 0 };
	buf_init(&m->body, FDPASS_BODY_MAX);
	while (have < HEAD) {
		n = receive_some(sock, head + have, HEAD - have, m, deadline, e);
		if (n < 0)
			return FDPASS_FAILED;
		if (n == 0 && !have)
			return FDPASS_END;
		if (n == 0)
			goto broken;
		have += (size_t)n;
	}
	cursor c = cursor_of(slice_of(head, sizeof head));
	m->type = cursor_u8(&c);
	size_t fds_count = cursor_u8(&c);
	size_t left = cursor_u32be(&c);
	if (left > FDPASS_BODY_MAX) {
		err_set(e, "a message of %zu bytes is none of ours", left);
		return FDPASS_FAILED;
	}
	while (left) {
		size_t chunk = left < BODY_CHUNK ? left : BODY_CHUNK;
		if (!buf_reserve(&m->body, chunk)) {
			err_set(e, "out of memory");
			return FDPASS_FAILED;
		}
		n = receive_some(sock, m->body.data + m->body.end, chunk, m, deadline, e);
		if (n < 0)
			return FDPASS_FAILED;
		if (n == 0)
			goto broken;
		m->body.end += (size_t)n;
		left -= (size_t)n;
	}
	if (m->fds_count == fds_count)
		return FDPASS_OK;
	err_set(e, "a message with %zu descriptors instead of %zu", m->fds_count, fds_count);
	return FDPASS_FAILED;
broken:
	err_set(e, "the other process ended within a message");
	return FDPASS_FAILED;
}

void fdpass_deinit(fdpass_message *m)
{
	for (size_t i = 0; i < m->fds_count; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	buf_deinit(&m->body);
	m->fds_count = 0;
}

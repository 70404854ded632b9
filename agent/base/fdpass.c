/* SPDX-License-Identifier: MIT */
#include "base/fdpass.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/cursor.h"

enum {
	HEAD = 6,          /* u8 type, u8 number of descriptors, u32 bytes of the body */
	STEP = 256 * 1024, /* the body's buffer grows by this much as bytes arrive: the announced length may be wrong */
	CROWDED_WAIT_MS = 1, /* pause before sending again when too many descriptors are in flight */
};

typedef union ancillary {
	struct cmsghdr align;
	char room[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
} ancillary;

/* ---- time */

static int64_t deadline_of(int timeout_ms)
{
	return clock_mono_ms() + (timeout_ms > 0 ? timeout_ms : 0);
}

/* Waits for `events` on `sock`. False: the deadline has passed, or poll() failed; `e` says which. */
static bool wait_for(int sock, short events, int64_t deadline, err *e)
{
	for (;;) {
		struct pollfd p = { .fd = sock, .events = events };
		int64_t left = deadline - clock_mono_ms();
		int n = poll(&p, 1, left > 0 ? (int)left : 0);
		if (n > 0)
			return true;
		if (n == 0)
			return err_set(e, "the other process did not %s in time", events == POLLIN ? "send" : "read");
		if (errno != EINTR)
			return err_set(e, "poll: %s", strerror(errno));
	}
}

/* ---- send */

/* Calls sendmsg() once. Returns the bytes sent; 0: try again; -1: `e` says why. */
static ssize_t send_some(int sock, struct msghdr *m, int64_t deadline, err *e)
{
	ssize_t n = sendmsg(sock, m, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n > 0 || (n < 0 && errno == EINTR))
		return n > 0 ? n : 0;
	if (n == 0 || errno == EAGAIN)
		return wait_for(sock, POLLOUT, deadline, e) ? 0 : -1;
	/* The kernel limits the descriptors in flight: wait until the peer has received some. */
	if (errno == ETOOMANYREFS && clock_mono_ms() < deadline) {
		poll(NULL, 0, CROWDED_WAIT_MS);
		return 0;
	}
	err_set(e, "sendmsg: %s", strerror(errno));
	return -1;
}

bool fdpass_send(int sock, uint8_t type, slice body, const int *fds, size_t fds_count, int timeout_ms, err *e)
{
	int64_t deadline = deadline_of(timeout_ms);
	unsigned char head[HEAD] = { type, (unsigned char)fds_count };
	ancillary c;
	size_t sent = 0;

	if (fds_count > FDPASS_MAX || body.len > FDPASS_BODY_MAX)
		return err_set(e, "a message of %zu bytes with %zu descriptors is too large", body.len, fds_count);
	put_u32be(head + 2, (uint32_t)body.len);
	memset(&c, 0, sizeof c);
	while (sent < HEAD + body.len) {
		size_t of_body = sent > HEAD ? sent - HEAD : 0;
		struct iovec parts[2];
		struct msghdr m = { .msg_iov = parts };
		if (sent < HEAD)
			parts[m.msg_iovlen++] = (struct iovec){ head + sent, HEAD - sent };
		slice left = slice_from(body, of_body);
		if (left.len)
			/* sendmsg() only reads from it, but POSIX declares iov_base without const. */
			parts[m.msg_iovlen++] = (struct iovec){ (void *)(uintptr_t)left.ptr, left.len };
		if (sent == 0 && fds_count) {
			m.msg_control = c.room;
			m.msg_controllen = CMSG_SPACE(fds_count * sizeof *fds);
			struct cmsghdr *h = CMSG_FIRSTHDR(&m);
			h->cmsg_level = SOL_SOCKET;
			h->cmsg_type = SCM_RIGHTS;
			h->cmsg_len = CMSG_LEN(fds_count * sizeof *fds);
			memcpy(CMSG_DATA(h), fds, fds_count * sizeof *fds);
		}
		ssize_t n = send_some(sock, &m, deadline, e);
		if (n < 0)
			return false;
		sent += (size_t)n;
	}
	return true;
}

/* ---- receive */

/* Moves the descriptors that came with a read into `m`. False: there are more than FDPASS_MAX, or the kernel could not
 * deliver all of them. */
static bool take_fds(struct msghdr *from, fdpass_message *m)
{
	bool ok = !(from->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *h = CMSG_FIRSTHDR(from); h; h = CMSG_NXTHDR(from, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
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

/* Reads exactly `len` bytes and no more, because the next bytes may carry the descriptors of the next message. */
static fdpass_result receive_exactly(int sock, void *room, size_t len, fdpass_message *m, int64_t deadline, err *e)
{
	size_t got = 0;

	while (got < len) {
		ancillary c;
		struct iovec part = { (char *)room + got, len - got };
		struct msghdr from = {
			.msg_iov = &part, .msg_iovlen = 1, .msg_control = c.room, .msg_controllen = sizeof c.room
		};
		ssize_t n = recvmsg(sock, &from, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (!wait_for(sock, POLLIN, deadline, e))
				return FDPASS_FAILED;
			continue;
		}
		if (n < 0) {
			err_set(e, "recvmsg: %s", strerror(errno));
			return FDPASS_FAILED;
		}
		if (n == 0) {
			err_set(e, "the other process closed the socket within a message");
			return got ? FDPASS_FAILED : FDPASS_END;
		}
		if (!take_fds(&from, m)) {
			err_set(e, "a message has too many descriptors, or this process can open no more");
			return FDPASS_FAILED;
		}
		got += (size_t)n;
	}
	return FDPASS_OK;
}

static fdpass_result receive_body(int sock, fdpass_message *m, size_t len, int64_t deadline, err *e)
{
	buf_init(&m->body, len);
	while (buf_len(&m->body) < len) {
		size_t left = len - buf_len(&m->body), part = left < STEP ? left : STEP;
		if (!buf_reserve(&m->body, part)) {
			err_memory(e);
			return FDPASS_FAILED;
		}
		if (receive_exactly(sock, m->body.data + m->body.end, part, m, deadline, e) != FDPASS_OK)
			return FDPASS_FAILED;
		m->body.end += part;
	}
	return FDPASS_OK;
}

fdpass_result fdpass_receive(int sock, fdpass_message *m, int timeout_ms, err *e)
{
	int64_t deadline = deadline_of(timeout_ms);
	unsigned char head[HEAD];

	memset(m, 0, sizeof *m);
	fdpass_result r = receive_exactly(sock, head, sizeof head, m, deadline, e);
	if (r == FDPASS_OK) {
		cursor c = cursor_of(slice_of(head, sizeof head));
		m->type = cursor_u8(&c);
		size_t fds = cursor_u8(&c);
		uint32_t len = cursor_u32be(&c);
		if (len > FDPASS_BODY_MAX) {
			err_set(e, "a message of %lu bytes is too large", (unsigned long)len);
			r = FDPASS_FAILED;
		} else {
			r = receive_body(sock, m, len, deadline, e);
		}
		if (r == FDPASS_OK && m->fds_count != fds) {
			err_set(e, "a message came with %zu descriptors instead of %zu", m->fds_count, fds);
			r = FDPASS_FAILED;
		}
	}
	if (r != FDPASS_OK)
		fdpass_deinit(m);
	return r;
}

void fdpass_deinit(fdpass_message *m)
{
	for (size_t i = 0; i < m->fds_count; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	m->fds_count = 0;
	buf_deinit(&m->body);
}

/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fdpass.h"

enum { SOON = 5000 };

static int open_fds(void)
{
	int count = 0;
	DIR *d = opendir("/proc/self/fd");

	while (d && readdir(d))
		count++;
	if (d)
		closedir(d);
	return count;
}

static void pair(int s[2], bool blocking, int room)
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0, s) == 0);
	for (int i = 0; room && i < 2; i++) {
		setsockopt(s[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
		setsockopt(s[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	}
}

static bool same_file(int a, int b)
{
	struct stat x, y;
	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* ---- whole messages */

typedef struct sending {
	int sock;
	slice body;
	const int *fds;
	size_t fds_count;
	unsigned times;
	bool ok;
	err e;
} sending;

static void *send_main(void *arg)
{
	sending *s = arg;

	s->ok = true;
	for (unsigned i = 0; s->ok && i < s->times; i++)
		s->ok = fdpass_send(s->sock, (uint8_t)(i & 255), s->body, s->fds, s->fds_count, SOON, &s->e);
	return NULL;
}

static void bodies_and_descriptors_arrive_together(void)
{
	static const size_t sizes[] = { 0, 1, 5, 6, 4096, 300000, 3000000 };
	int pipes[FDPASS_MAX][2];
	int fds[FDPASS_MAX];

	for (size_t i = 0; i < FDPASS_MAX; i++) {
		CHECK(pipe2(pipes[i], O_CLOEXEC) == 0);
		fds[i] = pipes[i][0];
	}
	int before = open_fds();
	for (int blocking = 0; blocking < 2; blocking++) {
		for (size_t at = 0; at < sizeof sizes / sizeof sizes[0]; at++) {
			for (size_t count = 0; count <= FDPASS_MAX; count += 4) {
				int s[2];
				/* Gives the sockets so little room that a body takes many writes. */
				pair(s, blocking, 4096);
				unsigned char *body = malloc(sizes[at] + 1);
				CHECK(body != NULL);
				for (size_t i = 0; i < sizes[at]; i++)
					body[i] = (unsigned char)(i * 31 + i / 251);
				sending job = { .sock = s[0],
						.body = slice_of(body, sizes[at]),
						.fds = fds,
						.fds_count = count,
						.times = 3 };
				pthread_t t;
				CHECK(pthread_create(&t, NULL, send_main, &job) == 0);
				for (unsigned n = 0; n < job.times; n++) {
					fdpass_message m;
					err e = { 0 };
					CHECK(fdpass_receive(s[1], &m, SOON, &e) == FDPASS_OK);
					CHECK(m.type == n && m.fds_count == count && buf_len(&m.body) == sizes[at]);
					CHECK(slice_eq(buf_slice(&m.body), job.body));
					for (size_t i = 0; i < m.fds_count; i++)
						CHECK(same_file(m.fds[i], fds[i]) &&
						      fcntl(m.fds[i], F_GETFD) & FD_CLOEXEC);
					/* A descriptor that the caller has taken stays open. */
					int taken = m.fds_count ? m.fds[0] : -1;
					m.fds[0] = -1;
					fdpass_deinit(&m);
					CHECK(taken < 0 || close(taken) == 0);
				}
				pthread_join(t, NULL);
				CHECK(job.ok);
				free(body);
				close(s[0]);
				close(s[1]);
			}
		}
	}
	CHECK(open_fds() == before);
	for (size_t i = 0; i < FDPASS_MAX; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

static void the_next_messages_descriptors_are_not_taken_too(void)
{
	int s[2], a[2], b[2];
	fdpass_message m;
	err e;

	pair(s, false, 0);
	CHECK(pipe2(a, O_CLOEXEC) == 0 && pipe2(b, O_CLOEXEC) == 0);
	CHECK(fdpass_send(s[0], 1, SLICE("one"), NULL, 0, SOON, &e));
	CHECK(fdpass_send(s[0], 2, SLICE(""), a, 2, SOON, &e));
	CHECK(fdpass_send(s[0], 3, SLICE("three"), b, 1, SOON, &e));
	CHECK(fdpass_receive(s[1], &m, SOON, &e) == FDPASS_OK && m.type == 1 && m.fds_count == 0);
	fdpass_deinit(&m);
	CHECK(fdpass_receive(s[1], &m, SOON, &e) == FDPASS_OK && m.type == 2 && m.fds_count == 2);
	CHECK(same_file(m.fds[0], a[0]) && same_file(m.fds[1], a[1]) && buf_len(&m.body) == 0);
	fdpass_deinit(&m);
	CHECK(fdpass_receive(s[1], &m, SOON, &e) == FDPASS_OK && m.type == 3 && m.fds_count == 1 &&
	      same_file(m.fds[0], b[0]));
	fdpass_deinit(&m);
	for (int i = 0; i < 2; i++) {
		close(s[i]);
		close(a[i]);
		close(b[i]);
	}
}

/* ---- what goes wrong */

static void the_end_is_told_from_a_cut(void)
{
	static const unsigned char head[] = { 7, 0, 0, 0, 0, 10, 'h', 'a', 'l', 'f' };

	for (size_t len = 0; len <= sizeof head; len++) {
		int s[2];
		fdpass_message m;
		err e = { 0 };
		pair(s, true, 0);
		CHECK(len == 0 || write(s[0], head, len) == (ssize_t)len);
		close(s[0]);
		CHECK(fdpass_receive(s[1], &m, SOON, &e) == (len ? FDPASS_FAILED : FDPASS_END));
		CHECK(len == 0 || e.text[0]);
		CHECK(m.fds_count == 0 && !m.body.data);
		close(s[1]);
	}
}

static void a_body_too_large_is_refused_before_it_is_read(void)
{
	static const unsigned char head[] = { 7, 0, 0xff, 0xff, 0xff, 0xff };
	int s[2];
	fdpass_message m;
	err e = { 0 };

	pair(s, true, 0);
	CHECK(write(s[0], head, sizeof head) == sizeof head);
	CHECK(fdpass_receive(s[1], &m, SOON, &e) == FDPASS_FAILED && strstr(e.text, "too large"));
	close(s[0]);
	close(s[1]);
}

/* Sends `count` descriptors with `bytes`, without fdpass_send(). */
static void send_raw(int sock, const void *bytes, size_t len, int fd, size_t count)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(64 * sizeof(int))];
	} c;
	struct iovec part = { (void *)(uintptr_t)bytes, len };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };

	if (count) {
		memset(&c, 0, sizeof c);
		m.msg_control = c.room;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		c.head.cmsg_len = CMSG_LEN(count * sizeof(int));
		for (size_t i = 0; i < count; i++)
			memcpy(CMSG_DATA(&c.head) + i * sizeof(int), &fd, sizeof fd);
	}
	CHECK(sendmsg(sock, &m, MSG_NOSIGNAL) == (ssize_t)len);
}

static void descriptors_that_were_not_announced_are_closed(void)
{
	static const struct {
		unsigned char said;
		size_t with_head, with_body;
	} rows[] = { { 0, 1, 0 }, { 2, 1, 0 }, { 1, 2, 0 }, { 8, 9, 0 },  { 8, 40, 0 },
		     { 0, 0, 1 }, { 1, 1, 1 }, { 8, 8, 8 }, { 255, 8, 0 } };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int before = open_fds();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		unsigned char head[] = { 7, rows[i].said, 0, 0, 0, 2 };
		int s[2];
		fdpass_message m;
		err e = { 0 };
		pair(s, true, 0);
		send_raw(s[0], head, sizeof head, null, rows[i].with_head);
		send_raw(s[0], "xy", 2, null, rows[i].with_body);
		CHECK(fdpass_receive(s[1], &m, SOON, &e) == FDPASS_FAILED && e.text[0]);
		close(s[0]);
		close(s[1]);
		CHECK(open_fds() == before);
	}
	close(null);
}

static void time_runs_out_on_both_sides(void)
{
	static char body[4 << 20];

	for (int blocking = 0; blocking < 2; blocking++) {
		int s[2];
		fdpass_message m;
		err e = { 0 };
		pair(s, blocking, 0);
		int64_t began = clock_mono_ms();
		CHECK(fdpass_receive(s[1], &m, 100, &e) == FDPASS_FAILED && strstr(e.text, "in time"));
		int64_t took = clock_mono_ms() - began;
		CHECK(took >= 99 && took < 3000);
		began = clock_mono_ms();
		CHECK(!fdpass_send(s[0], 1, slice_of(body, sizeof body), NULL, 0, 100, &e) &&
		      strstr(e.text, "in time"));
		took = clock_mono_ms() - began;
		CHECK(took >= 99 && took < 3000);
		/* The same for a peer that stops within a message. */
		began = clock_mono_ms();
		CHECK(fdpass_receive(s[1], &m, 100, &e) == FDPASS_FAILED && strstr(e.text, "in time"));
		took = clock_mono_ms() - began;
		CHECK(took >= 99 && took < 3000);
		close(s[0]);
		close(s[1]);
	}
}

static void a_peer_that_is_gone_is_an_error_and_no_signal(void)
{
	int s[2];
	err e = { 0 };

	pair(s, true, 0);
	close(s[1]);
	CHECK(!fdpass_send(s[0], 1, SLICE("x"), NULL, 0, SOON, &e) && e.text[0]);
	close(s[0]);
}

static void what_is_too_much_to_send_is_refused(void)
{
	int s[2], fds[FDPASS_MAX + 1] = { 0 };
	err e = { 0 };

	pair(s, true, 0);
	CHECK(!fdpass_send(s[0], 1, SLICE("x"), fds, FDPASS_MAX + 1, SOON, &e) && e.text[0]);
	CHECK(!fdpass_send(s[0], 1, slice_of("x", (size_t)FDPASS_BODY_MAX + 1), NULL, 0, SOON, &e) && e.text[0]);
	close(s[0]);
	close(s[1]);
}

int main(void)
{
	RUN(bodies_and_descriptors_arrive_together);
	RUN(the_next_messages_descriptors_are_not_taken_too);
	RUN(the_end_is_told_from_a_cut);
	RUN(a_body_too_large_is_refused_before_it_is_read);
	RUN(descriptors_that_were_not_announced_are_closed);
	RUN(time_runs_out_on_both_sides);
	RUN(a_peer_that_is_gone_is_an_error_and_no_signal);
	RUN(what_is_too_much_to_send_is_refused);
	return unit_end();
}

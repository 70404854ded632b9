/* SPDX-License-Identifier: MIT
 *
 * Streams of log lines on their way from one process to the next: nothing lost, nothing twice, and a connection is
 * reset only where no process has it any more. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/fdpass.h"
#include "net/logsock.h"
#include "unit.h"

enum { SOON = 5000, LINES_MAX = 64 };

static char lines[LINES_MAX][32];
static size_t lines_count, lines_all; /* in `lines`; and all of them */
static unsigned bad, batches;
static size_t open_bytes, open_most; /* of the lines since the last end of a batch, and the most of them */

static void on_line(void *ctx, slice message)
{
	(void)ctx;
	open_bytes += message.len;
	lines_all++;
	if (open_bytes > open_most)
		open_most = open_bytes;
	if (lines_count < LINES_MAX)
		snprintf(lines[lines_count++], sizeof lines[0], "%.*s", (int)message.len, message.ptr);
}

static void on_bad(void *ctx)
{
	(void)ctx;
	bad++;
}

static void on_dropped(void *ctx, uint32_t count)
{
	(void)ctx;
	(void)count;
}

static void on_batch_end(void *ctx)
{
	(void)ctx;
	batches++;
	open_bytes = 0;
}

static const logsock_handler handler = { NULL, on_line, on_bad, on_dropped, on_batch_end };

static void iterate(struct ev_loop *loop)
{
	for (int i = 0; i < 5; i++)
		ev_run(loop, EVRUN_NOWAIT);
}

/* Opens a TCP socket to listen on, because a unix socket does not show a reset to its peer. */
static listener listen_tcp(struct sockaddr_in *at)
{
	socklen_t len = sizeof *at;
	listener l = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), .inet = true };

	*at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	CHECK(bind(l.fd, (struct sockaddr *)at, sizeof *at) == 0 && listen(l.fd, 16) == 0);
	CHECK(getsockname(l.fd, (struct sockaddr *)at, &len) == 0);
	return l;
}

static int dial(const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(fd, (const struct sockaddr *)at, sizeof *at) == 0);
	return fd;
}

static void say(int fd, slice text)
{
	CHECK(send(fd, text.ptr, text.len, MSG_NOSIGNAL) == (ssize_t)text.len);
}

/* What HAProxy's side sees: 1: still connected, 0: an orderly end, -1: a reset. */
static int seen(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	if (poll(&p, 1, 100) == 0)
		return 1;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
	return n == 0 ? 0 : n < 0 && errno == ECONNRESET ? -1 : 2;
}

typedef struct parcel {
	int sock;
	unsigned given, sent, most;
	size_t lines_then;
} parcel;

static bool send_on(void *ctx, int fd, slice begun)
{
	parcel *p = ctx;
	err e;

	/* All whole messages have been handed over and written by now. */
	p->lines_then = lines_count;
	CHECK(batches > 0);
	p->given++;
	if (p->sent == p->most)
		return false;
	CHECK(fdpass_send(p->sock, 1, begun, &fd, 1, SOON, &e));
	p->sent++;
	return true;
}

static void streams_go_on_elsewhere(void)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV), *other = ev_loop_new(EVFLAG_NOENV);
	struct sockaddr_in at, at_other;
	int s[2], peers[3];
	parcel p = { .most = 2 };
	fdpass_message m;
	err e;

	lines_count = bad = batches = 0;
	listener l = listen_tcp(&at), l_other = listen_tcp(&at_other);
	logsock *socks = logsock_new(loop, &l, 1, handler);
	logsock_begin(socks);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	p.sock = s[0];
	for (int i = 0; i < 3; i++) {
		peers[i] = dial(&at);
		iterate(loop);
	}
	/* One stream has sent part of a message, one has bytes in the socket. The newest stream is given on first. */
	say(peers[2], SLICE("5 first8 sec"));
	iterate(loop);
	CHECK(lines_count == 1);
	say(peers[1], SLICE("5 third12 in"));
	logsock_free(socks, send_on, &p);
	CHECK(p.given == 3 && p.sent == 2 && p.lines_then == 2);
	CHECK(lines_count == 2 && strcmp(lines[1], "third") == 0);
	/* Two streams are in the socket pair on their way; no process has the third any more. */
	CHECK(seen(peers[2]) == 1 && seen(peers[1]) == 1 && seen(peers[0]) == -1);
	close(s[0]);

	socks = logsock_new(other, &l_other, 1, handler);
	logsock_begin(socks);
	while (fdpass_receive(s[1], &m, SOON, &e) == FDPASS_OK) {
		CHECK(m.fds_count == 1 && logsock_adopt(socks, m.fds[0], buf_slice(&m.body)));
		m.fds[0] = -1;
		fdpass_deinit(&m);
	}
	close(s[1]);
	say(peers[2], SLICE("ond--4 last"));
	say(peers[1], SLICE(" two halve"));
	iterate(other);
	CHECK(lines_count == 5 && bad == 0);
	CHECK(strcmp(lines[2], "second--") == 0 || strcmp(lines[3], "second--") == 0 ||
	      strcmp(lines[4], "second--") == 0);
	CHECK(strcmp(lines[2], "in two halve") == 0 || strcmp(lines[4], "in two halve") == 0);
	/* A stream that was adopted and is not given on is reset too. */
	logsock_free(socks, NULL, NULL);
	CHECK(seen(peers[2]) == -1 && seen(peers[1]) == -1);
	for (int i = 0; i < 3; i++)
		close(peers[i]);
	ev_loop_destroy(loop);
	ev_loop_destroy(other);
}

/* The process that had the stream ends, by itself or killed, after it has passed the stream on. */
static void the_end_of_the_old_process_resets_nothing(void)
{
	for (int forced = 0; forced < 2; forced++) {
		struct sockaddr_in at;
		listener l = listen_tcp(&at);
		int s[2], ready[2];
		fdpass_message m;
		err e;
		char byte;
		CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0 && pipe2(ready, O_CLOEXEC) == 0);
		int peer = dial(&at);
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
			parcel p = { .sock = s[0], .most = 1 };
			logsock *socks = logsock_new(loop, &l, 1, handler);
			logsock_begin(socks);
			batches = 1;
			close(peer);
			close(s[1]);
			iterate(loop);
			logsock_free(socks, send_on, &p);
			if (write(ready[1], "x", 1) != 1 || forced)
				pause();
			_exit(0);
		}
		close(l.fd);
		close(s[0]);
		CHECK(read(ready[0], &byte, 1) == 1);
		if (forced)
			kill(child, SIGKILL);
		CHECK(waitpid(child, NULL, 0) == child);
		/* No process has received the stream yet. */
		CHECK(seen(peer) == 1);
		CHECK(fdpass_receive(s[1], &m, SOON, &e) == FDPASS_OK && m.fds_count == 1);
		say(peer, SLICE("x"));
		CHECK(recv(m.fds[0], &byte, 1, 0) == 1);
		fdpass_deinit(&m);
		/* The last process that had the stream is gone. */
		CHECK(seen(peer) == -1);
		close(peer);
		close(s[1]);
		close(ready[0]);
		close(ready[1]);
	}
}

static void a_stream_that_cannot_have_begun_so_is_refused(void)
{
	static char much[2 * LOGSOCK_LINE_MAX];
	struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
	struct sockaddr_in at;
	listener l = listen_tcp(&at);
	logsock *socks = logsock_new(loop, &l, 1, handler);
	logsock_begin(socks);
	const slice bad_ones[] = { SLICE("x"),       SLICE("12x"),     SLICE(" "),
				   SLICE("99999 x"), SLICE("1234567"), slice_of(much, sizeof much) };

	lines_count = bad = 0;
	for (size_t i = 0; i < sizeof bad_ones / sizeof bad_ones[0]; i++) {
		int s[2];
		CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
		CHECK(!logsock_adopt(socks, s[0], bad_ones[i]));
		CHECK(seen(s[1]) <= 0);
		close(s[1]);
	}
	CHECK(!logsock_adopt(socks, -1, SLICE("")));
	/* A stream without a part of a message, and one with a whole message, which is handed over. */
	int s[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	CHECK(logsock_adopt(socks, s[0], SLICE("3 one3 t")));
	say(s[1], SLICE("wo"));
	iterate(loop);
	CHECK(lines_count == 2 && strcmp(lines[0], "one") == 0 && strcmp(lines[1], "two") == 0);
	close(s[1]);
	iterate(loop);
	logsock_free(socks, NULL, NULL);
	ev_loop_destroy(loop);
}

/* A read ends after as many digits as a length may have; the buffer still holds the message before, with a blank there.
 */
static void a_read_may_end_after_the_last_digit(void)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
	struct sockaddr_in at;
	listener l = listen_tcp(&at);
	logsock *socks = logsock_new(loop, &l, 1, handler);
	logsock_begin(socks);
	int peer = dial(&at);

	lines_count = bad = 0;
	say(peer, SLICE("9 aaaa bbbb"));
	iterate(loop);
	say(peer, SLICE("000003"));
	iterate(loop);
	CHECK(lines_count == 1 && bad == 0);
	say(peer, SLICE(" one"));
	iterate(loop);
	CHECK(lines_count == 2 && bad == 0 && strcmp(lines[0], "aaaa bbbb") == 0 && strcmp(lines[1], "one") == 0);
	close(peer);
	logsock_free(socks, NULL, NULL);
	ev_loop_destroy(loop);
}

/* A backlog is handed over in pieces: when more of it leaves the kernel, the lines before are with the handler. */
static void each_read_ends_a_batch(void)
{
	enum { LINE = 1000, BACKLOG = 400 * (LINE + 5), PIECE = 160 << 10 };
	struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
	static char text[BACKLOG + 1];
	int pair[2];

	logsock *s = logsock_new(loop, NULL, 0, handler);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){ 4 * BACKLOG }, sizeof(int)) == 0);
	for (size_t at = 0; at < BACKLOG; at += LINE + 5)
		snprintf(text + at, sizeof text - at, "%d %0*d", LINE, LINE, 7);
	logsock_begin(s);
	CHECK(logsock_adopt(s, pair[1], slice_of("", 0)));
	open_bytes = open_most = 0;
	/* As much as a socket holds. */
	CHECK(send(pair[0], text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 2 * PIECE);
	iterate(loop);
	CHECK(open_bytes == 0 && open_most > LINE && open_most <= PIECE);
	logsock_free(s, NULL, NULL);
	close(pair[0]);
	ev_loop_destroy(loop);
}

static _Atomic size_t fed; /* messages that the kernel took */
static _Atomic bool fed_enough;

/* Sends messages until the agent ends the stream, or there are enough of them. */
static void *feed(void *arg)
{
	const int *fd = arg;
	char line[1005];

	memset(line, 'x', sizeof line);
	memcpy(line, "1000 ", 5);
	while (!fed_enough && send(*fd, line, sizeof line, MSG_NOSIGNAL) == (ssize_t)sizeof line)
		fed++;
	return NULL;
}

static bool is_gone(void *ctx, int fd, slice begun)
{
	(void)ctx;
	(void)fd;
	(void)begun;
	return false;
}

static void a_stop_loses_nothing(bool inet, bool (*each)(void *ctx, int fd, slice begun))
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
	struct sockaddr_in at;
	pthread_t feeder;
	int pair[2];

	if (inet) {
		listener l = listen_tcp(&at);
		/* So little that most of what was sent is still with the peer's kernel. */
		int room = 8192;
		CHECK(setsockopt(l.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room) == 0);
		pair[0] = dial(&at);
		pair[1] = accept(l.fd, NULL, NULL);
		CHECK(pair[1] >= 0);
		close(l.fd);
	} else {
		CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	}
	logsock *s = logsock_new(loop, NULL, 0, handler);
	logsock_begin(s);
	CHECK(logsock_adopt(s, pair[1], slice_of("", 0)));
	fed = 0;
	lines_all = bad = 0;
	fed_enough = false;
	CHECK(pthread_create(&feeder, NULL, feed, &pair[0]) == 0);
	while (lines_all < 1000)
		iterate(loop);
	size_t before = fed;
	if (inet) {
		usleep(100000); /* the feeder fills the buffers of the kernel */
		before = fed;
		fed_enough = true;
	}
	logsock_free(s, each, NULL);
	CHECK(pthread_join(feeder, NULL) == 0);
	/* Over TCP a line may come when the stream is being closed. */
	CHECK((inet ? lines_all >= before : lines_all == fed) && bad == 0);
	close(pair[0]);
	ev_loop_destroy(loop);
}

/* HAProxy forgets a line as soon as the kernel has it. `is_gone`: the process that is to get the stream has died. */
static void a_stop_loses_nothing_that_was_sent(void)
{
	for (int i = 0; i < 14; i++) {
		a_stop_loses_nothing(false, NULL);
		a_stop_loses_nothing(false, is_gone);
		a_stop_loses_nothing(true, NULL);
		a_stop_loses_nothing(true, is_gone);
	}
}

int main(void)
{
	RUN(streams_go_on_elsewhere);
	RUN(the_end_of_the_old_process_resets_nothing);
	RUN(a_stream_that_cannot_have_begun_so_is_refused);
	RUN(a_read_may_end_after_the_last_digit);
	RUN(each_read_ends_a_batch);
	RUN(a_stop_loses_nothing_that_was_sent);
	return unit_end();
}

/* SPDX-License-Identifier: MIT */
#include "net/logsock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/unused.h"

enum {
	READ_ROOM = 64 * 1024,
	READS_AT_ONCE =
		16, /* the most reads of one socket in one event loop iteration, so that the others do not wait */
	LAST_READS = 4096,  /* the most reads of a stream that is given up */
	LAST_MS = 500,      /* the most time for what a peer over TCP has sent to arrive, and ... */
	LAST_QUIET_MS = 50, /* ... without anything from any of them: all is there */
	LENGTH_DIGITS = 6,  /* the most digits of an octet count */
};

typedef struct stream {
	logsock *owner;
	struct stream *prev, *next;
	ev_io io;
	buf in;
} stream;

struct logsock {
	struct ev_loop *loop;
	logsock_handler handler;
	listener listeners[LOGSOCK_LISTENERS];
	ev_io watchers[LOGSOCK_LISTENERS];
	size_t count;
	bool begun;
	stream *streams;
	unsigned streams_count;
	ev_prepare batch_end;
	bool pending;                      /* something was handed over since the last batch_end */
	uint32_t drops[LOGSOCK_LISTENERS]; /* the kernel's count when it was last read */
	unsigned char *datagrams;          /* LOGSOCK_BATCH times LOGSOCK_LINE_MAX */
};

static void hand_over(logsock *s, slice message)
{
	s->pending = true;
	s->handler.line(s->handler.ctx, message);
}

static void on_batch_end(struct ev_loop *loop UNUSED, ev_prepare *prepare, int events UNUSED)
{
	logsock *s = prepare->data;

	if (!s->pending)
		return;
	s->pending = false;
	s->handler.batch_end(s->handler.ctx);
}

static void stream_close(stream *st)
{
	logsock *s = st->owner;

	ev_io_stop(s->loop, &st->io);
	close(st->io.fd);
	if (st->next)
		st->next->prev = st->prev;
	if (st->prev)
		st->prev->next = st->next;
	else
		s->streams = st->next;
	s->streams_count--;
	buf_deinit(&st->in);
	free(st);
}

/* Hands over the whole messages in `in`. False: something else stands where a length must stand. */
static bool split(logsock *s, buf *in)
{
	for (;;) {
		slice have = buf_slice(in);
		size_t len = 0, at = 0;
		if (!have.ptr)
			return true;
		while (at < have.len && at < LENGTH_DIGITS && have.ptr[at] >= '0' && have.ptr[at] <= '9')
			len = len * 10 + (size_t)(have.ptr[at++] - '0');
		if (at == have.len)
			return true;
		if (at == 0 || have.ptr[at] != ' ' || len > LOGSOCK_LINE_MAX)
			return false;
		at++;
		if (len > have.len - at)
			return true;
		hand_over(s, slice_of(have.ptr + at, len));
		buf_consume(in, at + len, READ_ROOM);
	}
}

/* Hands over what the stream has, by `reads` reads at most. Without `all`, ends at a read that did not fill the
 * buffer: the loop calls again if more comes. With `all`, nothing is read later. What one read brought is in the
 * journal before the next read, because only the stream has the lines for which the queue of datagrams had no room: if
 * this process is killed, those are lost that it has read and not written. */
static void read_stream(stream *st, int reads, bool all)
{
	for (int i = 0; i < reads; i++) {
		if (!buf_reserve(&st->in, READ_ROOM / 2)) {
			log_event(log_stream_closed, LOG_C("problem", "out of memory"));
			stream_close(st);
			return;
		}
		size_t room = st->in.cap - st->in.end;
		ssize_t n = recv(st->io.fd, st->in.data + st->in.end, room, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			/* An incomplete message is lost; HAProxy sends a copy of each message by datagram. */
			stream_close(st);
			return;
		}
		st->in.end += (size_t)n;
		if (!split(st->owner, &st->in)) {
			st->owner->pending = true;
			st->owner->handler.bad_framing(st->owner->handler.ctx);
			stream_close(st);
			return;
		}
		if ((size_t)n < room && !all)
			return;
		on_batch_end(st->owner->loop, &st->owner->batch_end, 0);
	}
}

static void on_stream(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	read_stream(io->data, READS_AT_ONCE, false);
}

/* Takes over `fd`, on failure too. NULL: there are LOGSOCK_STREAMS already, or no memory. */
static stream *stream_open(logsock *s, int fd)
{
	stream *st = s->streams_count < LOGSOCK_STREAMS ? calloc(1, sizeof *st) : NULL;

	if (!st) {
		log_event(log_stream_refused, LOG_I("streams", s->streams_count));
		close(fd);
		return NULL;
	}
	st->owner = s;
	/* Let HAProxy see a reset whenever the last process that has the stream closes it or dies: a ring of
	 * HAProxy 3.0 overlooks an orderly end and keeps using the dead connection. */
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	buf_init(&st->in, 2 * READ_ROOM + LOGSOCK_LINE_MAX);
	ev_io_init(&st->io, on_stream, fd, EV_READ);
	st->io.data = st;
	st->next = s->streams;
	if (st->next)
		st->next->prev = st;
	s->streams = st;
	s->streams_count++;
	ev_io_start(s->loop, &st->io);
	log_event(log_stream, LOG_I("fd", fd));
	return st;
}

static void on_acceptable(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	logsock *s = io->data;
	int fd = listener_accept(&s->listeners[io - s->watchers]);

	if (fd >= 0)
		stream_open(s, fd);
}

bool logsock_adopt(logsock *s, int fd, slice begun)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
	    begun.len > LENGTH_DIGITS + 1 + LOGSOCK_LINE_MAX) {
		close(fd);
		return false;
	}
	stream *st = stream_open(s, fd);
	if (!st)
		return false;
	if (buf_append(&st->in, begun.ptr, begun.len) && split(s, &st->in))
		return true;
	stream_close(st);
	return false;
}

/* Reads the kernel's count of datagrams that it dropped since the socket was made. */
static void count_drops(logsock *s, size_t at, struct msghdr *message)
{
	uint32_t drops;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
			continue;
		memcpy(&drops, CMSG_DATA(c), sizeof drops);
		if (drops != s->drops[at])
			s->handler.dropped(s->handler.ctx, drops - s->drops[at]);
		s->drops[at] = drops;
	}
}

/* Makes the next MSG_PEEK begin at the first datagram. */
static bool rewind_peek(int fd)
{
	int from = 0;
	return setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &from, sizeof from) == 0;
}

/* Reads a batch but leaves it in the socket, has it written to the journal, and only then takes it off. So if the agent
 * is killed between, the next one reads the same lines again from the socket that it inherits. False: no more is there.
 */
static bool read_datagrams(logsock *s, size_t at)
{
	int fd = s->listeners[at].fd;
	char control[CMSG_SPACE(sizeof(uint32_t))];
	struct mmsghdr messages[LOGSOCK_BATCH];
	struct iovec parts[LOGSOCK_BATCH];

	memset(messages, 0, sizeof messages);
	for (size_t i = 0; i < LOGSOCK_BATCH; i++) {
		parts[i] = (struct iovec){ s->datagrams + i * LOGSOCK_LINE_MAX, LOGSOCK_LINE_MAX };
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	int n = recvmmsg(fd, messages, LOGSOCK_BATCH, MSG_DONTWAIT | MSG_PEEK, NULL);
	if (n <= 0) {
		/* SO_PEEK_OFF lives in the socket: a process that died while peeking may have left it behind all
		 * datagrams. Reset it. */
		rewind_peek(fd);
		return false;
	}
	for (int i = 0; i < n; i++)
		hand_over(s, slice_of(parts[i].iov_base, messages[i].msg_len));
	on_batch_end(s->loop, &s->batch_end, 0);
	for (int i = 0; i < n; i++)
		parts[i].iov_len = 0;
	messages[n - 1].msg_hdr.msg_control = control;
	messages[n - 1].msg_hdr.msg_controllen = sizeof control;
	/* MSG_TRUNC: the kernel then lowers SO_PEEK_OFF by the full length of what is taken off. */
	if (recvmmsg(fd, messages, (unsigned)n, MSG_DONTWAIT | MSG_TRUNC, NULL) == n)
		count_drops(s, at, &messages[n - 1].msg_hdr);
	return n == LOGSOCK_BATCH;
}

static void on_datagrams(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	logsock *s = io->data;
	for (int i = 0; i < READS_AT_ONCE && read_datagrams(s, (size_t)(io - s->watchers)); i++)
		;
}

logsock *logsock_new(struct ev_loop *loop, const listener *listeners, size_t count, logsock_handler handler)
{
	logsock *s = calloc(1, sizeof *s);

	if (s)
		s->datagrams = malloc((size_t)LOGSOCK_BATCH * LOGSOCK_LINE_MAX);
	if (!s || !s->datagrams || count > LOGSOCK_LISTENERS) {
		free(s ? s->datagrams : NULL);
		free(s);
		return NULL;
	}
	s->loop = loop;
	s->handler = handler;
	s->count = count;
	for (size_t i = 0; i < count; i++) {
		s->listeners[i] = listeners[i];
		ev_io_init(&s->watchers[i], listeners[i].datagram ? on_datagrams : on_acceptable, listeners[i].fd,
			   EV_READ);
		s->watchers[i].data = s;
	}
	/* A prepare watcher runs before the loop sleeps, when everything that was ready has been read. */
	ev_prepare_init(&s->batch_end, on_batch_end);
	s->batch_end.data = s;
	ev_prepare_start(loop, &s->batch_end);
	return s;
}

void logsock_begin(logsock *s)
{
	int one = 1;

	s->begun = true;
	for (size_t i = 0; i < s->count; i++) {
		int fd = s->listeners[i].fd;
		if (s->listeners[i].datagram) {
			setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one);
			/* Without SO_PEEK_OFF a second MSG_PEEK would read the first datagram again. UDP and unix
			 * sockets have it. */
			if (!rewind_peek(fd))
				log_event(log_peek_failed, LOG_C("problem", strerror(errno)));
		}
		ev_io_start(s->loop, &s->watchers[i]);
	}
}

static bool is_inet(int fd)
{
	int domain = AF_UNIX;
	socklen_t len = sizeof domain;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain != AF_UNIX;
}

/* Ends unix streams from HAProxy's end on, so that what it has not sent stays in its ring for the next agent, and what
 * it has sent is all here to be read. It may connect once more until nobody listens. TCP cannot do that: a stream that
 * is shut down for reading takes what comes, and an orderly end would stop a ring of HAProxy 3.0 for good. */
static void end_streams(logsock *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->listeners[i].datagram)
			continue;
		for (int n = 0, fd; n < LOGSOCK_STREAMS && (fd = listener_accept(&s->listeners[i])) >= 0; n++)
			stream_open(s, fd);
		listener_close(&s->listeners[i]);
	}
	for (stream *st = s->streams; st; st = st->next)
		if (!is_inet(st->io.fd))
			shutdown(st->io.fd, SHUT_RD);
}

static void read_streams(logsock *s, int reads)
{
	for (stream *st = s->streams, *after; st; st = after) {
		after = st->next;
		read_stream(st, reads, true);
	}
}

/* Reads unix streams to their ends, and those of TCP until what was sent by now has arrived: a read that finds nothing
 * does not tell that, because the peer's kernel may still have much. */
static void read_to_end(logsock *s)
{
	const int64_t until = clock_mono_ms() + LAST_MS;
	struct pollfd polled[LOGSOCK_STREAMS];

	end_streams(s);
	read_streams(s, LAST_READS);
	while (s->streams && clock_mono_ms() < until) {
		nfds_t count = 0;
		for (const stream *st = s->streams; st; st = st->next)
			polled[count++] = (struct pollfd){ .fd = st->io.fd, .events = POLLIN };
		if (poll(polled, count, LAST_QUIET_MS) <= 0)
			return;
		read_streams(s, READS_AT_ONCE);
	}
}

void logsock_free(logsock *s, bool (*each)(void *ctx, int fd, slice begun), void *ctx)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		ev_io_stop(s->loop, &s->watchers[i]);
	if (s->begun && each)
		read_streams(s, READS_AT_ONCE);
	else if (s->begun)
		read_to_end(s);
	for (size_t i = 0; i < s->count; i++)
		while (s->begun && s->listeners[i].datagram && read_datagrams(s, i))
			;
	on_batch_end(s->loop, &s->batch_end, 0);
	while (each && s->streams && each(ctx, s->streams->io.fd, buf_slice(&s->streams->in)))
		stream_close(s->streams);
	if (each && s->streams && s->begun) {
		read_to_end(s);
		on_batch_end(s->loop, &s->batch_end, 0);
	}
	while (s->streams)
		stream_close(s->streams);
	ev_prepare_stop(s->loop, &s->batch_end);
	for (size_t i = 0; i < s->count; i++)
		listener_close(&s->listeners[i]);
	free(s->datagrams);
	free(s);
}

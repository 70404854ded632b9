/* SPDX-License-Identifier: MIT
 *
 * An agent that does nothing: it acknowledges every NOTIFY with the same variables of an allowed decision, and reads no
 * byte of the message. So it shows what SPOE itself costs.
 *
 *   null_agent SOCKET BACKEND [THREADS] [on|off|auto] [ledger]
 *
 * A BACKEND of `-`: each answer has one variable only. The fourth argument says whether it agrees to pipelining; auto:
 * only with HAProxy 3.0 and older. `ledger`: it answers as if HAProxy sent records. It shares no code with the agent,
 * and trusts its HAProxy: for benchmarks only. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ = 64 * 1024, HEAD = 32, OUT = 256 * 1024, MAX_FRAME = 1024 * 1024, HELLO_MAX = 1024 };
enum { HAPROXY_HELLO = 1, HAPROXY_DISCONNECT = 2, NOTIFY = 3, AGENT_HELLO = 101, AGENT_DISCONNECT = 102, ACK = 103 };

typedef struct conn {
	int fd;
	bool over, writing;
	size_t have;                    /* bytes of the frame in `frame` */
	size_t len;                     /* of the frame with its prefix; 0: not known yet */
	size_t seen;                    /* bytes of the frame that have arrived */
	unsigned char frame[HELLO_MAX]; /* the frame's first bytes */
	size_t out, sent;               /* bytes in `buf`, and how many of them were sent */
	unsigned char buf[OUT];
} conn;

static unsigned char answer[1024]; /* the actions of every ACK */
static size_t answer_len;
static int listening = -1;
static enum { ON, OFF, AUTO } pipelining;

static size_t put_varint(unsigned char *at, uint64_t v)
{
	size_t n = 0;
	if (v < 240) {
		at[n++] = (unsigned char)v;
		return n;
	}
	at[n++] = (unsigned char)(v | 240);
	for (v = (v - 240) >> 4; v >= 128; v = (v - 128) >> 7)
		at[n++] = (unsigned char)(v | 128);
	at[n++] = (unsigned char)v;
	return n;
}

static uint64_t get_varint(const unsigned char **at)
{
	uint64_t v = *(*at)++, b;
	if (v < 240)
		return v;
	for (unsigned shift = 4; shift < 60; shift += 7) {
		b = *(*at)++;
		v += b << shift;
		if (b < 128)
			break;
	}
	return v;
}

static size_t put_str(unsigned char *at, const char *s)
{
	size_t len = strlen(s), n = put_varint(at, len);
	memcpy(at + n, s, len);
	return n + len;
}

static void set_head(const char *name)
{
	answer[answer_len++] = 1; /* set-var */
	answer[answer_len++] = 3; /* arguments */
	answer[answer_len++] = 2; /* scope: transaction */
	answer_len += put_str(answer + answer_len, name);
}

static void set_str(const char *name, const char *value)
{
	set_head(name);
	answer[answer_len++] = 8;
	answer_len += put_str(answer + answer_len, value);
}

/* A number below 240. */
static void set_number(const char *name, unsigned char value)
{
	set_head(name);
	answer[answer_len++] = 4; /* int64 */
	answer[answer_len++] = value;
}

/* Writes a frame's length, type, FIN and ids; returns where the payload begins. */
static unsigned char *frame_head(unsigned char *at, int type, const unsigned char *ids, size_t ids_len, size_t payload)
{
	uint32_t len = (uint32_t)(5 + ids_len + payload);
	unsigned char head[9] = { (unsigned char)(len >> 24),
				  (unsigned char)(len >> 16),
				  (unsigned char)(len >> 8),
				  (unsigned char)len,
				  (unsigned char)type,
				  0,
				  0,
				  0,
				  1 };
	memcpy(at, head, sizeof head);
	memcpy(at + sizeof head, ids, ids_len);
	return at + sizeof head + ids_len;
}

static void hello(conn *c)
{
	static const unsigned char no_ids[2] = { 0, 0 };
	unsigned char payload[256];
	size_t n = 0, size = MAX_FRAME;
	bool announced = memmem(c->frame, c->len, "pipelining", 10), async = memmem(c->frame, c->len, "async", 5);
	const unsigned char *key = memmem(c->frame, c->len, "max-frame-size", 14);

	if (key) {
		key += 15; /* the name and the value's type */
		uint64_t theirs = get_varint(&key);
		if (theirs < size)
			size = (size_t)theirs;
	}
	n += put_str(payload + n, "version");
	payload[n++] = 8;
	n += put_str(payload + n, "2.0");
	n += put_str(payload + n, "max-frame-size");
	payload[n++] = 3;
	n += put_varint(payload + n, size);
	n += put_str(payload + n, "capabilities");
	payload[n++] = 8;
	n += put_str(payload + n, announced && (pipelining == ON || (pipelining == AUTO && async)) ? "pipelining" : "");
	memcpy(frame_head(c->buf + c->out, AGENT_HELLO, no_ids, 2, n), payload, n);
	c->out += 11 + n;
}

static void goodbye(conn *c)
{
	static const unsigned char no_ids[2] = { 0, 0 };
	static const unsigned char payload[] = "\x0bstatus-code\x03\x00\x07message\x08\x02ok";

	memcpy(frame_head(c->buf + c->out, AGENT_DISCONNECT, no_ids, 2, sizeof payload - 1), payload,
	       sizeof payload - 1);
	c->out += 11 + sizeof payload - 1;
	c->over = true;
}

static void acknowledge(conn *c)
{
	const unsigned char *ids = c->frame + 9, *end = ids;

	get_varint(&end);
	get_varint(&end);
	memcpy(frame_head(c->buf + c->out, ACK, ids, (size_t)(end - ids), answer_len), answer, answer_len);
	c->out += 9 + (size_t)(end - ids) + answer_len;
}

/* A whole frame has arrived; `frame` holds its beginning. */
static void whole(conn *c)
{
	switch (c->frame[4]) {
	case HAPROXY_HELLO:
		hello(c);
		break;
	case HAPROXY_DISCONNECT:
		goodbye(c);
		break;
	case NOTIFY:
		acknowledge(c);
		break;
	default:
		break;
	}
}

static void take(conn *c, const unsigned char *p, size_t n)
{
	while (n > 0 && !c->over) {
		size_t want = c->len == 0 ? 4 - c->seen : c->len - c->seen, got = want < n ? want : n;
		/* Keep only the head of a NOTIFY. */
		size_t room = c->len && (c->have > 4 ? c->frame[4] : p[0]) == NOTIFY ? HEAD : sizeof c->frame;
		size_t keep = c->have >= room ? 0 : got < room - c->have ? got : room - c->have;
		memcpy(c->frame + c->have, p, keep);
		c->have += keep;
		c->seen += got;
		p += got;
		n -= got;
		if (c->len == 0 && c->seen == 4)
			c->len = 4 + ((size_t)c->frame[0] << 24 | (size_t)c->frame[1] << 16 | (size_t)c->frame[2] << 8 |
				      c->frame[3]);
		if (c->len && c->seen == c->len) {
			whole(c);
			c->len = c->seen = c->have = 0;
		}
	}
}

/* Sends what is in `buf`. False: the connection is over. */
static bool flush(conn *c, int ep)
{
	while (c->sent < c->out) {
		ssize_t n = send(c->fd, c->buf + c->sent, c->out - c->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0) {
			if (!c->writing)
				epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){ EPOLLOUT, { .ptr = c } });
			c->writing = true;
			return true;
		}
		c->sent += (size_t)n;
	}
	c->out = c->sent = 0;
	if (c->writing)
		epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){ EPOLLIN, { .ptr = c } });
	c->writing = false;
	return !c->over;
}

static void accept_one(int ep)
{
	int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	conn *c = fd < 0 ? NULL : malloc(sizeof *c);

	if (!c) {
		if (fd >= 0)
			close(fd);
		return;
	}
	c->fd = fd;
	c->over = c->writing = false;
	c->have = c->len = c->seen = c->out = c->sent = 0;
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLIN, { .ptr = c } });
}

static void *work(void *arg)
{
	static _Thread_local unsigned char room[READ];
	struct epoll_event events[64];
	int ep = epoll_create1(EPOLL_CLOEXEC);

	(void)arg;
	epoll_ctl(ep, EPOLL_CTL_ADD, listening, &(struct epoll_event){ EPOLLIN | EPOLLEXCLUSIVE, { .ptr = NULL } });
	for (;;) {
		int count = epoll_wait(ep, events, 64, -1);
		for (int i = 0; i < count; i++) {
			conn *c = events[i].data.ptr;
			if (!c) {
				accept_one(ep);
				continue;
			}
			bool alive = true;
			if (!c->writing) {
				/* The answers to one read fit into `buf`, because in every benchmark a message is
				 * longer than its answer. */
				ssize_t n = recv(c->fd, room, READ, 0);
				if (n > 0)
					take(c, room, (size_t)n);
				alive = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
			}
			if (alive)
				alive = flush(c, ep);
			if (!alive) {
				close(c->fd);
				free(c);
			}
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int threads = argc > 3 ? atoi(argv[3]) : 1;
	pthread_t thread;

	if (argc < 3 || threads < 1 || threads > 64 || strlen(argv[1]) >= sizeof at.sun_path || strlen(argv[2]) > 200) {
		fputs("usage: null_agent SOCKET BACKEND [THREADS] [on|off|auto] [ledger]\n", stderr);
		return 64;
	}
	pipelining = argc > 4 && strcmp(argv[4], "off") == 0  ? OFF :
		     argc > 4 && strcmp(argv[4], "auto") == 0 ? AUTO :
								ON;
	signal(SIGPIPE, SIG_IGN);
	/* What spoa-llm answers a request for a stream, so that HAProxy does the same for both. */
	if (strcmp(argv[2], "-") != 0) {
		set_str("backend", argv[2]);
		set_str("auth_value", "Bearer sk-operator-openai");
		set_str("line",
			",\"route\":\"gpt-\",\"protocol\":\"openai\",\"model\":\"gpt-4.1-mini\",\"project\":\"\",\"client\":\"\","
			"\"ua\":\"OpenAI/Python 1.99.1\",\"stream\":\"1\",\"metered\":\"1\"");
		if (argc > 5)
			set_number("stream", 2);
	}
	set_str("allow", "authorization");

	strcpy(at.sun_path, argv[1]);
	unlink(argv[1]);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listening < 0 || bind(listening, (struct sockaddr *)&at, sizeof at) != 0 || listen(listening, 4096) != 0) {
		perror("null_agent");
		return 71;
	}
	while (--threads > 0)
		if (pthread_create(&thread, NULL, work, NULL) != 0)
			return 71;
	work(NULL);
	return 0;
}

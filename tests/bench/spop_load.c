/* SPDX-License-Identifier: MIT
 *
 * Acts as a HAProxy that pipelines: keeps INFLIGHT questions under way on each of CONNECTIONS connections, for SECONDS.
 * Reads the first answer, which must forward to BACKEND, and compares every later answer with it, byte for byte.
 *
 *   spop_load SOCKET BACKEND BODY [name=value ...]     BODY: a file, the request's body
 *
 *   conns=8 inflight=20 seconds=2 warm=0.3 threads=1
 *   head=8192 tail=8192   bytes of the body's beginning and end that are sent; head=0: the whole body, as HAProxy 2.6
 *   pid=0                 the agent's worker process, whose CPU time is reported; 0: none
 *
 * Prints one JSON object. Exit 1: an answer was wrong, or a connection was lost. */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "notify.h"
#include "spop/varint.h"

enum { READ = 256 * 1024, HEAD_ROOM = 32, IOVS = 512, OCTAVES = 40, STEPS = 32, CONNS_MAX = 1024, INFLIGHT_MAX = 1024 };

typedef struct slot {
	uint64_t sent; /* ns */
	unsigned char head[HEAD_ROOM];
	size_t head_len;
} slot;

typedef struct conn {
	int fd;
	slot *slots;
	unsigned *queue; /* a ring of slots whose question is still to be sent; the front one may be half sent */
	unsigned first, count;
	size_t written; /* bytes of the front slot's question that were sent */
	unsigned char *in;
	size_t have;
	bool full; /* the socket takes no more for now */
} conn;

typedef struct load {
	pthread_t thread;
	unsigned conns_count;
	conn *conns;
	uint64_t frames, wrong;
	uint64_t histogram[OCTAVES * STEPS];
} load;

static struct sockaddr_un address = { .sun_family = AF_UNIX };
static const char *backend;
static unsigned char *payload;
static size_t payload_len;
static unsigned conns = 8, inflight = 20, threads = 1;
static double seconds = 2, warm = 0.3;
static size_t head = 8192, tail = 8192;
static long pid;

static atomic_bool counting, over;
static unsigned char expected[4096]; /* the payload of every ACK */
static size_t expected_len;

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "spop_load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
	exit(1);
}

slice bench_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t cap = 4 * 1024 * 1024, len;
	char *bytes = malloc(cap);

	if (!f || !bytes)
		return (slice){ NULL, 0 };
	len = fread(bytes, 1, cap, f);
	fclose(f);
	return slice_of(bytes, len);
}

/* CPU time of all the agent's threads, in ns. */
static uint64_t agent_cpu(void)
{
	char path[300];
	uint64_t sum = 0;

	snprintf(path, sizeof path, "/proc/%ld/task", pid);
	DIR *dir = pid ? opendir(path) : NULL;
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%ld/task/%s/schedstat", pid, e->d_name);
		FILE *f = fopen(path, "r");
		unsigned long long ran = 0;
		if (f && fscanf(f, "%llu", &ran) == 1)
			sum += ran;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return sum;
}

/* ---- the conversation */

static void read_all(int fd, unsigned char *at, size_t len)
{
	while (len > 0) {
		ssize_t n = read(fd, at, len);
		if (n <= 0)
			die("the agent closed a connection in its HELLO");
		at += n;
		len -= (size_t)n;
	}
}

/* Connects, and says HELLO as HAProxy up to 3.0 does: later ones may not pipeline. */
static int dial(void)
{
	unsigned char room[1024];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	spop_writer w = frame_begin(room, sizeof room, sizeof room - FRAME_PREFIX, FRAME_HAPROXY_HELLO, 0, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		die("cannot connect");
	spop_put_name(&w, SLICE("supported-versions"));
	spop_put_str(&w, SLICE("2.0"));
	spop_put_name(&w, SLICE("max-frame-size"));
	spop_put_uint32(&w, 1048572);
	spop_put_name(&w, SLICE("capabilities"));
	spop_put_str(&w, SLICE("pipelining,async"));
	size_t len = frame_end(&w);
	if (write(fd, room, len) != (ssize_t)len)
		die("cannot say HELLO");
	read_all(fd, room, 4);
	len = (size_t)room[2] << 8 | room[3];
	if (len > sizeof room - 4 || (room[0] | room[1]))
		die("no AGENT-HELLO");
	read_all(fd, room + 4, len);
	if (room[4] != FRAME_AGENT_HELLO)
		die("no AGENT-HELLO");
	if (inflight > 1 && !memmem(room, len + 4, "pipelining", 10))
		die("the agent declines pipelining");
	if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
		die("fcntl");
	return fd;
}

static void conn_open(conn *c)
{
	c->fd = dial();
	c->slots = calloc(inflight, sizeof *c->slots);
	c->queue = calloc(inflight, sizeof *c->queue);
	c->in = malloc(READ);
	if (!c->slots || !c->queue || !c->in)
		die("no memory");
	for (unsigned i = 0; i < inflight; i++) {
		/* A stream-id of as many bytes as HAProxy's take after a million streams. */
		spop_writer w = frame_begin(c->slots[i].head, HEAD_ROOM, HEAD_ROOM, FRAME_NOTIFY, 1000000 + i, 1);
		size_t len = frame_end(&w), all = len - FRAME_PREFIX + payload_len;
		for (unsigned b = 0; b < 4; b++)
			c->slots[i].head[b] = (unsigned char)(all >> (24 - 8 * b));
		c->slots[i].head_len = len;
		c->queue[i] = i;
	}
	c->count = inflight;
}

static void conn_send(conn *c)
{
	struct iovec iov[IOVS];

	c->full = false;
	while (c->count > 0) {
		int n = 0;
		size_t skip = c->written;
		uint64_t at = now();
		for (unsigned i = 0; i < c->count && n + 2 <= IOVS; i++) {
			slot *s = &c->slots[c->queue[(c->first + i) % inflight]];
			if (i > 0 || c->written == 0)
				s->sent = at;
			if (skip < s->head_len)
				iov[n++] = (struct iovec){ s->head + skip, s->head_len - skip };
			size_t body_skip = skip > s->head_len ? skip - s->head_len : 0;
			iov[n++] = (struct iovec){ payload + body_skip, payload_len - body_skip };
			skip = 0;
		}
		ssize_t sent = writev(c->fd, iov, n);
		if (sent < 0 && errno == EAGAIN) {
			c->full = true;
			return;
		}
		if (sent < 0)
			die("a connection was lost");
		size_t done = c->written + (size_t)sent;
		while (c->count > 0 && done >= c->slots[c->queue[c->first]].head_len + payload_len) {
			done -= c->slots[c->queue[c->first]].head_len + payload_len;
			c->first = (c->first + 1) % inflight;
			c->count--;
		}
		c->written = done;
	}
}

/* True: the actions forward the request to `backend`. Their order does not matter. */
static bool forwards(slice actions)
{
	cursor c = cursor_of(actions);
	bool allowed = false, denied = false, named = false;

	while (!cursor_done(&c)) {
		uint8_t type = cursor_u8(&c), args = cursor_u8(&c), scope = cursor_u8(&c);
		slice name = spop_name_read(&c);
		spop_value v = spop_value_read(&c);
		if (type != 1 || args != 3 || scope != 2)
			return false;
		if (slice_eq(name, SLICE("deny")))
			denied = true;
		if (slice_eq(name, SLICE("allow")))
			allowed = v.type == SPOP_STR && v.bytes.len > 0;
		if (slice_eq(name, SLICE("backend")))
			named = slice_eq(v.bytes, slice_cstr(backend));
	}
	return !c.failed && allowed && !denied && named;
}

static void account(load *l, const slot *s, uint64_t at)
{
	uint64_t ns = at > s->sent ? at - s->sent : 1;
	unsigned octave = 63 - (unsigned)__builtin_clzll(ns);
	unsigned step = octave >= 5 ? (unsigned)(ns >> (octave - 5)) & 31 : 0;

	l->frames++;
	l->histogram[(octave < OCTAVES ? octave : OCTAVES - 1) * STEPS + step]++;
}

static void ack(load *l, conn *c, slice frame_, uint64_t at)
{
	frame f;
	size_t used;

	if (frame_decode(frame_, UINT32_MAX, &f, &used) != FRAME_OK || f.type != FRAME_ACK || f.stream_id < 1000000 ||
	    f.stream_id - 1000000 >= inflight || f.frame_id != 1) {
		errno = 0;
		die("the agent sent a frame that is not an ACK, or an ACK of a question that was not asked");
	}
	unsigned i = (unsigned)(f.stream_id - 1000000);
	if (f.payload.len != expected_len || memcmp(f.payload.ptr, expected, expected_len) != 0)
		l->wrong++;
	if (counting)
		account(l, &c->slots[i], at);
	c->queue[(c->first + c->count) % inflight] = i;
	c->count++;
}

static void conn_receive(load *l, conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->have, READ - c->have, 0);
	size_t at = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		die("the agent closed a connection");
	c->have += (size_t)n;
	uint64_t when = now();
	while (c->have - at >= 4) {
		size_t len = 4 + ((size_t)c->in[at] << 24 | (size_t)c->in[at + 1] << 16 | (size_t)c->in[at + 2] << 8 |
				  c->in[at + 3]);
		if (len > c->have - at)
			break;
		ack(l, c, slice_of(c->in + at, len), when);
		at += len;
	}
	memmove(c->in, c->in + at, c->have - at);
	c->have -= at;
}

static void *run(void *arg)
{
	load *l = arg;
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[64];

	for (unsigned i = 0; i < l->conns_count; i++) {
		conn *c = &l->conns[i];
		epoll_ctl(ep, EPOLL_CTL_ADD, c->fd,
			  &(struct epoll_event){ EPOLLIN | EPOLLOUT | EPOLLET, { .ptr = c } });
		conn_send(c);
	}
	while (!over) {
		int count = epoll_wait(ep, events, 64, 100);
		for (int i = 0; i < count; i++) {
			conn *c = events[i].data.ptr;
			if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				conn_receive(l, c);
			/* Edge-triggered, and not read until empty: the answers to these questions bring the next
			 * event. */
			conn_send(c);
		}
	}
	return NULL;
}

/* Asks once, on a connection of its own, and keeps the answer in `expected`. */
static void learn(void)
{
	conn c = { 0 };
	unsigned was = inflight;
	size_t len;

	inflight = 1;
	conn_open(&c);
	while (c.count > 0)
		conn_send(&c);
	if (fcntl(c.fd, F_SETFL, 0) != 0)
		die("fcntl");
	read_all(c.fd, c.in, 4);
	len = (size_t)c.in[2] << 8 | c.in[3];
	read_all(c.fd, c.in + 4, len);
	frame f;
	size_t used;
	errno = 0;
	if (frame_decode(slice_of(c.in, len + 4), UINT32_MAX, &f, &used) != FRAME_OK || f.type != FRAME_ACK ||
	    f.payload.len > sizeof expected || !forwards(f.payload))
		die("the first answer does not forward to the backend that is expected");
	memcpy(expected, f.payload.ptr, f.payload.len);
	expected_len = f.payload.len;
	close(c.fd);
	inflight = was;
}

static double quantile(const uint64_t *histogram, uint64_t total, double q)
{
	uint64_t rank = (uint64_t)(q * (double)total), sum = 0;

	for (unsigned i = 0; i < OCTAVES * STEPS; i++) {
		sum += histogram[i];
		if (sum > rank)
			return (double)((uint64_t)1 << (i / STEPS)) * (1. + (double)(i % STEPS) / STEPS) / 1e3;
	}
	return 0;
}

static void pause_for(double s)
{
	struct timespec t = { (time_t)s, (long)((s - (double)(time_t)s) * 1e9) };
	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

static bool option(const char *arg)
{
	return sscanf(arg, "conns=%u", &conns) == 1 || sscanf(arg, "inflight=%u", &inflight) == 1 ||
	       sscanf(arg, "threads=%u", &threads) == 1 || sscanf(arg, "seconds=%lf", &seconds) == 1 ||
	       sscanf(arg, "warm=%lf", &warm) == 1 || sscanf(arg, "head=%zu", &head) == 1 ||
	       sscanf(arg, "tail=%zu", &tail) == 1 || sscanf(arg, "pid=%ld", &pid) == 1;
}

int main(int argc, char **argv)
{
	bool usage = argc < 4;

	for (int i = 4; i < argc; i++)
		usage = usage || !option(argv[i]);
	if (usage || conns < 1 || conns > CONNS_MAX || inflight < 1 || inflight > INFLIGHT_MAX || threads < 1 ||
	    threads > conns || strlen(argv[1]) >= sizeof address.sun_path) {
		fputs("usage: spop_load SOCKET BACKEND BODY [name=value ...]; see the source\n", stderr);
		return 64;
	}
	strcpy(address.sun_path, argv[1]);
	backend = argv[2];
	signal(SIGPIPE, SIG_IGN);
	alarm((unsigned)(seconds + warm) + 20); /* an agent that hangs must not hang the benchmark */
	slice body = bench_read(argv[3]);
	payload = malloc(body.len + NOTIFY_EXTRA);
	payload_len = payload ? notify_payload(payload, body.len + NOTIFY_EXTRA, body, head, tail, 0) : 0;
	if (payload_len == 0)
		die("cannot read the body");
	learn();

	load *loads = calloc(threads, sizeof *loads);
	conn *all = calloc(conns, sizeof *all);
	if (!loads || !all)
		die("no memory");
	for (unsigned i = 0; i < conns; i++)
		conn_open(&all[i]);
	for (unsigned i = 0, at = 0; i < threads; i++) {
		loads[i].conns = all + at;
		loads[i].conns_count = conns / threads + (i < conns % threads);
		at += loads[i].conns_count;
		if (pthread_create(&loads[i].thread, NULL, run, &loads[i]) != 0)
			die("pthread_create");
	}
	pause_for(warm);
	struct timespec own[2];
	uint64_t agent = agent_cpu(), begin = now();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own[0]);
	counting = true;
	pause_for(seconds);
	counting = false;
	uint64_t took = now() - begin;
	agent = agent_cpu() - agent;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own[1]);
	over = true;

	static uint64_t histogram[OCTAVES * STEPS];
	uint64_t frames = 0, wrong = 0;
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(loads[i].thread, NULL);
		frames += loads[i].frames;
		wrong += loads[i].wrong;
		for (unsigned k = 0; k < OCTAVES * STEPS; k++)
			histogram[k] += loads[i].histogram[k];
	}
	printf("{\"frames\": %llu, \"seconds\": %.6f, \"wrong\": %llu, \"message_bytes\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f, "
	       "\"own_cpu\": %.6f, \"agent_cpu\": %.6f}\n",
	       (unsigned long long)frames, (double)took / 1e9, (unsigned long long)wrong, payload_len,
	       quantile(histogram, frames, .5), quantile(histogram, frames, .99),
	       (double)(own[1].tv_sec - own[0].tv_sec) + (double)(own[1].tv_nsec - own[0].tv_nsec) / 1e9,
	       (double)agent / 1e9);
	return wrong || frames == 0;
}

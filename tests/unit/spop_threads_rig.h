/* SPDX-License-Identifier: MIT
 *
 * For unit tests: SPOP threads (net/spop_threads.h) on a unix socket of their own, and HAProxy's side of the socket. */
#ifndef SPOP_THREADS_RIG_H
#define SPOP_THREADS_RIG_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/log.h"
#include "net/conn.h"
#include "unit.h"

enum { SOON = 5000, A_MOMENT = 150, ROOM = 64 * 1024 };

static char rig_dir[] = "/tmp/spop_threads.XXXXXX", rig_path[64];
static listener rig_socks[1];
static size_t rig_said, rig_heard; /* bytes that say() has sent and hear() has received */

/* ---- time, descriptors, system calls */

static inline double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void sleep_ms(int ms)
{
	poll(NULL, 0, ms);
}

static inline int open_fds(void)
{
	int count = 0;
	DIR *d = opendir("/proc/self/fd");

	while (d && readdir(d))
		count++;
	if (d)
		closedir(d);
	return count;
}

/* Replaces send() and counts its calls: only the agent's code calls it here. */
static atomic_uint rig_sends;

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	atomic_fetch_add(&rig_sends, 1);
	return sendto(fd, bytes, len, flags, NULL, 0);
}

static inline unsigned unit_sends(void)
{
	return atomic_load(&rig_sends);
}

/* ---- the threads */

static inline void add_route(route_table *t, const char *prefix, const char *env, unsigned slot)
{
	route *r = route_table_add(t);
	err e;

	if (!r)
		abort();
	r->name = strdup(prefix);
	r->prefix = strdup(prefix);
	r->upstream_given = strdup("https://one.test");
	CHECK(upstream_parse(&r->own, SLICE("https://one.test"), &e));
	if (env)
		r->auth = (credential){ .kind = AUTH_ENV, .source = strdup(env) };
	r->slot = slot;
	t->enabled++;
}

/* Makes a policy with routes for the models one- (let through), key- (gets a credential), bad- (its credential is
 * missing) and far- (a slot beyond all). If `target` is given: without routes, and with `target` for everything. */
static inline policy *make_policy(const char *target)
{
	route_table *t = route_table_new();
	err e;

	if (!t)
		abort();
	for (size_t i = 0; i < PROTOCOLS; i++)
		CHECK(upstream_parse(&t->targets[i], slice_cstr(target ? target : "https://target.test"), &e));
	if (!target) {
		/* Make answers much larger than their questions. */
		char key[4000];
		memset(key, 'k', sizeof key);
		key[sizeof key - 1] = '\0';
		setenv("UNIT_KEY", key, 1);
		add_route(t, "one-", NULL, 1);
		add_route(t, "key-", "UNIT_KEY", 2);
		add_route(t, "bad-", "UNIT_NO_KEY", 3);
		add_route(t, "far-", NULL, 5000);
	}
	policy *p = policy_new(t, NULL);
	if (!p)
		abort();
	return p;
}

typedef struct rig {
	spop_threads *threads;
	struct ev_loop *loop;
	ev_async ended;
	ev_timer patience;
	bool has_ended;
} rig;

static inline void on_ended(struct ev_loop *loop, ev_async *async, int events)
{
	(void)events;
	((rig *)async->data)->has_ended = true;
	ev_break(loop, EVBREAK_ALL);
}

static inline void on_patience(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)timer;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

static inline spop_limits limits_of(unsigned connections)
{
	return (spop_limits){
		.max_frame = 1 << 20, .max_connections = connections, .max_memory = 256 << 20, .max_in_flight = 512
	};
}

static inline void rig_listen(void)
{
	listener_rules rules = { .mode = 0600 };
	char address[80];
	err e;

	if (!mkdtemp(rig_dir)) {
		perror("mkdtemp");
		exit(1);
	}
	snprintf(rig_path, sizeof rig_path, "%s/spoa.sock", rig_dir);
	snprintf(address, sizeof address, "unix@%s", rig_path);
	if (!listener_open(&rig_socks[0], address, &rules, &e)) {
		printf("%s\n", e.text);
		exit(1);
	}
	log_setup(getenv("UNIT_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_KV);
}

static inline void rig_unlisten(void)
{
	listener_close(&rig_socks[0]);
	rmdir(rig_dir);
}

static inline void rig_new(rig *r, unsigned threads, spop_limits limits)
{
	err e = { 0 };

	memset(r, 0, sizeof *r);
	r->loop = ev_loop_new(EVFLAG_NOENV);
	ev_async_init(&r->ended, on_ended);
	r->ended.data = r;
	ev_async_start(r->loop, &r->ended);
	r->threads = spop_threads_new(rig_socks, 1, threads, limits, make_policy(NULL), r->loop, &r->ended, &e);
	if (!r->threads) {
		printf("spop_threads_new: %s\n", e.text);
		abort();
	}
}

/* Waits until the threads have ended, up to `seconds`. True: they have. */
static inline bool rig_wait(rig *r, double seconds)
{
	ev_now_update(r->loop);
	ev_timer_init(&r->patience, on_patience, seconds, 0.);
	ev_timer_start(r->loop, &r->patience);
	if (!r->has_ended)
		ev_run(r->loop, 0);
	ev_timer_stop(r->loop, &r->patience);
	return r->has_ended;
}

static inline void rig_free(rig *r)
{
	spop_threads_free(r->threads);
	ev_loop_destroy(r->loop);
}

static inline void rig_end(rig *r)
{
	spop_threads_stop(r->threads);
	CHECK(rig_wait(r, 5.));
	CHECK(spop_threads_connections(r->threads) == 0 && spop_threads_memory(r->threads) == 0);
	rig_free(r);
}

/* Adds up a counter of all threads; `offset` is its place in net_counters. */
static inline uint64_t rig_sum(const rig *r, size_t offset)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < spop_threads_count(r->threads); i++)
		sum += counter_get(
			(const counter *)(const void *)((const char *)spop_threads_counters(r->threads, i) + offset));
	return sum;
}

#define SUM(r, member) rig_sum(r, offsetof(net_counters, member))

/* Waits until `what` is true, up to 5 seconds, and returns `what`. */
#define UNTIL(what) \
	__extension__({ \
		double until_ = now() + 5.; \
		while (!(what) && now() < until_) \
			sleep_ms(2); \
		(what); \
	})

/* Starts the threads, and returns when each one runs, because only then does it accept connections. */
static inline void rig_start(rig *r)
{
	err e = { 0 };

	CHECK(spop_threads_start(r->threads, &e));
	for (unsigned i = 0; i < spop_threads_count(r->threads); i++)
		CHECK(UNTIL(counter_get(&spop_threads_counters(r->threads, i)->iterations) > 0));
}

/* ---- HAProxy's side */

static inline int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, rig_path, strlen(rig_path) + 1);
	CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
	return fd;
}

static inline void say(int fd, slice bytes)
{
	for (size_t at = 0; at < bytes.len;) {
		ssize_t n = sendto(fd, bytes.ptr + at, bytes.len - at, MSG_NOSIGNAL, NULL, 0);
		CHECK(n > 0);
		if (n <= 0)
			return;
		at += (size_t)n;
		rig_said += (size_t)n;
	}
}

static inline slice hello(unsigned char *out, slice capabilities, bool healthcheck)
{
	spop_writer w = frame_begin(out, 512, 65536, FRAME_HAPROXY_HELLO, 0, 0);

	spop_put_name(&w, SLICE("supported-versions"));
	spop_put_str(&w, SLICE("2.0"));
	spop_put_name(&w, SLICE("max-frame-size"));
	spop_put_uint32(&w, 1 << 20);
	spop_put_name(&w, SLICE("capabilities"));
	spop_put_str(&w, capabilities);
	if (healthcheck) {
		spop_put_name(&w, SLICE("healthcheck"));
		spop_put_bool(&w, true);
	}
	return slice_of(out, frame_end(&w));
}

/* Writes a NOTIFY that asks about `model`, with `pad` extra bytes in the body. */
static inline slice question(unsigned char *out, size_t room, uint64_t stream, const char *model, size_t pad)
{
	char *body = malloc(pad + 200);
	spop_writer w = frame_begin(out, room, 1 << 20, FRAME_NOTIFY, stream, 1);

	if (!body)
		abort();
	int len = snprintf(body, 200, "{\"model\":\"%s\",\"pad\":\"", model);
	memset(body + len, 'x', pad);
	memcpy(body + len + pad, "\"}", 2);
	size_t all = (size_t)len + pad + 2;
	spop_put_name(&w, SLICE(REQUEST_MESSAGE));
	spop_put_u8(&w, 9);
	spop_put_name(&w, SLICE("id"));
	spop_put_str(&w, SLICE("unit-1"));
	spop_put_name(&w, SLICE("method"));
	spop_put_str(&w, SLICE("POST"));
	spop_put_name(&w, SLICE("path"));
	spop_put_str(&w, SLICE("/v1/chat/completions"));
	spop_put_name(&w, SLICE("ctype"));
	spop_put_str(&w, SLICE("application/json"));
	spop_put_name(&w, SLICE("body"));
	spop_put_str(&w, slice_of(body, all));
	spop_put_name(&w, SLICE("buffered"));
	spop_put_int64(&w, (int64_t)all);
	spop_put_name(&w, SLICE("length"));
	spop_put_int64(&w, (int64_t)all);
	spop_put_name(&w, SLICE("headers"));
	spop_put_str(&w, SLICE("host,content-type,content-length"));
	spop_put_name(&w, SLICE("flags"));
	spop_put_u8(&w, SPOP_NULL);
	free(body);
	size_t frame_len = frame_end(&w);
	CHECK(frame_len > 0);
	return slice_of(out, frame_len);
}

typedef struct peer {
	int fd;
	buf in;
	unsigned char out[4096];
} peer;

typedef struct got {
	int type; /* of the frame; 0: nothing came in time, -1: the connection has ended */
	uint64_t stream;
	slice payload; /* valid until the next frame */
} got;

/* Receives the next frame. */
static inline got hear(peer *p, int wait_ms)
{
	static unsigned char last[1 << 20];
	double end = now() + wait_ms / 1000.;

	for (;;) {
		frame f;
		size_t used;
		frame_result r = frame_decode(buf_slice(&p->in), sizeof last, &f, &used);
		CHECK(r == FRAME_OK || r == FRAME_PARTIAL);
		if (r == FRAME_OK) {
			memcpy(last, f.payload.ptr, f.payload.len);
			got g = { f.type, f.stream_id, slice_of(last, f.payload.len) };
			buf_consume(&p->in, used, SIZE_MAX);
			return g;
		}
		double left = end - now();
		struct pollfd q = { .fd = p->fd, .events = POLLIN };
		if (poll(&q, 1, left > 0 ? (int)(left * 1000) : 0) <= 0)
			return (got){ .type = 0 };
		CHECK(buf_reserve(&p->in, ROOM));
		ssize_t n = recv(p->fd, p->in.data + p->in.end, ROOM, 0);
		if (n <= 0)
			return (got){ .type = -1 };
		p->in.end += (size_t)n;
		rig_heard += (size_t)n;
	}
}

static inline void peer_open(peer *p)
{
	p->fd = dial();
	buf_init(&p->in, 16 << 20);
}

static inline void peer_close(peer *p)
{
	close(p->fd);
	buf_deinit(&p->in);
}

/* Opens a connection, says HELLO and gets the answer. */
static inline void peer_greet(peer *p)
{
	peer_open(p);
	say(p->fd, hello(p->out, SLICE("pipelining,async"), false));
	CHECK(hear(p, SOON).type == FRAME_AGENT_HELLO);
}

static inline void ask(peer *p, uint64_t stream, const char *model)
{
	say(p->fd, question(p->out, sizeof p->out, stream, model, 0));
}

static inline bool acked(peer *p, uint64_t stream)
{
	got g = hear(p, SOON);
	return g.type == FRAME_ACK && g.stream == stream;
}

static inline bool silent(peer *p)
{
	return hear(p, A_MOMENT).type == 0;
}

/* Receives a DISCONNECT and the end of the connection, and returns the status; -1: something else came. */
static inline int told_to_go(peer *p, int wait_ms, char *why, size_t room)
{
	got g = hear(p, wait_ms);
	int status = -1;

	if (g.type != FRAME_AGENT_DISCONNECT)
		return -1;
	cursor c = cursor_of(g.payload);
	while (!cursor_done(&c)) {
		slice name = spop_name_read(&c);
		spop_value v = spop_value_read(&c);
		if (slice_eq(name, SLICE("status-code")))
			status = (int)v.num;
		else if (why)
			snprintf(why, room, "%.*s", (int)v.bytes.len, v.bytes.ptr);
	}
	return hear(p, SOON).type == -1 ? status : -1;
}

/* Sends questions and reads no answer, until the agent stops reading or closes the connection (an error if `stays`).
 * Returns the number of questions sent: the agent holds the answers to some, and has not answered the others yet. */
static inline uint64_t choke(peer *p, const rig *r, bool stays)
{
	uint64_t at = 0;
	size_t sent = 0;
	double still = 0; /* since when nothing could be sent */

	for (;;) {
		slice q = question(p->out, sizeof p->out, at, "key-x", 0);
		ssize_t n = sendto(p->fd, q.ptr + sent, q.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
		if (n < 0 && errno == EAGAIN) {
			if (still > 0 && now() - still > 0.1 && SUM(r, backpressure) > 0)
				break;
			if (still <= 0)
				still = now();
			sleep_ms(5);
			continue;
		}
		if (n < 0) {
			CHECK(!stays);
			return at;
		}
		still = 0;
		sent += (size_t)n;
		if (sent == q.len) {
			sent = 0;
			at++;
		}
	}
	/* A unix socket takes a small write whole or not at all. */
	CHECK(sent == 0);
	return at;
}

#endif

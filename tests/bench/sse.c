/* SPDX-License-Identifier: MIT
 *
 * Both ends of many event streams at a time. Each event carries the time at which it was sent, so that the reader
 * knows how long it was under way.
 *
 *   sse serve HOST PORT [EVENTS [INTERVAL_MS]]     the upstream: any request is answered by such a stream
 *   sse load HOST PORT BODY STREAMS SECONDS EVENTS INTERVAL_MS
 *
 * load keeps STREAMS streams open: when a stream has ended, its connection asks for the next one. The streams begin
 * evenly spread over the lifetime of one. Prints one JSON object, in microseconds: time to the first event, time an
 * event was under way, longest silence of a stream beyond the interval; and how many events came, in all and while it
 * measured. Exit 1: an answer was not such a stream, or a connection was lost. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 16 * 1024, CONNS_MAX = 4096, SAMPLES_MAX = 1 << 21 };

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "sse: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
	exit(1);
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	if (inet_pton(AF_INET, host, &at.sin_addr) != 1)
		die("the host is no IPv4 address");
	return at;
}

/* No delay, and no blocking. */
static void ready(int fd)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
		die("fcntl");
}

/* Waits for events until `due` (ns). */
static int wait_until(int ep, struct epoll_event *events, int room, uint64_t due)
{
	uint64_t at = now();
	struct timespec t = { 0, 0 };

	if (due > at)
		t = (struct timespec){ (time_t)((due - at) / 1000000000u), (long)((due - at) % 1000000000u) };
	return epoll_pwait2(ep, events, room, &t, NULL);
}

/* ---- the upstream */

/* A client's connection to the upstream. */
typedef struct giver {
	int fd;
	int left;     /* events still to be sent, the end included */
	uint64_t due; /* ns, when the next event is sent; 0: no stream is open */
	size_t have;  /* bytes of a request's head */
	size_t body;  /* bytes of its body that are still to come */
	char head[ROOM];
} giver;

/* Sends one event as a chunk, with the answer's head before the first one and its end behind the last one. */
static void give(giver *g, int events, uint64_t interval)
{
	char event[400], chunk[800];
	int len, all = 0;

	if (g->left == events)
		all = snprintf(
			chunk, sizeof chunk,
			"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
	if (g->left > 1)
		len = snprintf(
			event, sizeof event,
			"data: {\"t\":%019llu,\"id\":\"chatcmpl-0123456789\",\"object\":\"chat.completion.chunk\",\"created\":1795359320,"
			"\"model\":\"gpt-4.1-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}]}\n\n",
			(unsigned long long)now());
	else
		len = snprintf(event, sizeof event, "data: [DONE]\n\n");
	all += snprintf(chunk + all, sizeof chunk - (size_t)all, "%x\r\n%s\r\n%s", (unsigned)len, event,
			g->left > 1 ? "" : "0\r\n\r\n");
	/* If the socket is full, the stream ends here, and the reader fails because events are missing. */
	ssize_t sent = send(g->fd, chunk, (size_t)all, MSG_NOSIGNAL);
	g->left = sent == all ? g->left - 1 : 0;
	g->due = g->left > 0 ? g->due + interval : 0;
}

/* Reads requests, which come one after the other; a whole request starts a stream. False: the connection is closed. */
static bool asked(giver *g, int events, uint64_t interval)
{
	for (;;) {
		char scrap[64 * 1024];
		bool in_body = g->body > 0;
		ssize_t n = in_body ? recv(g->fd, scrap, g->body < sizeof scrap ? g->body : sizeof scrap, 0) :
				      recv(g->fd, g->head + g->have, ROOM - 1 - g->have, 0);
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0)
			return false;
		if (in_body) {
			g->body -= (size_t)n;
		} else {
			g->have += (size_t)n;
			g->head[g->have] = '\0';
			char *end = strstr(g->head, "\r\n\r\n");
			if (!end && g->have == ROOM - 1)
				return false;
			if (!end)
				continue;
			char *length = strcasestr(g->head, "content-length:");
			size_t want = length && length < end ? (size_t)atol(length + 15) : 0,
			       got = g->have - (size_t)(end + 4 - g->head);
			if (got > want)
				return false;
			g->body = want - got;
			g->have = 0;
		}
		if (g->body > 0)
			continue;
		g->left = events;
		g->due = now();
		give(g, events, interval);
	}
}

static int serve(int argc, char **argv)
{
	struct sockaddr_in at = address_of(argv[2], argv[3]);
	int events = argc > 4 ? atoi(argv[4]) : 20, on = 1;
	uint64_t interval = (argc > 5 ? (uint64_t)atoi(argv[5]) : 100) * 1000000u;
	static giver *givers[CONNS_MAX];
	size_t count = 0;
	struct epoll_event ready_[64];
	int ep = epoll_create1(EPOLL_CLOEXEC),
	    listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listening, (struct sockaddr *)&at, sizeof at) != 0 || listen(listening, 4096) != 0)
		die("cannot listen");
	epoll_ctl(ep, EPOLL_CTL_ADD, listening, &(struct epoll_event){ EPOLLIN, { .ptr = NULL } });
	for (;;) {
		uint64_t due = now() + 1000000000u;
		for (size_t i = 0; i < count; i++)
			if (givers[i]->due && givers[i]->due < due)
				due = givers[i]->due;
		int n = wait_until(ep, ready_, 64, due);
		for (int i = 0; i < n; i++) {
			giver *g = ready_[i].data.ptr;
			if (!g) {
				int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
				if (fd < 0)
					continue;
				g = count < CONNS_MAX ? calloc(1, sizeof *g) : NULL;
				if (!g) {
					close(fd);
					continue;
				}
				ready(fd);
				g->fd = fd;
				givers[count++] = g;
				epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLIN, { .ptr = g } });
			} else if (!asked(g, events, interval)) {
				close(g->fd);
				for (size_t k = 0; k < count; k++)
					if (givers[k] == g)
						givers[k] = givers[--count];
				free(g);
			}
		}
		uint64_t at_ = now();
		for (size_t i = 0; i < count; i++)
			if (givers[i]->due && givers[i]->due <= at_)
				give(givers[i], events, interval);
	}
}

/* ---- the client */

typedef struct samples {
	size_t count;
	uint64_t *ns;
} samples;

static samples first, under_way;
static uint64_t silence, bytes_in, events_in, lost_samples;

static void add(samples *s, uint64_t ns)
{
	if (!s->ns)
		s->ns = malloc(SAMPLES_MAX * sizeof *s->ns);
	if (s->ns && s->count < SAMPLES_MAX)
		s->ns[s->count++] = ns;
	else
		lost_samples++;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static double quantile(samples *s, double q)
{
	return s->count ? (double)s->ns[(size_t)(q * (double)(s->count - 1))] / 1e3 : 0;
}

/* A connection of the client. */
typedef struct taker {
	int fd;
	bool asking;  /* a stream is open, or asked for */
	uint64_t due; /* ns, when the next stream is asked for */
	uint64_t asked;
	uint64_t last; /* ns, when this stream's last event came; 0: none yet */
	unsigned seen; /* events of this stream */
	size_t sent, have;
	char room[ROOM];
} taker;

static char *request;
static size_t request_len;
static bool measuring;

static void push(taker *t, int ep)
{
	while (t->sent < request_len) {
		ssize_t n = send(t->fd, request + t->sent, request_len - t->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			die("a connection was lost");
		t->sent += (size_t)n;
	}
	epoll_ctl(ep, EPOLL_CTL_MOD, t->fd,
		  &(struct epoll_event){ t->sent < request_len ? EPOLLOUT | EPOLLIN : EPOLLIN, { .ptr = t } });
}

/* Reads events. True: the stream has ended. */
static bool pull(taker *t, unsigned events, uint64_t interval)
{
	ssize_t n = recv(t->fd, t->room + t->have, ROOM - 1 - t->have, 0);
	uint64_t at = now();

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0 || !t->asking)
		die("a connection was closed");
	bytes_in += (uint64_t)n;
	t->have += (size_t)n;
	t->room[t->have] = '\0';
	if (t->seen == 0 && t->have >= 12 && memcmp(t->room, "HTTP/1.1 200", 12) != 0) {
		errno = 0;
		fprintf(stderr, "%.*s\n", (int)t->have, t->room);
		die("an answer was no stream");
	}
	char *from = t->room, *mark;
	while ((mark = strstr(from, "{\"t\":")) && strlen(mark) >= 5 + 19) {
		uint64_t sent = strtoull(mark + 5, NULL, 10);
		from = mark + 5 + 19;
		if (measuring && t->seen == 0 && t->last == 0)
			add(&first, at - t->asked);
		if (measuring)
			add(&under_way, at > sent ? at - sent : 0);
		if (measuring && t->last && at - t->last > interval && at - t->last - interval > silence)
			silence = at - t->last - interval;
		t->last = at;
		t->seen++;
		events_in++;
	}
	char *done = strstr(from, "[DONE]");
	bool end = done && strstr(done, "\r\n0\r\n\r\n");
	if (end) {
		if (t->seen != events - 1)
			die("events of a stream are missing");
		t->have = 0;
		return true;
	}
	/* Keep the last bytes, which may be the beginning of an event. */
	size_t keep = t->have - (size_t)(from - t->room);
	size_t tail = done || keep < 64 ? keep : 64;
	if (t->seen > 0) {
		memmove(t->room, t->room + t->have - tail, tail);
		t->have = tail;
	}
	return false;
}

static int load(char **argv)
{
	struct sockaddr_in at = address_of(argv[2], argv[3]);
	unsigned streams = (unsigned)atoi(argv[5]), events = (unsigned)atoi(argv[7]);
	double seconds = atof(argv[6]);
	uint64_t interval = (uint64_t)atoi(argv[8]) * 1000000u, lifetime = interval * events;
	struct epoll_event ready_[64];
	int ep = epoll_create1(EPOLL_CLOEXEC);
	taker *takers = calloc(streams, sizeof *takers);
	FILE *f = fopen(argv[4], "rb");
	size_t cap = 2 * 1024 * 1024;
	char *body = malloc(cap);

	request = malloc(cap + 1024);
	if (!takers || !body || !request || !f)
		die("cannot read the body");
	size_t body_len = fread(body, 1, cap, f);
	fclose(f);
	request_len = (size_t)snprintf(
		request, 1024,
		"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nauthorization: Bearer sk-bench\r\n"
		"user-agent: OpenAI/Python 1.99.1\r\ncontent-length: %zu\r\n\r\n",
		body_len);
	memcpy(request + request_len, body, body_len);
	request_len += body_len;

	uint64_t begin = now() + 50000000u;
	for (unsigned i = 0; i < streams; i++) {
		taker *t = &takers[i];
		t->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (t->fd < 0 || connect(t->fd, (struct sockaddr *)&at, sizeof at) != 0)
			die("cannot connect");
		ready(t->fd);
		epoll_ctl(ep, EPOLL_CTL_ADD, t->fd, &(struct epoll_event){ EPOLLIN, { .ptr = t } });
		t->due = begin + lifetime * i / streams;
	}
	/* Nothing is measured until all streams are open. */
	uint64_t from = begin + lifetime, until = from + (uint64_t)(seconds * 1e9);
	for (;;) {
		uint64_t at_ = now(), due = until;
		if (at_ >= until)
			break;
		measuring = at_ >= from;
		for (unsigned i = 0; i < streams; i++) {
			taker *t = &takers[i];
			if (t->asking)
				continue;
			if (t->due <= at_) {
				t->asking = true;
				t->asked = now();
				t->due += lifetime + interval / 4;
				t->sent = t->have = 0;
				t->seen = 0;
				t->last = 0;
				push(t, ep);
			} else if (t->due < due) {
				due = t->due;
			}
		}
		int n = wait_until(ep, ready_, 64, due);
		for (int i = 0; i < n; i++) {
			taker *t = ready_[i].data.ptr;
			if (ready_[i].events & EPOLLOUT)
				push(t, ep);
			if (ready_[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && pull(t, events, interval))
				t->asking = false;
		}
	}
	if (first.count == 0) {
		errno = 0;
		die("no stream began");
	}
	qsort(first.ns, first.count, sizeof *first.ns, by_size);
	qsort(under_way.ns, under_way.count, sizeof *under_way.ns, by_size);
	printf("{\"streams\": %u, \"began\": %zu, \"events\": %zu, \"all_events\": %llu, \"first_p50_us\": %.1f, \"first_p99_us\": %.1f, \"first_max_us\": %.1f, "
	       "\"event_p50_us\": %.1f, \"event_p99_us\": %.1f, \"event_max_us\": %.1f, \"stall_us\": %.1f, \"not_counted\": %llu}\n",
	       streams, first.count, under_way.count, (unsigned long long)events_in, quantile(&first, .5),
	       quantile(&first, .99), quantile(&first, 1), quantile(&under_way, .5), quantile(&under_way, .99),
	       quantile(&under_way, 1), (double)silence / 1e3, (unsigned long long)lost_samples);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "serve") == 0)
		return serve(argc, argv);
	if (argc == 9 && strcmp(argv[1], "load") == 0)
		return load(argv);
	fputs("usage: sse serve HOST PORT [EVENTS [INTERVAL_MS]]\n       sse load HOST PORT BODY STREAMS SECONDS EVENTS INTERVAL_MS\n",
	      stderr);
	return 64;
}

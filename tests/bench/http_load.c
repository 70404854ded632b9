/* SPDX-License-Identifier: MIT
 *
 * Sends a fixed number of HTTP requests, all the same, over CONNECTIONS kept-alive connections with one request under
 * way on each.
 *
 *   http_load PORT PATH BODY CONNECTIONS REQUESTS      BODY: a file; the server is on 127.0.0.1
 *
 * Prints one JSON object: seconds from the first request to the last answer, latency in microseconds. Exit 1: an
 * answer was not a 200 with a content-length, or a connection was lost; the answer is on standard error. */
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

enum { ROOM = 16 * 1024, CONNS_MAX = 4096, REQUESTS_MAX = 10 * 1000 * 1000, BODY_MAX = 4 * 1024 * 1024 };

typedef struct conn {
	int fd;
	bool busy;
	uint64_t asked; /* ns */
	size_t sent;    /* bytes of the request */
	size_t have;    /* bytes of the answer's head in `head` */
	size_t body;    /* bytes of the answer's body that are still to come, once the head has been read */
	bool in_body;
	char head[ROOM];
} conn;

static char *request;
static size_t request_len;
static unsigned wanted, asked, answered;
static uint64_t *latency; /* ns, one for each answer */

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "http_load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
	exit(1);
}

static void make_request(const char *path, const char *file)
{
	FILE *f = fopen(file, "rb");
	char *body = malloc(BODY_MAX);
	const char *credential = getenv("BENCH_CREDENTIAL");

	request = malloc(BODY_MAX + 2048);
	if (!f || !body || !request)
		die("cannot read the body");
	size_t body_len = fread(body, 1, BODY_MAX, f);
	fclose(f);
	request_len = (size_t)snprintf(request, 2048,
				       "POST %s HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
				       "authorization: Bearer %s\r\nuser-agent: OpenAI/Python 1.99.1\r\n"
				       "content-length: %zu\r\n\r\n",
				       path, credential ? credential : "sk-bench", body_len);
	if (request_len >= 2048)
		die("the path is too long");
	memcpy(request + request_len, body, body_len);
	request_len += body_len;
	free(body);
}

static void dial(conn *c, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&at, sizeof at) != 0)
		die("cannot connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
		die("fcntl");
}

/* Sends what the socket takes, and waits for EPOLLOUT only while something is left. */
static void push(conn *c, int ep)
{
	while (c->sent < request_len) {
		ssize_t n = send(c->fd, request + c->sent, request_len - c->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			die("a connection was lost");
		c->sent += (size_t)n;
	}
	bool more = c->sent < request_len;
	epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){ more ? EPOLLOUT | EPOLLIN : EPOLLIN, { .ptr = c } });
}

static void ask(conn *c, int ep)
{
	if (asked == wanted) {
		c->busy = false;
		return;
	}
	asked++;
	c->busy = true;
	c->sent = c->have = c->body = 0;
	c->in_body = false;
	c->asked = now();
	push(c, ep);
}

/* Reads the answer's head, once it is whole; `body` is then what is missing of its body. */
static void read_head(conn *c)
{
	c->head[c->have] = '\0';
	char *end = strstr(c->head, "\r\n\r\n"), *length = strcasestr(c->head, "\r\ncontent-length:");
	errno = 0;
	if (!end && c->have == ROOM - 1)
		die("an answer's head is too long");
	if (!end)
		return;
	size_t got = c->have - (size_t)(end + 4 - c->head), size = length ? (size_t)atol(length + 17) : 0;
	if (strncmp(c->head, "HTTP/1.1 200", 12) != 0 || !length || length > end || got > size) {
		fprintf(stderr, "%.*s\n", (int)c->have, c->head);
		die("an answer was not a 200 with a content-length");
	}
	c->in_body = true;
	c->body = size - got;
}

/* True: the answer is whole. */
static bool pull(conn *c)
{
	static char scrap[256 * 1024];

	for (;;) {
		ssize_t n = c->in_body ? recv(c->fd, scrap, sizeof scrap, 0) :
					 recv(c->fd, c->head + c->have, ROOM - 1 - c->have, 0);
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0 || !c->busy || (c->in_body && (size_t)n > c->body))
			die("a connection was closed, or an answer was longer than it said");
		if (c->in_body)
			c->body -= (size_t)n;
		else {
			c->have += (size_t)n;
			read_head(c);
		}
		if (c->in_body && c->body == 0)
			return true;
	}
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static double quantile(double q)
{
	return (double)latency[(size_t)(q * (answered - 1))] / 1e3;
}

int main(int argc, char **argv)
{
	struct epoll_event events[64];
	int ep = epoll_create1(EPOLL_CLOEXEC);

	unsigned count = argc == 6 ? (unsigned)atoi(argv[4]) : 0;
	wanted = argc == 6 ? (unsigned)atoi(argv[5]) : 0;
	if (count < 1 || count > CONNS_MAX || wanted < 1 || wanted > REQUESTS_MAX) {
		fputs("usage: http_load PORT PATH BODY CONNECTIONS REQUESTS\n", stderr);
		return 64;
	}
	make_request(argv[2], argv[3]);
	conn *conns = calloc(count, sizeof *conns);
	latency = malloc(wanted * sizeof *latency);
	if (!conns || !latency)
		die("out of memory");
	for (unsigned i = 0; i < count; i++) {
		dial(&conns[i], (uint16_t)atoi(argv[1]));
		epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &(struct epoll_event){ EPOLLIN, { .ptr = &conns[i] } });
	}
	uint64_t begin = now();
	for (unsigned i = 0; i < count; i++)
		ask(&conns[i], ep);
	while (answered < wanted) {
		int n = epoll_wait(ep, events, 64, 30000);
		errno = 0;
		if (n == 0)
			die("no answer within 30 s");
		for (int i = 0; i < n; i++) {
			conn *c = events[i].data.ptr;
			if (events[i].events & EPOLLOUT)
				push(c, ep);
			if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && pull(c)) {
				latency[answered++] = now() - c->asked;
				ask(c, ep);
			}
		}
	}
	double seconds = (double)(now() - begin) / 1e9;
	qsort(latency, answered, sizeof *latency, by_size);
	printf("{\"requests\": %u, \"seconds\": %.6f, \"p50\": %.1f, \"p99\": %.1f}\n", answered, seconds, quantile(.5),
	       quantile(.99));
	return 0;
}

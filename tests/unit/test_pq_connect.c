/* SPDX-License-Identifier: MIT
 *
 * Connecting to one of several servers: the servers here say nothing, or refuse. */
#include "unit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "ship/pq.h"

typedef struct listener {
	int fd, port;
	const char *state; /* the SQLSTATE of its refusals */
	pthread_t thread;
} listener;

/* Begins to listen at a free port of 127.0.0.1. The kernel takes connections, and nobody answers them. */
static listener listen_somewhere(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	listener l = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };

	if (bind(l.fd, (struct sockaddr *)&a, len) != 0 || listen(l.fd, 8) != 0 ||
	    getsockname(l.fd, (struct sockaddr *)&a, &len) != 0)
		abort();
	l.port = ntohs(a.sin_port);
	return l;
}

static void *refuse_all(void *arg)
{
	const listener *l = arg;
	char in[1024], out[128];
	int fd;

	while ((fd = accept(l->fd, NULL, NULL)) >= 0) {
		/* ErrorResponse: 'E', length, and fields, each a letter and a text that ends with a 0. */
		size_t len = 5;
		len += (size_t)snprintf(out + len, sizeof out - len, "SFATAL%cC%s%cMgo away%cFhere.c%c", 0, l->state, 0,
					0, 0);
		out[len++] = '\0';
		out[0] = 'E';
		uint32_t size = htonl((uint32_t)len - 1);
		memcpy(out + 1, &size, sizeof size);
		if (read(fd, in, sizeof in) <= 0 || write(fd, out, len) != (ssize_t)len)
			abort();
		while (read(fd, in, sizeof in) > 0)
			continue;
		close(fd);
	}
	return NULL;
}

static void end(listener *l)
{
	shutdown(l->fd, SHUT_RDWR);
	if (l->state)
		pthread_join(l->thread, NULL);
	close(l->fd);
}

static void refuse(listener *l, const char *state)
{
	*l = listen_somewhere();
	l->state = state;
	if (pthread_create(&l->thread, NULL, refuse_all, l) != 0)
		abort();
}

static pq_result open_uri(const char *uri, int stop_fd, err *e)
{
	pq *c = NULL;
	pq_result result = pq_open(&(pq_settings){ .uri = uri, .password_file = "", .stop_fd = stop_fd }, &c, e);

	CHECK((c != NULL) == (result == PQ_OK));
	pq_close(c);
	return result;
}

static void test_who_has_to_stop_does_not_wait(void)
{
	listener l = listen_somewhere();
	int stop = eventfd(1, EFD_CLOEXEC);
	char uri[200];
	err e;

	snprintf(uri, sizeof uri, "postgresql://a@127.0.0.1:%d/x?connect_timeout=20", l.port);
	CHECK(open_uri(uri, stop, &e) == PQ_STOPPED);
	snprintf(uri, sizeof uri, "postgresql://a@127.0.0.1:%d,127.0.0.1:%d/x?connect_timeout=20", l.port, l.port);
	CHECK(open_uri(uri, stop, &e) == PQ_STOPPED);
	close(stop);
	end(&l);
}

static void test_one_server_after_the_other(void)
{
	listener silent = listen_somewhere(), closed = listen_somewhere(), refusing;
	char uri[200], there[100];
	err e;

	refuse(&refusing, "28P01");
	end(&closed);
	snprintf(uri, sizeof uri,
		 "postgresql://a@127.0.0.1:%d,localhost:%d,127.0.0.1:%d/x?connect_timeout=2&sslmode=disable",
		 closed.port, silent.port, refusing.port);
	CHECK(open_uri(uri, -1, &e) == PQ_REFUSED);
	snprintf(there, sizeof there, "PostgreSQL at 127.0.0.1:%d: ", closed.port);
	CHECK(strncmp(e.text, there, strlen(there)) == 0 && strstr(e.text, "refused"));
	snprintf(there, sizeof there, "; PostgreSQL at localhost:%d: no answer in time", silent.port);
	CHECK(strstr(e.text, there));
	snprintf(there, sizeof there, "; PostgreSQL at 127.0.0.1:%d: ", refusing.port);
	CHECK(strstr(e.text, there) && strstr(e.text, "28P01: go away") && !strstr(e.text, "here.c"));
	end(&refusing);
	end(&silent);
}

static void test_what_a_refusal_means(void)
{
	static const struct {
		const char *state;
		pq_result result;
	} cases[] = {
		{ "28000", PQ_REFUSED }, /* no entry of pg_hba.conf */
		{ "3D000", PQ_REFUSED }, /* no such database */
		{ "42501", PQ_REFUSED }, /* no right to connect to it */
		{ "57P03", PQ_LOST },    /* it starts */
		{ "53300", PQ_LOST },    /* too many clients */
	};
	char uri[200];
	err e;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		listener l;
		refuse(&l, cases[i].state);
		snprintf(uri, sizeof uri, "postgresql://a@127.0.0.1:%d/x?sslmode=disable", l.port);
		CHECK(open_uri(uri, -1, &e) == cases[i].result);
		end(&l);
	}
}

static void test_lists_that_do_not_fit(void)
{
	static const char *const uris[] = {
		"postgresql://a@127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/x?port=1,2",
		"postgresql://a@127.0.0.1,127.0.0.1/x?hostaddr=127.0.0.1",
	};
	char host[300], uri[400];
	err e;

	for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++)
		CHECK(open_uri(uris[i], -1, &e) == PQ_SETTING && strstr(e.text, "hosts"));
	memset(host, 'x', sizeof host - 1);
	host[sizeof host - 1] = '\0';
	snprintf(uri, sizeof uri, "postgresql://a@%s/x", host);
	CHECK(open_uri(uri, -1, &e) == PQ_SETTING && strstr(e.text, "too long"));
}

static void test_the_uri_alone_names_the_server(void)
{
	static const char *const variables[] = { "PGHOSTADDR", "PGSERVICE" };
	char uri[200], port[8];
	listener l;
	err e;

	refuse(&l, "28000");
	for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
		setenv(variables[i], "127.0.0.1", 1);
		CHECK(open_uri("postgresql://a@127.0.0.1:1/x", -1, &e) == PQ_SETTING && strstr(e.text, variables[i]));
		unsetenv(variables[i]);
	}
	snprintf(port, sizeof port, "%d", l.port);
	setenv("PGPORT", port, 1);
	setenv("PGHOST", "127.0.0.1", 1);
	snprintf(uri, sizeof uri, "postgresql:///x?user=a");
	CHECK(open_uri(uri, -1, &e) != PQ_SETTING && strstr(e.text, "/var/run/postgresql:5432"));
	unsetenv("PGHOST");
	unsetenv("PGPORT");
	end(&l);
}

int main(void)
{
	RUN(test_who_has_to_stop_does_not_wait);
	RUN(test_one_server_after_the_other);
	RUN(test_what_a_refusal_means);
	RUN(test_lists_that_do_not_fit);
	RUN(test_the_uri_alone_names_the_server);
	return unit_end();
}

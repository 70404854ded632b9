/* SPDX-License-Identifier: MIT */
#include "ship/ask.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"

const char *const ask_result_names[ASK_AWAY + 1] = { "ok", "wrong", "none", "away" };

typedef struct asking {
	int fd, stop_fd;
	const char *path;
	err *e;
} asking;

/* Waits until the connection can be read, or written if `write`. False: `e` says why not. */
static bool wait_for(const asking *a, bool write, int64_t deadline)
{
	struct pollfd fds[2] = { { .fd = a->fd, .events = write ? POLLOUT : POLLIN },
				 { .fd = a->stop_fd, .events = POLLIN } };
	int64_t left;

	while ((left = deadline - clock_mono_ms()) > 0) {
		int n = poll(fds, 2, (int)left);
		if (n > 0 && fds[1].revents)
			return err_set(a->e, "the agent is stopping");
		if (n > 0)
			return true;
	}
	return err_set(a->e,
		       "`spoa-llm ship` gives no answer in time: ask for a shorter period, or look at its log and at "
		       "PostgreSQL");
}

static bool open_socket(asking *a, const char *address)
{
	const address_rules rules = { .allow_remote = false };
	socket_address to;

	if (!address_parse(&to, address, &rules, a->e))
		return false;
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0)
		return err_set(a->e, "socket: %s", strerror(errno));
	if (connect(a->fd, &to.sa, to.len) == 0)
		return true;
	if (errno == ENOENT || errno == ECONNREFUSED)
		return err_set(a->e, "`spoa-llm ship` does not listen at ship_listen, %s: start it, or look at its log",
			       address);
	return err_set(a->e, "ship_listen, %s: %s", address, strerror(errno));
}

static bool send_all(const asking *a, slice bytes)
{
	int64_t deadline = clock_mono_ms() + ASK_TAKEN_MS;

	while (bytes.len) {
		ssize_t n = send(a->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
		if (n > 0)
			bytes = slice_from(bytes, (size_t)n);
		else if (errno != EINTR && errno != EAGAIN)
			return err_set(a->e, "`spoa-llm ship` does not take the question: %s", strerror(errno));
		else if (!wait_for(a, true, deadline))
			return false;
	}
	return true;
}

/* Reads what there is, `room` bytes at most. 0: `e` says why nothing comes. */
static size_t receive(const asking *a, char *to, size_t room, int64_t deadline)
{
	ssize_t n;

	while ((n = recv(a->fd, to, room, 0)) < 0 && (errno == EAGAIN || errno == EINTR))
		if (!wait_for(a, false, deadline))
			return 0;
	if (n <= 0)
		err_set(a->e, "`spoa-llm ship` ended before it had answered");
	return n > 0 ? (size_t)n : 0;
}

/* Reads "STATUS LENGTH", byte by byte, because the answer begins behind it. */
static bool receive_head(const asking *a, ask_result *status, size_t *len)
{
	int64_t deadline = clock_mono_ms() + ASK_WAIT_MS;
	char line[ASK_HEAD_MAX], *end;
	size_t at = 0;

	do {
		if (at == sizeof line || !receive(a, line + at, 1, deadline))
			return at < sizeof line ? false : err_set(a->e, "the answer of `spoa-llm ship` cannot be read");
	} while (line[at++] != '\n');
	line[at - 1] = '\0';
	for (int i = ASK_OK; i <= ASK_AWAY; i++) {
		size_t name = strlen(ask_result_names[i]);
		if (strncmp(line, ask_result_names[i], name) != 0 || line[name] != ' ')
			continue;
		unsigned long long n = strtoull(line + name + 1, &end, 10);
		*status = (ask_result)i;
		*len = (size_t)n;
		if (!*end && n <= ASK_ANSWER_MAX)
			return true;
	}
	return err_set(a->e, "the answer of `spoa-llm ship` cannot be read");
}

/* Reads the `len` bytes of the answer into `out`. */
static bool receive_answer(const asking *a, size_t len, FILE *out)
{
	int64_t deadline = clock_mono_ms() + ASK_REST_MS;
	char bytes[16384];

	while (len) {
		size_t n = receive(a, bytes, len < sizeof bytes ? len : sizeof bytes, deadline);
		if (!n || fwrite(bytes, 1, n, out) != n)
			return n ? err_memory(a->e) : false;
		len -= n;
	}
	return true;
}

/* Reads why there is no answer. */
static void receive_problem(const asking *a, size_t len)
{
	char *text = NULL;
	size_t text_len;
	FILE *f = open_memstream(&text, &text_len);

	if (!f) {
		err_memory(a->e);
		return;
	}
	bool whole = receive_answer(a, len, f);
	fclose(f);
	if (whole)
		err_set(a->e, "%s", text);
	free(text);
}

ask_result ask_shipper(const char *address, int stop_fd, slice question, FILE *out, err *e)
{
	asking a = { .fd = -1, .stop_fd = stop_fd, .e = e };
	ask_result status = ASK_AWAY;
	size_t len = 0;

	bool ok = open_socket(&a, address) && send_all(&a, question) && receive_head(&a, &status, &len);
	if (ok && status != ASK_OK)
		receive_problem(&a, len);
	else if (!ok || !receive_answer(&a, len, out))
		status = ASK_AWAY;
	if (a.fd >= 0)
		close(a.fd);
	return status;
}

/* SPDX-License-Identifier: MIT */
#include "ship/answers.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"

/* A connection that was broken before a question says so at once; if that takes longer, it is the question's fault. */
enum { BROKEN_MS = 2000 };

/* Waits for `events` of `fd`, for `ms` or without end if that is negative. False: the time is up, or the thread has to
 * stop, which `*stop` says. */
static bool wait_for(const answers *a, int fd, short events, int ms, bool *stop)
{
	struct pollfd fds[2] = { { .fd = fd, .events = events }, { .fd = a->set.server.stop_fd, .events = POLLIN } };
	int n = poll(fds, 2, ms);

	*stop = n > 0 && fds[1].revents;
	return n > 0 && !*stop;
}

/* Waits for `events` of `fd` until `deadline`. */
static bool wait_until(const answers *a, int fd, short events, int64_t deadline)
{
	int64_t left = deadline - clock_mono_ms();
	bool stop;

	return left > 0 && wait_for(a, fd, events, (int)left, &stop);
}

/* Reads the line of the question. 0: none came. */
static size_t read_question(const answers *a, int fd, char *to, size_t room)
{
	int64_t deadline = clock_mono_ms() + ANSWERS_ASKED_MS;
	size_t len = 0;

	while (len < room && wait_until(a, fd, POLLIN, deadline)) {
		ssize_t n = recv(fd, to + len, room - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
		if (memchr(to, '\n', len))
			return len;
	}
	return 0;
}

static void send_all(const answers *a, int fd, const char *bytes, size_t len)
{
	int64_t deadline = clock_mono_ms() + ANSWERS_TAKEN_MS;

	while (len && wait_until(a, fd, POLLOUT, deadline)) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return;
		bytes += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}

static void drop_connection(answers *a)
{
	pq_close(a->c);
	a->c = NULL;
}

/* Has PostgreSQL answer. A connection that was open before may have been broken since, so that a new one is tried. */
static ask_result work(answers *a, slice question, FILE *out, err *e)
{
	for (;;) {
		bool open = a->c;
		pq_result result = open ? PQ_OK : pq_open(&a->set.server, &a->c, e);
		if (result != PQ_OK)
			return ASK_AWAY;
		int64_t began = clock_mono_ms();
		ask_result status = a->set.answer(a->c, question, out, &result, e);
		if (result != PQ_LOST)
			return status;
		drop_connection(a);
		if (!open || clock_mono_ms() - began > BROKEN_MS)
			return status;
	}
}

static void serve(answers *a, int fd)
{
	char question[ASK_QUESTION_MAX], head[ASK_HEAD_MAX], *text = NULL;
	size_t len = 0, asked = read_question(a, fd, question, sizeof question);
	FILE *f = asked ? open_memstream(&text, &len) : NULL;
	err e = { 0 };

	if (!f)
		return;
	ask_result status = a->set.away(a->set.ctx, &e) ? ASK_AWAY : work(a, slice_of(question, asked), f, &e);
	bool whole = fclose(f) == 0;
	if (status == ASK_OK && (!whole || len > ASK_ANSWER_MAX)) {
		err_set(&e, "the answer is too long: ask for a shorter period");
		status = ASK_AWAY;
	}
	const char *body = status == ASK_OK ? text : e.text;
	len = status == ASK_OK ? len : strlen(e.text);
	int head_len = snprintf(head, sizeof head, "%s %zu\n", ask_result_names[status], len);
	send_all(a, fd, head, (size_t)head_len);
	send_all(a, fd, body, len);
	free(text);
}

static void *answers_main(void *arg)
{
	answers *a = arg;
	bool stop = false;

	while (!stop) {
		if (wait_for(a, a->at.fd, POLLIN, a->c ? ANSWERS_IDLE_MS : -1, &stop)) {
			int fd = listener_accept(&a->at);
			if (fd < 0)
				continue;
			serve(a, fd);
			close(fd);
		} else {
			drop_connection(a);
		}
	}
	return NULL;
}

bool answers_open(answers *a, const answers_settings *set, err *e)
{
	const listener_rules rules = { .mode = 0660 };

	*a = (answers){ .set = *set, .at = { .fd = -1 } };
	return listener_open(&a->at, set->address, &rules, e);
}

int answers_start(answers *a)
{
	int rc = thread_start(&a->thread, answers_main, a);

	a->running = rc == 0;
	return rc;
}

bool answers_join(answers *a, const struct timespec *until)
{
	if (a->running)
		a->running = pthread_timedjoin_np(a->thread, NULL, until) != 0;
	return !a->running;
}

void answers_close(answers *a)
{
	listener_close(&a->at);
}

/* SPDX-License-Identifier: MIT
 *
 * Any bytes in the fields of a log line. Checked: the result is one line of printable ASCII, not longer than
 * LOG_LINE_MAX; as JSON it is an object, and its texts are those that were given, if the line did not cut them. */
#include "base/json.h"
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int own_stderr = -1, pipe_ends[2];

static void holds(bool good, const char *what)
{
	if (good)
		return;
	dup2(own_stderr, STDERR_FILENO);
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

#define HOLDS(what) holds(what, #what)

/* While a line is written, each look at the clock finds another second, so that no line is held back. */
static __thread bool writing;

int clock_gettime(clockid_t clock, struct timespec *t)
{
	static time_t second;

	if (!writing)
		return (int)syscall(SYS_clock_gettime, clock, t);
	*t = (struct timespec){ .tv_sec = ++second };
	return 0;
}

/* Sets `writing`. Meanwhile libFuzzer's alarm has to wait, because its handler looks at the clock too, and would take
 * what it finds for an input that hangs. */
static void write_begins(bool begins)
{
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	if (begins)
		pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	writing = begins;
	if (!begins)
		pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
}

static slice take_line(char *room, size_t cap)
{
	ssize_t n = read(pipe_ends[0], room, cap);
	return slice_of(room, n > 0 ? (size_t)n : 0);
}

static void check_json(slice line, slice given)
{
	json_iter it;
	json_member m;
	json_step step;
	bool found = false;

	json_iter_init(&it, slice_first(line, line.len - 1));
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		if (!slice_eq(m.key, SLICE("text")))
			continue;
		char text[LOG_LINE_MAX * 2];
		size_t len = 0;
		found = true;
		HOLDS(json_text(m.value, text, sizeof text, &len) == JSON_TEXT_OK);
		/* Bytes above 0x7e come back as the character of that number. */
		bool ascii = true;
		for (size_t i = 0; i < given.len; i++)
			ascii = ascii && (unsigned char)given.ptr[i] < 0x7f;
		if (given.len <= 600 && ascii) /* each byte takes at most six in the line, so nothing is cut */
			HOLDS(slice_eq(slice_of(text, len), given));
	}
	HOLDS(step == JSON_DONE);
	HOLDS(found || given.len > 300); /* the line was full */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[LOG_LINE_MAX * 4];
	slice all = slice_of(data, size);

	if (size < 2)
		return 0;
	if (own_stderr < 0) {
		own_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
		HOLDS(pipe2(pipe_ends, O_NONBLOCK | O_CLOEXEC) == 0);
	}
	bool json = (data[0] & 1) != 0;
	slice text = slice_from(all, 2), first = slice_first(text, text.len * data[1] / 255),
	      second = slice_from(text, first.len);
	log_setup((log_level)(data[0] >> 1 & 3), json ? LOG_JSON : LOG_KV);
	dup2(pipe_ends[1], STDERR_FILENO);
	write_begins(true);
	log_event_at((log_level)(data[0] >> 3 & 3), refused, LOG_S("text", first), LOG_I("number", (int64_t)size - 100),
		     LOG_S("second", second), LOG_S("third", text));
	write_begins(false);
	dup2(own_stderr, STDERR_FILENO);
	slice out = take_line(line, sizeof line);
	HOLDS((out.len > 0) == ((data[0] >> 3 & 3) >= (data[0] >> 1 & 3)));
	if (out.len == 0)
		return 0;
	HOLDS(out.len <= LOG_LINE_MAX && line[out.len - 1] == '\n');
	for (size_t i = 0; i + 1 < out.len; i++)
		HOLDS(line[i] >= ' ' && line[i] <= '~');
	if (json)
		check_json(out, first);
	return 0;
}

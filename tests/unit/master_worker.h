/* SPDX-License-Identifier: MIT
 *
 * For master_rig.h: the worker process of a master that is tested, which plays a scenario.
 *
 * A scenario is a text with some of these words; what the worker does, in this order:
 *   fail N        ends at once with the exit code N
 *   listen=NAME   listens on the socket NAME, which it inherits if it can, and has the master keep the socket
 *   all           has the master keep every socket that was inherited
 *   memory=NAME   has the master keep a new memory with the text NAME
 *   slow          waits 2 s before PREPARED
 *   version2      says PREPARED with another version
 *   json          asks for the log in JSON
 *   watchdog=N    asks for a watchdog of N seconds
 *   hang          does nothing after PREPARED; SIGTERM ends it
 *   dies          ends 200 ms after PREPARED
 *   refuses       does not take the old worker's connections
 *   late          waits 700 ms after it has taken or refused them
 *   ends          ends after it has taken or refused them, before READY
 *   unkillable    SIGKILL does not end it until the test kills its tracer
 *   crash         ends after READY with the exit code 9
 *   stuck         says no ALIVE
 *   seldom        says ALIVE only every 2.2 s
 *   deaf          ignores SIGTERM, and the end of the master
 *   code=5        ends with the exit code 5 when SIGTERM or SIGUSR1 comes
 * and an old worker that is told to hand over:
 *   busy          answers the master 3.5 s late
 *   lingers       ends 1 s after it has handed over
 *   drain=MS      drains for MS ms if the new worker refuses */
#ifndef MASTER_WORKER_H
#define MASTER_WORKER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "proc/control.h"
#include "unit.h"

/* ---- for the tests too */

static inline void sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

static inline long clock_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline const char *in_dir(const char *dir, const char *name)
{
	static char paths[4][384];
	static unsigned next;
	char *out = paths[next++ % 4];
	snprintf(out, sizeof paths[0], "%s/%s", dir, name);
	return out;
}

/* Returns the text of a file; "" if there is none. Valid until the next call. */
static inline const char *text_of(const char *path)
{
	static char text[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

/* ---- the worker */

static volatile sig_atomic_t got_term, got_hup, got_drain;

static inline void on_signal(int sig)
{
	if (sig == SIGHUP)
		got_hup = 1;
	else if (sig == SIGUSR1)
		got_drain = 1;
	else
		got_term = 1;
}

__attribute__((format(printf, 1, 2))) static void event(const char *fmt, ...)
{
	char line[256];
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(line, sizeof line - 1, fmt, args);
	va_end(args);
	line[n++] = '\n';
	int fd = open(in_dir(getenv("TEST_DIR"), "events"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

static inline bool said(const char *scenario, const char *word)
{
	return strstr(scenario, word) != NULL;
}

static inline void say_with(control *c, control_type type, slice body, const int *fds, size_t count)
{
	err e;

	if (!control_say(c, type, body, fds, count, &e))
		_exit(96);
}

static inline void say(control *c, control_type type)
{
	say_with(c, type, (slice){ NULL, 0 }, NULL, 0);
}

static inline void use_socket(control *c, const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX }, have;
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	struct stat st;
	int fd = -1;

	snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", getenv("TEST_DIR"), name);
	for (int i = 0; count && pid && atoi(pid) == getpid() && i < atoi(count); i++) {
		socklen_t len = sizeof have;
		memset(&have, 0, sizeof have);
		if (getsockname(3 + i, (struct sockaddr *)&have, &len) == 0 && strcmp(have.sun_path, a.sun_path) == 0)
			fd = 3 + i;
	}
	bool inherited = fd >= 0;
	if (!inherited) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0)
			_exit(99);
	}
	fstat(fd, &st);
	event("socket %s %s %lu", name, inherited ? "inherited" : "opened", (unsigned long)st.st_ino);
	say_with(c, CONTROL_KEEP, slice_of(inherited ? "\0" : "\1", 1), &fd, 1);
}

/* Tells what the memory has that this worker inherited, and makes a new one if the scenario says so. */
static inline void use_memory(control *c, const char *scenario)
{
	const char *name = strstr(scenario, "memory=");
	char text[16] = "";

	if (c->memory >= 0) {
		event("memory %s", pread(c->memory, text, sizeof text - 1, 0) >= 0 ? text : "unreadable");
		close(c->memory);
	}
	if (!name || sscanf(name, "memory=%15[^ ]", text) != 1)
		return;
	int fd = memfd_create("test", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	say_with(c, CONTROL_MEMORY, (slice){ NULL, 0 }, &fd, 1);
	close(fd);
}

static inline void say_prepared(control *c, const char *scenario)
{
	const char *watchdog = strstr(scenario, "watchdog=");
	char seconds = (char)(watchdog ? atoi(watchdog + 9) : 0);
	char body[] = { 0, 0, 0, said(scenario, "version2") ? 2 : CONTROL_VERSION,
			0, 0, 0, seconds,
			0, 0, 0, 1,
			0, 0, 0, said(scenario, "json") };

	event("prepared %d", getpid());
	say_with(c, CONTROL_PREPARED, slice_of(body, sizeof body), NULL, 0);
}

/* Follows HANDOVER or UPGRADE_DRAIN. True: the new worker has the connections now. */
static inline bool play_handover(control *c, const char *scenario)
{
	fdpass_message m;
	char answer = 0;
	err e;

	fdpass_result rc = control_hear(c, &m, &e);
	while (rc != FDPASS_OK && said(text_of(in_dir(getenv("TEST_DIR"), "scenario")), "deaf"))
		pause();
	if (rc != FDPASS_OK)
		_exit(98);
	if (m.type == CONTROL_UPGRADE_DRAIN) {
		event("drain");
		sleep_ms(200);
		_exit(0);
	}
	event("handover");
	bool taken = send(m.fds[0], "H", 1, MSG_NOSIGNAL) == 1 && read(m.fds[0], &answer, 1) == 1 && answer == 'T';
	fdpass_deinit(&m);
	if (answer == 'R') {
		const char *ms = strstr(scenario, "drain=");
		event("draining");
		say(c, CONTROL_DRAINING);
		sleep_ms(ms ? atol(ms + 6) : 0);
		event("drained");
		_exit(0);
	}
	if (said(scenario, "busy"))
		sleep_ms(3500);
	event(taken ? "released" : "resumed");
	say(c, taken ? CONTROL_RELEASED : CONTROL_RESUMED);
	if (said(scenario, "lingers"))
		sleep_ms(1000);
	return taken;
}

/* Makes this process hang in its exit, like one that waits for a disk: a tracer holds it there until the tracer is
 * killed. */
static inline void become_unkillable(void)
{
	pid_t self = getpid();
	int ready[2];
	char byte = 0;

	if (pipe(ready) != 0)
		abort();
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	pid_t tracer = fork();
	if (tracer == 0) {
		bool ok = ptrace(PTRACE_SEIZE, self, NULL, (void *)(uintptr_t)PTRACE_O_TRACEEXIT) == 0;
		if (write(ready[1], ok ? "y" : "n", 1) != 1)
			abort();
		for (;;)
			pause();
	}
	if (read(ready[0], &byte, 1) != 1 || byte != 'y')
		abort();
	close(ready[0]);
	close(ready[1]);
	event("tracer %d", tracer);
}

static inline int play_worker(control *c)
{
	char scenario[256], name[32] = "";
	struct sigaction act = { .sa_handler = on_signal };
	long alive = 0; /* when the next ALIVE is due */

	snprintf(scenario, sizeof scenario, "%.*s", (int)sizeof scenario - 1,
		 text_of(in_dir(getenv("TEST_DIR"), "scenario")));
	event("started %d restarts %u notify %d inherits %s", getpid(), c->restarts, getenv("NOTIFY_SOCKET") != NULL,
	      getenv("LISTEN_FDS") ? getenv("LISTEN_FDS") : "0");
	if (said(scenario, "fail"))
		return atoi(strstr(scenario, "fail") + 5);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	sigaction(SIGUSR1, &act, NULL);
	for (const char *at = scenario; (at = strstr(at, "listen=")) && sscanf(at, "listen=%31[^ ]", name) == 1; at++)
		use_socket(c, name);
	for (int i = 0; said(scenario, "all") && i < atoi(getenv("LISTEN_FDS") ? getenv("LISTEN_FDS") : "0"); i++)
		say_with(c, CONTROL_KEEP, slice_of("\0", 1), &(int){ 3 + i }, 1);
	use_memory(c, scenario);
	if (said(scenario, "slow"))
		sleep_ms(2000);
	/* Before PREPARED: the test may send a SIGTERM at once, and it must end this process. */
	if (said(scenario, "hang"))
		signal(SIGTERM, SIG_DFL);
	say_prepared(c, scenario);
	while (said(scenario, "hang"))
		pause();
	if (said(scenario, "dies")) {
		sleep_ms(200);
		return 3;
	}
	if (c->handover >= 0) {
		char byte;
		bool refuses = said(scenario, "refuses");
		bool have = read(c->handover, &byte, 1) == 1 &&
			    send(c->handover, refuses ? "R" : "T", 1, MSG_NOSIGNAL) == 1 && !refuses;
		event("connections %d", have);
		close(c->handover);
		if (said(scenario, "late"))
			sleep_ms(700);
		if (said(scenario, "ends"))
			return 4;
	}
	if (said(scenario, "unkillable"))
		become_unkillable();
	event("ready %d", getpid());
	say(c, CONTROL_READY);
	if (said(scenario, "crash"))
		return 9;
	for (;;) {
		struct pollfd p = { c->fd, POLLIN, 0 };
		if (poll(&p, 1, 100) == 1 && play_handover(c, scenario))
			return 0;
		if (got_hup) {
			event("hup");
			say(c, CONTROL_RELOADING);
			say(c, CONTROL_READY);
			got_hup = 0;
		}
		if (got_drain)
			event("drained");
		if (got_term && said(scenario, "deaf"))
			got_term = 0;
		if (got_term)
			event("term");
		if (got_term || got_drain)
			return said(scenario, "code=5") ? 5 : 0;
		if (said(scenario, "stuck") || clock_ms() < alive)
			continue;
		if (said(scenario, "seldom")) {
			alive = clock_ms() + 2200;
			event("alive");
		}
		say(c, CONTROL_ALIVE);
	}
}

#endif

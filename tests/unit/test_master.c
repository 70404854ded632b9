/* SPDX-License-Identifier: MIT
 *
 * The master process, with this program as its binary: with a control socket in its environment it plays the worker, by
 * the scenario in a file, and writes what it does into another; with TEST_MASTER it is the master; else it runs the
 * tests. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "proc/control.h"
#include "proc/master.h"
#include "proc/state.h"
#include "unit.h"

#ifndef PATIENCE
#define PATIENCE 20000
#endif

static void sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

/* Never 0, 1 or -1: those are everybody. */
static int tell(pid_t pid, int sig)
{
	if (pid > 1)
		return kill(pid, sig);
	printf("%s:%d: no process to send signal %d to\n", __FILE__, __LINE__, sig);
	unit_bad++;
	return -1;
}

static long clock_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const char *in_dir(const char *dir, const char *name)
{
	static char paths[4][384];
	static unsigned turn;
	char *out = paths[turn++ % 4];
	snprintf(out, sizeof paths[0], "%s/%s", dir, name);
	return out;
}

/* Of a file; the empty string where there is none. */
static const char *text_of(const char *path)
{
	static char text[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static void write_file(const char *path, const char *text)
{
	char whole[300];
	snprintf(whole, sizeof whole, "%s.new", path);
	FILE *f = fopen(whole, "we");
	if (!f)
		abort();
	fputs(text, f);
	fclose(f);
	rename(whole, path);
}

/* ---- the worker */

static volatile sig_atomic_t got_term, got_hup, got_drain;

static void on_signal(int sig)
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

static bool said(const char *scenario, const char *word)
{
	return strstr(scenario, word) != NULL;
}

static void use_socket(control *c, const char *name)
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
	control_say(c, CONTROL_KEEP, slice_of(inherited ? "\0" : "\1", 1), &fd, 1);
}

static void say_prepared(control *c, const char *scenario)
{
	const char *watchdog = strstr(scenario, "watchdog=");
	char seconds = (char)(watchdog ? atoi(watchdog + 9) : 0);
	char body[] = { 0, 0, 0, said(scenario, "version2") ? 2 : CONTROL_VERSION,
			0, 0, 0, seconds,
			0, 0, 0, 1,
			0, 0, 0, said(scenario, "json") };

	event("prepared %d", getpid());
	control_say(c, CONTROL_PREPARED, slice_of(body, sizeof body), NULL, 0);
}

/* True: the connections are the other one's now. */
static bool play_handover(control *c, const char *scenario)
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
		control_say(c, CONTROL_DRAINING, (slice){ NULL, 0 }, NULL, 0);
		sleep_ms(ms ? atol(ms + 6) : 0);
		event("drained");
		_exit(0);
	}
	if (said(scenario, "busy"))
		sleep_ms(3500);
	event(taken ? "released" : "resumed");
	control_say(c, taken ? CONTROL_RELEASED : CONTROL_RESUMED, (slice){ NULL, 0 }, NULL, 0);
	if (said(scenario, "lingers"))
		sleep_ms(1000);
	return taken;
}

/* What stands still in its exit, as one does that waits for a disk: its tracer does not let it go. The tracer is there
 * until it is killed. */
static void become_unkillable(void)
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

static int play_worker(control *c)
{
	char scenario[256], name[32] = "";
	struct sigaction act = { .sa_handler = on_signal };
	long alive = 0; /* when it is said again */

	snprintf(scenario, sizeof scenario, "%s", text_of(in_dir(getenv("TEST_DIR"), "scenario")));
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
		control_say(c, CONTROL_KEEP, slice_of("\0", 1), &(int){ 3 + i }, 1);
	if (said(scenario, "slow"))
		sleep_ms(2000);
	say_prepared(c, scenario);
	if (said(scenario, "hang")) {
		signal(SIGTERM, SIG_DFL);
		for (;;)
			pause();
	}
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
	event("ready %d", getpid());
	control_say(c, CONTROL_READY, (slice){ NULL, 0 }, NULL, 0);
	if (said(scenario, "crash"))
		return 9;
	if (said(scenario, "unkillable"))
		become_unkillable();
	for (;;) {
		struct pollfd p = { c->fd, POLLIN, 0 };
		if (poll(&p, 1, 100) == 1 && play_handover(c, scenario))
			return 0;
		if (got_hup) {
			event("hup");
			control_say(c, CONTROL_RELOADING, (slice){ NULL, 0 }, NULL, 0);
			control_say(c, CONTROL_READY, (slice){ NULL, 0 }, NULL, 0);
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
		control_say(c, CONTROL_ALIVE, (slice){ NULL, 0 }, NULL, 0);
	}
}

/* ---- the tests */

typedef struct run {
	char dir[64];
	char binary[96];
	pid_t master;
	int notify;
	int status;
} run;

static void copy_self(const char *to)
{
	static char bytes[1 << 16];
	char fresh[128];
	ssize_t n;

	snprintf(fresh, sizeof fresh, "%s.new", to);
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
	    out = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	while ((n = read(in, bytes, sizeof bytes)) > 0)
		if (write(out, bytes, (size_t)n) != n)
			abort();
	close(in);
	close(out);
	if (rename(fresh, to) != 0)
		abort();
}

static int unix_socket(const char *path, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0)
		abort();
	return fd;
}

static void set_scenario(const run *r, const char *scenario)
{
	write_file(in_dir(r->dir, "scenario"), scenario);
}

/* `inherit`: a socket that the service manager passes; -1: none. */
static run begin_with(const char *scenario, int inherit, const char *variable, const char *value)
{
	run r = { .dir = "/tmp/test_master.XXXXXX" };

	if (!mkdtemp(r.dir))
		abort();
	snprintf(r.binary, sizeof r.binary, "%s/agent", r.dir);
	copy_self(r.binary);
	set_scenario(&r, scenario);
	r.notify = unix_socket(in_dir(r.dir, "notify"), SOCK_DGRAM | SOCK_NONBLOCK);
	r.master = fork();
	if (r.master < 0)
		abort();
	if (r.master == 0) {
		char pid[24], *argv[] = { r.binary, NULL };
		int log = open(in_dir(r.dir, "log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(log, 2);
		close(log);
		setenv("TEST_DIR", r.dir, 1);
		setenv("TEST_MASTER", "1", 1);
		setenv("NOTIFY_SOCKET", in_dir(r.dir, "notify"), 1);
		if (variable)
			setenv(variable, value, 1);
		if (inherit >= 0) {
			dup2(inherit, 3);
			fcntl(3, F_SETFD, 0); /* dup2() does nothing where it is 3 already */
			snprintf(pid, sizeof pid, "%d", getpid());
			setenv("LISTEN_PID", pid, 1);
			setenv("LISTEN_FDS", "1", 1);
		}
		execv(r.binary, argv);
		_exit(97);
	}
	return r;
}

static run begin(const char *scenario)
{
	return begin_with(scenario, -1, NULL, NULL);
}

static int occurrences(const char *text, const char *what)
{
	int n = 0;
	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

/* Does `what` come `n` times into this file ("events", "log")? */
static bool comes(const run *r, const char *file, const char *what, int n)
{
	long until = clock_ms() + PATIENCE;

	while (occurrences(text_of(in_dir(r->dir, file)), what) < n) {
		if (clock_ms() > until) {
			printf("%d times \"%s\" in %s:\n%s", n, what, file, text_of(in_dir(r->dir, file)));
			printf("log:\n%s", text_of(in_dir(r->dir, "log")));
			return false;
		}
		sleep_ms(10);
	}
	return true;
}

static bool has(const run *r, const char *file, const char *what)
{
	return strstr(text_of(in_dir(r->dir, file)), what) != NULL;
}

/* The number behind the last `what`. */
static long last_number(const run *r, const char *file, const char *what)
{
	const char *text = text_of(in_dir(r->dir, file)), *last = NULL;
	for (const char *at = text; (at = strstr(at, what)); at++)
		last = at;
	return last ? atol(last + strlen(what)) : -1;
}

static pid_t worker_of(const run *r)
{
	return (pid_t)last_number(r, "events", "ready ");
}

/* The exit code; 128 + signal; -1: it does not end. */
static int exit_of(run *r)
{
	for (long until = clock_ms() + PATIENCE; clock_ms() < until; sleep_ms(10))
		if (waitpid(r->master, &r->status, WNOHANG) == r->master) {
			r->master = 0;
			return WIFSIGNALED(r->status) ? 128 + WTERMSIG(r->status) : WEXITSTATUS(r->status);
		}
	return -1;
}

/* Everything that the service manager was told, one after the other. */
static const char *notified(const run *r)
{
	static char all[4096];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof all - 512 && (n = recv(r->notify, all + len, 500, MSG_DONTWAIT)) > 0) {
		len += (size_t)n;
		all[len++] = '\n';
	}
	all[len] = '\0';
	return all;
}

static void clean_up(run *r)
{
	close(r->notify);
	DIR *d = opendir(r->dir);
	for (struct dirent *f; d && (f = readdir(d));)
		unlink(in_dir(r->dir, f->d_name));
	closedir(d);
	rmdir(r->dir);
}

static void finish(run *r)
{
	if (r->master > 0) {
		tell(r->master, SIGKILL);
		waitpid(r->master, NULL, 0);
	}
	while (waitpid(-1, NULL, 0) > 0) /* its workers, which are ours now and die with it */
		;
	clean_up(r);
}

static bool answers(const run *r, const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", r->dir, name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
	close(fd);
	return ok;
}

static bool exists(const run *r, const char *name)
{
	struct stat st;
	return lstat(in_dir(r->dir, name), &st) == 0;
}

static bool runs_file(pid_t pid, const char *path)
{
	char exe[64];
	struct stat a, b;
	snprintf(exe, sizeof exe, "/proc/%d/exe", (int)pid);
	return stat(exe, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino;
}

static void test_start_fails(void)
{
	run r = begin("fail 78");
	CHECK(exit_of(&r) == 78);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "started") == 1);
	finish(&r);
}

static void test_term(void)
{
	run r = begin("listen=a.sock");
	CHECK(comes(&r, "events", "ready", 1));
	CHECK(comes(&r, "log", "worker_started", 1));
	CHECK(answers(&r, "a.sock"));
	CHECK(has(&r, "events", "notify 0"));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	CHECK(has(&r, "events", "term"));
	CHECK(!exists(&r, "a.sock"));
	const char *all = notified(&r);
	CHECK(strstr(all, "READY=1") && strstr(all, "STOPPING=1") &&
	      strstr(all, "READY=1") < strstr(all, "STOPPING=1"));
	finish(&r);

	r = begin("code=5");
	CHECK(comes(&r, "events", "ready", 1));
	tell(r.master, SIGINT);
	CHECK(exit_of(&r) == 5);
	finish(&r);

	/* A second one does not wait. */
	r = begin("deaf listen=a.sock");
	CHECK(comes(&r, "events", "ready", 1));
	tell(r.master, SIGTERM);
	sleep_ms(300);
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 128 + SIGTERM);
	CHECK(!exists(&r, "a.sock"));
	finish(&r);

	/* Nor is a worker without a handler an error. */
	r = begin("hang");
	CHECK(comes(&r, "log", "worker_started", 1));
	tell(r.master, SIGINT);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

static void test_crash(void)
{
	run r = begin("crash listen=a.sock");
	/* 20 that were ready are replaced at once; then it takes 100, 200 and 400 ms. The service manager reads
	 * nothing, and 10 messages of two for each are all that its socket holds: to wait for it would be a second
	 * each. */
	long began = clock_ms();
	CHECK(comes(&r, "events", "ready", 20));
	CHECK(clock_ms() - began < 9000);
	CHECK(has(&r, "log", "exit_code=9 restarts=1 in_ms=0"));
	CHECK(!has(&r, "log", "in_ms=100") && !has(&r, "log", "in_ms=200"));
	began = clock_ms();
	CHECK(comes(&r, "events", "ready", 24));
	CHECK(clock_ms() - began >= 600);
	CHECK(answers(&r, "a.sock"));
	CHECK(has(&r, "events", "restarts 23"));
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "a.sock opened") == 1);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "a.sock inherited") >= 3);
	/* One that does not even start is tried again too. */
	set_scenario(&r, "fail 78");
	CHECK(comes(&r, "log", "exit_code=78", 1));
	/* The very file that runs, whatever stands at its path. */
	write_file(r.binary, "no program\n");
	set_scenario(&r, "listen=a.sock");
	int so_far = occurrences(text_of(in_dir(r.dir, "events")), "ready");
	CHECK(comes(&r, "events", "ready", so_far + 1));
	sleep_ms(200);
	CHECK(occurrences(notified(&r), "READY=1") >= 4);
	CHECK(exists(&r, "a.sock"));
	tell(worker_of(&r), SIGKILL);
	CHECK(comes(&r, "log", "signal=9", 1));
	tell(r.master, SIGTERM); /* none runs, or one that begins */
	CHECK(exit_of(&r) == 0);
	CHECK(!exists(&r, "a.sock"));
	finish(&r);
}

static void test_stuck(void)
{
	run r = begin("stuck watchdog=1");
	CHECK(comes(&r, "events", "ready", 1));
	long began = clock_ms();
	set_scenario(&r, "watchdog=1");
	CHECK(comes(&r, "log", "event=worker_stuck", 1));
	CHECK(clock_ms() - began > 2400 && clock_ms() - began < 4000); /* 1.5 s of grace */
	CHECK(comes(&r, "log", "signal=9 restarts=1 in_ms=0", 1));
	CHECK(comes(&r, "events", "ready", 2));
	sleep_ms(2500); /* it says that it is alive */
	CHECK(occurrences(text_of(in_dir(r.dir, "log")), "event=worker_stuck") == 1);
	/* Stopped alone it is stuck as well. */
	tell(worker_of(&r), SIGSTOP);
	CHECK(comes(&r, "log", "event=worker_stuck", 2));
	finish(&r);
}

static void test_unkillable(void)
{
	run r = begin("stuck unkillable watchdog=1 listen=a.sock");
	CHECK(comes(&r, "events", "tracer", 1));
	pid_t first = worker_of(&r);
	set_scenario(&r, "watchdog=1 listen=a.sock");
	CHECK(comes(&r, "log", "event=worker_stuck", 1));
	long began = clock_ms();
	CHECK(comes(&r, "log", "event=worker_unkillable", 1));
	CHECK(clock_ms() - began > 4000);
	CHECK(tell(first, 0) == 0);
	CHECK(comes(&r, "events", "ready", 2));
	CHECK(has(&r, "events", "a.sock inherited"));
	/* Its end, when it comes at last, changes nothing. */
	tell((pid_t)last_number(&r, "events", "tracer "), SIGKILL);
	for (int i = 0; i < 200 && tell(first, 0) == 0; i++)
		sleep_ms(10);
	CHECK(tell(first, 0) != 0);
	sleep_ms(200);
	CHECK(occurrences(text_of(in_dir(r.dir, "log")), "event=worker_crashed") == 1);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "started") == 2);
	/* Nor does the master's end wait for one. */
	set_scenario(&r, "unkillable");
	tell(worker_of(&r), SIGKILL);
	CHECK(comes(&r, "events", "tracer", 2));
	tell(r.master, SIGTERM);
	sleep_ms(300);
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 128 + SIGTERM);
	CHECK(!exists(&r, "a.sock"));
	tell((pid_t)last_number(&r, "events", "tracer "), SIGKILL);
	finish(&r);
}

/* A healthy worker says it once a second, and whoever reads it may be late himself. */
static void test_seldom_alive(void)
{
	run r = begin("seldom watchdog=1");
	CHECK(comes(&r, "events", "alive", 2));
	CHECK(!has(&r, "log", "worker_stuck"));
	/* It is there to be read when the time is up. */
	sleep_ms(2000);
	tell(r.master, SIGSTOP);
	sleep_ms(900);
	tell(r.master, SIGCONT);
	sleep_ms(500);
	CHECK(!has(&r, "log", "worker_stuck"));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

/* The machine sleeps: both stand still, and the master wakes first. */
static void test_asleep(void)
{
	run r = begin("watchdog=2");
	CHECK(comes(&r, "events", "ready", 1));
	pid_t w = worker_of(&r);
	tell(w, SIGSTOP);
	tell(r.master, SIGSTOP);
	sleep_ms(3500);
	tell(r.master, SIGCONT);
	sleep_ms(1000);
	tell(w, SIGCONT);
	sleep_ms(1500);
	CHECK(!has(&r, "log", "worker_stuck"));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

static void test_systemd_watchdog(void)
{
	run r = begin_with("watchdog=1", -1, "WATCHDOG_USEC", "400000");
	CHECK(comes(&r, "events", "ready", 1));
	sleep_ms(1100);
	int n = occurrences(notified(&r), "WATCHDOG=1");
	CHECK(n >= 4 && n <= 7);
	tell(worker_of(&r), SIGSTOP);
	CHECK(comes(&r, "log", "event=worker_stuck", 1));
	finish(&r);

	/* What the service manager would start again could do no better. */
	r = begin_with("", -1, "WATCHDOG_USEC", "400000");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "fail 78");
	tell(worker_of(&r), SIGKILL);
	CHECK(comes(&r, "log", "exit_code=78", 3));
	notified(&r);
	sleep_ms(1100);
	n = occurrences(notified(&r), "WATCHDOG=1");
	CHECK(n >= 4 && n <= 7);
	set_scenario(&r, "hang");
	CHECK(comes(&r, "events", "prepared", 2));
	notified(&r);
	sleep_ms(1100);
	n = occurrences(notified(&r), "WATCHDOG=1");
	CHECK(n >= 4 && n <= 7);
	finish(&r);
}

static void test_reload_drain(void)
{
	run r = begin("json");
	CHECK(comes(&r, "events", "ready", 1));
	sleep_ms(100);
	notified(&r);
	tell(r.master, SIGHUP);
	CHECK(comes(&r, "events", "hup", 1));
	sleep_ms(200);
	const char *all = notified(&r);
	CHECK(strstr(all, "RELOADING=1\nMONOTONIC_USEC=") == all);
	CHECK(strstr(all, "\nREADY=1\n"));
	CHECK(has(&r, "log", "\"event\":\"worker_started\""));
	tell(r.master, SIGUSR1);
	CHECK(exit_of(&r) == 0);
	CHECK(has(&r, "events", "drained"));
	CHECK(!has(&r, "log", "worker_crashed"));
	finish(&r);
}

static void test_master_killed(void)
{
	run r = begin("deaf");
	CHECK(comes(&r, "events", "ready", 1));
	pid_t w = worker_of(&r);
	tell(r.master, SIGKILL);
	CHECK(exit_of(&r) == 128 + SIGKILL);
	int status = 0;
	pid_t got = 0;
	for (int i = 0; i < 200 && (got = waitpid(w, &status, WNOHANG)) == 0; i++)
		sleep_ms(10);
	CHECK(got == w && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	if (got == 0)
		tell(w, SIGKILL); /* finish() waits for it */
	finish(&r);
}

static void test_inherited(void)
{
	char path[] = "/tmp/test_master.sock.XXXXXX";
	int probe = mkstemp(path);
	close(probe);
	unlink(path);
	int fd = unix_socket(path, SOCK_STREAM);
	listen(fd, 8);
	run r = begin_with("listen=a.sock", fd, NULL, NULL);
	CHECK(comes(&r, "events", "ready", 1));
	CHECK(has(&r, "events", "inherits 1"));
	/* Two: the worker after the first one has them both. */
	tell(worker_of(&r), SIGKILL);
	CHECK(comes(&r, "events", "a.sock inherited", 1));
	CHECK(has(&r, "events", "inherits 2"));
	CHECK(comes(&r, "events", "ready", 2));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	CHECK(!exists(&r, "a.sock"));
	CHECK(access(path, F_OK) == 0);
	finish(&r);
	unlink(path);
	close(fd);
}

/* Not ours even where a worker says so is what stands at the path of another socket. */
static void test_replaced_file(void)
{
	run r = begin("listen=a.sock");
	CHECK(comes(&r, "events", "ready", 1));
	unlink(in_dir(r.dir, "a.sock"));
	int fd = unix_socket(in_dir(r.dir, "a.sock"), SOCK_STREAM);
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	CHECK(exists(&r, "a.sock"));
	close(fd);
	finish(&r);
}

static void test_upgrade(void)
{
	run r = begin("listen=a.sock listen=b.sock watchdog=2");
	CHECK(comes(&r, "events", "ready", 1));
	long ino = last_number(&r, "events", "a.sock opened ");
	pid_t first = worker_of(&r);
	copy_self(r.binary);
	set_scenario(&r, "listen=a.sock listen=c.sock watchdog=2 json");
	CHECK(!runs_file(r.master, r.binary));
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "ready", 2));
	CHECK(comes(&r, "log", "master_upgraded", 1));
	CHECK(has(&r, "events", "handover") && has(&r, "events", "connections 1") && has(&r, "events", "released"));
	CHECK(worker_of(&r) != first && tell(first, 0) != 0);
	CHECK(last_number(&r, "events", "a.sock inherited ") == ino);
	CHECK(has(&r, "log", "event=upgrading") && has(&r, "log", "\"event\":\"upgraded\""));
	CHECK(!has(&r, "log", "failed") && !has(&r, "log", "crashed"));
	/* The master is of the new file as well, and is the same process. */
	CHECK(runs_file(r.master, r.binary) && runs_file(worker_of(&r), r.binary));
	CHECK(answers(&r, "a.sock") && answers(&r, "c.sock") && !exists(&r, "b.sock"));
	/* It has everything that the one before had: signals, watchdog, sockets. */
	tell(r.master, SIGHUP);
	CHECK(comes(&r, "events", "hup", 1));
	tell(worker_of(&r), SIGSTOP);
	CHECK(comes(&r, "log", "\"event\":\"worker_stuck\"", 1));
	CHECK(comes(&r, "events", "ready", 3));
	CHECK(last_number(&r, "events", "a.sock inherited ") == ino);
	CHECK(has(&r, "events", "restarts 1"));
	/* And again. */
	copy_self(r.binary);
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "master_upgraded", 2));
	CHECK(comes(&r, "events", "ready", 4));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	CHECK(!exists(&r, "a.sock") && !exists(&r, "c.sock"));
	finish(&r);
}

/* A signal that the master has caught, and not yet followed, when it becomes the new version. */
static void test_upgrade_signalled(void)
{
	for (int i = 0; i < 2; i++) {
		run r = begin("lingers");
		CHECK(comes(&r, "events", "ready", 1));
		copy_self(r.binary);
		set_scenario(&r, "");
		tell(r.master, SIGUSR2);
		CHECK(comes(&r, "log", "event=upgraded", 1));
		tell(r.master, SIGSTOP);
		sleep_ms(1500); /* the old worker has ended */
		tell(r.master, i ? SIGHUP : SIGTERM);
		tell(r.master, SIGCONT);
		if (i) {
			CHECK(comes(&r, "events", "hup", 1));
			CHECK(comes(&r, "log", "master_upgraded", 1));
			tell(r.master, SIGTERM);
		}
		CHECK(exit_of(&r) == 0);
		CHECK(has(&r, "events", "term"));
		finish(&r);
	}
}

static void test_upgrade_same_file(void)
{
	run r = begin("");
	CHECK(comes(&r, "events", "ready", 1));
	tell(r.master, SIGUSR2);
	sleep_ms(20);
	tell(r.master, SIGUSR2); /* remembered */
	CHECK(comes(&r, "events", "ready", 3));
	CHECK(comes(&r, "log", "event=upgraded", 2));
	sleep_ms(300);
	CHECK(!has(&r, "log", "master_upgraded"));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

static void test_upgrade_fails(void)
{
	run r = begin("listen=a.sock");
	CHECK(comes(&r, "events", "ready", 1));
	pid_t first = worker_of(&r);
	set_scenario(&r, "fail 64");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "event=upgrade_failed", 1));
	CHECK(has(&r, "log", "exit_code=64"));
	/* Sockets that came with it go with it. */
	set_scenario(&r, "listen=a.sock listen=new.sock hang");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "prepared", 2));
	CHECK(comes(&r, "events", "handover", 1));
	CHECK(exists(&r, "new.sock"));
	CHECK(comes(&r, "log", "not ready in time", 1)); /* after ten seconds */
	CHECK(comes(&r, "events", "resumed", 1));
	CHECK(!exists(&r, "new.sock") && exists(&r, "a.sock"));
	/* No program at all. */
	write_file(r.binary, "no program\n");
	chmod(r.binary, 0700);
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "Exec format error", 1));
	/* The old one runs on as if nothing had happened, and can be upgraded yet. */
	CHECK(tell(first, 0) == 0);
	tell(r.master, SIGHUP);
	CHECK(comes(&r, "events", "hup", 1));
	CHECK(!has(&r, "log", "crashed"));
	copy_self(r.binary);
	set_scenario(&r, "listen=a.sock");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "master_upgraded", 1));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

/* The old one is not through with the handover when the new one dies: its watchdog holds again from RESUMED on. */
static void test_upgrade_fails_busy(void)
{
	run r = begin("busy watchdog=1");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "dies");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "event=upgrade_failed", 1));
	CHECK(!has(&r, "events", "resumed"));
	set_scenario(&r, "");
	tell(r.master, SIGUSR2); /* waits for it */
	CHECK(comes(&r, "events", "resumed", 1));
	CHECK(!has(&r, "log", "worker_stuck") && !has(&r, "log", "crashed"));
	CHECK(comes(&r, "log", "event=upgraded", 1));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);

	r = begin("busy watchdog=1");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "dies");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "resumed", 1));
	set_scenario(&r, "");
	sleep_ms(300);
	CHECK(!has(&r, "log", "worker_stuck"));
	tell(worker_of(&r), SIGSTOP);
	CHECK(comes(&r, "log", "event=worker_stuck", 1));
	finish(&r);
}

/* The new one took no connections: the old one lets them go. */
static void test_upgrade_refused(void)
{
	run r = begin("drain=1500");
	CHECK(comes(&r, "events", "ready", 1));
	pid_t first = worker_of(&r);
	set_scenario(&r, "refuses");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "event=upgraded", 1));
	CHECK(has(&r, "events", "draining") && tell(first, 0) == 0);
	CHECK(comes(&r, "events", "drained", 1));
	CHECK(!has(&r, "log", "crashed"));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);

	/* And dies: somebody has to answer meanwhile. */
	r = begin("drain=3000");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "refuses late ends");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "draining", 1));
	CHECK(comes(&r, "events", "connections 0", 1));
	set_scenario(&r, "");
	CHECK(comes(&r, "log", "event=upgrade_failed", 1));
	CHECK(comes(&r, "events", "ready", 2));
	CHECK(!has(&r, "events", "drained"));
	CHECK(comes(&r, "events", "drained", 1));
	CHECK(!has(&r, "log", "crashed"));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

/* Between the two, connections are nobody's whom SIGUSR1 could tell to let them go. */
static void test_upgrade_drained(void)
{
	run r = begin("");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "late");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "connections 1", 1));
	tell(r.master, SIGUSR1);
	CHECK(exit_of(&r) == 0);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "ready") == 2 && has(&r, "events", "drained"));
	CHECK(has(&r, "log", "event=upgraded") && !has(&r, "log", "upgrade_failed"));
	finish(&r);

	/* Its own again. */
	r = begin("busy");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "dies");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "handover", 1));
	tell(r.master, SIGUSR1);
	CHECK(exit_of(&r) == 0);
	CHECK(has(&r, "events", "resumed") && has(&r, "events", "drained"));
	finish(&r);

	/* Nothing was given yet: the new one is not needed any more. */
	r = begin("");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "slow");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "started", 2));
	tell(r.master, SIGUSR1);
	CHECK(exit_of(&r) == 0);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "ready") == 1 && has(&r, "events", "drained"));
	finish(&r);
}

/* The old one crashes while it should hand over; the new one begins without its connections. */
static void test_upgrade_crash(void)
{
	run r = begin("listen=a.sock");
	CHECK(comes(&r, "events", "ready", 1));
	pid_t first = worker_of(&r);
	tell(first, SIGSTOP);
	copy_self(r.binary);
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "prepared", 2));
	sleep_ms(300);
	tell(first, SIGKILL);
	CHECK(comes(&r, "events", "connections 0", 1));
	CHECK(comes(&r, "log", "master_upgraded", 1));
	/* None where READY comes before the signal of its end. */
	CHECK(occurrences(text_of(in_dir(r.dir, "log")), "worker_crashed") <= 1);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "started") == 2);
	CHECK(answers(&r, "a.sock"));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

static void test_upgrade_other_version(void)
{
	run r = begin("listen=a.sock");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "version2 listen=a.sock");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "connections 0", 1));
	CHECK(comes(&r, "events", "drain", 1));
	CHECK(!has(&r, "events", "handover"));
	CHECK(comes(&r, "log", "event=upgraded", 1));
	sleep_ms(500);
	CHECK(!has(&r, "log", "crashed"));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

/* A new master that cannot read what the old one left (its main() makes it so): the last resort. */
static void test_state_unreadable(void)
{
	char path[] = "/tmp/test_master.sock.XXXXXX";
	close(mkstemp(path));
	unlink(path);
	int fd = unix_socket(path, SOCK_STREAM);
	listen(fd, 8);
	run r = begin_with("all listen=a.sock", fd, "TEST_BREAK_STATE", "1");
	CHECK(comes(&r, "events", "ready", 1));
	long ino = last_number(&r, "events", "a.sock opened ");
	copy_self(r.binary);
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "is version 9", 1));
	CHECK(comes(&r, "events", "ready", 3));
	/* What is listened on, the service manager's socket too, is not closed for a moment. */
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "opened") == 1);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "inherits 2") == 2);
	CHECK(last_number(&r, "events", "a.sock inherited ") == ino);
	close(fd);
	unlink(path);
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);

	/* What an operator put there is no worker of ours. */
	r = begin_with("", -1, STATE_VARIABLE, "1 1 3 0 0 1 0 0 0 /bin/true");
	CHECK(comes(&r, "log", "does not name a worker", 1));
	CHECK(comes(&r, "events", "ready", 1));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

/* What takes half a minute, side by side. */
static void test_slow(void)
{
	run deaf = begin("deaf"), drains = begin("drain=33000");
	CHECK(comes(&deaf, "events", "ready", 1) && comes(&drains, "events", "ready", 1));
	tell(deaf.master, SIGTERM);
	set_scenario(&drains, "refuses");
	tell(drains.master, SIGUSR2);
	CHECK(comes(&drains, "log", "event=upgraded", 1));
	sleep_ms(29 * 1000);
	CHECK(waitpid(deaf.master, NULL, WNOHANG) == 0);
	CHECK(exit_of(&deaf) == 128 + SIGKILL);
	CHECK(has(&deaf, "log", "did not end after SIGTERM"));
	CHECK(comes(&drains, "events", "drained", 1));
	CHECK(!has(&drains, "log", "worker_killed"));
	tell(drains.master, SIGTERM);
	CHECK(exit_of(&drains) == 0);
	clean_up(&deaf);
	clean_up(&drains);
}

static void test_no_master(void)
{
	control c;
	err e;

	unsetenv(CONTROL_VARIABLE);
	CHECK(!control_init(&c, &e) && !e.text[0]);
	setenv(CONTROL_VARIABLE, "x", 1);
	CHECK(!control_init(&c, &e) && strstr(e.text, "remove it"));
	setenv(CONTROL_VARIABLE, "1000", 1);
	CHECK(!control_init(&c, &e) && strstr(e.text, "remove it"));
	CHECK(!getenv(CONTROL_VARIABLE));
}

int main(int argc, char **argv)
{
	enum { PARTS = 3 };
	control c;
	err e;

	unsigned part = 0, turn = 0;
	/* One test alone, by its name; or every third, as they mostly wait. */
#define RUN_IF(test) \
	do { \
		if (argc > 1 ? strcmp(argv[1], #test) == 0 : turn++ % PARTS == part) \
			RUN(test); \
	} while (0)

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getenv("TEST_MASTER")) {
		char *state = getenv(STATE_VARIABLE);
		if (state && getenv("TEST_BREAK_STATE"))
			state[0] = '9';
		return control_init(&c, &e) ? play_worker(&c) : master_run(argc, argv);
	}
	/* In processes of their own, as finish() waits for every child there is. */
	pid_t pids[PARTS] = { 0 };
	for (part = 0; argc < 2 && part < PARTS; part++) {
		pids[part] = fork();
		if (pids[part] < 0)
			abort();
		if (pids[part] == 0)
			break;
	}
	if (argc < 2 && part == PARTS) {
		RUN(test_slow);
		for (part = 0; part < PARTS; part++) {
			int status = 1;
			if (waitpid(pids[part], &status, 0) != pids[part] || status != 0)
				unit_failed++;
		}
		return unit_end();
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	RUN_IF(test_no_master);
	RUN_IF(test_start_fails);
	RUN_IF(test_term);
	RUN_IF(test_crash);
	RUN_IF(test_stuck);
	RUN_IF(test_unkillable);
	RUN_IF(test_seldom_alive);
	RUN_IF(test_asleep);
	RUN_IF(test_systemd_watchdog);
	RUN_IF(test_reload_drain);
	RUN_IF(test_master_killed);
	RUN_IF(test_inherited);
	RUN_IF(test_replaced_file);
	RUN_IF(test_upgrade);
	RUN_IF(test_upgrade_signalled);
	RUN_IF(test_upgrade_same_file);
	RUN_IF(test_upgrade_fails);
	RUN_IF(test_upgrade_fails_busy);
	RUN_IF(test_upgrade_refused);
	RUN_IF(test_upgrade_drained);
	RUN_IF(test_upgrade_crash);
	RUN_IF(test_upgrade_other_version);
	RUN_IF(test_state_unreadable);
	if (argc > 1)
		RUN_IF(test_slow);
	return unit_end();
}

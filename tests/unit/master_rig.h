/* SPDX-License-Identifier: MIT
 *
 * A master process to test, with the test program itself as its binary: with TEST_MASTER in its environment the program
 * is the master, and with a control socket too it is the worker, which plays the scenario in the file `scenario`
 * (master_worker.h) and writes what it does into the file `events`. Otherwise the program runs its tests. */
#ifndef MASTER_RIG_H
#define MASTER_RIG_H

#include <dirent.h>
#include <sys/wait.h>

#include "master_worker.h"
#include "proc/master.h"
#include "proc/state.h"

enum { PATIENCE = 20000 }; /* ms */

/* Sends a signal, but never to pid 0, 1 or -1, which would reach other processes. */
static inline int tell(pid_t pid, int sig)
{
	if (pid > 1)
		return kill(pid, sig);
	printf("%s:%d: no process to send signal %d to\n", __FILE__, __LINE__, sig);
	unit_bad++;
	return -1;
}

static inline void write_file(const char *path, const char *text)
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

/* ---- the tests */

typedef struct run {
	char dir[64];
	char binary[96];
	pid_t master;
	int notify;
	int status;
} run;

static inline void copy_self(const char *to)
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

static inline int unix_socket(const char *path, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0)
		abort();
	return fd;
}

static inline void set_scenario(const run *r, const char *scenario)
{
	write_file(in_dir(r->dir, "scenario"), scenario);
}

/* Starts a master whose worker plays `scenario`, with `variable` set to `value` in its environment (NULL: none).
 * `inherit`: a socket that the service manager passes; -1: none. */
static inline run begin_with(const char *scenario, int inherit, const char *variable, const char *value)
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
			fcntl(3, F_SETFD, 0); /* dup2() does nothing if `inherit` is 3 already */
			snprintf(pid, sizeof pid, "%d", getpid());
			setenv("LISTEN_PID", pid, 1);
			setenv("LISTEN_FDS", "1", 1);
		}
		execv(r.binary, argv);
		_exit(97);
	}
	return r;
}

static inline run begin(const char *scenario)
{
	return begin_with(scenario, -1, NULL, NULL);
}

static inline int occurrences(const char *text, const char *what)
{
	int n = 0;
	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

/* Waits until `what` stands `n` times in the file `file` ("events", "log"). False: it does not come in time. */
static inline bool comes(const run *r, const char *file, const char *what, int n)
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

static inline bool has(const run *r, const char *file, const char *what)
{
	return strstr(text_of(in_dir(r->dir, file)), what) != NULL;
}

/* Returns the number behind the last `what` in the file; -1: `what` is not there. */
static inline long last_number(const run *r, const char *file, const char *what)
{
	const char *text = text_of(in_dir(r->dir, file)), *last = NULL;
	for (const char *at = text; (at = strstr(at, what)); at++)
		last = at;
	return last ? atol(last + strlen(what)) : -1;
}

static inline pid_t worker_of(const run *r)
{
	return (pid_t)last_number(r, "events", "ready ");
}

/* Waits for the master's end and returns its exit code, or 128 + signal; -1: it does not end in time. */
static inline int exit_of(run *r)
{
	for (long until = clock_ms() + PATIENCE; clock_ms() < until; sleep_ms(10))
		if (waitpid(r->master, &r->status, WNOHANG) == r->master) {
			r->master = 0;
			return WIFSIGNALED(r->status) ? 128 + WTERMSIG(r->status) : WEXITSTATUS(r->status);
		}
	return -1;
}

/* Returns all messages that wait for the service manager, each with a line end. Valid until the next call. */
static inline const char *notified(const run *r)
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

static inline void clean_up(run *r)
{
	close(r->notify);
	DIR *d = opendir(r->dir);
	for (struct dirent *f; d && (f = readdir(d));)
		unlink(in_dir(r->dir, f->d_name));
	closedir(d);
	rmdir(r->dir);
}

static inline void finish(run *r)
{
	if (r->master > 0) {
		tell(r->master, SIGKILL);
		waitpid(r->master, NULL, 0);
	}
	while (waitpid(-1, NULL, 0) > 0) /* its workers die with it, and are our children now */
		;
	clean_up(r);
}

static inline bool answers(const run *r, const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", r->dir, name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
	close(fd);
	return ok;
}

static inline bool exists(const run *r, const char *name)
{
	struct stat st;
	return lstat(in_dir(r->dir, name), &st) == 0;
}

static inline bool runs_file(pid_t pid, const char *path)
{
	char exe[64];
	struct stat a, b;
	snprintf(exe, sizeof exe, "/proc/%d/exe", (int)pid);
	return stat(exe, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino;
}

/* ---- running the tests */

typedef struct master_test {
	const char *name;
	void (*run)(void);
} master_test;

#define TEST(function) ((master_test){ #function, function })

/* Runs one test and returns the exit code for it. */
static inline int run_test(const master_test *t)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* a worker whose master was killed becomes our child */
	t->run();
	printf("%s %s\n", unit_bad ? "FAILED" : "ok", t->name);
	return unit_bad ? 1 : 0;
}

/* Waits for one test to end, and counts it. */
static inline void await_test(void)
{
	int status = 1;

	if (wait(&status) > 0 && status == 0)
		unit_passed++;
	else
		unit_failed++;
}

/* The program: plays the master or the worker, or runs the test named by argv[1], or all tests: three at a time,
 * because they mostly wait, and each in a process of its own, because finish() waits for every child of its process. */
static inline int master_rig_main(int argc, char **argv, const master_test *tests, size_t count)
{
	enum { AT_ONCE = 3 };
	size_t running = 0;
	control c;
	err e;

	if (getenv("TEST_MASTER")) {
		char *state = getenv(STATE_VARIABLE);
		if (state && getenv("TEST_BREAK_STATE"))
			state[0] = '9';
		return control_init(&c, &e) ? play_worker(&c) : master_run(argc, argv);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < count; i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name) == 0)
			return run_test(&tests[i]);
		if (argc > 1)
			continue;
		if (running == AT_ONCE)
			await_test();
		else
			running++;
		pid_t pid = fork();
		if (pid < 0)
			abort();
		if (pid == 0)
			exit(run_test(&tests[i]));
	}
	for (; running; running--)
		await_test();
	return argc > 1 ? 2 : unit_end();
}

#endif

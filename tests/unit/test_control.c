/* SPDX-License-Identifier: MIT
 *
 * What goes between a worker process and its master, and between a master and the new version that it execs. */
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "proc/control.h"
#include "proc/state.h"
#include "unit.h"

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The control socket of a worker whose master is `*master`. */
static control worker_side(int *master)
{
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) != 0)
		abort();
	*master = s[0];
	return (control){ .fd = s[1], .handover = -1 };
}

static bool say(control *c, control_type type, err *e)
{
	return control_say(c, type, SLICE("body"), NULL, 0, e);
}

static void a_master_that_reads_nothing_holds_nobody_up(void)
{
	int master, said = 0;
	control c = worker_side(&master);
	fdpass_message m;
	err e = { 0 };
	double began = now();

	while (said < 100000 && say(&c, CONTROL_ALIVE, &e))
		said++;
	CHECK(said > 50 && said < 100000 && strstr(e.text, "master"));
	CHECK(!say(&c, CONTROL_READY, &e));
	CHECK(now() - began < 3.);
	/* What was said arrives whole, and nothing of what was not. */
	for (int i = 0; i < said; i++) {
		CHECK(fdpass_receive(master, &m, 1000, &e) == FDPASS_OK && m.type == CONTROL_ALIVE &&
		      slice_eq(buf_slice(&m.body), SLICE("body")));
		fdpass_deinit(&m);
	}
	CHECK(say(&c, CONTROL_READY, &e));
	CHECK(fdpass_receive(master, &m, 1000, &e) == FDPASS_OK && m.type == CONTROL_READY);
	fdpass_deinit(&m);
	close(master);
	close(c.fd);
}

static void the_error_says_that_the_master_is_gone(void)
{
	int master;
	control c = worker_side(&master);
	err e = { 0 };

	close(master);
	CHECK(!say(&c, CONTROL_ALIVE, &e) && strstr(e.text, "Broken pipe"));
	close(c.fd);
}

static void control_init_tells_no_master_from_a_wrong_one(void)
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

static int bound(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0)
		abort();
	return fd;
}

/* The state names the first socket again after the second, by another descriptor. */
static void a_socket_that_is_there_twice_keeps_its_own_file(void)
{
	char dir[] = "/tmp/test_control.XXXXXX", path[2][40];
	int master, fds[3];
	control c = worker_side(&master);
	master_state before = { .control = c.fd, .path = "/bin/agent" }, after;
	err e = { 0 };

	if (!mkdtemp(dir))
		abort();
	before.worker = fork();
	if (before.worker == 0)
		for (;;)
			pause();
	for (size_t i = 0; i < 2; i++) {
		snprintf(path[i], sizeof path[i], "%s/%zu.sock", dir, i);
		fds[i] = bound(path[i]);
	}
	fds[2] = dup(fds[0]);
	for (size_t i = 0; i < 3; i++)
		before.held.items[before.held.count++] = (held_socket){ .fd = fds[i],
									.ours = i != 1,
									.file_ino = 10 + i };
	CHECK(state_save(&before));
	CHECK(state_take(&after, 1, &e) == STATE_TAKEN);
	CHECK(!getenv(STATE_VARIABLE));
	CHECK(after.held.count == 2);
	CHECK(after.held.items[0].fd == fds[0] && after.held.items[0].ours && after.held.items[0].file_ino == 12);
	CHECK(after.held.items[1].fd == fds[1] && !after.held.items[1].ours && after.held.items[1].file_ino == 11);
	kill(before.worker, SIGKILL);
	waitpid(before.worker, NULL, 0);
	sockets_drop_all(&after.held);
	close(master);
	close(c.fd);
	for (size_t i = 0; i < 2; i++)
		unlink(path[i]);
	rmdir(dir);
}

int main(void)
{
	RUN(a_master_that_reads_nothing_holds_nobody_up);
	RUN(the_error_says_that_the_master_is_gone);
	RUN(control_init_tells_no_master_from_a_wrong_one);
	RUN(a_socket_that_is_there_twice_keeps_its_own_file);
	return unit_end();
}

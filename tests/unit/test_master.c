/* SPDX-License-Identifier: MIT
 *
 * The master process: starts, ends, crashes of its worker, signals and sockets that it passes on. */
#include "master_rig.h"

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

	/* A second signal kills the worker. */
	r = begin("deaf listen=a.sock");
	CHECK(comes(&r, "events", "ready", 1));
	tell(r.master, SIGTERM);
	sleep_ms(300);
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 128 + SIGTERM);
	CHECK(!exists(&r, "a.sock"));
	finish(&r);

	/* A worker that has no handler yet ends by the signal, and that is no error. */
	r = begin("hang");
	CHECK(comes(&r, "log", "worker_started", 1));
	tell(r.master, SIGINT);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

static void test_crash(void)
{
	run r = begin("crash listen=a.sock");
	/* 20 workers that were ready are replaced at once, the next ones after 100, 200 and 400 ms. The master sends
	 * the service manager two messages for each worker, but the service manager reads none, and its socket holds
	 * 10: the master must not wait for it, which would take a second for each message. On a busy machine all take
	 * longer, the first ones too, whose messages the socket holds. */
	long began = clock_ms();
	CHECK(comes(&r, "events", "ready", 4));
	long first = clock_ms() - began;
	for (int n = 8; n <= 20; n += 4)
		CHECK(comes(&r, "events", "ready", n));
	CHECK(clock_ms() - began < 9000 + 8 * first);
	CHECK(has(&r, "log", "exit_code=9 restarts=1 in_ms=0"));
	CHECK(comes(&r, "events", "ready", 24));
	CHECK(clock_ms() - began >= 100 + 200 + 400);
	CHECK(answers(&r, "a.sock"));
	CHECK(has(&r, "events", "restarts 23"));
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "a.sock opened") == 1);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "a.sock inherited") >= 3);
	/* A worker that fails at its start is tried again too. */
	set_scenario(&r, "fail 78");
	CHECK(comes(&r, "log", "exit_code=78", 1));
	/* A new worker is of the same file as the master, whatever is at its path by now. */
	write_file(r.binary, "no program\n");
	set_scenario(&r, "listen=a.sock");
	int so_far = occurrences(text_of(in_dir(r.dir, "events")), "ready");
	CHECK(comes(&r, "events", "ready", so_far + 1));
	sleep_ms(200);
	CHECK(occurrences(notified(&r), "READY=1") >= 4);
	CHECK(exists(&r, "a.sock"));
	tell(worker_of(&r), SIGKILL);
	CHECK(comes(&r, "log", "signal=9", 1));
	tell(r.master, SIGTERM); /* no worker runs, or one is starting */
	CHECK(exit_of(&r) == 0);
	CHECK(!exists(&r, "a.sock"));
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
	/* The next worker has both sockets. */
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

/* A file that somebody else put at the socket's path stays. */
static void test_replaced_file(void)
{
	run r = begin("listen=a.sock");
	CHECK(comes(&r, "log", "worker_started", 1)); /* the master has looked at the file */
	sleep_ms(20); /* so that the next file is of another time, because it may get the same inode number */
	unlink(in_dir(r.dir, "a.sock"));
	int fd = unix_socket(in_dir(r.dir, "a.sock"), SOCK_STREAM);
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	CHECK(exists(&r, "a.sock"));
	close(fd);
	finish(&r);
}

int main(int argc, char **argv)
{
	const master_test tests[] = {
		TEST(test_start_fails),   TEST(test_term),      TEST(test_crash),         TEST(test_reload_drain),
		TEST(test_master_killed), TEST(test_inherited), TEST(test_replaced_file),
	};

	return master_rig_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}

/* SPDX-License-Identifier: MIT
 *
 * Upgrades: a new worker takes over from the old one, and the master becomes the new version. */
#include "master_rig.h"

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
	/* The master runs the new file too, in the same process. */
	CHECK(runs_file(r.master, r.binary) && runs_file(worker_of(&r), r.binary));
	CHECK(answers(&r, "a.sock") && answers(&r, "c.sock") && !exists(&r, "b.sock"));
	/* The new master passes on signals, has the watchdog, and holds the sockets. */
	tell(r.master, SIGHUP);
	CHECK(comes(&r, "events", "hup", 1));
	tell(worker_of(&r), SIGSTOP);
	CHECK(comes(&r, "log", "\"event\":\"worker_stuck\"", 1));
	CHECK(comes(&r, "events", "ready", 3));
	CHECK(last_number(&r, "events", "a.sock inherited ") == ino);
	CHECK(has(&r, "events", "restarts 1"));
	/* A second upgrade. */
	copy_self(r.binary);
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "master_upgraded", 2));
	CHECK(comes(&r, "events", "ready", 4));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	CHECK(!exists(&r, "a.sock") && !exists(&r, "c.sock"));
	finish(&r);
}

static int times(const run *r, const char *what)
{
	return occurrences(text_of(in_dir(r->dir, "events")), what);
}

/* Kills the worker, and returns how often the next ones have inherited the memory `name`. */
static int inherits_after_kill(run *r, const char *name, int readies)
{
	char line[32];

	tell(worker_of(r), SIGKILL);
	CHECK(comes(r, "events", "ready", readies));
	snprintf(line, sizeof line, "memory %s\n", name);
	return times(r, line);
}

/* The memory goes from worker to worker, through crashes and upgrades. That of a new version counts once it is READY.
 */
static void test_memory(void)
{
	run r = begin("memory=one");
	CHECK(comes(&r, "events", "ready", 1) && !has(&r, "events", "memory "));
	set_scenario(&r, "");
	CHECK(inherits_after_kill(&r, "one", 2) == 1);
	copy_self(r.binary);
	set_scenario(&r, "memory=two dies");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "event=upgrade_failed", 1));
	CHECK(times(&r, "memory one\n") == 2); /* the one that failed had it too */
	set_scenario(&r, "");
	CHECK(inherits_after_kill(&r, "one", 3) == 3);
	set_scenario(&r, "memory=three");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "master_upgraded", 1)); /* its descriptors have gone through an exec */
	CHECK(times(&r, "memory one\n") == 4);
	set_scenario(&r, "");
	CHECK(inherits_after_kill(&r, "three", 5) == 1);
	copy_self(r.binary);
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "master_upgraded", 2));
	CHECK(times(&r, "memory three\n") == 2);
	CHECK(inherits_after_kill(&r, "three", 7) == 3);
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

/* A signal comes just before the master becomes the new version. */
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
	CHECK(comes(&r, "log", "event=upgrading", 1)); /* two signals at once would be one */
	tell(r.master, SIGUSR2);                       /* waits for the end of the first upgrade */
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
	/* Sockets that the new worker added are closed when it fails. */
	set_scenario(&r, "listen=a.sock listen=new.sock hang");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "prepared", 2));
	CHECK(comes(&r, "events", "handover", 1));
	CHECK(exists(&r, "new.sock"));
	CHECK(comes(&r, "log", "not ready in time", 1)); /* after ten seconds */
	CHECK(comes(&r, "events", "resumed", 1));
	CHECK(!exists(&r, "new.sock") && exists(&r, "a.sock"));
	/* The binary is not a program. */
	write_file(r.binary, "no program\n");
	chmod(r.binary, 0700);
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "Exec format error", 1));
	/* The old worker goes on, and can still be upgraded. */
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

/* The new worker dies while the old one is still in the handover: the old one's watchdog counts again from RESUMED on.
 */
static void test_upgrade_fails_busy(void)
{
	run r = begin("busy watchdog=1");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "dies");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "log", "event=upgrade_failed", 1));
	CHECK(!has(&r, "events", "resumed"));
	set_scenario(&r, "");
	tell(r.master, SIGUSR2); /* waits for RESUMED */
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

/* The new worker takes no connections: the old one lets them end. */
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

	/* The new worker dies too: another one is started, because the old one answers no new connections. */
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

/* SIGUSR1 during a handover waits, because the connections on their way belong to neither worker. */
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

	/* The handover fails: the old worker drains. */
	r = begin("busy");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "dies");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "handover", 1));
	tell(r.master, SIGUSR1);
	CHECK(exit_of(&r) == 0);
	CHECK(has(&r, "events", "resumed") && has(&r, "events", "drained"));
	finish(&r);

	/* Before the handover: the new worker is killed, and the old one drains. */
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

/* The old worker crashes when it should hand over: the new one begins without connections. */
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
	/* Not logged as a crash if READY comes before SIGCHLD. */
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

/* A new master cannot read the state that the old one left (TEST_BREAK_STATE): it kills the worker and starts another.
 */
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
	/* Listening sockets, also the service manager's, are never closed. */
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "opened") == 1);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "inherits 2") == 2);
	CHECK(last_number(&r, "events", "a.sock inherited ") == ino);
	close(fd);
	unlink(path);
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);

	/* The variable names a process that is not our worker. */
	r = begin_with("", -1, STATE_VARIABLE, "1 1 3 0 0 1 0 0 0 /bin/true");
	CHECK(comes(&r, "log", "does not name a worker", 1));
	CHECK(comes(&r, "events", "ready", 1));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

/* The same with a worker that SIGKILL does not end. */
static void test_state_unreadable_unkillable(void)
{
	run r = begin_with("", -1, "TEST_BREAK_STATE", "1");
	CHECK(comes(&r, "events", "ready", 1));
	copy_self(r.binary);
	set_scenario(&r, "unkillable");
	tell(r.master, SIGUSR2);
	CHECK(comes(&r, "events", "connections 1", 1));
	set_scenario(&r, "");
	CHECK(comes(&r, "log", "event=worker_unkillable", 1));
	CHECK(comes(&r, "events", "ready", 3));
	CHECK(has(&r, "events", "restarts 1"));
	/* The end of that worker, when it comes at last, changes nothing. */
	tell((pid_t)last_number(&r, "events", "tracer "), SIGKILL);
	sleep_ms(300);
	CHECK(!has(&r, "log", "worker_crashed"));
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 0);
	finish(&r);
}

/* Two tests that take half a minute, side by side: a worker that ignores SIGTERM, and connections that end slowly. */
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

int main(int argc, char **argv)
{
	const master_test tests[] = {
		TEST(test_slow),
		TEST(test_upgrade),
		TEST(test_memory),
		TEST(test_upgrade_signalled),
		TEST(test_upgrade_same_file),
		TEST(test_upgrade_fails),
		TEST(test_upgrade_fails_busy),
		TEST(test_upgrade_refused),
		TEST(test_upgrade_drained),
		TEST(test_upgrade_crash),
		TEST(test_upgrade_other_version),
		TEST(test_state_unreadable),
		TEST(test_state_unreadable_unkillable),
	};

	return master_rig_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}

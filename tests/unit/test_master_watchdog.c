/* SPDX-License-Identifier: MIT
 *
 * Workers that hang, cannot be killed or sleep, and the watchdog of the service manager. */
#include "master_rig.h"

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
	sleep_ms(2500); /* the new worker says ALIVE */
	CHECK(occurrences(text_of(in_dir(r.dir, "log")), "event=worker_stuck") == 1);
	/* A stopped worker is stuck too. */
	tell(worker_of(&r), SIGSTOP);
	CHECK(comes(&r, "log", "event=worker_stuck", 2));
	finish(&r);
}

static void test_unkillable(void)
{
	run r = begin("stuck unkillable watchdog=1 listen=a.sock");
	CHECK(comes(&r, "events", "ready", 1));
	pid_t first = worker_of(&r);
	set_scenario(&r, "watchdog=1 listen=a.sock");
	CHECK(comes(&r, "log", "event=worker_stuck", 1));
	long began = clock_ms();
	CHECK(comes(&r, "log", "event=worker_unkillable", 1));
	CHECK(clock_ms() - began > 4000);
	CHECK(tell(first, 0) == 0);
	CHECK(comes(&r, "events", "ready", 2));
	CHECK(has(&r, "events", "a.sock inherited"));
	/* The end of that worker, when it comes at last, changes nothing. */
	tell((pid_t)last_number(&r, "events", "tracer "), SIGKILL);
	for (int i = 0; i < 200 && tell(first, 0) == 0; i++)
		sleep_ms(10);
	CHECK(tell(first, 0) != 0);
	sleep_ms(200);
	CHECK(occurrences(text_of(in_dir(r.dir, "log")), "event=worker_crashed") == 1);
	CHECK(occurrences(text_of(in_dir(r.dir, "events")), "started") == 2);
	/* The master's own end does not wait for such a worker either. */
	set_scenario(&r, "unkillable");
	tell(worker_of(&r), SIGKILL);
	CHECK(comes(&r, "events", "ready", 3));
	tell(r.master, SIGTERM);
	sleep_ms(300);
	tell(r.master, SIGTERM);
	CHECK(exit_of(&r) == 128 + SIGTERM);
	CHECK(!exists(&r, "a.sock"));
	tell((pid_t)last_number(&r, "events", "tracer "), SIGKILL);
	finish(&r);
}

/* A healthy worker says ALIVE once a second, and the master may read it late. */
static void test_seldom_alive(void)
{
	run r = begin("seldom watchdog=1");
	CHECK(comes(&r, "events", "alive", 2));
	CHECK(!has(&r, "log", "worker_stuck"));
	/* The next ALIVE waits in the socket when the time is up. */
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

/* The machine sleeps: master and worker stand still, and the master wakes first. */
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

static int ascending(const void *a, const void *b)
{
	long left = *(const long *)a, right = *(const long *)b;
	return (left > right) - (left < right);
}

/* True: WATCHDOG=1 comes every half of WATCHDOG_USEC. Reads the time at which each message was sent from the kernel,
 * and checks the median gap, because a busy machine delays some messages. */
static bool watchdog_is_paced(const run *r, long usec)
{
	enum { GAPS = 5 };
	long gaps[GAPS], last = 0, until = clock_ms() + PATIENCE;
	int on = 1, got = -1;

	setsockopt(r->notify, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on);
	notified(r); /* older messages have no time */
	while (got < GAPS && clock_ms() < until) {
		char line[64], ancillary[CMSG_SPACE(sizeof(struct timeval))];
		struct iovec part = { line, sizeof line };
		struct msghdr m = {
			.msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary, .msg_controllen = sizeof ancillary
		};
		struct timeval sent;
		if (recvmsg(r->notify, &m, MSG_DONTWAIT) != 10 || memcmp(line, "WATCHDOG=1", 10) != 0) {
			sleep_ms(5);
			continue;
		}
		const struct cmsghdr *head = CMSG_FIRSTHDR(&m);
		if (!head || head->cmsg_type != SCM_TIMESTAMP)
			return false;
		memcpy(&sent, CMSG_DATA(head), sizeof sent);
		long at = sent.tv_sec * 1000000 + sent.tv_usec;
		if (got >= 0)
			gaps[got] = at - last;
		got++;
		last = at;
	}
	if (got < GAPS)
		return false;
	qsort(gaps, GAPS, sizeof gaps[0], ascending);
	if (gaps[GAPS / 2] < usec * 3 / 8 || gaps[GAPS / 2] > usec * 5 / 8)
		printf("every %ld us\n", gaps[GAPS / 2]);
	return gaps[GAPS / 2] >= usec * 3 / 8 && gaps[GAPS / 2] <= usec * 5 / 8;
}

static void test_systemd_watchdog(void)
{
	run r = begin_with("watchdog=1", -1, "WATCHDOG_USEC", "400000");
	CHECK(comes(&r, "events", "ready", 1));
	CHECK(watchdog_is_paced(&r, 400000));
	tell(worker_of(&r), SIGSTOP);
	CHECK(comes(&r, "log", "event=worker_stuck", 1));
	finish(&r);

	/* A worker that fails again and again does not stop WATCHDOG=1: a new master could do no more for it. */
	r = begin_with("", -1, "WATCHDOG_USEC", "400000");
	CHECK(comes(&r, "events", "ready", 1));
	set_scenario(&r, "fail 78");
	tell(worker_of(&r), SIGKILL);
	CHECK(comes(&r, "log", "exit_code=78", 3));
	CHECK(watchdog_is_paced(&r, 400000));
	set_scenario(&r, "hang");
	CHECK(comes(&r, "events", "prepared", 2));
	CHECK(watchdog_is_paced(&r, 400000));
	finish(&r);
}

int main(int argc, char **argv)
{
	const master_test tests[] = {
		TEST(test_stuck),  TEST(test_unkillable),       TEST(test_seldom_alive),
		TEST(test_asleep), TEST(test_systemd_watchdog),
	};

	return master_rig_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}

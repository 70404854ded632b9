/* SPDX-License-Identifier: MIT
 *
 * A disk that refuses the journal: it is full, or the folder is gone or must not be written. */
#include "journal_rig.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void the_size_limit_is_a_full_disk(void)
{
	empty_dir();
	journal *j = open_journal(8192, 32768);
	journal_mark mark = { 0 }, half = { 0 };
	int64_t n = 0;
	while (journal_flush(j)) {
		n++;
		mark = append(j, n, n);
		if (n == 150)
			half = mark;
	}
	journal_stats stats = journal_get_stats(j);
	CHECK(stats.failing && strstr(stats.problem, "limit") && stats.failed == 1 && stats.bytes <= 32768);
	CHECK(stats.bytes > 32768 - 2 * 1024 && stats.waiting > 0 && stats.dropped == 0);
	mark = append(j, n + 1, n + 50);
	CHECK(!journal_flush(j));
	journal_release(j, half);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing && journal_get_stats(j).waiting == 0);
	seen s = replay(j);
	CHECK(s.last == n + 50 && s.mark.position == mark.position);
	journal_release(j, mark);
	CHECK(journal_get_stats(j).bytes <= 8192 + 1024);
	journal_close(j);
	CHECK(files() == 0);
}

static void memory_is_bounded_and_the_newest_are_dropped(void)
{
	empty_dir();
	journal *j = open_journal(8192, 16384);
	record r = record_number(1);
	journal_mark mark = { 0 }, last = { 0 };
	int64_t n = 0, kept = 0, dropped = 0;
	while (journal_flush(j)) {
		n++;
		append(j, n, n);
	}
	kept = n;
	while (dropped < 1000) {
		r = record_number(++n);
		if (journal_append(j, &r, &mark)) {
			kept++;
			last = mark;
			CHECK(dropped == 0);
		} else {
			dropped++;
		}
	}
	journal_stats stats = journal_get_stats(j);
	CHECK(stats.dropped == 1000 && stats.waiting <= JOURNAL_MEMORY_MAX &&
	      stats.waiting > JOURNAL_MEMORY_MAX - 4096);
	CHECK(kept > 20000 && mark.position == last.position);
	/* What the store has meanwhile need not be written any more. */
	journal_release(j, last);
	CHECK(journal_get_stats(j).waiting == 0 && journal_get_stats(j).bytes == 0);
	mark = append(j, n + 1, n + 1);
	CHECK(mark.position > last.position && journal_flush(j) && !journal_get_stats(j).failing);
	seen s = replay(j);
	CHECK(s.count == 1 && s.last == n + 1);
	journal_close(j);
}

/* RLIMIT_FSIZE makes a write end in the middle of an entry and the next one fail: a disk that fills, for any user. */
static void a_write_that_ends_in_an_entry_is_made_good(void)
{
	for (rlim_t limit = 1; limit < 1500; limit += 37) {
		struct rlimit old, small;
		empty_dir();
		journal *j = open_journal(SEGMENT, PLENTY);
		signal(SIGXFSZ, SIG_IGN);
		getrlimit(RLIMIT_FSIZE, &old);
		small = (struct rlimit){ limit, old.rlim_max };
		setrlimit(RLIMIT_FSIZE, &small);
		append(j, 1, 30);
		CHECK(!journal_flush(j));
		CHECK(!journal_flush(j));
		journal_stats stats = journal_get_stats(j);
		setrlimit(RLIMIT_FSIZE, &old);
		CHECK(stats.failing && stats.failed == 2 && stats.waiting > 0 && stats.bytes <= limit);
		struct stat st;
		CHECK(stats.bytes == 0 || (stat(segment_path(1), &st) == 0 && (uint64_t)st.st_size == stats.bytes));
		/* A kill now would leave only whole entries. */
		seen s = { .last = INT64_MIN };
		err e;
		CHECK(journal_replay(j, see, &s, &e) && !s.odd && journal_get_stats(j).torn == 0);
		append(j, 31, 40);
		CHECK(journal_flush(j) && !journal_get_stats(j).failing);
		s = replay(j);
		CHECK(s.count == 40 && s.sum == 40 * 41 / 2);
		CHECK(journal_get_stats(j).torn + journal_get_stats(j).corrupt == 0);
		journal_close(j);
	}
}

/* What the store has makes room, even in a segment that is not full. */
static void releasing_makes_room(void)
{
	struct rlimit old, small;

	empty_dir();
	journal *j = open_journal(SEGMENT, PLENTY);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit){ 1000, old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &small);
	append(j, 1, 5);
	CHECK(journal_flush(j));
	journal_mark mark = append(j, 6, 30);
	CHECK(!journal_flush(j) && journal_get_stats(j).segments == 1);
	journal_release(j, mark);
	CHECK(journal_get_stats(j).segments == 0 && journal_get_stats(j).waiting == 0 && files() == 0);
	append(j, 31, 33);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing);
	setrlimit(RLIMIT_FSIZE, &old);
	seen s = replay(j);
	CHECK(s.count == 3 && s.last == 33);
	journal_close(j);
}

static void a_full_disk_is_waited_out(void)
{
	char filler[200], tmpfs[64];

	snprintf(tmpfs, sizeof tmpfs, "%s/tmpfs", base);
	mkdir(tmpfs, 0700);
	if (geteuid() != 0 || mount("tmpfs", tmpfs, "tmpfs", 0, "size=256k") != 0) {
		printf("skipped: needs root and mount(2) for a small tmpfs\n");
		rmdir(tmpfs);
		return;
	}
	char saved[sizeof dir];
	memcpy(saved, dir, sizeof dir);
	snprintf(dir, sizeof dir, "%s/j", tmpfs);
	journal *j = open_journal(SEGMENT, PLENTY);
	append(j, 1, 100);
	CHECK(journal_flush(j));
	snprintf(filler, sizeof filler, "%s/filler", tmpfs);
	int fd = open(filler, O_WRONLY | O_CREAT, 0600);
	char block[4096] = { 1 };
	while (write(fd, block, sizeof block) > 0)
		;
	close(fd);
	append(j, 101, 2000);
	CHECK(!journal_flush(j) && journal_get_stats(j).failing);
	CHECK(strstr(journal_get_stats(j).problem, "No space"));
	append(j, 2001, 2100);
	CHECK(!journal_flush(j));
	seen s = replay(j);
	CHECK(s.count >= 100 && journal_get_stats(j).torn == 0);
	unlink(filler);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing && journal_get_stats(j).dropped == 0);
	s = replay(j);
	CHECK(s.count == 2100 && s.sum == 2100 * 2101 / 2 && journal_get_stats(j).torn == 0);
	journal_close(j);
	CHECK(umount2(tmpfs, MNT_DETACH) == 0);
	rmdir(tmpfs);
	memcpy(dir, saved, sizeof dir);
}

static void a_directory_that_goes_away_is_made_again(void)
{
	empty_dir();
	journal *j = open_journal(SEGMENT, PLENTY);
	append(j, 1, 10);
	CHECK(journal_flush(j));
	empty_dir();
	journal_mark mark = append(j, 11, 20);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing);
	seen s = replay(j);
	CHECK(s.count == 10 && s.last == 20 && s.mark.position == mark.position);
	/* Only the file. */
	CHECK(unlink(segment_path(2)) == 0);
	append(j, 21, 30);
	CHECK(journal_flush(j));
	s = replay(j);
	CHECK(s.count == 10 && s.last == 30);
	journal_release(j, s.mark);
	journal_close(j);
	CHECK(files() == 0);

	/* It cannot be made: a file is in its place. Kept in memory until it can. */
	j = open_journal(SEGMENT, PLENTY);
	append(j, 1, 10);
	CHECK(journal_flush(j));
	empty_dir();
	write_file(dir, (const unsigned char *)"in the way", 10);
	append(j, 11, 20);
	CHECK(!journal_flush(j) && journal_get_stats(j).failing && journal_get_stats(j).problem[0]);
	CHECK(!journal_flush(j));
	unlink(dir);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing);
	s = replay(j);
	CHECK(s.count == 10 && s.last == 20);
	journal_close(j);
}

static void an_unwritable_directory_is_waited_out(void)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		int status;
		unit_bad = 0;
		empty_dir();
		mkdir(dir, 0700);
		if (geteuid() == 0 &&
		    (chown(base, 65534, 65534) != 0 || chown(dir, 65534, 65534) != 0 || setuid(65534) != 0))
			_exit(99);
		journal *j = open_journal(4096, PLENTY);
		append(j, 1, 10);
		CHECK(journal_flush(j));
		chmod(dir, 0500);
		append(j, 11, 200);
		CHECK(!journal_flush(j) && strstr(journal_get_stats(j).problem, "denied"));
		chmod(dir, 0700);
		CHECK(journal_flush(j) && !journal_get_stats(j).failing);
		seen s = replay(j);
		CHECK(s.count == 200 && s.sum == 200 * 201 / 2);
		/* A segment that cannot be read is not removed, and the others are read all the same. */
		chmod(segment_path(2), 0);
		s = (seen){ .last = INT64_MIN };
		err e;
		CHECK(!journal_replay(j, see, &s, &e) && strstr(e.text, "0000000000000002.journal"));
		CHECK(s.count > 100 && s.count < 200 && s.last == 200);
		journal_release(j, s.mark);
		CHECK(access(segment_path(2), F_OK) == 0 && files() < 4);
		journal_close(j);
		status = unit_bad;
		fflush(stdout);
		_exit(status > 90 ? 90 : status);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
		printf("skipped: no other user to be\n");
	else
		CHECK(status == 0);
	CHECK(geteuid() != 0 || chown(base, 0, 0) == 0);
}

/* ---- a slow disk */

static atomic_int syncs;                  /* calls of fdatasync(2) */
static atomic_bool slow, written, refuse; /* fdatasync(2) waits for `written`; it fails */
static bool waited_in_vain;

/* In place of the C library's. */
int fdatasync(int fd)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	atomic_fetch_add(&syncs, 1);
	for (int ms = 0; slow && !written; ms++) {
		if (ms == 10000) {
			waited_in_vain = true;
			break;
		}
		nanosleep(&pause, NULL);
	}
	if (refuse) {
		errno = EIO;
		return -1;
	}
	return fsync(fd);
}

static void *sync_main(void *arg)
{
	CHECK(journal_sync(arg));
	return NULL;
}

static void entries_are_written_while_the_disk_syncs(void)
{
	pthread_t thread;

	empty_dir();
	journal *j = open_journal(SEGMENT, PLENTY);
	append(j, 1, 10);
	CHECK(journal_flush(j));
	slow = true;
	syncs = 0;
	CHECK(pthread_create(&thread, NULL, sync_main, j) == 0);
	while (!syncs)
		sched_yield();
	append(j, 11, 20);
	CHECK(journal_flush(j));
	written = true;
	pthread_join(thread, NULL);
	slow = written = false;
	CHECK(!waited_in_vain && syncs == 1);
	/* What came meanwhile is synced the next time, and what the disk refused too. */
	refuse = true;
	CHECK(!journal_sync(j) && syncs == 2 && strstr(journal_get_stats(j).problem, "fdatasync"));
	refuse = false;
	CHECK(journal_sync(j) && syncs == 3);
	CHECK(journal_sync(j) && syncs == 3);
	seen s = replay(j);
	CHECK(s.count == 20 && s.last == 20);
	journal_close(j);
}

int main(void)
{
	journal_rig_init();
	RUN(the_size_limit_is_a_full_disk);
	RUN(memory_is_bounded_and_the_newest_are_dropped);
	RUN(a_write_that_ends_in_an_entry_is_made_good);
	RUN(releasing_makes_room);
	RUN(a_full_disk_is_waited_out);
	RUN(a_directory_that_goes_away_is_made_again);
	RUN(an_unwritable_directory_is_waited_out);
	RUN(entries_are_written_while_the_disk_syncs);
	return journal_rig_end();
}

/* SPDX-License-Identifier: MIT
 *
 * The ledger's database between processes: locks, a writer that is killed, a second writer, and readers, one of them
 * without the right to write. */
#include "store_rig.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void a_locked_database_is_waited_out(void)
{
	store *s = new_store();
	record r[2] = { record_number(1), record_number(2) };
	sqlite3 *other;
	err e;
	int64_t removed;

	CHECK(insert(s, r, 1) == 1);
	CHECK(sqlite3_open(path, &other) == SQLITE_OK);
	CHECK(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
	CHECK(try_insert(s, r, 2, &e) == STORE_BUSY && strstr(e.text, "another process"));
	CHECK(store_prune(s, INT64_MAX, INT64_MAX, &removed, &e) == STORE_BUSY);
	/* Who reads does not wait. */
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == 1);
	CHECK(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
	CHECK(insert(s, r, 2) == 1);
	/* Nor does the writer wait for a reader, however long that one takes. */
	CHECK(sqlite3_exec(other, "BEGIN; SELECT count(*) FROM requests", NULL, NULL, NULL) == SQLITE_OK);
	record more = record_number(3);
	CHECK(insert(s, &more, 1) == 1);
	sqlite3_close(other);
	CHECK(sound(s));
	store_close(s);
}

static void a_killed_writer_leaves_whole_batches(void)
{
	enum { BATCH = 50, BATCHES = 200 };
	static record r[BATCH * BATCHES];
	size_t inserted = 0;

	for (int i = 0; i < BATCH * BATCHES; i++)
		r[i] = record_number(i);
	store_close(new_store());
	for (int life = 0; life < 8; life++) {
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			store *s = open_store(true);
			for (int b = 0; b < BATCHES; b++)
				insert(s, r + b * BATCH, BATCH);
			raise(SIGKILL);
		}
		usleep((useconds_t)(1000 + roll(20000)));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		store *s = open_store(true);
		CHECK(sound(s));
		ask_report(s, GROUP_NONE, 0, INT64_MAX);
		CHECK(got.rows[0].requests % BATCH == 0);
		inserted = (size_t)got.rows[0].requests;
		store_close(s);
	}
	store *s = open_store(true);
	CHECK(insert(s, r, BATCH * BATCHES) == BATCH * BATCHES - inserted);
	CHECK(sound(s));
	store_close(s);
}

static void readers_and_a_second_writer_work_meanwhile(void)
{
	enum { COUNT = 2000 };
	static record r[COUNT];
	pid_t pids[3];

	for (int i = 0; i < COUNT; i++)
		r[i] = record_number(i);
	store *s = new_store();
	CHECK(insert(s, r, 100) == 100);
	fflush(stdout);
	for (int p = 0; p < 3; p++) {
		pids[p] = fork();
		if (pids[p])
			continue;
		/* 0 and 1 read, 2 writes what its parent writes, from the other end. */
		unit_bad = 0;
		store *mine = open_store(p == 2);
		int64_t last = 0;
		if (p == 2) {
			for (int at = COUNT - 100; at >= 0; at -= 100) {
				size_t inserted;
				err e;
				while (store_insert(mine, r + at, 100, &inserted, &e) == STORE_BUSY)
					;
			}
		} else {
			while (last < COUNT) {
				ask_report(mine, GROUP_NONE, 0, INT64_MAX);
				CHECK(got.rows[0].requests >= last);
				last = got.rows[0].requests;
				CHECK(p == 0 || sound(mine));
			}
		}
		store_close(mine);
		fflush(stdout);
		_exit(unit_bad > 0);
	}
	for (int at = 0; at < COUNT; at += 100) {
		size_t inserted;
		err e;
		while (store_insert(s, r + at, 100, &inserted, &e) == STORE_BUSY)
			;
	}
	for (int p = 0; p < 3; p++) {
		int status = 1;
		waitpid(pids[p], &status, 0);
		CHECK(status == 0);
	}
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == COUNT);
	CHECK(sound(s));
	store_close(s);
}

/* Counts the requests as a user who may write nothing. 0: there are as many as told, 1: another number, 2: the file, or
 * 3: its write-ahead log, cannot be read; other values: something else went wrong. */
static int as_another(int64_t requests)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		store_result result;
		err e = { 0 };
		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(99);
		store *s = store_open(path, false, &result, &e);
		if (!s)
			_exit(strstr(e.text, "-wal") ? 3 : strstr(e.text, "denied") && strstr(e.text, "uid 0") ? 2 : 4);
		ask_report(s, GROUP_NONE, 0, INT64_MAX);
		_exit(got.rows[0].requests == requests ? 0 : 1);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

/* A process loses all its POSIX locks on a file when it closes any descriptor of that file. Without the writer's lock,
 * another process that closes the database takes itself for the last one and removes the log, into which the writer
 * then writes on. */
static void a_writer_that_opens_beside_a_reader_keeps_its_locks(void)
{
	record r[2] = { record_number(1), record_number(2) };
	int to[2], from[2];
	char byte = 0;

	/* The other process begins before SQLite does, because it would inherit what SQLite knows of locks. */
	CHECK(pipe(to) == 0 && pipe(from) == 0);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		close(to[1]);
		while (read(to[0], &byte, 1) == 1) {
			byte = (char)strtol(ask("SELECT count(*) FROM requests"), NULL, 10);
			if (write(from[1], &byte, 1) != 1)
				break;
		}
		_exit(0);
	}
	close(to[0]);
	store *s = new_store();
	CHECK(insert(s, &r[0], 1) == 1);
	store_close(s);
	store *reader = open_store(false);
	ask_report(reader, GROUP_NONE, 0, INT64_MAX);
	s = open_store(true);
	store_close(reader);
	CHECK(write(to[1], "", 1) == 1 && read(from[0], &byte, 1) == 1 && byte == 1);
	CHECK(insert(s, &r[1], 1) == 1);
	CHECK(write(to[1], "", 1) == 1 && read(from[0], &byte, 1) == 1 && byte == 2);
	store_close(s);
	close(to[1]);
	close(from[0]);
	close(from[1]);
	waitpid(pid, NULL, 0);
}

static void a_reader_needs_no_right_to_write(void)
{
	record r[10];
	char other[300];

	for (int i = 0; i < 10; i++)
		r[i] = record_number(i);
	/* No writer, and nothing beside the file. */
	store *s = new_store();
	CHECK(insert(s, r, 10) == 10);
	store_close(s);
	snprintf(other, sizeof other, "%s-wal", path);
	CHECK(access(other, F_OK) != 0);
	s = open_store(false);
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == 10);
	store_close(s);
	if (geteuid() != 0) {
		printf("skipped: needs root to be another user\n");
		return;
	}
	CHECK(chmod(base, 0755) == 0);
	CHECK(as_another(10) == 2); /* the file is its owner's */
	CHECK(chmod(path, 0644) == 0);
	CHECK(as_another(10) == 0); /* immutable */
	/* A name that has to be escaped. */
	char saved[sizeof path], odd[sizeof path];
	memcpy(saved, path, sizeof path);
	snprintf(odd, sizeof odd, "%.100s/a ?#%%20b.db", base);
	CHECK(rename(path, odd) == 0);
	memcpy(path, odd, sizeof path);
	CHECK(as_another(10) == 0);
	CHECK(rename(odd, saved) == 0);
	memcpy(path, saved, sizeof path);
	/* While the agent runs, and after it was killed. */
	s = open_store(true);
	record more = record_number(11);
	CHECK(insert(s, &more, 1) == 1);
	CHECK(as_another(11) == 0);
	/* What is in the WAL alone must not be left out in silence. */
	CHECK(chmod(other, 0600) == 0);
	CHECK(as_another(11) == 3);
	store_close(s);
	CHECK(chmod(base, 0700) == 0);
}

int main(void)
{
	store_rig_init();
	RUN(a_locked_database_is_waited_out);
	RUN(a_killed_writer_leaves_whole_batches);
	RUN(readers_and_a_second_writer_work_meanwhile);
	RUN(a_writer_that_opens_beside_a_reader_keeps_its_locks);
	RUN(a_reader_needs_no_right_to_write);
	return store_rig_end();
}

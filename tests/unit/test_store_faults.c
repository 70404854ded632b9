/* SPDX-License-Identifier: MIT
 *
 * What can go wrong with the file of the ledger's database: it is corrupt, gone, not a ledger, or its disk is full. */
#include "store_rig.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>

static void garbage(const char *file, off_t at, size_t len)
{
	int fd = open(file, O_WRONLY);
	char block[512];
	memset(block, 0xa5, sizeof block);
	for (size_t done = 0; done < len; done += sizeof block)
		if (pwrite(fd, block, sizeof block, at + (off_t)done) != sizeof block)
			abort();
	close(fd);
}

static void a_corrupt_file_is_said_and_kept(void)
{
	enum { COUNT = 2000 };
	record *r = calloc(COUNT, sizeof *r);
	char kept[300];
	struct stat st;
	store_result result;
	err e;
	size_t count;

	snprintf(kept, sizeof kept, "%s.kept", path);
	for (int i = 0; i < COUNT; i++)
		r[i] = record_number(i);
	store *s = new_store();
	CHECK(insert(s, r, 1000) == 1000);
	store_close(s);

	/* Nothing of it is SQLite's any more. */
	CHECK(stat(path, &st) == 0);
	garbage(path, 0, (size_t)st.st_size);
	for (int writer = 0; writer < 2; writer++) {
		s = store_open(path, writer, &result, &e);
		CHECK(!s && result == STORE_CORRUPT && strstr(e.text, path) && strstr(e.text, "move it away"));
	}
	struct stat after;
	CHECK(stat(path, &after) == 0 && after.st_size == st.st_size && after.st_ino == st.st_ino);

	/* Pages in the middle, under a store that is open: it says so, and begins a new file when this one is moved
	 * away. */
	s = new_store();
	CHECK(insert(s, r, 1000) == 1000);
	store_close(s);
	s = open_store(true);
	CHECK(stat(path, &st) == 0);
	garbage(path, 4096, (size_t)st.st_size - 4096);
	CHECK(try_insert(s, r, COUNT, &e) == STORE_CORRUPT);
	CHECK(try_insert(s, r, COUNT, &e) == STORE_CORRUPT);
	CHECK(store_verify(s, keep_problem, NULL, &count, &e) == STORE_CORRUPT || count > 0);
	remove_files(kept);
	CHECK(rename(path, kept) == 0);
	CHECK(insert(s, r, COUNT) == COUNT);
	CHECK(sound(s));
	store_close(s);
	remove_files(kept);

	/* Put right in place, as by a restored backup. */
	s = open_store(true);
	store_close(s);
	CHECK(stat(path, &st) == 0);
	char *backup = malloc((size_t)st.st_size);
	int fd = open(path, O_RDWR);
	CHECK(read(fd, backup, (size_t)st.st_size) == st.st_size);
	s = open_store(true);
	garbage(path, 4096, (size_t)st.st_size - 4096);
	record one = record_number(COUNT);
	CHECK(try_insert(s, &one, 1, &e) == STORE_CORRUPT);
	CHECK(pwrite(fd, backup, (size_t)st.st_size, 0) == st.st_size);
	close(fd);
	free(backup);
	CHECK(insert(s, &one, 1) == 1);
	CHECK(insert(s, r, COUNT) == 0);
	CHECK(sound(s));
	store_close(s);

	/* A page that only verify looks at. */
	s = open_store(true);
	CHECK(stat(path, &st) == 0);
	garbage(path, st.st_size / 2 / 4096 * 4096, 4096);
	result = store_verify(s, keep_problem, NULL, &count, &e);
	CHECK(result == STORE_CORRUPT || count > 0);
	store_close(s);
	free(r);
}

static atomic_int looks; /* the number of the look at which one_look_ends_it() ends the verification, and only there */

static bool one_look_ends_it(void)
{
	return atomic_fetch_sub(&looks, 1) == 1;
}

/* A verification that is stopped never succeeds, because what it has not looked at may be damaged. */
static void a_verification_that_is_stopped_is_none(void)
{
	record r[40];
	store *s = new_store();
	size_t count;
	err e;

	for (int i = 0; i < 40; i++)
		r[i] = record_number(i);
	CHECK(insert(s, r, 40) == 40);
	store_stop_if(s, one_look_ends_it);
	for (int look = 1; look < 30; look++) {
		atomic_store(&looks, look);
		CHECK(store_verify(s, keep_problem, NULL, &count, &e) != STORE_OK && count == 0);
	}
	atomic_store(&looks, 0);
	CHECK(sound(s));
	store_close(s);
}

static void a_file_that_is_taken_away_is_made_again(void)
{
	store *s = new_store();
	record r[2] = { record_number(1), record_number(2) };
	char kept[300];

	snprintf(kept, sizeof kept, "%s.kept", path);
	CHECK(insert(s, r, 1) == 1);
	CHECK(rename(path, kept) == 0);
	CHECK(insert(s, r, 2) == 2);
	CHECK(strcmp(ask("SELECT count(*) FROM requests"), "2") == 0);
	remove_files(path);
	CHECK(insert(s, r, 2) == 2);
	CHECK(sound(s));
	store_close(s);
	remove_files(kept);
}

static void what_is_no_ledger_is_left_alone(void)
{
	store_result result;
	err e;

	remove_files(path);
	sql("CREATE TABLE theirs (x)");
	for (int writer = 0; writer < 2; writer++)
		CHECK(!store_open(path, writer, &result, &e) && result == STORE_ERROR &&
		      strstr(e.text, "not a ledger"));
	CHECK(strcmp(ask("SELECT count(*) FROM sqlite_master"), "1") == 0);
	CHECK(strcmp(ask("PRAGMA journal_mode"), "delete") == 0);

	store_close(new_store());
	sql("PRAGMA user_version = 99");
	for (int writer = 0; writer < 2; writer++)
		CHECK(!store_open(path, writer, &result, &e) && result == STORE_NEWER && e.kind == ERR_NEWER &&
		      strstr(e.text, "version 99") && strstr(e.text, "newer"));
	remove_files(path);
	CHECK(!store_open(path, false, &result, &e) && result == STORE_ERROR && strstr(e.text, "No such file"));
	CHECK(access(path, F_OK) != 0);
	CHECK(!store_open("/nonexistent/ledger.db", true, &result, &e) && result == STORE_ERROR);
	/* Made by somebody and never filled. */
	close(open(path, O_WRONLY | O_CREAT, 0600));
	CHECK(!store_open(path, false, &result, &e) && result == STORE_ERROR && strstr(e.text, "empty"));
	store *s = open_store(true);
	CHECK(sound(s));
	store_close(s);
	s = open_store(false);
	size_t inserted;
	record r = record_number(1);
	CHECK(store_insert(s, &r, 1, &inserted, &e) == STORE_ERROR && strstr(e.text, "opened to read"));
	store_close(s);
}

static void a_full_disk_is_waited_out(void)
{
	char tmpfs[100], filler[200], saved[sizeof path];
	static record r[1000];
	err e;

	snprintf(tmpfs, sizeof tmpfs, "%s/tmpfs", base);
	mkdir(tmpfs, 0700);
	if (geteuid() != 0 || mount("tmpfs", tmpfs, "tmpfs", 0, "size=2m") != 0) {
		printf("skipped: needs root and mount(2) for a small tmpfs\n");
		rmdir(tmpfs);
		return;
	}
	memcpy(saved, path, sizeof path);
	snprintf(path, sizeof path, "%s/ledger.db", tmpfs);
	store *s = new_store();
	for (int i = 0; i < 1000; i++)
		r[i] = record_number(i);
	CHECK(insert(s, r, 100) == 100);
	snprintf(filler, sizeof filler, "%s/filler", tmpfs);
	int fd = open(filler, O_WRONLY | O_CREAT, 0600);
	char block[4096] = { 1 };
	while (write(fd, block, sizeof block) > 0)
		;
	close(fd);
	for (int i = 0; i < 3; i++)
		CHECK(try_insert(s, r, 1000, &e) == STORE_FULL && strstr(e.text, "full"));
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == 100);
	/* A start while it is full. */
	store_close(s);
	store_result result;
	s = store_open(path, true, &result, &e);
	CHECK(s || result == STORE_FULL);
	CHECK(!s || try_insert(s, r, 1000, &e) == STORE_FULL);
	unlink(filler);
	if (!s)
		s = open_store(true);
	CHECK(insert(s, r, 1000) == 900);
	CHECK(sound(s));
	store_close(s);
	memcpy(path, saved, sizeof path);
	CHECK(umount2(tmpfs, MNT_DETACH) == 0);
	rmdir(tmpfs);
}

int main(void)
{
	store_rig_init();
	RUN(a_corrupt_file_is_said_and_kept);
	RUN(a_verification_that_is_stopped_is_none);
	RUN(a_file_that_is_taken_away_is_made_again);
	RUN(what_is_no_ledger_is_left_alone);
	RUN(a_full_disk_is_waited_out);
	return store_rig_end();
}

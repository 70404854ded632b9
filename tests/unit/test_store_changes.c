/* SPDX-License-Identifier: MIT
 *
 * What `spoa-llm ship` reads of a ledger: each row once, in the order of the changes, with numbers that are never used
 * twice; and which copy of which ledger it is. */
#include "store_rig.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "ledger/usage.h"

enum { COUNT = 700 };

static void apply(void *ctx, record *r, const tap_report *told)
{
	usage_parts parts;

	(void)ctx;
	if (usage_apply_report(r, told, &parts))
		r->cost = r->output;
}

static const store_join join = { .apply = apply };

static record rows[COUNT];

static void make_rows(void)
{
	for (int i = 0; i < COUNT; i++) {
		rows[i] = record_number(i);
		rows[i].tap = TAP_MISSING;
		rows[i].usage = USAGE_ESTIMATED;
		rows[i].status = 200;
		rows[i].code[0] = '\0';
	}
}

/* Has the tap tell the output of that row. */
static void tell(store *s, const char *id, int output)
{
	tap_report told = { .end = TAP_END_WHOLE, .status = 200, .final = true, .content = 9 };
	store_batch b = { NULL, 0, &told, 1, false };
	store_added added;
	err e;

	snprintf(told.id, sizeof told.id, "%s", id);
	snprintf(told.last, sizeof told.last, "{\"prompt_tokens\":5,\"completion_tokens\":%d}", output);
	CHECK(store_add(s, &b, &join, &added, &e) == STORE_OK && added.joined == 1);
}

typedef struct list {
	record at[COUNT + 10];
	size_t count;
	store *s; /* not NULL: rows change while they are read */
} list;

static list got_rows;

static bool keep(void *ctx, const record *r)
{
	list *l = ctx;

	l->at[l->count++] = *r;
	if (l->s && l->count % 100 == 0)
		tell(l->s, l->at[l->count - 50].id, 7);
	return l->count < COUNT + 10;
}

static void changes(store *s, int64_t after, size_t max)
{
	err e = { 0 };

	got_rows.count = 0;
	got_rows.s = NULL;
	CHECK(store_changes(s, after, max, keep, &got_rows, &e) == STORE_OK);
}

static int64_t sequence_of(store *s)
{
	store_id id;
	err e = { 0 };

	CHECK(store_identity(s, &id, &e) == STORE_OK);
	return id.sequence;
}

static void each_change_has_the_next_number(void)
{
	store *s = new_store();

	make_rows();
	for (int i = 0; i < COUNT; i += 100)
		CHECK(insert(s, rows + i, 100) == 100);
	CHECK(insert(s, rows + 50, 100) == 0 && sequence_of(s) == COUNT);
	for (size_t at = 0; at < COUNT; at += 300) {
		changes(s, (int64_t)at, 300);
		CHECK(got_rows.count == (at == 600 ? 100 : 300));
		for (size_t i = 0; i < got_rows.count; i++)
			CHECK(got_rows.at[i].sequence == (int64_t)(at + i) + 1 &&
			      strcmp(got_rows.at[i].id, rows[at + i].id) == 0 &&
			      got_rows.at[i].cost == rows[at + i].cost);
	}
	changes(s, COUNT, 300);
	CHECK(got_rows.count == 0);
	/* A row that changes is the last one, and is not at its old place any more. */
	tell(s, rows[9].id, 77);
	tell(s, rows[3].id, 33);
	tell(s, rows[12].id, 78);
	changes(s, COUNT, 300);
	CHECK(got_rows.count == 3 && got_rows.at[1].sequence == COUNT + 2);
	CHECK(strcmp(got_rows.at[1].id, rows[3].id) == 0 && got_rows.at[1].output == 33);
	CHECK(got_rows.at[2].sequence == COUNT + 3 && got_rows.at[2].output == 78 && got_rows.at[2].cost == 78);
	changes(s, 0, COUNT);
	CHECK(got_rows.count == COUNT && got_rows.at[3].sequence == 5);
	CHECK(sound(s));
	store_close(s);
}

static void numbers_are_never_used_twice(void)
{
	int64_t removed = 0;
	err e = { 0 };
	store *s = new_store();

	make_rows();
	CHECK(insert(s, rows, 100) == 100);
	tell(s, rows[7].id, 1);
	CHECK(store_prune(s, INT64_MAX, INT64_MAX, &removed, &e) == STORE_OK && removed == 100);
	store_close(s);
	s = open_store(true);
	CHECK(sequence_of(s) == 101);
	rows[200].time_ms = rows[201].time_ms = BEGIN_MS + 5000 * DAY_MS;
	CHECK(insert(s, rows + 200, 1) == 1);
	changes(s, 0, 10);
	CHECK(got_rows.count == 1 && got_rows.at[0].sequence == 102);
	/* Also where another program has added a row. */
	sql("UPDATE requests SET rowid = 500");
	CHECK(insert(s, rows + 201, 1) == 1);
	changes(s, 500, 10);
	CHECK(got_rows.count == 1 && got_rows.at[0].sequence == 501 && sequence_of(s) == 501);
	store_close(s);
}

static void a_ledger_has_a_uuid_and_a_copy_has_an_epoch(void)
{
	store_id id, other;
	err e = { 0 };
	store *s = new_store();

	CHECK(store_identity(s, &id, &e) == STORE_OK && id.sequence == 0);
	CHECK(strlen(id.uuid) == 36 && id.uuid[8] == '-' && id.uuid[13] == '-' && id.uuid[14] == '4' &&
	      id.uuid[18] == '-' && id.uuid[23] == '-' && strlen(id.epoch) == 16);
	store_close(s);
	s = open_store(true);
	CHECK(store_identity(s, &other, &e) == STORE_OK && strcmp(other.uuid, id.uuid) == 0 &&
	      strcmp(other.epoch, id.epoch) == 0);
	CHECK(store_new_epoch(s, &e) == STORE_OK && store_identity(s, &other, &e) == STORE_OK);
	CHECK(strcmp(other.uuid, id.uuid) == 0 && strcmp(other.epoch, id.epoch) != 0);
	store_close(s);
	s = new_store();
	CHECK(store_identity(s, &other, &e) == STORE_OK && strcmp(other.uuid, id.uuid) != 0);
	/* A clone of a ledger becomes another ledger that way. */
	sql("DELETE FROM meta WHERE key = 'uuid'");
	store_close(s);
	s = open_store(true);
	CHECK(store_identity(s, &id, &e) == STORE_OK && strlen(id.uuid) == 36 && strcmp(other.uuid, id.uuid) != 0);
	store_close(s);
}

static void compacting_keeps_the_numbers(void)
{
	store_id id, after;
	err e = { 0 };
	store *s = new_store();

	make_rows();
	CHECK(insert(s, rows, COUNT) == COUNT);
	sql("DELETE FROM requests WHERE rowid % 3 = 1");
	tell(s, rows[1].id, 1);
	CHECK(store_identity(s, &id, &e) == STORE_OK);
	CHECK(store_compact(s, &e) == STORE_OK);
	CHECK(store_identity(s, &after, &e) == STORE_OK);
	changes(s, 0, COUNT);
	bool kept = got_rows.at[0].sequence == 3 && got_rows.at[got_rows.count - 1].sequence == COUNT + 1;
	/* Compacting keeps the sequences or changes the epoch, or PostgreSQL would lack rows. */
	CHECK(kept == (strcmp(id.epoch, after.epoch) == 0));
	store_close(s);
}

static void rows_that_were_not_shipped_stay(void)
{
	int64_t removed = 0;
	store_waits waits;
	err e = { 0 };
	store *s = new_store();

	make_rows();
	for (int i = 0; i < COUNT; i++)
		rows[i].time_ms = BEGIN_MS + i;
	CHECK(insert(s, rows, COUNT) == COUNT);
	CHECK(store_prune(s, BEGIN_MS + 500, 0, &removed, &e) == STORE_OK && removed == 0);
	CHECK(strcmp(ask("SELECT count(*) FROM meta WHERE key = 'pruned_before'"), "0") == 0);
	CHECK(store_prune(s, BEGIN_MS + 500, 400, &removed, &e) == STORE_OK && removed == 400);
	CHECK(store_prune(s, BEGIN_MS + 500, 400, &removed, &e) == STORE_OK && removed == 0);
	CHECK(store_waiting(s, BEGIN_MS + 500, 400, &waits, &e) == STORE_OK && waits.rows == 100);
	CHECK(waits.bytes > 100 * 100 && waits.bytes < 100 * 2000 && waits.last == 500);
	CHECK(store_waiting(s, BEGIN_MS + 500, 450, &waits, &e) == STORE_OK && waits.rows == 50);
	/* A row that was shipped, and changed since then, is to be shipped again. */
	tell(s, rows[450].id, 1);
	CHECK(store_prune(s, BEGIN_MS + 500, COUNT, &removed, &e) == STORE_OK && removed == 99);
	CHECK(strcmp(ask("SELECT count(*), min(time_ms) - 1763942400000 FROM requests"), "201|450") == 0);
	CHECK(store_prune(s, BEGIN_MS + 500, INT64_MAX, &removed, &e) == STORE_OK && removed == 1);
	store_close(s);
}

static void the_place_of_a_row_is_found(void)
{
	store_place place;
	err e = { 0 };
	store *s = new_store();

	make_rows();
	CHECK(store_at(s, 5, "x", &place, &e) == STORE_OK && !place.id[0] && !place.first && !place.last &&
	      !place.of_id);
	CHECK(insert(s, rows, 100) == 100);
	CHECK(store_at(s, 60, rows[59].id, &place, &e) == STORE_OK && strcmp(place.id, rows[59].id) == 0);
	CHECK(place.of_id == 60 && place.first == 1 && place.last == 100 && place.next_ms == rows[60].time_ms);
	tell(s, rows[59].id, 1);
	CHECK(store_at(s, 60, rows[59].id, &place, &e) == STORE_OK && !place.id[0] && place.of_id == 101);
	CHECK(store_at(s, 101, rows[59].id, &place, &e) == STORE_OK && place.next_ms == 0 && place.last == 101);
	store_close(s);
}

static void an_export_has_a_row_once_while_rows_change(void)
{
	err e = { 0 };
	store *s = new_store();

	make_rows();
	for (int i = 0; i < COUNT; i++)
		rows[i].time_ms = BEGIN_MS + i / 600;
	CHECK(insert(s, rows, COUNT) == COUNT);
	got_rows.count = 0;
	got_rows.s = s;
	CHECK(store_export(s, 0, INT64_MAX, keep, &got_rows, &e) == STORE_OK && got_rows.count == COUNT);
	for (size_t i = 1; i < got_rows.count; i++)
		CHECK(got_rows.at[i].time_ms > got_rows.at[i - 1].time_ms ||
		      strcmp(got_rows.at[i].id, got_rows.at[i - 1].id) > 0);
	CHECK(got_rows.at[0].sequence > 0);
	store_close(s);
}

/* A process that ships may read and not write, and it is there before the agent. */
static void a_reader_sees_a_writer_that_comes_later(void)
{
	int to[2], from[2];
	char byte = 0;

	if (geteuid() != 0) {
		printf("skipped: needs root to be another user\n");
		return;
	}
	make_rows();
	store *s = new_store();
	CHECK(insert(s, rows, 1) == 1);
	store_close(s);
	CHECK(chmod(base, 0755) == 0 && chmod(path, 0644) == 0);
	CHECK(pipe(to) == 0 && pipe(from) == 0);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		close(to[1]);
		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(99);
		store *reader = open_store(false);
		do {
			byte = (char)sequence_of(reader);
			if (write(from[1], &byte, 1) != 1)
				break;
		} while (read(to[0], &byte, 1) == 1);
		store_close(reader);
		_exit(unit_bad > 0);
	}
	close(to[0]);
	CHECK(read(from[0], &byte, 1) == 1 && byte == 1);
	s = open_store(true);
	for (char n = 2; n < 5; n++) {
		CHECK(insert(s, rows + n, 1) == 1);
		CHECK(write(to[1], "", 1) == 1 && read(from[0], &byte, 1) == 1 && byte == n);
	}
	store_close(s);
	close(to[1]);
	close(from[0]);
	close(from[1]);
	waitpid(pid, NULL, 0);
	CHECK(chmod(base, 0700) == 0);
}

static void its_group_may_read_it(void)
{
	char wal[300];
	struct stat st;

	remove_files(path);
	store *s = new_store();
	snprintf(wal, sizeof wal, "%s-wal", path);
	CHECK(chmod(path, 0600) == 0 && chmod(wal, 0600) == 0);
	store_share(path);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
	CHECK(stat(wal, &st) == 0 && (st.st_mode & 0777) == 0640);
	store_close(s);
}

int main(void)
{
	store_rig_init();
	RUN(each_change_has_the_next_number);
	RUN(numbers_are_never_used_twice);
	RUN(a_ledger_has_a_uuid_and_a_copy_has_an_epoch);
	RUN(compacting_keeps_the_numbers);
	RUN(rows_that_were_not_shipped_stay);
	RUN(the_place_of_a_row_is_found);
	RUN(an_export_has_a_row_once_while_rows_change);
	RUN(a_reader_sees_a_writer_that_comes_later);
	RUN(its_group_may_read_it);
	return store_rig_end();
}

/* SPDX-License-Identifier: MIT
 *
 * What clients with a key spent: by the day, in the transaction that writes the row, once, and as long as a budget
 * needs it. */
#include "store_rig.h"

static const int64_t day_s = BEGIN_MS / 1000;

static record keyed(int n, const char *client, const char *project, int64_t cost)
{
	record r = record_number(n);

	r.time_ms = BEGIN_MS + n;
	r.keyed = true;
	r.cost = cost;
	snprintf(r.client, sizeof r.client, "%s", client);
	snprintf(r.project, sizeof r.project, "%s", project);
	snprintf(r.id, sizeof r.id, "keyed-%d", n);
	return r;
}

static int64_t spent(store *s, bool project, const char *name, int64_t from_s)
{
	int64_t nano = -1;
	err e;

	CHECK(store_spent(s, project, slice_cstr(name), from_s, &nano, &e) == STORE_OK);
	return nano;
}

/* ---- what the store tells */

typedef struct told {
	int count;
	int64_t nano[16];
	usage_from usage[16];
	char ids[16][RECORD_ID_MAX + 1];
} told;

static told heard;

static void hear(void *ctx, const record *r, int64_t nano)
{
	(void)ctx;
	if (heard.count >= 16)
		abort();
	heard.nano[heard.count] = nano;
	heard.usage[heard.count] = r->usage;
	snprintf(heard.ids[heard.count++], sizeof heard.ids[0], "%s", r->id);
}

static int64_t reserve(void *ctx, const record *r)
{
	(void)ctx;
	return strcmp(r->id, "keyed-7") == 0 ? 500 : 0;
}

/* A report says that the request cost 40; if its answer broke off, that is its output alone. */
static void apply(void *ctx, record *r, const tap_report *told_by)
{
	(void)ctx;
	if (r->tap != TAP_MISSING && (r->usage != USAGE_PARTIAL || told_by->end == TAP_END_UPSTREAM))
		return;
	if (told_by->end == TAP_END_UPSTREAM) {
		r->tap = TAP_UNTOLD;
		r->usage = USAGE_PARTIAL;
		r->input = r->cache_read = r->cache_write = 0;
		r->cost = 40;
		return;
	}
	r->tap = TAP_TOLD;
	r->usage = USAGE_STREAM;
	r->cost = 40;
}

static const store_join join = { .apply = apply, .reserved = reserve, .settled = hear };

static void add(store *s, const record *records, size_t count, const tap_report *reports, size_t reports_count)
{
	store_batch b = { records, count, reports, reports_count, false };
	store_added added;
	err e;

	heard.count = 0;
	CHECK(store_add(s, &b, &join, &added, &e) == STORE_OK);
}

static void ignore(void *ctx, const char *problem)
{
	(void)ctx;
	(void)problem;
}

static bool whole(store *s)
{
	size_t problems = 99;
	err e;

	CHECK(store_verify(s, ignore, NULL, &problems, &e) == STORE_OK);
	return problems == 0;
}

static void only_requests_with_a_key_count(void)
{
	store *s = new_store();
	record rows[] = { keyed(1, "alice", "search", 10), keyed(2, "alice", "", 20), keyed(3, "bob", "search", 30),
			  keyed(4, "alice", "search", 40) };

	rows[3].keyed = false; /* its headers say so, and it has no key */
	add(s, rows, 4, NULL, 0);
	CHECK(spent(s, false, "alice", day_s) == 30 && spent(s, false, "bob", day_s) == 30);
	CHECK(spent(s, true, "search", day_s) == 40 && spent(s, true, "", day_s) == 0 &&
	      spent(s, true, "alice", 0) == 0);
	CHECK(heard.count == 4 && heard.nano[0] == 10 && heard.nano[1] == 20 && heard.nano[3] == 0);
	/* The same again changes nothing, but is told, so that what is reserved is given back. */
	add(s, rows, 4, NULL, 0);
	CHECK(spent(s, false, "alice", day_s) == 30 && heard.count == 4 && heard.nano[0] == 0);
	CHECK(strcmp(heard.ids[2], "keyed-3") == 0 && whole(s));
	store_close(s);
}

static void days_count_by_when_the_request_came(void)
{
	store *s = new_store();
	record rows[] = { keyed(1, "alice", "", 10), keyed(2, "alice", "", 20) };

	rows[1].time_ms += DAY_MS;
	add(s, rows, 2, NULL, 0);
	CHECK(spent(s, false, "alice", day_s) == 30 && spent(s, false, "alice", day_s + 1) == 20);
	CHECK(spent(s, false, "alice", day_s + 86400) == 20 && spent(s, false, "alice", day_s + 2 * 86400) == 0);
	store_close(s);
}

static void a_report_changes_what_was_spent(void)
{
	store *s = new_store();
	record rows[] = { keyed(6, "alice", "search", 100), keyed(7, "alice", "search", 0), keyed(8, "bob", "", 7) };
	tap_report reports[2] = { { .id = "keyed-6" }, { .id = "keyed-7" } };

	rows[0].tap = rows[1].tap = TAP_MISSING;
	rows[1].usage = USAGE_UNKNOWN;
	/* What is reserved is spent while nobody knows what it cost. */
	add(s, rows, 3, NULL, 0);
	CHECK(spent(s, false, "alice", day_s) == 600 && spent(s, true, "search", day_s) == 600);
	CHECK(heard.nano[1] == 500 && whole(s));
	add(s, NULL, 0, reports, 2);
	CHECK(spent(s, false, "alice", day_s) == 80 && spent(s, true, "search", day_s) == 80);
	CHECK(heard.count == 2 && heard.nano[0] == -60 && heard.nano[1] == -460 && whole(s));
	store_close(s);
}

/* Whoever ends a stream before its upstream has told the input must not get that input for nothing. */
static void what_is_not_known_costs_what_was_reserved(void)
{
	store *s = new_store();
	record row = keyed(7, "alice", "search", 0);
	tap_report broken = { .id = "keyed-7", .end = TAP_END_UPSTREAM }, whole_one = { .id = "keyed-7" };

	row.tap = TAP_MISSING;
	row.usage = USAGE_UNKNOWN;
	add(s, &row, 1, NULL, 0);
	add(s, NULL, 0, &broken, 1);
	CHECK(spent(s, false, "alice", day_s) == 500 && spent(s, true, "search", day_s) == 500 && whole(s));
	/* One that tells all takes the charge away. */
	add(s, NULL, 0, &whole_one, 1);
	CHECK(spent(s, false, "alice", day_s) == 40 && whole(s));
	store_close(s);

	s = new_store();
	row.usage = USAGE_PARTIAL;
	row.input = row.cache_read = row.cache_write = 0;
	row.cost = 30;
	add(s, &row, 1, NULL, 0);
	CHECK(spent(s, false, "alice", day_s) == 500 && heard.nano[0] == 500);
	store_close(s);

	/* An estimate stands until the tap's report comes. */
	s = new_store();
	row.usage = USAGE_ESTIMATED;
	row.input = 1;
	add(s, &row, 1, NULL, 0);
	CHECK(spent(s, false, "alice", day_s) == 500);
	add(s, NULL, 0, &whole_one, 1);
	CHECK(spent(s, false, "alice", day_s) == 40 && heard.nano[0] == -460);
	store_close(s);

	/* The upstream told the input: that and what was seen of the output is what it cost. */
	s = new_store();
	row.usage = USAGE_PARTIAL;
	row.tap = TAP_TOLD;
	add(s, &row, 1, NULL, 0);
	CHECK(spent(s, false, "alice", day_s) == 30);
	store_close(s);
}

static void a_report_in_the_same_transaction_is_told_too(void)
{
	store *s = new_store();
	record row = keyed(7, "alice", "", 0);
	tap_report one = { .id = "keyed-7" };

	row.tap = TAP_MISSING;
	row.usage = USAGE_UNKNOWN;
	add(s, &row, 1, &one, 1);
	/* It is told once, with what the report says, so that the reservation is settled at the right cost. */
	CHECK(heard.count == 1 && heard.nano[0] == 40 && heard.usage[0] == USAGE_STREAM);
	CHECK(spent(s, false, "alice", day_s) == 40 && whole(s));
	store_close(s);
}

static void rows_that_are_pruned_stay_spent(void)
{
	store *s = new_store();
	record rows[] = { keyed(1, "alice", "", 10), keyed(2, "alice", "", 20) };
	int64_t removed = 0;
	err e;

	rows[0].time_ms = clock_wall_ms() / DAY_MS * DAY_MS - DAY_MS;
	rows[1].time_ms = rows[0].time_ms + DAY_MS;
	add(s, rows, 2, NULL, 0);
	CHECK(store_prune(s, rows[1].time_ms, INT64_MAX, &removed, &e) == STORE_OK && removed == 1);
	CHECK(spent(s, false, "alice", 0) == 30 && whole(s));
	/* The row comes again: it is skipped, and told. */
	add(s, rows, 1, NULL, 0);
	CHECK(spent(s, false, "alice", 0) == 30 && heard.count == 1 && heard.nano[0] == 0);
	store_close(s);
}

static int days_spent(void)
{
	return atoi(ask("SELECT count(*) FROM spending"));
}

static void what_was_spent_is_removed_after_two_years(void)
{
	enum { YEARS = 731 };
	store *s = new_store();
	/* By the clock, because what is removed is older than two years today. */
	int64_t now = clock_wall_ms(), today = now - now % DAY_MS, removed = 0;
	record rows[] = { keyed(1, "alice", "search", 10), keyed(2, "alice", "search", 20), keyed(3, "alice", "", 40),
			  keyed(4, "alice", "", 80) };
	err e;

	rows[0].time_ms = today - (YEARS + 1) * DAY_MS;
	rows[1].time_ms = today - YEARS * DAY_MS;
	rows[2].time_ms = today - DAY_MS;
	rows[3].time_ms = today;
	add(s, rows, 4, NULL, 0);
	CHECK(days_spent() == 6);
	/* Not while their rows are there. */
	CHECK(store_prune(s, rows[0].time_ms, INT64_MAX, &removed, &e) == STORE_OK && removed == 0 &&
	      days_spent() == 6 && whole(s));
	CHECK(store_prune(s, rows[1].time_ms, INT64_MAX, &removed, &e) == STORE_OK && removed == 1 &&
	      days_spent() == 4 && whole(s));
	CHECK(spent(s, false, "alice", 0) == 140 && spent(s, true, "search", 0) == 20);
	/* Two years are kept, whatever is pruned. */
	CHECK(store_prune(s, now + DAY_MS, INT64_MAX, &removed, &e) == STORE_OK && removed == 3 && days_spent() == 4 &&
	      whole(s));
	store_close(s);
}

static void a_batch_removes_days_whose_rows_are_gone(void)
{
	store *s = new_store();
	int64_t removed = 0;
	err e;

	/* A row too many for one batch, each of a client of its own. */
	for (int i = 0; i <= STORE_PRUNE_ROWS; i++) {
		char name[32];
		snprintf(name, sizeof name, "client-%d", i);
		record row = keyed(i, name, "", 1);
		row.time_ms = BEGIN_MS - 1000 * DAY_MS + i * 1000;
		add(s, &row, 1, NULL, 0);
	}
	CHECK(days_spent() == STORE_PRUNE_ROWS + 1);
	CHECK(store_prune(s, BEGIN_MS - 999 * DAY_MS, INT64_MAX, &removed, &e) == STORE_OK &&
	      removed == STORE_PRUNE_ROWS);
	CHECK(days_spent() == STORE_PRUNE_ROWS + 1 && whole(s));
	CHECK(store_prune(s, BEGIN_MS - 999 * DAY_MS, INT64_MAX, &removed, &e) == STORE_OK && removed == 1 &&
	      days_spent() == 1);
	CHECK(store_prune(s, BEGIN_MS - 999 * DAY_MS, INT64_MAX, &removed, &e) == STORE_OK && removed == 0 &&
	      days_spent() == 0);
	store_close(s);
}

static void verify_finds_what_is_wrong(void)
{
	store *s = new_store();
	record rows[] = { keyed(1, "alice", "search", 10), keyed(2, "bob", "", 20) };

	add(s, rows, 2, NULL, 0);
	CHECK(whole(s));
	sql("UPDATE spending SET cost = cost + 1 WHERE name = 'alice'");
	CHECK(!whole(s));
	sql("UPDATE spending SET cost = cost - 1 WHERE name = 'alice'");
	CHECK(whole(s));
	sql("DELETE FROM spending WHERE name = 'bob'");
	CHECK(!whole(s));
	store_close(s);
}

int main(void)
{
	store_rig_init();
	RUN(only_requests_with_a_key_count);
	RUN(days_count_by_when_the_request_came);
	RUN(a_report_changes_what_was_spent);
	RUN(what_is_not_known_costs_what_was_reserved);
	RUN(a_report_in_the_same_transaction_is_told_too);
	RUN(rows_that_are_pruned_stay_spent);
	RUN(what_was_spent_is_removed_after_two_years);
	RUN(a_batch_removes_days_whose_rows_are_gone);
	RUN(verify_finds_what_is_wrong);
	return store_rig_end();
}

/* SPDX-License-Identifier: MIT
 *
 * Facets of an older ledger, which are made while it is in use; and that a verification compares all of them. */
#include "store_rig.h"

#include "ledger/store_impl.h"

enum { ROWS = 6000 };

static record rows[ROWS];

static void fill(store *s)
{
	for (int i = 0; i < ROWS; i++)
		rows[i] = record_number(i);
	CHECK(insert(s, rows, ROWS) == ROWS);
}

/* Counts the requests that are told apart, and those that are not. */
static bool count_untold(void *ctx, const store_facet *f)
{
	int64_t *counts = ctx;
	counts[f->label ? 0 : 1] += f->sums->requests;
	return true;
}

/* A report of the tap changes what a request used. */
static void apply(void *ctx, record *r, const tap_report *told)
{
	(void)ctx;
	(void)told;
	r->output += 1000;
	r->cost += 5000000;
	r->usage = USAGE_STREAM;
	r->tap = TAP_TOLD;
}

/* Makes a ledger of version 5 of the one that is there. */
static void make_older(void)
{
	sql("DROP VIEW ledger_hourly; DROP VIEW ledger_daily; DELETE FROM hourly WHERE kind = 6; DELETE FROM daily WHERE"
	    " kind = 6; ALTER TABLE hourly DROP COLUMN last_ms; ALTER TABLE hourly DROP COLUMN times; ALTER TABLE daily DROP"
	    " COLUMN last_ms; ALTER TABLE daily DROP COLUMN times; DROP TABLE facet_log; PRAGMA user_version = 5;"
	    " CREATE VIEW ledger_hourly AS SELECT 1; CREATE VIEW ledger_daily AS SELECT 1");
}

/* A ledger of version 5 gets the facets of its rows, the newest first, while it is in use. */
static void an_older_ledger_is_filled(void)
{
	store_facet_question q = {
		.by = FACET_BIT(FACET_MODEL), .unit = FACET_DAYS, .to_ms = INT64_MAX, .times = true
	};
	int64_t counts[2] = { 0, 0 };
	store_facets_told told;
	store *s = new_store();
	bool more = true;
	err e = { 0 };

	fill(s);
	store_close(s);
	make_older();
	s = open_store(true);
	CHECK(store_migrated_from(s) == 5);
	/* What comes meanwhile is counted once: with its hour, or when it comes. */
	for (int i = 0; more; i++) {
		record late = record_number(ROWS + i);
		CHECK(store_catch_up(s, &more, &e) == STORE_OK);
		if (i < 40 && i % 2) {
			CHECK(insert(s, &late, 1) == 1);
		}
		if (i == 20)
			CHECK(sound(s) && store_facets(s, &q, count_untold, counts, &told, &e) == STORE_OK &&
			      told.whole_ms > BEGIN_MS && counts[0] > 0 && counts[0] < ROWS);
		if (i % 16 == 0) { /* as if it was killed */
			store_close(s);
			s = open_store(true);
			CHECK(store_migrated_from(s) == 0);
		}
	}
	CHECK(sound(s));
	counts[0] = 0;
	CHECK(store_facets(s, &q, count_untold, counts, &told, &e) == STORE_OK && told.whole_ms == 0);
	CHECK(counts[0] == ROWS + 20 && counts[1] == 0);
	CHECK(strcmp(ask("SELECT count(*) FROM meta WHERE key = 'facets_fill'"), "0") == 0);
	store_close(s);
}

/* A large hour is read some rows at a time, and nobody has to wait for it. Whatever happens to its rows meanwhile
 * counts once. `changes`: how often a row that may have been counted changes. */
static void fill_a_large_hour(int changes)
{
	enum { COUNT = 3 * STORE_FILL_ROWS + 100 };
	static record many[COUNT];
	store_facet_question q = { .by = FACET_NONE, .to_ms = INT64_MAX };
	const store_join join = { .apply = apply };
	int64_t counts[2] = { 0, 0 };
	store_facets_told told;
	store *s = new_store();
	store_added added;
	bool more = true;
	int calls = 0;
	err e = { 0 };

	for (int i = 0; i < COUNT; i++) {
		many[i] = (record){
			.time_ms = BEGIN_MS + i / 3, .status = 200, .ttfb_ms = i, .total_ms = i, .cost = i
		};
		snprintf(many[i].id, sizeof many[i].id, "row-%d", i);
		snprintf(many[i].model, sizeof many[i].model, "model-%d", i % 5);
	}
	for (int i = 0; i < COUNT; i += 5000)
		CHECK(insert(s, many + i, COUNT - i < 5000 ? (size_t)(COUNT - i) : 5000) > 0);
	store_close(s);
	make_older();
	s = open_store(true);
	for (; more && calls < 100; calls++) {
		tap_report late = { .time_ms = BEGIN_MS, .status = 200, .final = true };
		store_batch b = { .reports = &late, .reports_count = 1 };
		record other = record_number(COUNT + calls);
		CHECK(store_catch_up(s, &more, &e) == STORE_OK);
		if (calls < 3)
			CHECK(strcmp(ask("SELECT count(*) FROM hourly WHERE kind = 6"), "0") == 0);
		memcpy(late.id, many[calls * 7].id, sizeof late.id);
		if (calls < changes)
			CHECK(store_add(s, &b, &join, &added, &e) == STORE_OK && added.joined == 1);
		other.time_ms = BEGIN_MS + 3000;
		if (calls < 2)
			CHECK(insert(s, &other, 1) == 1);
	}
	CHECK(!more && calls >= (changes ? 8 : 4) && sound(s));
	CHECK(store_facets(s, &q, count_untold, counts, &told, &e) == STORE_OK && told.whole_ms == 0);
	CHECK(counts[0] == COUNT + 2);
	store_close(s);
}

static void a_large_hour_is_filled_in_steps(void)
{
	fill_a_large_hour(0);
	fill_a_large_hour(2);
	fill_a_large_hour(40);
}

/* A clock that was months ahead for a while, as that of a machine without a battery, does not end facets of hours. */
static void a_clock_that_was_ahead(void)
{
	int64_t now = clock_wall_ms(), tomorrow = (now / DAY_MS + 1) * DAY_MS;
	store_facet_question q = { .by = FACET_NONE, .unit = FACET_HOURS, .from_ms = tomorrow, .to_ms = INT64_MAX };
	record r[2] = { record_number(0), record_number(1) };
	int64_t counts[2] = { 0, 0 };
	store_facets_told told;
	store *s = new_store();
	store_added added;
	bool more = false;
	err e = { 0 };
	char ahead[200];

	CHECK(insert(s, r, 1) == 1);
	snprintf(ahead, sizeof ahead, "INSERT OR REPLACE INTO meta VALUES ('facet_hours_from', %lld)",
		 (long long)(tomorrow + 200 * DAY_MS) / 1000);
	sql(ahead);
	CHECK(store_tidy(s, NULL, 0, &added, &more, &e) == STORE_OK);
	r[1].time_ms = tomorrow + HOUR_MS;
	CHECK(insert(s, r + 1, 1) == 1 && sound(s));
	CHECK(store_facets(s, &q, count_untold, counts, &told, &e) == STORE_OK && counts[0] == 1);
	/* A day is counted whole all the same. */
	q.unit = FACET_DAYS;
	q.from_ms = 0;
	CHECK(store_facets(s, &q, count_untold, counts, &told, &e) == STORE_OK && counts[0] == 3);
	store_close(s);
}

static int count_steps(unsigned type, void *ctx, void *ran, void *took)
{
	(void)type;
	(void)took;
	*(int64_t *)ctx += sqlite3_stmt_status(ran, SQLITE_STMTSTATUS_VM_STEP, 1);
	return 0;
}

/* A day has many labels, and each of its hours few of them: they are read once a day. */
static void a_verification_reads_labels_once(void)
{
	static const char *const damages[] = { "UPDATE daily SET last_ms = last_ms + 1 WHERE kind = 6",
					       "UPDATE daily SET times = NULL WHERE kind = 6",
					       "UPDATE hourly SET last_ms = last_ms + 1 WHERE kind = 6" };
	store *s = new_store();
	int64_t steps = 0;

	fill(s);
	sqlite3_trace_v2(s->db, SQLITE_TRACE_PROFILE, count_steps, &steps);
	CHECK(sound(s));
	sqlite3_trace_v2(s->db, 0, NULL, NULL);
	CHECK(steps > 100 * ROWS && steps < 300 * ROWS);
	/* The times of some facets of hours and days are wrong. */
	for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
		char one[300];
		snprintf(one, sizeof one,
			 "%s AND label IN (SELECT max(label) FROM hourly WHERE kind = 6 AND times IS NOT NULL)",
			 damages[i]);
		sql(one);
		CHECK(problems(s) > 0);
		store_close(s);
		s = new_store();
		CHECK(insert(s, rows, ROWS) == ROWS && sound(s)); /* so many that none waits in `facet_log` */
	}
	store_close(s);
}

static bool count_row(void *ctx, const record *r)
{
	*(int *)ctx += r->status == 200;
	return true;
}

/* Adds `count` rows in the hour that begins with BEGIN_MS, by SQL, so that no sum has them. */
static void add_rows(int count, const char *model)
{
	char all[800];

	snprintf(
		all, sizeof all,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
		" INSERT INTO requests (id, time_ms, route, backend, protocol, model, project, client, code, termination, status,"
		" stream, usage, cost, saved_compression, saved_cache, saved_routing, price)"
		" SELECT printf('kept-%%07d', i), %lld + i * %d / %d, '', '', '', '%s', '', '', '', '', 200, 0, 0, 0, 0, 0, 0, 0"
		" FROM n",
		count, (long long)BEGIN_MS, (int)HOUR_MS / 10, count / 10 + 1, model);
	sql(all);
}

/* Asks for a page of ten of the requests that `only` lets through, `oldest` first or newest first. Checks how many it
 * has, which total it tells, and that SQLite takes less than `steps` for each row that may be looked at. */
static void look_at_page(store *s, const row_filter *only, bool oldest, int listed, int64_t total, int steps)
{
	store_page_question q = { .to_ms = INT64_MAX, .limit = 10, .only = only, .oldest_first = oldest };
	const bool stopped = listed < 10 && total < 0;
	int64_t took = 0, looked = 1000 + (total < 0 ? STORE_PAGE_COUNTED : 0) + (stopped ? STORE_PAGE_READ : 0);
	store_page_told told;
	int count = 0;
	err e = { 0 };

	sqlite3_trace_v2(s->db, SQLITE_TRACE_PROFILE, count_steps, &took);
	CHECK(store_page(s, &q, count_row, &count, &told, &e) == STORE_OK);
	sqlite3_trace_v2(s->db, 0, NULL, NULL);
	CHECK(count == listed && told.total == total && told.stopped == stopped);
	CHECK(took > 0 && took < steps * looked);
	if (took >= steps * looked)
		printf("%lld steps for %lld rows\n", (long long)took, (long long)looked);
}

/* A page looks at no more rows than it may, however many an hour has, or retention keeps for the shipper. It says if it
 * does not know how many match, and if it stopped before it was full. */
static void a_page_looks_at_some_rows(void)
{
	enum { MANY = STORE_PAGE_READ + STORE_PAGE_READ / 10 };
	const row_filter model = { .model = "many" }, none = { .model = "none" }, rare = { .model = "rare" },
			 ids = { .id = "kept-*" }, one = { .id = "kept-0077777" };
	record few[2] = { record_number(1), record_number(2) };
	store *s = new_store();
	char pruned[120];

	few[0].time_ms = BEGIN_MS;
	few[1].time_ms = BEGIN_MS + HOUR_MS;
	for (int i = 0; i < 2; i++) {
		few[i].status = 200;
		snprintf(few[i].model, sizeof few[i].model, "%s", i ? model.model : rare.model);
	}
	CHECK(insert(s, few, 2) == 2);
	add_rows(MANY, model.model);
	/* The facets say that the hour has one. */
	look_at_page(s, &rare, true, 1, 1, 1);
	look_at_page(s, &rare, false, 0, -1, 16);
	snprintf(pruned, sizeof pruned, "INSERT INTO meta VALUES ('pruned_before', %lld)",
		 (long long)(BEGIN_MS + HOUR_MS));
	sql(pruned);
	for (int oldest = 0; oldest < 2; oldest++) {
		look_at_page(s, NULL, oldest, 10, -1, 6);
		look_at_page(s, &model, oldest, 10, -1, 12);
		look_at_page(s, &none, oldest, 0, -1, 12);
		look_at_page(s, &ids, oldest, 10, -1, 40);
		look_at_page(s, &one, oldest, 1, 1, 1);
	}
	store_close(s);
}

int main(void)
{
	store_rig_init();
	RUN(an_older_ledger_is_filled);
	RUN(a_large_hour_is_filled_in_steps);
	RUN(a_clock_that_was_ahead);
	RUN(a_verification_reads_labels_once);
	RUN(a_page_looks_at_some_rows);
	return store_rig_end();
}

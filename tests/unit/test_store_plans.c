/* SPDX-License-Identifier: MIT
 *
 * What SQLite does for the reads that people and the page wait for: none of them looks at each row of the ledger, and
 * those of a bounded part take as many steps in a large ledger as in a small one. */
#include "store_rig.h"

#include "ledger/store_facets.h"

enum { SMALL = 4000, LARGE = 24000, STATEMENTS = 64, BATCH = 1000 };

/* ---- what was asked of SQLite */

typedef struct statement {
	char *sql;
	int64_t steps; /* instructions of SQLite */
} statement;

static statement seen[STATEMENTS];
static size_t seen_count;
static bool watching;

static int on_statement(unsigned kind, void *ctx, void *st, void *ns)
{
	sqlite3_stmt *one = st;
	const char *sql = sqlite3_sql(one);
	size_t i = 0;

	(void)kind;
	(void)ctx;
	(void)ns;
	if (!watching)
		return 0;
	while (i < seen_count && strcmp(seen[i].sql, sql) != 0)
		i++;
	if (i == STATEMENTS)
		abort();
	if (i == seen_count)
		seen[seen_count++] = (statement){ strdup(sql), 0 };
	seen[i].steps += sqlite3_stmt_status(one, SQLITE_STMTSTATUS_VM_STEP, 1);
	return 0;
}

static int on_open(sqlite3 *db, char **why, const struct sqlite3_api_routines *api)
{
	(void)why;
	(void)api;
	return sqlite3_trace_v2(db, SQLITE_TRACE_PROFILE, on_statement, NULL);
}

static void forget(void)
{
	while (seen_count)
		free(seen[--seen_count].sql);
}

static int64_t steps(void)
{
	int64_t n = 0;

	for (size_t i = 0; i < seen_count; i++)
		n += seen[i].steps;
	return n;
}

/* Checks the plan of every statement that was seen: a table of the ledger is searched by an index, never gone through.
 */
static void check_plans(const char *of)
{
	static const char *const large[] = { "SCAN requests", "SCAN r", "SCAN hourly", "SCAN daily" };
	static statement copy[STATEMENTS];
	size_t count = seen_count;

	memcpy(copy, seen, sizeof copy);
	seen_count = 0; /* what follows is seen, too */
	for (size_t i = 0; i < count; i++) {
		sqlite3 *db;
		sqlite3_stmt *st = plan_of(copy[i].sql, &db);
		while (st && sqlite3_step(st) == SQLITE_ROW) {
			const char *plan = (const char *)sqlite3_column_text(st, 3);
			for (size_t k = 0; k < sizeof large / sizeof large[0]; k++) {
				size_t len = strlen(large[k]);
				bool scans = strncmp(plan, large[k], len) == 0 && (!plan[len] || plan[len] == ' ');
				CHECK(!scans);
				if (scans)
					printf("%s: %s\n  %s\n", of, plan, copy[i].sql);
			}
		}
		sqlite3_finalize(st);
		sqlite3_close(db);
		free(copy[i].sql);
	}
	forget();
}

/* ---- the reads */

static size_t rows_seen;

static bool on_row(void *ctx, const record *r)
{
	(void)ctx;
	(void)r;
	rows_seen++;
	return true;
}

static bool on_sums(void *ctx, const store_sums *sums)
{
	(void)ctx;
	(void)sums;
	return true;
}

static bool on_facet(void *ctx, const store_facet *f)
{
	(void)ctx;
	(void)f;
	return true;
}

static const row_filter filters[] = {
	{ .model = NULL },        { .model = "model-1" },
	{ .model = "model-*" },   { .route = "route-1" },
	{ .project = "" },        { .client = "client-2" },
	{ .member = "member-1" }, { .code = "no_backend" },
	{ .id = "0000*" },        { .status_from = 500, .status_to = 600 },
	{ .status_to = 1 },       { .model = "model-2", .project = "project-1", .status_from = 200, .status_to = 201 },
};

enum { FILTERS = sizeof filters / sizeof filters[0] };

static void fill(store *s, size_t count)
{
	record *rows = malloc(BATCH * sizeof *rows);

	if (!rows)
		abort();
	for (size_t n = 0; n < count; n += BATCH) {
		for (size_t i = 0; i < BATCH; i++)
			rows[i] = record_number((int64_t)(n + i));
		insert(s, rows, BATCH);
	}
	free(rows);
}

static void no_read_goes_through_the_ledger(void)
{
	store *writer = new_store();
	err e = { 0 };

	fill(writer, SMALL);
	store_close(writer);
	store *s = open_store(false);
	watching = true;
	for (size_t i = 0; i < FILTERS; i++) {
		const row_filter *f = &filters[i];
		int64_t after = 0, from = BEGIN_MS + DAY_MS, to = BEGIN_MS + 2 * DAY_MS;
		store_page_told page;
		store_facets_told told;
		CHECK(store_find(s, from, to, f, on_row, NULL, &e) == STORE_OK);
		check_plans("store_find");
		CHECK(store_last(s, from, to, f, 20, on_row, NULL, &e) == STORE_OK);
		check_plans("store_last");
		CHECK(store_newer(s, &after, f, on_row, NULL, &e) == STORE_OK);
		check_plans("store_newer");
		CHECK(store_report_found(s, GROUP_MODEL, from, to, f, on_sums, NULL, &e) == STORE_OK);
		check_plans("store_report_found");
		CHECK(store_page(s, &(store_page_question){ from, to, f, 0, 100, false }, on_row, NULL, &page, &e) ==
		      STORE_OK);
		check_plans("store_page");
		if (!f->id)
			CHECK(store_facets(s,
					   &(store_facet_question){ .by = FACET_UPSTREAM,
								    .unit = FACET_HOURS,
								    .from_ms = from,
								    .to_ms = to,
								    .only = f,
								    .times = true },
					   on_facet, NULL, &told, &e) == STORE_OK);
		check_plans("store_facets");
		CHECK(store_report(s, GROUP_MODEL, from, to, on_sums, NULL, &e) == STORE_OK);
		check_plans("store_report");
	}
	watching = false;
	store_close(s);
}

enum { COSTS = 4 };

/* Returns what the reads of an hour, of the last rows, of one request, and of a page of all requests cost in a ledger
 * of `count` rows. */
static void costs(size_t count, int64_t out[COSTS])
{
	store *writer = new_store();
	err e = { 0 };

	fill(writer, count);
	/* The same rows in the one hour of both ledgers. */
	record hour[50];
	for (size_t i = 0; i < 50; i++) {
		hour[i] = record_number(900000 + (int64_t)i);
		hour[i].time_ms = BEGIN_MS + 10 * DAY_MS + (int64_t)i;
	}
	insert(writer, hour, 50);
	store_close(writer);
	store *s = open_store(false);
	int64_t from = BEGIN_MS + 10 * DAY_MS, to = from + HOUR_MS;
	watching = true;
	rows_seen = 0;
	CHECK(store_find(s, from, to, &filters[9], on_row, NULL, &e) == STORE_OK);
	out[0] = steps();
	forget();
	CHECK(store_last(s, 0, INT64_MAX, NULL, 20, on_row, NULL, &e) == STORE_OK);
	out[1] = steps();
	forget();
	row_filter one = { .id = hour[7].id };
	rows_seen = 0;
	CHECK(store_last(s, 0, INT64_MAX, &one, 20, on_row, NULL, &e) == STORE_OK && rows_seen == 1);
	out[2] = steps();
	forget();
	store_page_told told;
	CHECK(store_page(s, &(store_page_question){ 0, INT64_MAX, NULL, 60, 100, false }, on_row, NULL, &told, &e) ==
	      STORE_OK);
	CHECK(told.total == (int64_t)count + 50);
	out[3] = steps();
	watching = false;
	forget();
	store_close(s);
}

static void a_part_costs_the_same_in_a_large_ledger(void)
{
	static const char *const names[COSTS] = { "an hour", "the last ones", "one by its id", "a page of all" };
	int64_t small[COSTS], large[COSTS];

	costs(SMALL, small);
	costs(LARGE, large);
	for (size_t i = 0; i < COSTS; i++) {
		CHECK(large[i] < small[i] * 3 / 2 + 500);
		if (large[i] >= small[i] * 3 / 2 + 500)
			printf("%s: %lld steps in a small ledger, %lld in a large one\n", names[i], (long long)small[i],
			       (long long)large[i]);
	}
}

int main(void)
{
	store_rig_init();
	if (sqlite3_auto_extension((void (*)(void))on_open) != SQLITE_OK)
		abort();
	RUN(no_read_goes_through_the_ledger);
	RUN(a_part_costs_the_same_in_a_large_ledger);
	sqlite3_reset_auto_extension();
	forget();
	return store_rig_end();
}

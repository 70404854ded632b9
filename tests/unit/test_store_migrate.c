/* SPDX-License-Identifier: MIT
 *
 * Ledgers of schema versions 1 to 4 become ledgers of this version: no row and no sum changes, and what estimates
 * saved is counted day by day, while the ledger is in use. */
#include "store_rig.h"

#include "ledger/store_schema.h"

enum { ROWS = 2500 };

/* The columns of version 1, in its order. */
#define ROW_1 \
	"id, time_ms, route, backend, protocol, model, project, client, code, termination, status, stream, bytes_in," \
	" bytes_out, ttfb_ms, total_ms, input, output, cache_read, cache_write, saved, usage, cost, saved_compression," \
	" saved_cache, saved_routing, price"
#define SUMS_1 \
	"kind, bucket, label, requests, streams, refused, failed, input, output, cache_read, cache_write, saved, cost," \
	" saved_compression, saved_cache, saved_routing, bytes_in, bytes_out, estimated_requests, estimated_output," \
	" estimated_cost, partial_requests, unpriced_requests, unpriced_tokens"
#define ESTIMATED "estimated_saved_compression, estimated_saved_cache, estimated_saved_routing"

/* What version 2 added. */
#define ROW_2 ROW_1 ", price_missing"
#define SUMS_2 SUMS_1 ", unknown_requests, partly_priced_requests, " ESTIMATED

/* What version 3 added. */
#define ROW_3 ROW_2 ", tap"
#define SUMS_3 SUMS_2 ", untold_requests"

/* What version 4 added to a row. */
#define ROW_4 ROW_3 ", member, attempts, tried"

/* A ledger as an agent of `version` would have left it after `pruned` batches, at `path`; the same ledger as this
 * version keeps it, at `newer`. */
static char newer[sizeof path];

static void make_both(int version, int pruned, int64_t labels)
{
	static record rows[ROWS];
	static const char *const row_of[] = { NULL, ROW_1, ROW_2, ROW_3, ROW_4 };
	static const char *const sums_of[] = { NULL, SUMS_1, SUMS_2, SUMS_3, SUMS_3 };
	const char *row = row_of[version], *sums = sums_of[version];
	const int kinds = version < 4 ? 5 : 6; /* version 4 added the members of pools */
	char text[8192];
	int64_t removed;
	err e;
	store *s = new_store();

	for (int i = 0; i < ROWS; i++) {
		do
			rows[i] = record_number(i);
		while (version == 1 && (rows[i].usage == USAGE_UNKNOWN || rows[i].price == PRICE_PARTIAL));
		if (version < 4) {
			rows[i].member[0] = rows[i].tried[0] = '\0';
			rows[i].attempts = 0;
		}
		if (version > 2)
			rows[i].tap = (tap_state)roll(TAP_NOTHING + 1);
		if (labels) { /* most of them on one day */
			snprintf(rows[i].project, sizeof rows[i].project, "p%lld", (long long)roll(labels));
			rows[i].time_ms = i % 4 ? BEGIN_MS + roll(DAY_MS) : rows[i].time_ms;
		}
	}
	for (int i = 0; i < ROWS; i += 100)
		CHECK(insert(s, rows + i, 100) == 100);
	for (int i = 0; i < pruned; i++)
		CHECK(store_prune(s, BEGIN_MS + (i + 1) * DAY_MS / 2 + 1234567, INT64_MAX, &removed, &e) == STORE_OK &&
		      removed > 0);
	store_close(s);
	snprintf(newer, sizeof newer, "%s/newer.db", base);
	remove_files(newer);
	sql("PRAGMA wal_checkpoint(TRUNCATE)");
	CHECK(rename(path, newer) == 0);
	remove_files(path);
	for (size_t i = 0; i < sizeof store_schema / sizeof store_schema[0]; i++)
		if (store_schema[i].version <= version)
			sql(store_schema[i].sql);
	snprintf(text, sizeof text,
		 "PRAGMA journal_mode = WAL; PRAGMA application_id = %d; PRAGMA user_version = %d; ATTACH '%s' AS n;"
		 "INSERT INTO meta SELECT key, value FROM n.meta WHERE key = 'pruned_before';"
		 "INSERT INTO requests (%s) SELECT %s FROM n.requests ORDER BY rowid;"
		 "INSERT INTO hourly (%s) SELECT %s FROM n.hourly WHERE kind < %d;"
		 "INSERT INTO daily (%s) SELECT %s FROM n.daily WHERE kind < %d;",
		 STORE_APPLICATION_ID, version, newer, row, row, sums, sums, kinds, sums, sums, kinds);
	sql(text);
}

/* Facets are compared with the rows by store_verify(): the newer ledger may have some of them in `facet_log`. */
#define SUMS_OF_LABELS "WHERE kind < 6"

/* How many rows of a query over the migrated ledger and over the newer one differ. */
static int differing(const char *columns, const char *table, const char *where)
{
	char text[4096];

	snprintf(text, sizeof text,
		 "ATTACH '%s' AS n; CREATE TEMP TABLE diff AS"
		 " SELECT * FROM (SELECT %s FROM main.%s %s EXCEPT SELECT %s FROM n.%s %s) UNION ALL"
		 " SELECT * FROM (SELECT %s FROM n.%s %s EXCEPT SELECT %s FROM main.%s %s)",
		 newer, columns, table, where, columns, table, where, columns, table, where, columns, table, where);
	sqlite3 *db;
	sqlite3_stmt *st;
	CHECK(sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
	CHECK(sqlite3_prepare_v2(db, "SELECT count(*) FROM diff", -1, &st, NULL) == SQLITE_OK);
	CHECK(sqlite3_step(st) == SQLITE_ROW);
	int count = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return count;
}

static int catch_up(store *s)
{
	bool more = true;
	int calls = 0;
	err e = { 0 };

	for (; more && calls < 1000; calls++)
		CHECK(store_catch_up(s, &more, &e) == STORE_OK);
	return calls;
}

static void an_old_ledger_keeps_every_figure(void)
{
	bool more = false;
	err e = { 0 };

	make_both(1, 0, 0);
	store *s = open_store(true);
	CHECK(store_migrated_from(s) == 1);
	CHECK(strcmp(ask("PRAGMA user_version"), "6") == 0);
	CHECK(differing(ROW_4, "requests", "") == 0);
	CHECK(differing(SUMS_1 ", unknown_requests, partly_priced_requests, untold_requests", "hourly",
			SUMS_OF_LABELS) == 0);
	CHECK(differing(SUMS_1 ", unknown_requests, partly_priced_requests, untold_requests", "daily",
			SUMS_OF_LABELS) == 0);
	/* Until it is counted, all that an hour with estimates saved counts as estimated, and never less. */
	CHECK(strcmp(ask("SELECT count(*) > 0, min(estimated_saved_compression = saved_compression),"
			 " min(estimated_saved_routing = saved_routing) FROM hourly WHERE estimated_requests > 0"),
		     "1|1|1") == 0);
	CHECK(sound(s));
	/* A reader of this version reads it already; days are counted one by one, the newest first. */
	store *reader = open_store(false);
	ask_report(reader, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == ROWS);
	CHECK(store_catch_up(s, &more, &e) == STORE_OK && more);
	CHECK(differing(ESTIMATED, "daily", "WHERE kind = 1 AND bucket = (SELECT max(bucket) FROM daily)") == 0);
	CHECK(sound(s));
	/* A record that comes meanwhile counts once, wherever the counting has come to. */
	store_close(s);
	s = open_store(true);
	CHECK(store_migrated_from(s) == 0);
	record late[2] = { record_number(ROWS), record_number(ROWS + 1) };
	for (int i = 0; i < 2; i++) {
		late[i].usage = USAGE_ESTIMATED;
		late[i].time_ms = BEGIN_MS + (i ? 5 * DAY_MS - 1000 : 1000);
	}
	CHECK(insert(s, late, 2) == 2);
	CHECK(catch_up(s) >= 4);
	CHECK(sound(s));
	CHECK(strcmp(ask("SELECT count(*) FROM meta WHERE key = 'estimates_before'"), "0") == 0);
	store_close(s);
	store_close(reader);
	/* The ledger of this version gets them too. */
	char was[sizeof path];
	snprintf(was, sizeof was, "%s", path);
	snprintf(path, sizeof path, "%s", newer);
	s = open_store(true);
	CHECK(insert(s, late, 2) == 2);
	store_close(s);
	snprintf(path, sizeof path, "%s", was);
	CHECK(differing(SUMS_1 ", " ESTIMATED, "hourly", SUMS_OF_LABELS) == 0);
	CHECK(differing(SUMS_1 ", " ESTIMATED, "daily", SUMS_OF_LABELS) == 0);
}

/* Where rows were pruned, nobody can tell any more what estimates saved: at most all. */
static void what_was_pruned_stays_an_upper_bound(void)
{
	make_both(1, 2, 0);
	store *s = open_store(true);
	CHECK(catch_up(s) >= 4 && sound(s));
	CHECK(differing(ESTIMATED, "hourly",
			"WHERE kind < 6 AND bucket * 1000 >= (SELECT value FROM n.meta WHERE key = 'pruned_before')") ==
	      0);
	CHECK(strcmp(ask("SELECT count(*) > 0, min(estimated_saved_cache = saved_cache) FROM hourly WHERE"
			 " bucket * 1000 < (SELECT value FROM meta WHERE key = 'pruned_before')"
			 " AND estimated_requests > 0"),
		     "1|1") == 0);
	CHECK(strcmp(ask("SELECT count(*) FROM hourly WHERE estimated_requests = 0 AND estimated_saved_cache <> 0"),
		     "0") == 0);
	store_close(s);
}

static void labels_beyond_the_limit_are_other(void)
{
	make_both(1, 0, 5 * STORE_LABELS_PER_DAY);
	CHECK(strcmp(ask("SELECT count(*) > 0 FROM daily WHERE kind = 3 AND label = 'other'"), "1") == 0);
	store *s = open_store(true);
	CHECK(catch_up(s) >= 4 && sound(s));
	CHECK(differing(SUMS_1 ", " ESTIMATED, "hourly", SUMS_OF_LABELS) == 0);
	CHECK(differing(SUMS_1 ", " ESTIMATED, "daily", SUMS_OF_LABELS) == 0);
	store_close(s);
}

static void a_ledger_of_version_2_keeps_every_figure(void)
{
	for (int pruned = 0; pruned < 3; pruned += 2) {
		make_both(2, pruned, 0);
		store *s = open_store(true);
		CHECK(store_migrated_from(s) == 2 && strcmp(ask("PRAGMA user_version"), "6") == 0);
		CHECK(differing(ROW_4, "requests", "") == 0);
		CHECK(differing(SUMS_3, "hourly", SUMS_OF_LABELS) == 0);
		CHECK(differing(SUMS_3, "daily", SUMS_OF_LABELS) == 0);
		CHECK(strcmp(ask("SELECT count(*) FROM reports"), "0") == 0);
		CHECK(strcmp(ask("SELECT count(DISTINCT tap), min(tap) FROM ledger"), "1|no") == 0);
		CHECK(catch_up(s) > 1 && sound(s));
		store_close(s);
	}
}

/* Its rows went to no pool; a report that waits goes on waiting; and a row of a pool comes in. */
static void a_ledger_of_version_3_keeps_every_figure(void)
{
	for (int pruned = 0; pruned < 3; pruned += 2) {
		make_both(3, pruned, 0);
		sql("INSERT INTO reports VALUES ('late', 1, 0, 200, 1, 5, 'flex', '', '{\"output_tokens\":7}')");
		store *s = open_store(true);
		CHECK(store_migrated_from(s) == 3 && strcmp(ask("PRAGMA user_version"), "6") == 0);
		CHECK(differing(ROW_4, "requests", "") == 0);
		CHECK(differing(SUMS_3, "hourly", SUMS_OF_LABELS) == 0);
		CHECK(differing(SUMS_3, "daily", SUMS_OF_LABELS) == 0);
		CHECK(strcmp(ask("SELECT id, tier, last FROM reports"), "late|flex|{\"output_tokens\":7}") == 0);
		CHECK(strcmp(ask("SELECT count(DISTINCT tap), sum(attempts), max(member), max(tried) FROM ledger"),
			     "5|0||") == 0);
		CHECK(catch_up(s) > 1 && sound(s));
		record late = record_number(ROWS);
		late.time_ms = BEGIN_MS + 5 * DAY_MS;
		late.attempts = 2;
		snprintf(late.member, sizeof late.member, "b");
		snprintf(late.tried, sizeof late.tried, "a:429");
		CHECK(insert(s, &late, 1) == 1 && sound(s));
		CHECK(strcmp(ask("SELECT member, attempts, tried FROM ledger WHERE attempts > 0"), "b|2|a:429") == 0);
		store_close(s);
	}
}

static void a_ledger_of_version_4_keeps_every_figure(void)
{
	for (int pruned = 0; pruned < 3; pruned += 2) {
		make_both(4, pruned, 0);
		store *s = open_store(true);
		CHECK(store_migrated_from(s) == 4 && strcmp(ask("PRAGMA user_version"), "6") == 0);
		CHECK(differing(ROW_4, "requests", "") == 0);
		CHECK(differing(SUMS_3, "hourly", SUMS_OF_LABELS) == 0);
		CHECK(differing(SUMS_3, "daily", SUMS_OF_LABELS) == 0);
		CHECK(strcmp(ask("SELECT count(DISTINCT member), max(attempts) FROM ledger"), "4|3") == 0);
		CHECK(catch_up(s) > 1 && sound(s));
		store_close(s);
	}
}

static void a_new_ledger_is_not_migrated(void)
{
	store *s = new_store();
	CHECK(store_migrated_from(s) == 0);
	CHECK(catch_up(s) == 1 && strcmp(ask("SELECT count(*) FROM meta WHERE key = 'estimates_before'"), "0") == 0);
	store_close(s);
}

/* Readers that do not migrate say who does. */
static void a_reader_does_not_migrate(void)
{
	store_result result = STORE_OK;
	err e = { 0 };

	make_both(1, 0, 0);
	CHECK(!store_open(path, false, &result, &e) && result == STORE_ERROR && strstr(e.text, "older version"));
	CHECK(strcmp(ask("PRAGMA user_version"), "1") == 0);
}

int main(void)
{
	store_rig_init();
	RUN(an_old_ledger_keeps_every_figure);
	RUN(what_was_pruned_stays_an_upper_bound);
	RUN(labels_beyond_the_limit_are_other);
	RUN(a_ledger_of_version_2_keeps_every_figure);
	RUN(a_ledger_of_version_3_keeps_every_figure);
	RUN(a_ledger_of_version_4_keeps_every_figure);
	RUN(a_new_ledger_is_not_migrated);
	RUN(a_reader_does_not_migrate);
	remove_files(newer);
	return store_rig_end();
}

/* SPDX-License-Identifier: MIT
 *
 * What the ledger costs after a record has been parsed, on one core.
 *
 *   ledger_store rate DIR [ROWS] [ROUNDS]   records/s through journal and store, beside bare SQLite
 *   ledger_store fill DIR [ROWS]            makes DIR/ledger.db: 30 days, 40 models, 20 routes, 50 projects, 20 clients
 *   ledger_store report DIR                 makes reports from it: milliseconds and resident memory
 *   ledger_store whole DIR                  reads all of it: Headroom's history, and verify
 *
 * rate takes batches of 1000 through journal_append, journal_flush, store_insert and journal_release. Bare SQLite has
 * the same table, indexes, rows and batches, and nothing else. Rounds alternate; the figures are medians.
 *
 * Exit 1 where a figure misses its goal: half of bare SQLite's rate, 50,000 records/s, 200 ms, 64 MB; 300 ms for the
 * history, 4 us a row for verify. */
#include <errno.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "ledger/journal.h"
#include "ledger/store.h"
#include "ledger/store_schema.h"
#include "report/headroom.h"

enum {
	BATCH = 1000,
	ROUNDS_MAX = 31,
	DAYS = 30,
	/* So many requests end in each millisecond, and each began up to a minute before. So 120,000 requests are in
	 * flight, more than a HAProxy has connections for, and ids and times arrive that far out of order. An index is
	 * costly because of that order, not because of the rate. */
	PER_MS = 2,
};

static int64_t begin_ms; /* the beginning of the first of the last 30 days, UTC */

static char db_path[300], journal_path[300];

static double clock_of(clockid_t which)
{
	struct timespec t;
	clock_gettime(which, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds that passed, and seconds of CPU that this process took. On a shared machine the first says more about other
 * processes; the second leaves out waiting for the disk. */
typedef struct moment {
	double wall, core;
} moment;

static moment now(void)
{
	return (moment){ clock_of(CLOCK_MONOTONIC), clock_of(CLOCK_PROCESS_CPUTIME_ID) };
}

static void add_since(moment *sum, moment since)
{
	moment m = now();
	sum->wall += m.wall - since.wall;
	sum->core += m.core - since.core;
}

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int64_t roll(int64_t below)
{
	return (int64_t)(next_random() % (uint64_t)below);
}

/* Makes a record of a request that ended at `end_ms` and began up to a minute before. */
static void make(record *r, int64_t end_ms)
{
	uint64_t a = next_random(), b = next_random();

	memset(r, 0, sizeof *r);
	r->total_ms = roll(60000);
	r->time_ms = end_ms - r->total_ms;
	snprintf(r->id, sizeof r->id, "%08X-%08x-%04x-%04x-%04x-%012llx", (unsigned)(r->time_ms / 1000),
		 (unsigned)(a >> 32), (unsigned)(a & 0xffff), (unsigned)(a >> 16 & 0xffff), (unsigned)(b & 0xffff),
		 (unsigned long long)(b >> 16));
	snprintf(r->route, sizeof r->route, "route-%d", (int)roll(20));
	snprintf(r->backend, sizeof r->backend, "llm-api.provider-%d.com", (int)roll(10));
	snprintf(r->protocol, sizeof r->protocol, "anthropic");
	snprintf(r->model, sizeof r->model, "claude-sonnet-%d-20250929", (int)roll(40));
	snprintf(r->project, sizeof r->project, "project-%d", (int)roll(50));
	snprintf(r->client, sizeof r->client, "client-%d", (int)roll(20));
	snprintf(r->termination, sizeof r->termination, "--");
	r->status = 200;
	r->stream = true;
	r->bytes_in = roll(100000);
	r->bytes_out = roll(200000);
	r->ttfb_ms = roll(2000);
	r->input = roll(5000);
	r->output = roll(4000);
	r->cache_read = roll(60000);
	r->cache_write = roll(3000);
	r->saved = -1;
	r->usage = (usage_from)(1 + roll(3));
	r->price = PRICE_TABLE;
	r->cost = roll(400000000);
	r->saved_cache = roll(100000000);
}

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(2);
}

static void remove_db(void)
{
	char other[320];
	unlink(db_path);
	snprintf(other, sizeof other, "%s-wal", db_path);
	unlink(other);
	snprintf(other, sizeof other, "%s-shm", db_path);
	unlink(other);
}

/* ---- journal and store, beside bare SQLite */

typedef struct times {
	moment journal, store;
} times;

static times ours(long rows)
{
	static record batch[BATCH];
	store_result result;
	err e;
	times t = { { 0, 0 }, { 0, 0 } };

	remove_db();
	store *s = store_open(db_path, true, &result, &e);
	journal *j = s ? journal_open(journal_path, 8 << 20, 256 << 20, &e) : NULL;
	if (!j)
		fail("open", e.text);
	for (long n = 0; n < rows; n += BATCH) {
		journal_mark mark = { 0 };
		size_t inserted;
		for (int i = 0; i < BATCH; i++)
			make(&batch[i], begin_ms + (n + i) / PER_MS);
		moment a = now();
		for (int i = 0; i < BATCH; i++)
			if (!journal_append(j, &batch[i], &mark))
				fail("journal_append", journal_get_stats(j).problem);
		if (!journal_flush(j))
			fail("journal_flush", journal_get_stats(j).problem);
		add_since(&t.journal, a);
		a = now();
		if (store_insert(s, batch, BATCH, &inserted, &e) != STORE_OK || inserted != BATCH)
			fail("store_insert", e.text);
		add_since(&t.store, a);
		a = now();
		journal_release(j, mark);
		add_since(&t.journal, a);
	}
	moment a = now();
	journal_close(j);
	add_since(&t.journal, a);
	a = now();
	store_close(s);
	add_since(&t.store, a);
	return t;
}

static void sql(sqlite3 *db, const char *text)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail(text, sqlite3_errmsg(db));
}

static moment bare(long rows)
{
	static record batch[BATCH];
	sqlite3 *db;
	sqlite3_stmt *st;
	moment took = { 0, 0 };

	remove_db();
	if (sqlite3_open(db_path, &db) != SQLITE_OK)
		fail(db_path, sqlite3_errmsg(db));
	sql(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000;"
		"PRAGMA cache_size = -4096");
	sql(db, store_schema[0].sql);
	if (sqlite3_prepare_v2(db,
			       "INSERT INTO requests VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
			       -1, &st, NULL) != SQLITE_OK)
		fail("prepare", sqlite3_errmsg(db));
	for (long n = 0; n < rows; n += BATCH) {
		for (int i = 0; i < BATCH; i++)
			make(&batch[i], begin_ms + (n + i) / PER_MS);
		moment a = now();
		sql(db, "BEGIN IMMEDIATE");
		for (int i = 0; i < BATCH; i++) {
			const record *r = &batch[i];
			const char *const texts[] = { r->route,   r->backend, r->protocol, r->model,
						      r->project, r->client,  r->code,     r->termination };
			const int64_t numbers[] = {
				r->status,        r->stream,         r->bytes_in, r->bytes_out,         r->ttfb_ms,
				r->total_ms,      r->input,          r->output,   r->cache_read,        r->cache_write,
				r->saved,         (int64_t)r->usage, r->cost,     r->saved_compression, r->saved_cache,
				r->saved_routing, (int64_t)r->price
			};
			sqlite3_bind_text(st, 1, r->id, -1, SQLITE_STATIC);
			sqlite3_bind_int64(st, 2, r->time_ms);
			for (int k = 0; k < 8; k++)
				sqlite3_bind_text(st, 3 + k, texts[k], -1, SQLITE_STATIC);
			for (int k = 0; k < 17; k++)
				sqlite3_bind_int64(st, 11 + k, numbers[k]);
			if (sqlite3_step(st) != SQLITE_DONE)
				fail("insert", sqlite3_errmsg(db));
			sqlite3_reset(st);
		}
		sql(db, "COMMIT");
		add_since(&took, a);
	}
	moment a = now();
	sqlite3_finalize(st);
	sqlite3_close(db);
	add_since(&took, a);
	return took;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *v, int count)
{
	qsort(v, (size_t)count, sizeof *v, by_size);
	return count % 2 ? v[count / 2] : (v[count / 2 - 1] + v[count / 2]) / 2;
}

enum { BARE, JOURNAL, STORE, BOTH, LINES };

static int rate(long rows, int rounds)
{
	static const char *const names[LINES] = { "bare SQLite, same table and indexes", "journal alone",
						  "store alone (rows, sums by hour and day)", "journal and store" };
	double wall[LINES][ROUNDS_MAX], core[LINES][ROUNDS_MAX], ratio[2][ROUNDS_MAX];

	if (rounds < 1 || rounds > ROUNDS_MAX || rows < BATCH)
		fail("rate", "1 to 31 rounds of at least 1000 rows");
	for (int i = 0; i < rounds; i++) {
		moment took[LINES];
		if (i % 2)
			took[BARE] = bare(rows);
		times t = ours(rows);
		if (i % 2 == 0)
			took[BARE] = bare(rows);
		took[JOURNAL] = t.journal;
		took[STORE] = t.store;
		took[BOTH] = (moment){ t.journal.wall + t.store.wall, t.journal.core + t.store.core };
		for (int line = 0; line < LINES; line++) {
			wall[line][i] = (double)rows / took[line].wall / 1e3;
			core[line][i] = (double)rows / took[line].core / 1e3;
		}
		ratio[0][i] = took[BARE].wall / took[BOTH].wall;
		ratio[1][i] = took[BARE].core / took[BOTH].core;
	}
	remove_db();
	rmdir(journal_path);
	printf("%d alternating rounds of %ld rows, batches of %d, 120,000 requests in flight, SQLite %s; medians\n\n",
	       rounds, rows, BATCH, sqlite3_libversion());
	printf("| thousand records | a second of one core | of bare | a second on the wall | of bare |\n"
	       "| --- | ---: | ---: | ---: | ---: |\n");
	for (int line = 0; line < LINES; line++) {
		double c = median(core[line], rounds), w = median(wall[line], rounds);
		printf("| %s | %.0f | %.2f | %.0f | %.2f |\n", names[line], c, c / median(core[BARE], rounds), w,
		       w / median(wall[BARE], rounds));
	}
	double by_core = median(ratio[1], rounds), by_wall = median(ratio[0], rounds), is = median(core[BOTH], rounds);
	bool ok = by_core >= 0.5 && is >= 50;
	printf("\npaired ratios: %.2f of bare SQLite by core, %.2f by wall\n", by_core, by_wall);
	printf("wanted: 0.50 of bare SQLite, 50 thousand/s of one core: %s\n", ok ? "met" : "MISSED");
	return ok ? 0 : 1;
}

/* ---- reports */

static int fill(long rows)
{
	static record batch[BATCH];
	store_result result;
	err e;

	remove_db();
	store *s = store_open(db_path, true, &result, &e);
	if (!s)
		fail("open", e.text);
	int64_t end_ms = (int64_t)time(NULL) * 1000;
	moment took = { 0, 0 }, begin = now();
	for (long n = 0; n < rows; n += BATCH) {
		size_t inserted;
		for (int i = 0; i < BATCH; i++)
			make(&batch[i],
			     begin_ms + 60000 +
				     (int64_t)((double)(n + i) / (double)rows * (double)(end_ms - begin_ms - 60000)));
		if (store_insert(s, batch, BATCH, &inserted, &e) != STORE_OK)
			fail("store_insert", e.text);
	}
	store_close(s);
	add_since(&took, begin);
	struct stat st;
	stat(db_path, &st);
	printf("%ld rows in %.0f s; the file has %.0f MB, %.0f bytes a row\n", rows, took.wall,
	       (double)st.st_size / 1e6, (double)st.st_size / (double)rows);
	return 0;
}

static bool count_sums(void *ctx, const store_sums *sums)
{
	int64_t *requests = ctx;
	*requests += sums->requests;
	return true;
}

static int report(void)
{
	const struct {
		store_group by;
		const char *name;
		int64_t from, to;
	} asked[] = {
		{ GROUP_NONE, "total, everything", 0, INT64_MAX },
		{ GROUP_MODEL, "by model, everything", 0, INT64_MAX },
		{ GROUP_ROUTE, "by route, everything", 0, INT64_MAX },
		{ GROUP_PROJECT, "by project, everything", 0, INT64_MAX },
		{ GROUP_CLIENT, "by client, everything", 0, INT64_MAX },
		{ GROUP_DAY, "by day, everything", 0, INT64_MAX },
		{ GROUP_HOUR, "by hour, everything", 0, INT64_MAX },
		{ GROUP_MODEL, "by model, 29 days from and to noon", begin_ms + DAY_MS / 2,
		  begin_ms + 29 * DAY_MS + DAY_MS / 2 },
		{ GROUP_PROJECT, "by project, 7 days", begin_ms + 20 * DAY_MS + 3600000,
		  begin_ms + 27 * DAY_MS + 3600000 },
	};
	double worst = 0;

	printf("| report | ms, first | ms, median of 5 | requests |\n| --- | ---: | ---: | ---: |\n");
	for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		double took[6];
		int64_t requests = 0;
		for (int k = 0; k < 6; k++) {
			store_result result;
			err e;
			/* Opening the store is part of a report, as in `spoa-llm savings`. */
			moment a = now(), t = { 0, 0 };
			store *s = store_open(db_path, false, &result, &e);
			requests = 0;
			if (!s || store_report(s, asked[i].by, asked[i].from, asked[i].to, count_sums, &requests, &e) !=
					  STORE_OK)
				fail("report", e.text);
			store_close(s);
			add_since(&t, a);
			took[k] = t.wall * 1e3;
			worst = took[k] > worst ? took[k] : worst;
		}
		double first = took[0];
		printf("| %s | %.1f | %.1f | %lld |\n", asked[i].name, first, median(took + 1, 5), (long long)requests);
	}
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	printf("\nslowest %.1f ms, resident memory at most %.1f MB\n", worst, (double)use.ru_maxrss / 1e3);
	bool ok = worst < 200 && use.ru_maxrss < 64 * 1024;
	printf("wanted: 200 ms, 64 MB: %s\n", ok ? "met" : "MISSED");
	return ok ? 0 : 1;
}

static void on_problem(void *ctx, const char *problem)
{
	(void)ctx;
	fprintf(stderr, "%s\n", problem);
}

static int whole(void)
{
	FILE *nowhere = fopen("/dev/null", "w");
	double history[5];
	moment took = { 0, 0 };
	store_result result;
	size_t problems = 0;
	int64_t requests = 0;
	err e;

	price_table *prices = price_table_load(NULL, &e);
	if (!nowhere || !prices)
		fail("prices", e.text);
	for (int i = 0; i < 5; i++) {
		moment a = now(), t = { 0, 0 };
		store *s = store_open(db_path, false, &result, &e);
		headroom *x = s ? headroom_read(s, prices, &result, &e) : NULL;
		if (!x || result != STORE_OK)
			fail("history", e.text);
		headroom_stats_history(nowhere, x, db_path, NULL, false);
		headroom_free(x);
		store_close(s);
		add_since(&t, a);
		history[i] = t.wall * 1e3;
	}
	store *s = store_open(db_path, false, &result, &e);
	if (!s || store_report(s, GROUP_NONE, 0, INT64_MAX, count_sums, &requests, &e) != STORE_OK)
		fail("report", e.text);
	moment a = now();
	if (store_verify(s, on_problem, NULL, &problems, &e) != STORE_OK || problems)
		fail("verify", problems ? "there are problems" : e.text);
	add_since(&took, a);
	store_close(s);
	price_table_unref(prices);
	fclose(nowhere);
	double ms = median(history, 5), us = took.wall * 1e6 / (double)requests;
	printf("%lld requests: the history %.0f ms (median of 5), verify %.1f s (%.1f s of CPU), %.1f us a row\n",
	       (long long)requests, ms, took.wall, took.core, us);
	bool ok = ms < 300 && us < 4;
	printf("wanted: 300 ms, 4 us a row: %s\n", ok ? "met" : "MISSED");
	return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc < 3 || strlen(argv[2]) > 200) {
		fprintf(stderr, "ledger_store rate DIR [ROWS] [ROUNDS] | fill DIR [ROWS] | report DIR | whole DIR\n");
		return 2;
	}
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET((size_t)(sched_getcpu() < 0 ? 0 : sched_getcpu()), &one);
	if (strcmp(argv[1], "whole") != 0) /* verify has two threads */
		sched_setaffinity(0, sizeof one, &one);
	if (mkdir(argv[2], 0700) != 0 && errno != EEXIST)
		fail(argv[2], strerror(errno));
	int64_t today = (int64_t)time(NULL) * 1000;
	begin_ms = today - today % DAY_MS - (DAYS - 1) * DAY_MS;
	snprintf(db_path, sizeof db_path, "%s/%s.db", argv[2], strcmp(argv[1], "rate") == 0 ? "rate" : "ledger");
	snprintf(journal_path, sizeof journal_path, "%s/journal", argv[2]);
	if (strcmp(argv[1], "rate") == 0)
		return rate(argc > 3 ? atol(argv[3]) : 300000, argc > 4 ? atoi(argv[4]) : 5);
	if (strcmp(argv[1], "fill") == 0)
		return fill(argc > 3 ? atol(argv[3]) : 10000000);
	if (strcmp(argv[1], "report") == 0)
		return report();
	if (strcmp(argv[1], "whole") == 0)
		return whole();
	fprintf(stderr, "unknown: %s\n", argv[1]);
	return 2;
}

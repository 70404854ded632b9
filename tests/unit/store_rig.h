/* SPDX-License-Identifier: MIT
 *
 * For unit tests: the ledger's database (ledger/store.h) in a folder of its own, and records with random values to fill
 * the database with. */
#ifndef STORE_RIG_H
#define STORE_RIG_H

#include <sqlite3.h>

#include "base/clock.h"
#include "ledger/store.h"
#include "unit.h"

#define BEGIN_MS 1763942400000 /* 2025-11-24T00:00Z */

static char base[] = "/tmp/test_store.XXXXXX";
static char path[200]; /* the database */

/* ---- plans */

static inline void no_function(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	(void)context;
	(void)argc;
	(void)argv;
}

static inline void no_result(sqlite3_context *context)
{
	(void)context;
}

/* Returns `EXPLAIN QUERY PLAN` of a statement of the store, prepared by a connection of its own, `*db`, which knows the
 * names of the store's functions. The caller finalizes it and closes `*db`. */
static inline sqlite3_stmt *plan_of(const char *sql, sqlite3 **db)
{
	char *text = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
	sqlite3_stmt *plan = NULL;

	CHECK(sqlite3_open(path, db) == SQLITE_OK);
	CHECK(sqlite3_create_function(*db, "times_sum", 2, SQLITE_UTF8, NULL, no_function, NULL, NULL) == SQLITE_OK);
	CHECK(sqlite3_create_function(*db, "page_look", 2, SQLITE_UTF8, NULL, no_function, NULL, NULL) == SQLITE_OK);
	CHECK(sqlite3_create_function(*db, "ssum", 1, SQLITE_UTF8, NULL, NULL, no_function, no_result) == SQLITE_OK);
	bool ok = sqlite3_prepare_v2(*db, text, -1, &plan, NULL) == SQLITE_OK;
	CHECK(ok);
	if (!ok)
		printf("%s: %s\n", sqlite3_errmsg(*db), sql);
	sqlite3_free(text);
	return plan;
}

/* ---- records */

static uint64_t seed = 88172645463325252u;

static inline int64_t roll(int64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (int64_t)(seed % (uint64_t)below);
}

static inline record record_number(int64_t n)
{
	record r = { .time_ms = BEGIN_MS + roll(5 * DAY_MS),
		     .status = 200,
		     .stream = roll(2) == 1,
		     .bytes_in = roll(9000),
		     .bytes_out = roll(90000),
		     .ttfb_ms = roll(500),
		     .total_ms = roll(9000),
		     .input = roll(3000),
		     .output = roll(900),
		     .cache_read = roll(40000),
		     .cache_write = roll(900),
		     .saved = roll(500) - 100,
		     .usage = USAGE_REPORTED,
		     .price = PRICE_TABLE,
		     .keyed = n % 3 == 0 };

	snprintf(r.id, sizeof r.id, "%08X-0000-%lld", (unsigned)(r.time_ms / 1000), (long long)n);
	snprintf(r.route, sizeof r.route, "route-%d", (int)roll(3));
	snprintf(r.backend, sizeof r.backend, "llm-api.x%d", (int)roll(3));
	snprintf(r.protocol, sizeof r.protocol, "openai");
	snprintf(r.model, sizeof r.model, "model-%d", (int)roll(7));
	if (roll(3))
		snprintf(r.project, sizeof r.project, "project-%d", (int)roll(4));
	snprintf(r.client, sizeof r.client, "client-%d", (int)roll(4));
	snprintf(r.termination, sizeof r.termination, "--");
	r.cost = roll(900000000);
	r.saved_compression = roll(10000);
	r.saved_cache = roll(20000) - 10000;
	r.saved_routing = roll(30000) - 20000;
	if (roll(2)) {
		r.attempts = 1 + roll(3);
		snprintf(r.member, sizeof r.member, "member-%d", (int)roll(3));
		snprintf(r.tried, sizeof r.tried, "%s",
			 r.attempts == 1 ? "" :
			 r.attempts == 2 ? "a:429" :
					   "a:529,b:unreachable");
	}
	switch (roll(10)) {
	case 8:
		r.usage = USAGE_UNKNOWN;
		r.price = PRICE_NONE;
		r.input = r.output = r.cache_read = r.cache_write = -1;
		r.cost = r.saved_compression = r.saved_cache = r.saved_routing = 0;
		break;
	case 9:
		r.price = PRICE_PARTIAL;
		snprintf(r.price_missing, sizeof r.price_missing, "audio_input,write_1h");
		break;
	case 0:
		r.usage = USAGE_ESTIMATED;
		break;
	case 1:
		r.usage = USAGE_PARTIAL;
		break;
	case 2:
		r.price = PRICE_UNPRICED;
		r.cost = r.saved_compression = r.saved_cache = r.saved_routing = 0;
		break;
	case 3:
		snprintf(r.code, sizeof r.code, "no_backend");
		r.status = 502;
		r.usage = USAGE_NONE;
		r.price = PRICE_NONE;
		r.input = r.output = r.cache_read = r.cache_write = r.ttfb_ms = -1;
		r.cost = r.saved_compression = r.saved_cache = r.saved_routing = 0;
		break;
	case 4:
		r.status = 529;
		break;
	case 5:
		snprintf(r.termination, sizeof r.termination, roll(2) ? "SD" : "CD");
		break;
	default:
		break;
	}
	return r;
}

/* ---- databases */

static inline void remove_files(const char *file)
{
	char other[300];
	unlink(file);
	snprintf(other, sizeof other, "%s-wal", file);
	unlink(other);
	snprintf(other, sizeof other, "%s-shm", file);
	unlink(other);
}

static inline store *open_store(bool writer)
{
	store_result result = STORE_OK;
	err e = { 0 };
	store *s = store_open(path, writer, &result, &e);
	if (!s) {
		printf("%s: %s\n", store_result_name(result), e.text);
		fflush(stdout);
		abort();
	}
	return s;
}

static inline store *new_store(void)
{
	remove_files(path);
	return open_store(true);
}

/* Runs an SQL text through a connection of its own, as another program would. */
static inline void sql(const char *text)
{
	sqlite3 *db;
	char *why = NULL;
	if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK) {
		printf("%s: %s\n", text, why ? why : sqlite3_errmsg(db));
		abort();
	}
	sqlite3_close(db);
}

static char answer[1000];

/* Returns the first row's columns, with '|' between them. Valid until the next call. */
static inline const char *ask(const char *text)
{
	sqlite3 *db;
	sqlite3_stmt *st;
	size_t len = 0;

	answer[0] = '\0';
	/* A ledger that opens after a kill holds the database for a moment. */
	if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_busy_timeout(db, 10000) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, text, -1, &st, NULL) != SQLITE_OK) {
		printf("%s: %s\n", text, sqlite3_errmsg(db));
		fflush(stdout);
		abort();
	}
	if (sqlite3_step(st) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(st); i++) {
			const char *column = (const char *)sqlite3_column_text(st, i);
			len += (size_t)snprintf(answer + len, sizeof answer - len, "%s%s", i ? "|" : "",
						column ? column : "NULL");
		}
	sqlite3_finalize(st);
	sqlite3_close(db);
	return answer;
}

static inline size_t insert(store *s, const record *records, size_t count)
{
	size_t inserted = 99;
	err e = { 0 };
	store_result result = store_insert(s, records, count, &inserted, &e);
	CHECK(result == STORE_OK);
	if (result != STORE_OK)
		printf("%s\n", e.text);
	return inserted;
}

static inline store_result try_insert(store *s, const record *records, size_t count, err *e)
{
	size_t inserted;
	store_result result = store_insert(s, records, count, &inserted, e);
	CHECK(result == STORE_OK || inserted == 0);
	CHECK(result == STORE_OK || strstr(e->text, path));
	return result;
}

/* ---- what a store says of itself */

static char first_problem[700];

static inline void keep_problem(void *ctx, const char *text)
{
	(void)ctx;
	if (!first_problem[0])
		snprintf(first_problem, sizeof first_problem, "%s", text);
}

static inline size_t problems(store *s)
{
	size_t count = 0;
	err e = { 0 };
	first_problem[0] = '\0';
	CHECK(store_verify(s, keep_problem, NULL, &count, &e) == STORE_OK);
	CHECK((count == 0) == (first_problem[0] == '\0'));
	return count;
}

static inline bool sound(store *s)
{
	if (problems(s) == 0)
		return true;
	printf("%s\n", first_problem);
	return false;
}

/* What a report gave. */
typedef struct report {
	store_sums rows[3000];
	size_t count, stop_after;
} report;

static report got;

static inline bool keep_sums(void *ctx, const store_sums *sums)
{
	report *r = ctx;
	r->rows[r->count++] = *sums;
	return r->count != r->stop_after;
}

static inline void ask_report(store *s, store_group by, int64_t from, int64_t to)
{
	err e = { 0 };
	got.count = got.stop_after = 0;
	CHECK(store_report(s, by, from, to, keep_sums, &got, &e) == STORE_OK);
}

/* ---- the program */

static inline void store_rig_init(void)
{
	if (!mkdtemp(base))
		abort();
	snprintf(path, sizeof path, "%s/ledger.db", base);
}

/* Removes what the tests left, and returns the program's exit code. */
static inline int store_rig_end(void)
{
	remove_files(path);
	rmdir(base);
	return unit_end();
}

#endif

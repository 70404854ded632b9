/* SPDX-License-Identifier: MIT
 *
 * The ledger's database: sums against an independent count, once each, and what can go wrong with a file. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "ledger/store.h"

#define BEGIN_MS 1763942400000 /* 2025-11-24T00:00Z */
#define HOUR_MS 3600000LL
#define DAY_MS (24 * HOUR_MS)

static char base[] = "/tmp/test_store.XXXXXX";
static char path[200];

/* ---- helpers */

static uint64_t seed = 88172645463325252u;

static int64_t roll(int64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (int64_t)(seed % (uint64_t)below);
}

static record record_number(int64_t n)
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
		     .price = PRICE_TABLE };

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
	switch (roll(8)) {
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

static void remove_files(const char *file)
{
	char other[300];
	unlink(file);
	snprintf(other, sizeof other, "%s-wal", file);
	unlink(other);
	snprintf(other, sizeof other, "%s-shm", file);
	unlink(other);
}

static store *open_store(bool writer)
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

static store *new_store(void)
{
	remove_files(path);
	return open_store(true);
}

/* By another program, as it were. */
static void sql(const char *text)
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

/* The first row's columns, with '|' between. */
static const char *ask(const char *text)
{
	sqlite3 *db;
	sqlite3_stmt *st;
	size_t len = 0;

	answer[0] = '\0';
	if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_prepare_v2(db, text, -1, &st, NULL) != SQLITE_OK) {
		printf("%s: %s\n", text, sqlite3_errmsg(db));
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

static size_t insert(store *s, const record *records, size_t count)
{
	size_t inserted = 99;
	err e = { 0 };
	store_result result = store_insert(s, records, count, &inserted, &e);
	CHECK(result == STORE_OK);
	if (result != STORE_OK)
		printf("%s\n", e.text);
	return inserted;
}

static store_result try_insert(store *s, const record *records, size_t count, err *e)
{
	size_t inserted;
	store_result result = store_insert(s, records, count, &inserted, e);
	CHECK(result == STORE_OK || inserted == 0);
	CHECK(result == STORE_OK || strstr(e->text, path));
	return result;
}

static char first_problem[700];

static void keep_problem(void *ctx, const char *text)
{
	(void)ctx;
	if (!first_problem[0])
		snprintf(first_problem, sizeof first_problem, "%s", text);
}

static size_t problems(store *s)
{
	size_t count = 0;
	err e = { 0 };
	first_problem[0] = '\0';
	CHECK(store_verify(s, keep_problem, NULL, &count, &e) == STORE_OK);
	CHECK((count == 0) == (first_problem[0] == '\0'));
	return count;
}

static bool sound(store *s)
{
	if (problems(s) == 0)
		return true;
	printf("%s\n", first_problem);
	return false;
}

/* A report, kept. */
typedef struct report {
	store_sums rows[3000];
	size_t count, stop_after;
} report;

static report got;

static bool keep_sums(void *ctx, const store_sums *sums)
{
	report *r = ctx;
	r->rows[r->count++] = *sums;
	return r->count != r->stop_after;
}

static void ask_report(store *s, store_group by, int64_t from, int64_t to)
{
	err e = { 0 };
	got.count = got.stop_after = 0;
	CHECK(store_report(s, by, from, to, keep_sums, &got, &e) == STORE_OK);
}

typedef struct rows {
	record *at;
	size_t count, room, stop_after;
} rows;

static bool keep_row(void *ctx, const record *r)
{
	rows *kept = ctx;
	if (kept->count < kept->room)
		kept->at[kept->count] = *r;
	return ++kept->count != kept->stop_after;
}

/* ---- rows and sums */

static void a_row_comes_back_as_it_was(void)
{
	enum { COUNT = 1000 };
	static record in[COUNT], out[COUNT];
	store *s = new_store();
	err e;

	for (int i = 0; i < COUNT; i++) {
		memset(&in[i], 0, sizeof in[i]);
		in[i] = record_number(i);
		in[i].time_ms = BEGIN_MS + (i / 3) * 1000;
	}
	memset(in[5].model, 'm', RECORD_MODEL_MAX);
	memset(in[5].id, 'i', RECORD_ID_MAX);
	in[5].cost = INT64_MIN;
	in[5].input = INT64_MAX;
	in[6].bytes_in = in[6].bytes_out = in[6].total_ms = -1;
	in[6].status = -1;
	in[7].cache_read = 0;
	for (int i = COUNT - 1; i >= 0; i -= 10)
		CHECK(insert(s, &in[i - 9], 10) == 10);

	rows all = { out, 0, COUNT, 0 };
	CHECK(store_export(s, 0, INT64_MAX, keep_row, &all, &e) == STORE_OK && all.count == COUNT);
	int64_t last = 0;
	for (int i = 0; i < COUNT; i++) {
		CHECK(out[i].time_ms >= last);
		last = out[i].time_ms;
		int found = 0;
		for (int k = 0; k < COUNT; k++)
			found += strcmp(in[k].id, out[i].id) == 0 && in[k].time_ms == out[i].time_ms &&
				 strcmp(in[k].route, out[i].route) == 0 && strcmp(in[k].backend, out[i].backend) == 0 &&
				 strcmp(in[k].protocol, out[i].protocol) == 0 &&
				 strcmp(in[k].model, out[i].model) == 0 && strcmp(in[k].project, out[i].project) == 0 &&
				 strcmp(in[k].client, out[i].client) == 0 && strcmp(in[k].code, out[i].code) == 0 &&
				 strcmp(in[k].termination, out[i].termination) == 0 && in[k].status == out[i].status &&
				 in[k].stream == out[i].stream && in[k].bytes_in == out[i].bytes_in &&
				 in[k].bytes_out == out[i].bytes_out && in[k].ttfb_ms == out[i].ttfb_ms &&
				 in[k].total_ms == out[i].total_ms && in[k].input == out[i].input &&
				 in[k].output == out[i].output && in[k].cache_read == out[i].cache_read &&
				 in[k].cache_write == out[i].cache_write && in[k].saved == out[i].saved &&
				 in[k].usage == out[i].usage && in[k].cost == out[i].cost &&
				 in[k].saved_compression == out[i].saved_compression &&
				 in[k].saved_cache == out[i].saved_cache &&
				 in[k].saved_routing == out[i].saved_routing && in[k].price == out[i].price;
		CHECK(found == 1);
	}
	/* A part: from is in, to is out. */
	all = (rows){ out, 0, COUNT, 0 };
	CHECK(store_export(s, BEGIN_MS + 10000, BEGIN_MS + 20000, keep_row, &all, &e) == STORE_OK && all.count == 30);
	CHECK(out[0].time_ms == BEGIN_MS + 10000 && out[29].time_ms == BEGIN_MS + 19000);
	all = (rows){ out, 0, COUNT, 300 };
	CHECK(store_export(s, 0, INT64_MAX, keep_row, &all, &e) == STORE_OK && all.count == 300);

	struct stat st;
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	store_close(s);
}

static void a_record_counts_once(void)
{
	enum { COUNT = 500 };
	static record r[COUNT];
	store *s = new_store();

	for (int i = 0; i < COUNT; i++)
		r[i] = record_number(i);
	CHECK(insert(s, r, 300) == 300);
	CHECK(insert(s, r, 300) == 0);
	CHECK(insert(s, r + 200, 300) == 200);
	/* Twice in one batch, and the same id with another time: the first one is it. */
	record twice[3] = { record_number(1000), record_number(1001), record_number(1002) };
	twice[1] = twice[0];
	strcpy(twice[2].id, r[0].id);
	CHECK(insert(s, twice, 3) == 1);
	CHECK(insert(s, NULL, 0) == 0);
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.count == 1 && got.rows[0].requests == COUNT + 1);
	CHECK(sound(s));
	store_close(s);
	s = open_store(true);
	CHECK(insert(s, r, COUNT) == 0);
	CHECK(sound(s));
	store_close(s);
}

enum { SUMMED = 4000 };
static record summed[SUMMED];

/* Counted here from the records, in the plainest way. */
static store_sums count_by_hand(store_group by, const char *label, int64_t from, int64_t to)
{
	store_sums want;
	memset(&want, 0, sizeof want);
	for (int i = 0; i < SUMMED; i++) {
		const record *r = &summed[i];
		int64_t hour = r->time_ms / HOUR_MS * HOUR_MS;
		char when[32] = "";
		time_t t = (time_t)(hour / 1000);
		struct tm tm;
		gmtime_r(&t, &tm);
		strftime(when, sizeof when, by == GROUP_DAY ? "%Y-%m-%d" : "%Y-%m-%dT%H:00Z", &tm);
		const char *mine = by == GROUP_NONE    ? "" :
				   by == GROUP_MODEL   ? r->model :
				   by == GROUP_ROUTE   ? r->route :
				   by == GROUP_PROJECT ? r->project :
				   by == GROUP_CLIENT  ? r->client :
							 when;
		if (hour < from || hour >= to || strcmp(mine, label) != 0)
			continue;
		want.requests++;
		want.streams += r->stream;
		want.refused += r->code[0] != 0;
		want.failed += r->code[0] == 0 && (r->status >= 400 || strcmp(r->termination, "SD") == 0);
		want.input += r->input < 0 ? 0 : r->input;
		want.output += r->output < 0 ? 0 : r->output;
		want.cache_read += r->cache_read < 0 ? 0 : r->cache_read;
		want.cache_write += r->cache_write < 0 ? 0 : r->cache_write;
		want.saved += r->saved;
		want.cost += r->cost;
		want.saved_compression += r->saved_compression;
		want.saved_cache += r->saved_cache;
		want.saved_routing += r->saved_routing;
		want.bytes_in += r->bytes_in;
		want.bytes_out += r->bytes_out;
		if (r->usage == USAGE_ESTIMATED) {
			want.estimated_requests++;
			want.estimated_output += r->output;
			want.estimated_cost += r->cost;
		}
		want.partial_requests += r->usage == USAGE_PARTIAL;
		if (r->price == PRICE_UNPRICED) {
			want.unpriced_requests++;
			want.unpriced_tokens += r->input + r->output + r->cache_read + r->cache_write;
		}
	}
	snprintf(want.label, sizeof want.label, "%s", label);
	return want;
}

static void sums_equal_an_independent_count(void)
{
	static const store_group groups[] = { GROUP_NONE,   GROUP_MODEL, GROUP_ROUTE, GROUP_PROJECT,
					      GROUP_CLIENT, GROUP_DAY,   GROUP_HOUR };
	store *s = new_store();

	for (int i = 0; i < SUMMED; i++)
		summed[i] = record_number(i);
	for (int i = 0; i < SUMMED; i += 250)
		CHECK(insert(s, summed + i, 250) == 250);
	CHECK(sound(s));
	for (int trial = 0; trial < 60; trial++) {
		int64_t from = 0, to = INT64_MAX;
		if (trial) {
			from = BEGIN_MS - DAY_MS + roll(7 * DAY_MS);
			to = from + roll(6 * DAY_MS);
		}
		if (trial % 3 == 1) { /* whole days, whole hours */
			from = from / DAY_MS * DAY_MS;
			to = to / HOUR_MS * HOUR_MS;
		}
		for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
			store_sums all;
			int64_t requests = 0;
			ask_report(s, groups[g], from, to);
			CHECK(groups[g] != GROUP_NONE || got.count == 1);
			all = count_by_hand(GROUP_NONE, "", from, to);
			for (size_t i = 0; i < got.count; i++) {
				store_sums want = count_by_hand(groups[g], got.rows[i].label, from, to);
				CHECK(memcmp(&got.rows[i].requests, &want.requests,
					     sizeof want - offsetof(store_sums, requests)) == 0);
				requests += want.requests;
				CHECK(want.requests > 0 || groups[g] == GROUP_NONE);
				if (i && (groups[g] == GROUP_DAY || groups[g] == GROUP_HOUR))
					CHECK(strcmp(got.rows[i - 1].label, got.rows[i].label) < 0);
				else if (i)
					CHECK(got.rows[i - 1].cost >= got.rows[i].cost);
			}
			CHECK(requests == all.requests);
		}
	}
	err e;
	got.count = 0;
	got.stop_after = 2;
	CHECK(store_report(s, GROUP_MODEL, 0, INT64_MAX, keep_sums, &got, &e) == STORE_OK && got.count == 2);
	store_close(s);
}

static void failures_are_told_apart(void)
{
	static const struct {
		const char *code, *termination;
		int32_t status;
		int failed, refused;
	} cases[] = {
		{ "", "--", 200, 0, 0 }, { "", "--", 101, 0, 0 }, { "", "--", 302, 0, 0 },
		{ "", "--", 400, 1, 0 }, { "", "--", 500, 1, 0 }, { "", "CD", 200, 0, 0 },
		{ "", "cD", 200, 0, 0 }, { "", "SD", 200, 1, 0 }, { "", "sD", 200, 1, 0 },
		{ "", "PD", 200, 1, 0 }, { "", "LR", 200, 0, 0 }, { "", "SC", 503, 1, 0 },
		{ "", "CR", -1, 1, 0 },  { "", "", 200, 0, 0 },   { "no_backend", "PR", 502, 0, 1 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		record r = { .status = cases[i].status };
		store_sums sums;
		memset(&sums, 0, sizeof sums);
		snprintf(r.code, sizeof r.code, "%s", cases[i].code);
		snprintf(r.termination, sizeof r.termination, "%s", cases[i].termination);
		store_sums_add(&sums, &r);
		CHECK(sums.requests == 1 && sums.failed == cases[i].failed && sums.refused == cases[i].refused);
	}
}

static void labels_beyond_the_limit_are_other(void)
{
	enum { MANY = STORE_LABELS_PER_DAY + 500 };
	static record r[MANY];
	store *s = new_store();

	for (int i = 0; i < MANY; i++) {
		r[i] = record_number(i);
		r[i].time_ms = BEGIN_MS + HOUR_MS * (i % 5);
		r[i].cost = 1;
		snprintf(r[i].model, sizeof r[i].model, "m%d", i);
		snprintf(r[i].client, sizeof r[i].client, "c%d", i);
	}
	for (int i = 0; i < MANY; i += 100)
		CHECK(insert(s, r + i, 100) == 100);
	ask_report(s, GROUP_MODEL, 0, INT64_MAX);
	CHECK(got.count == STORE_LABELS_PER_DAY + 1 && strcmp(got.rows[0].label, "other") == 0);
	CHECK(got.rows[0].requests == 500);
	ask_report(s, GROUP_CLIENT, BEGIN_MS, BEGIN_MS + 5 * HOUR_MS);
	CHECK(got.count == STORE_LABELS_PER_DAY + 1 && strcmp(got.rows[0].label, "other") == 0);
	CHECK(strcmp(ask("SELECT count(DISTINCT model) FROM requests"), "1500") == 0);
	CHECK(sound(s));
	/* What has its own sums keeps them; what has not never gets them that day, and does the next. */
	for (int i = 0; i < MANY; i++)
		snprintf(r[i].id, sizeof r[i].id, "again-%d", i);
	CHECK(insert(s, r, MANY) == MANY);
	ask_report(s, GROUP_MODEL, 0, INT64_MAX);
	CHECK(got.count == STORE_LABELS_PER_DAY + 1 && got.rows[0].requests == 1000 && got.rows[1].requests == 2);
	record next = r[MANY - 1];
	snprintf(next.id, sizeof next.id, "tomorrow");
	next.time_ms += DAY_MS;
	CHECK(insert(s, &next, 1) == 1);
	ask_report(s, GROUP_MODEL, BEGIN_MS + DAY_MS, INT64_MAX);
	CHECK(got.count == 1 && strcmp(got.rows[0].label, next.model) == 0);
	CHECK(sound(s));
	store_close(s);
}

static void a_sum_stays_at_the_greatest_value(void)
{
	store *s = new_store();
	record r[4] = { record_number(1), record_number(2), record_number(3), record_number(4) };

	for (int i = 0; i < 4; i++) {
		r[i].time_ms = BEGIN_MS;
		r[i].status = 200;
		r[i].input = INT64_MAX;
		r[i].cost = INT64_MIN;
	}
	CHECK(insert(s, r, 2) == 2);
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].input == INT64_MAX && got.rows[0].cost == INT64_MIN);
	CHECK(insert(s, r + 2, 1) == 1);
	CHECK(insert(s, r + 3, 1) == 1);
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].input == INT64_MAX && got.rows[0].cost == INT64_MIN && got.rows[0].requests == 4);
	/* Times that are none. */
	record odd[2] = { r[0], r[1] };
	strcpy(odd[0].id, "early");
	strcpy(odd[1].id, "late");
	odd[0].time_ms = INT64_MIN;
	odd[1].time_ms = INT64_MAX;
	odd[0].input = odd[1].input = odd[0].cost = odd[1].cost = 1;
	CHECK(insert(s, odd, 2) == 2);
	ask_report(s, GROUP_DAY, INT64_MIN, INT64_MAX);
	CHECK(got.count == 3 && strcmp(got.rows[0].label, "1970-01-01") == 0 &&
	      strcmp(got.rows[2].label, "9999-12-31") == 0);
	store_close(s);
}

static void a_person_can_read_it(void)
{
	store *s = new_store();
	record r = { .time_ms = 1763982000123,
		     .status = 200,
		     .stream = true,
		     .bytes_in = -1,
		     .bytes_out = 5,
		     .ttfb_ms = 1,
		     .total_ms = 2,
		     .input = 10,
		     .output = 20,
		     .cache_read = -1,
		     .cache_write = 0,
		     .saved = 1,
		     .usage = USAGE_PARTIAL,
		     .price = PRICE_TABLE,
		     .cost = 1500000000,
		     .saved_cache = -250000000,
		     .id = "X",
		     .model = "gpt",
		     .route = "r",
		     .termination = "--" };
	CHECK(insert(s, &r, 1) == 1);
	CHECK(strcmp(ask("SELECT time, model, stream, bytes_in, cache_read, cost_usd, saved_cache_usd, usage_from, price_from"
			 " FROM ledger"),
		     "2025-11-24T11:00:00.123Z|gpt|yes|NULL|NULL|1.5|-0.25|partial|table") == 0);
	CHECK(strcmp(ask("SELECT time, kind, label, requests, cost_usd FROM ledger_hourly WHERE kind = 'model'"),
		     "2025-11-24T11:00Z|model|gpt|1|1.5") == 0);
	CHECK(strcmp(ask("SELECT time, kind, label, requests, cost_usd FROM ledger_daily WHERE kind = 'all'"),
		     "2025-11-24|all||1|1.5") == 0);
	store_close(s);
}

/* ---- prune and verify */

static void pruned_rows_leave_their_sums(void)
{
	enum { COUNT = STORE_PRUNE_ROWS + 6000 };
	record *r = calloc(COUNT, sizeof *r);
	store *s = new_store();
	int64_t removed = -1, total = 0, old = 0, before = BEGIN_MS + 4 * DAY_MS + 1234567;
	int calls = 0;
	err e;

	for (int i = 0; i < COUNT; i++) {
		r[i] = record_number(i);
		old += r[i].time_ms < before;
	}
	CHECK(insert(s, r, COUNT) == COUNT);
	/* Nothing is that old: nothing is done, and old records are still welcome. */
	CHECK(store_prune(s, BEGIN_MS, &removed, &e) == STORE_OK && removed == 0);
	record late = record_number(COUNT);
	late.time_ms = BEGIN_MS - DAY_MS;
	CHECK(insert(s, &late, 1) == 1 && store_skipped(s) == 0);
	old++;
	do {
		CHECK(store_prune(s, before, &removed, &e) == STORE_OK && removed <= STORE_PRUNE_ROWS);
		total += removed;
		calls++;
		CHECK(sound(s)); /* in the middle of it too */
	} while (removed && calls < 10);
	CHECK(total == old && calls >= 2);
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == COUNT + 1);
	CHECK(atoll(ask("SELECT count(*) FROM requests")) == COUNT + 1 - old);
	/* What comes again cannot be told from what never came: it is not counted twice. */
	CHECK(insert(s, r, COUNT) == 0);
	CHECK(store_skipped(s) == (uint64_t)old - 1);
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == COUNT + 1);
	/* A date in the future does not stop the ledger. */
	CHECK(store_prune(s, INT64_MAX, &removed, &e) == STORE_OK && removed > 0);
	record now = record_number(COUNT + 5);
	now.time_ms = ((int64_t)time(NULL) + 2) * 1000;
	CHECK(insert(s, &now, 1) == 1);
	CHECK(sound(s));
	store_close(s);
	free(r);
}

static void verify_finds_what_does_not_add_up(void)
{
	static const struct {
		const char *change, *problem;
	} cases[] = {
		{ "UPDATE hourly SET cost = cost + 1 WHERE kind = 1 AND bucket = (SELECT max(bucket) FROM hourly)",
		  "cost is" },
		{ "UPDATE hourly SET bytes_out = bytes_out - 1 WHERE kind = 0", "bytes_out is" },
		{ "DELETE FROM hourly WHERE kind = 4", "it has no sums" },
		{ "INSERT INTO hourly SELECT kind, bucket + 3600000, label, 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1 FROM hourly"
		  " WHERE kind = 3",
		  "project" },
		{ "UPDATE daily SET input = input + 1 WHERE kind = 2", "route" },
		{ "DELETE FROM daily WHERE kind = 3 AND label = 'project-1'", "the day's sums do not" },
		{ "DELETE FROM daily WHERE kind = 0", "all" },
		{ "INSERT INTO daily SELECT kind, bucket + 864000, label, 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1 FROM daily"
		  " WHERE kind = 0",
		  "day 2025-12-0" },
		{ "DELETE FROM requests WHERE rowid = 7", "requests is" },
		{ "UPDATE requests SET model = 'else' WHERE rowid = 7", "\"else\": a row has it" },
		{ "UPDATE requests SET output = output + 1 WHERE rowid = (SELECT max(rowid) FROM requests WHERE usage = 1)",
		  "output is" },
	};
	enum { COUNT = 300 };
	static record r[COUNT];

	for (int i = 0; i < COUNT; i++)
		r[i] = record_number(i);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		store *s = new_store();
		CHECK(insert(s, r, COUNT) == COUNT);
		CHECK(sound(s));
		sql(cases[i].change);
		CHECK(problems(s) > 0 && strstr(first_problem, cases[i].problem));
		if (!strstr(first_problem, cases[i].problem))
			printf("%s\n%s\n", cases[i].change, first_problem);
		store_close(s);
	}
}

/* ---- what goes wrong */

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
	CHECK(store_prune(s, INT64_MAX, &removed, &e) == STORE_BUSY);
	/* Who reads does not wait. */
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == 1);
	CHECK(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
	CHECK(insert(s, r, 2) == 1);
	/* So with one that only reads, for as long as it likes. */
	CHECK(sqlite3_exec(other, "BEGIN; SELECT count(*) FROM requests", NULL, NULL, NULL) == SQLITE_OK);
	record more = record_number(3);
	CHECK(insert(s, &more, 1) == 1);
	sqlite3_close(other);
	CHECK(sound(s));
	store_close(s);
}

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
		CHECK(!store_open(path, writer, &result, &e) && result == STORE_ERROR && strstr(e.text, "version 99") &&
		      strstr(e.text, "newer"));
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
}

static void a_killed_writer_leaves_whole_batches(void)
{
	enum { BATCH = 50, BATCHES = 400 };
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

/* ---- other processes */

static void readers_and_a_second_writer_work_meanwhile(void)
{
	enum { COUNT = 6000 };
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

/* As a user who may read the files and write nothing; what it found is its exit status. */
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
	if (!mkdtemp(base))
		return 1;
	snprintf(path, sizeof path, "%s/ledger.db", base);
	RUN(a_row_comes_back_as_it_was);
	RUN(a_record_counts_once);
	RUN(sums_equal_an_independent_count);
	RUN(failures_are_told_apart);
	RUN(labels_beyond_the_limit_are_other);
	RUN(a_sum_stays_at_the_greatest_value);
	RUN(a_person_can_read_it);
	RUN(pruned_rows_leave_their_sums);
	RUN(verify_finds_what_does_not_add_up);
	RUN(a_locked_database_is_waited_out);
	RUN(a_corrupt_file_is_said_and_kept);
	RUN(a_file_that_is_taken_away_is_made_again);
	RUN(what_is_no_ledger_is_left_alone);
	RUN(a_full_disk_is_waited_out);
	RUN(a_killed_writer_leaves_whole_batches);
	RUN(readers_and_a_second_writer_work_meanwhile);
	RUN(a_reader_needs_no_right_to_write);
	remove_files(path);
	char tmpfs[100];
	snprintf(tmpfs, sizeof tmpfs, "%s/tmpfs", base);
	rmdir(tmpfs);
	rmdir(base);
	return unit_end();
}

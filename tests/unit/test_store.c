/* SPDX-License-Identifier: MIT
 *
 * The ledger's database: rows come back as they were, sums equal an independent count, records count once, old rows are
 * pruned, and verify finds what does not add up. */
#include "store_rig.h"

#include <sys/stat.h>
#include <time.h>

/* ---- rows and sums */

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
	memset(in[5].member, 'a', RECORD_MEMBER_MAX);
	memset(in[5].tried, 'b', RECORD_TRIED_MAX);
	in[5].cost = INT64_MIN;
	in[5].input = INT64_MAX;
	in[6].bytes_in = in[6].bytes_out = in[6].total_ms = -1;
	in[6].status = -1;
	in[7].cache_read = 0;
	for (int i = COUNT - 1; i >= 0; i -= 10) {
		/* The agent puts all batches into the same memory. */
		static record batch[10];
		memcpy(batch, &in[i - 9], sizeof batch);
		CHECK(insert(s, batch, 10) == 10);
	}

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
				 in[k].saved_routing == out[i].saved_routing && in[k].price == out[i].price &&
				 strcmp(in[k].price_missing, out[i].price_missing) == 0 &&
				 strcmp(in[k].member, out[i].member) == 0 && in[k].attempts == out[i].attempts &&
				 strcmp(in[k].tried, out[i].tried) == 0;
		CHECK(found == 1);
	}
	/* A part: from is in, to is out. */
	all = (rows){ out, 0, COUNT, 0 };
	CHECK(store_export(s, BEGIN_MS + 10000, BEGIN_MS + 20000, keep_row, &all, &e) == STORE_OK && all.count == 30);
	CHECK(out[0].time_ms == BEGIN_MS + 10000 && out[29].time_ms == BEGIN_MS + 19000);
	all = (rows){ out, 0, COUNT, 300 };
	CHECK(store_export(s, 0, INT64_MAX, keep_row, &all, &e) == STORE_OK && all.count == 300);

	struct stat st;
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
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

enum { SUMMED = 1000 };
static record summed[SUMMED];

/* Counts the records of `label` in the plainest way, without the store. */
static store_sums count_by_hand(store_group by, const char *label, int64_t from, int64_t to)
{
	store_sums want;
	memset(&want, 0, sizeof want);
	for (int i = 0; i < SUMMED; i++) {
		const record *r = &summed[i];
		int64_t hour = r->time_ms / HOUR_MS * HOUR_MS;
		if (hour < from || hour >= to)
			continue;
		char when[32] = "", member[RECORD_LABEL_MAX + RECORD_MEMBER_MAX + 2] = "";
		time_t t = (time_t)(hour / 1000);
		if (r->member[0])
			snprintf(member, sizeof member, "%s/%s", r->route, r->member);
		struct tm tm;
		gmtime_r(&t, &tm);
		strftime(when, sizeof when, by == GROUP_DAY ? "%Y-%m-%d" : "%Y-%m-%dT%H:00Z", &tm);
		const char *mine = by == GROUP_NONE    ? "" :
				   by == GROUP_MODEL   ? r->model :
				   by == GROUP_ROUTE   ? r->route :
				   by == GROUP_PROJECT ? r->project :
				   by == GROUP_CLIENT  ? r->client :
				   by == GROUP_MEMBER  ? member :
							 when;
		if (strcmp(mine, label) != 0)
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
			want.estimated_saved_compression += r->saved_compression;
			want.estimated_saved_cache += r->saved_cache;
			want.estimated_saved_routing += r->saved_routing;
		}
		want.unknown_requests += r->usage == USAGE_UNKNOWN;
		want.partly_priced_requests += r->price == PRICE_PARTIAL;
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
	static const store_group groups[] = { GROUP_NONE,   GROUP_MODEL,  GROUP_ROUTE, GROUP_PROJECT,
					      GROUP_CLIENT, GROUP_MEMBER, GROUP_DAY,   GROUP_HOUR };
	store *s = new_store();

	for (int i = 0; i < SUMMED; i++)
		summed[i] = record_number(i);
	for (int i = 0; i < SUMMED; i += 250)
		CHECK(insert(s, summed + i, 250) == 250);
	CHECK(sound(s));
	for (int trial = 0; trial < 24; trial++) {
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
	/* A label that has sums of its own keeps them; another one gets none on that day, but does on the next. */
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
	/* Times out of all bounds count for the first and the last day. */
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
	/* What nobody told is NULL, and so is what has no price; what is priced in part is there. */
	record unknown = r, partly = r;
	unknown.usage = USAGE_UNKNOWN;
	unknown.price = PRICE_NONE;
	unknown.input = unknown.output = unknown.cache_read = unknown.cache_write = -1;
	unknown.cost = unknown.saved_cache = 0;
	partly.price = PRICE_PARTIAL;
	snprintf(unknown.id, sizeof unknown.id, "U");
	snprintf(partly.id, sizeof partly.id, "P");
	snprintf(partly.price_missing, sizeof partly.price_missing, "audio_input,write_1h");
	CHECK(insert(s, &unknown, 1) == 1 && insert(s, &partly, 1) == 1);
	CHECK(strcmp(ask("SELECT input, output, cache_read, cache_write, cost_usd, saved_cache_usd, usage_from, price_from,"
			 " price_missing FROM ledger WHERE id = 'U'"),
		     "NULL|NULL|NULL|NULL|NULL|NULL|unknown|none|") == 0);
	CHECK(strcmp(ask("SELECT input, cost_usd, usage_from, price_from, price_missing FROM ledger WHERE id = 'P'"),
		     "10|1.5|partial|partial|audio_input,write_1h") == 0);
	CHECK(strcmp(ask("SELECT tap, member, attempts, tried FROM ledger WHERE id = 'P'"), "no||0|") == 0);
	record pooled = r;
	snprintf(pooled.id, sizeof pooled.id, "M");
	snprintf(pooled.member, sizeof pooled.member, "c");
	snprintf(pooled.tried, sizeof pooled.tried, "a:429,b:resting");
	pooled.attempts = 3;
	pooled.cost = 0;
	pooled.time_ms -= DAY_MS;
	CHECK(insert(s, &pooled, 1) == 1);
	CHECK(strcmp(ask("SELECT member, attempts, tried FROM ledger WHERE id = 'M'"), "c|3|a:429,b:resting") == 0);
	CHECK(strcmp(ask("SELECT requests, unknown_requests, partly_priced_requests, cost_usd FROM ledger_daily"
			 " WHERE kind = 'all' AND time = '2025-11-24'"),
		     "3|1|1|3.0") == 0);
	store_close(s);
}

/* ---- prune and verify */

static void pruned_rows_leave_their_sums(void)
{
	enum { COUNT = STORE_PRUNE_ROWS + 3000 };
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
	CHECK(store_prune(s, BEGIN_MS, INT64_MAX, &removed, &e) == STORE_OK && removed == 0);
	record late = record_number(COUNT);
	late.time_ms = BEGIN_MS - DAY_MS;
	CHECK(insert(s, &late, 1) == 1 && store_skipped(s) == 0);
	old++;
	do {
		CHECK(store_prune(s, before, INT64_MAX, &removed, &e) == STORE_OK && removed <= STORE_PRUNE_ROWS);
		total += removed;
		calls++;
		/* What the database says is true in the middle of it too. */
		CHECK(strcmp(ask("SELECT (SELECT value FROM meta WHERE key = 'pruned_before') <= min(time_ms) FROM requests"),
			     "1") == 0);
		CHECK(calls % 2 || sound(s));
	} while (removed && calls < 20);
	CHECK(total == old && calls >= 2);
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == COUNT + 1);
	CHECK(atoll(ask("SELECT count(*) FROM requests")) == COUNT + 1 - old);
	/* A record of a pruned time is skipped, because nobody can tell any more whether it was counted. */
	CHECK(insert(s, r, COUNT) == 0);
	CHECK(store_skipped(s) == (uint64_t)old - 1);
	ask_report(s, GROUP_NONE, 0, INT64_MAX);
	CHECK(got.rows[0].requests == COUNT + 1);
	/* A date in the future does not stop the ledger. */
	CHECK(store_prune(s, INT64_MAX, INT64_MAX, &removed, &e) == STORE_OK && removed > 0);
	record now = record_number(COUNT + 5);
	now.time_ms = ((int64_t)time(NULL) + 2) * 1000;
	CHECK(insert(s, &now, 1) == 1);
	/* Nor does retention by a clock that was months ahead: what is recorded once it is right is younger than all
	 * that was removed. */
	record after = record_number(COUNT + 6);
	after.time_ms = BEGIN_MS + 5 * DAY_MS + 1;
	CHECK(insert(s, &after, 1) == 1);
	CHECK(sound(s));
	store_close(s);
	free(r);
}

/* "Rows before this time are gone" is true only if no row of a millisecond stays. */
static void rows_of_one_millisecond_are_pruned_together(void)
{
	enum { COUNT = STORE_PRUNE_ROWS * 2 };
	record *r = calloc(COUNT, sizeof *r);
	store *s = new_store();
	int64_t removed = 0;
	err e;

	for (int i = 0; i < COUNT; i++) {
		r[i] = record_number(i);
		r[i].time_ms = BEGIN_MS + (i < STORE_PRUNE_ROWS / 2 ? 0 : i < COUNT - 10 ? 5 : 9);
	}
	CHECK(insert(s, r, COUNT) == COUNT);
	CHECK(store_prune(s, BEGIN_MS + 9, INT64_MAX, &removed, &e) == STORE_OK && removed == STORE_PRUNE_ROWS / 2);
	CHECK(atoll(ask("SELECT value FROM meta WHERE key = 'pruned_before'")) == BEGIN_MS + 1);
	CHECK(store_prune(s, BEGIN_MS + 9, INT64_MAX, &removed, &e) == STORE_OK &&
	      removed == COUNT - 10 - STORE_PRUNE_ROWS / 2);
	CHECK(atoll(ask("SELECT value FROM meta WHERE key = 'pruned_before'")) == BEGIN_MS + 6);
	CHECK(store_prune(s, BEGIN_MS + 9, INT64_MAX, &removed, &e) == STORE_OK && removed == 0);
	CHECK(atoll(ask("SELECT count(*) FROM requests")) == 10);
	store_close(s);
	free(r);
}

static int64_t size_of_file(void)
{
	struct stat st;
	return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void unused_room_is_given_back(void)
{
	enum { COUNT = 20000, KEEP = 8 };
	record *r = calloc(COUNT, sizeof *r);
	int64_t removed = 0;
	bool more = true;
	int calls = 0;
	err e;

	record one = record_number(0);
	for (int i = 0; i < COUNT; i++) { /* all alike, so that sums take little of the room */
		r[i] = one;
		r[i].time_ms = BEGIN_MS + i / (COUNT / 5) * DAY_MS + i;
		snprintf(r[i].id, sizeof r[i].id, "%08d-0000-0000-0000-000000000000", i);
	}
	for (int old = 0; old < 2; old++) {
		if (old) { /* a ledger of before there was such an ability */
			remove_files(path);
			sql("PRAGMA auto_vacuum = NONE; VACUUM; CREATE TABLE x (y); DROP TABLE x");
		}
		store *s = old ? open_store(true) : new_store();
		CHECK(insert(s, r, COUNT) == COUNT);
		do
			CHECK(store_prune(s, BEGIN_MS + 4 * DAY_MS, INT64_MAX, &removed, &e) == STORE_OK);
		while (removed);
		sql("PRAGMA wal_checkpoint(TRUNCATE)");
		int64_t full = size_of_file();
		more = true;
		for (calls = 0; more && calls < 100; calls++)
			CHECK(store_shrink(s, KEEP, &more, &e) == STORE_OK);
		sql("PRAGMA wal_checkpoint(TRUNCATE)");
		int64_t kept = size_of_file();
		CHECK(old ? kept == full && calls == 1 : kept < full * 4 / 5 && calls > 1);
		more = true;
		for (calls = 0; more && calls < 100; calls++)
			CHECK(store_shrink(s, 0, &more, &e) == STORE_OK);
		sql("PRAGMA wal_checkpoint(TRUNCATE)");
		CHECK(old ? size_of_file() == full : size_of_file() < kept && atoi(ask("PRAGMA freelist_count")) == 0);
		CHECK(sound(s));
		store_close(s);
	}
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
		{ "DELETE FROM hourly WHERE kind = 5 AND label <> ''", "member \"route-" },
		{ "UPDATE requests SET member = 'other' WHERE member <> ''", "member \"route-" },
		{ "INSERT INTO hourly SELECT kind, bucket + 3600000, label, 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,NULL,NULL FROM hourly"
		  " WHERE kind = 3",
		  "project" },
		{ "UPDATE daily SET input = input + 1 WHERE kind = 2", "route" },
		{ "DELETE FROM daily WHERE kind = 3 AND label = 'project-1'", "the day's sums do not" },
		{ "DELETE FROM daily WHERE kind = 0", "all" },
		{ "INSERT INTO daily SELECT kind, bucket + 864000, label, 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,NULL,NULL FROM daily"
		  " WHERE kind = 0",
		  "day 2025-12-0" },
		{ "DELETE FROM requests WHERE rowid = 7", "requests is" },
		{ "UPDATE hourly SET estimated_saved_routing = 5 + estimated_saved_routing WHERE kind = 0",
		  "estimated_saved_routing is" },
		{ "UPDATE hourly SET unknown_requests = 1 + unknown_requests WHERE kind = 2", "unknown_requests is" },
		{ "UPDATE requests SET model = 'else' WHERE rowid = 7", "\"else\": a row has it" },
		{ "UPDATE requests SET output = output + 1 WHERE rowid = (SELECT max(rowid) FROM requests WHERE usage = 1)",
		  "output is" },
	};
	enum { COUNT = 100 };
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

int main(void)
{
	store_rig_init();
	RUN(a_row_comes_back_as_it_was);
	RUN(a_record_counts_once);
	RUN(sums_equal_an_independent_count);
	RUN(failures_are_told_apart);
	RUN(labels_beyond_the_limit_are_other);
	RUN(a_sum_stays_at_the_greatest_value);
	RUN(a_person_can_read_it);
	RUN(pruned_rows_leave_their_sums);
	RUN(rows_of_one_millisecond_are_pruned_together);
	RUN(unused_room_is_given_back);
	RUN(verify_finds_what_does_not_add_up);
	return store_rig_end();
}

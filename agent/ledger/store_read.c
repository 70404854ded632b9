/* SPDX-License-Identifier: MIT
 *
 * Report, export, prune and verify. */
#include "ledger/store_impl.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

static const char *const kind_names[KIND_COUNT] = { "all", "model", "route", "project", "client" };

/* ---- report */

/* Returns when the first hour or day begins that does not begin before `t`, in seconds. Its length is `unit` in the
 * unit of `t`, and `seconds` in seconds. */
static int64_t ceil_bucket(int64_t t, int64_t unit, int64_t seconds)
{
	int64_t n = t / unit;
	return (n + (t % unit > 0)) * seconds;
}

static void bucket_label(char *out, size_t room, int64_t bucket, bool hour)
{
	time_t t = (time_t)bucket;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, room, hour ? "%Y-%m-%dT%H:00Z" : "%Y-%m-%d", &tm))
		snprintf(out, room, "%lld", (long long)bucket);
}

static void copy_text(char *out, size_t room, sqlite3_stmt *st, int column)
{
	const unsigned char *text = sqlite3_column_text(st, column);
	snprintf(out, room, "%s", text ? (const char *)text : "");
}

static const struct {
	int kind;
	const char *key;
} groups[] = {
	[GROUP_NONE] = { KIND_ALL, "''" },         [GROUP_MODEL] = { KIND_MODEL, "label" },
	[GROUP_ROUTE] = { KIND_ROUTE, "label" },   [GROUP_PROJECT] = { KIND_PROJECT, "label" },
	[GROUP_CLIENT] = { KIND_CLIENT, "label" }, [GROUP_DAY] = { KIND_ALL, "bucket - bucket % 86400" },
	[GROUP_HOUR] = { KIND_ALL, "bucket" },
};

static bool is_time(store_group by)
{
	return by == GROUP_DAY || by == GROUP_HOUR;
}

/* Prepares the sums of the hours from `low` up to `high`: whole days come from `daily`, and the hours before and after
 * them from `hourly`. Returns an SQLite result code. */
static int report_prepare(store *s, store_group by, int64_t low, int64_t high, sqlite3_stmt **st)
{
	char sums[SQL_LIST], names[SQL_LIST], sql[SQL_MAX];
	int64_t day_low = ceil_bucket(low, DAY, DAY), day_high = store_floor(high, DAY);

	if (by == GROUP_HOUR || day_low >= day_high)
		day_low = day_high = high;
	sql_list(names, sizeof names, SUMS_COUNT, sums_name, "$");
	sql_list(sums, sizeof sums, SUMS_COUNT, sums_name, "ssum($)");
	snprintf(sql, sizeof sql,
		 "SELECT %s AS grouped, %s FROM ("
		 "SELECT bucket, label, %s FROM daily WHERE kind = ?1 AND bucket >= ?3 AND bucket < ?4"
		 " UNION ALL SELECT bucket, label, %s FROM hourly WHERE kind = ?1 AND bucket >= ?2 AND bucket < ?3"
		 " UNION ALL SELECT bucket, label, %s FROM hourly WHERE kind = ?1 AND bucket >= ?4 AND bucket < ?5"
		 ") %s",
		 groups[by].key, sums, names, names, names,
		 by == GROUP_NONE ? "" :
		 is_time(by)      ? "GROUP BY grouped ORDER BY grouped" :
				    "GROUP BY grouped ORDER BY ssum(cost) DESC, ssum(requests) DESC, grouped");
	int rc = sqlite3_prepare_v2(s->db, sql, -1, st, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int(*st, 1, groups[by].kind);
		sqlite3_bind_int64(*st, 2, low);
		sqlite3_bind_int64(*st, 3, day_low);
		sqlite3_bind_int64(*st, 4, day_high);
		sqlite3_bind_int64(*st, 5, high);
	}
	return rc;
}

store_result store_report(store *s, store_group by, int64_t from_ms, int64_t to_ms,
			  bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e)
{
	int64_t low = ceil_bucket(from_ms, HOUR * 1000LL, HOUR), high = ceil_bucket(to_ms, HOUR * 1000LL, HOUR);
	sqlite3_stmt *st = NULL;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = report_prepare(s, by, low, high, &st);
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		store_sums row;
		memset(&row, 0, sizeof row);
		if (is_time(by))
			bucket_label(row.label, sizeof row.label, sqlite3_column_int64(st, 0), by == GROUP_HOUR);
		else
			copy_text(row.label, sizeof row.label, st, 0);
		for (size_t i = 0; i < SUMS_COUNT; i++)
			*sums_column(&row, i) = sqlite3_column_int64(st, (int)i + 1);
		rc = each(ctx, &row) ? SQLITE_OK : SQLITE_DONE;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? STORE_OK : store_fail(s, rc, "reading the sums", e);
}

/* ---- rows */

static void read_row(sqlite3_stmt *st, record *r)
{
	for (int i = 0; i < RECORD_COLUMNS; i++) {
		const record_column *c = &record_columns[i];
		void *field = (char *)r + c->offset;

		if (c->kind == COLUMN_TEXT) {
			copy_text(field, c->size, st, i);
			continue;
		}
		int64_t number = sqlite3_column_int64(st, i);
		switch (c->kind) {
		case COLUMN_TEXT:
			break;
		case COLUMN_STATUS:
			r->status = (int32_t)number;
			break;
		case COLUMN_FLAG:
			*(bool *)field = number != 0;
			break;
		case COLUMN_COUNT:
			*(int64_t *)field = sqlite3_column_type(st, i) == SQLITE_NULL ? -1 : number;
			break;
		case COLUMN_TIME:
		case COLUMN_NUMBER:
		case COLUMN_MONEY:
			*(int64_t *)field = number;
			break;
		case COLUMN_USAGE:
			r->usage = number >= USAGE_NONE && number <= USAGE_ESTIMATED ? (usage_from)number : USAGE_NONE;
			break;
		case COLUMN_PRICE:
			r->price = number >= PRICE_NONE && number <= PRICE_UNPRICED ? (price_from)number : PRICE_NONE;
			break;
		}
	}
}

enum { EXPORT_ROWS = 256 }; /* read at a time */

store_result store_export(store *s, int64_t from_ms, int64_t to_ms, bool (*each)(void *ctx, const record *r), void *ctx,
			  err *e)
{
	char names[SQL_LIST], sql[SQL_MAX];
	sqlite3_stmt *st = NULL;
	int64_t last_row = INT64_MIN;
	size_t count;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	record *rows = malloc(EXPORT_ROWS * sizeof *rows);
	sql_list(names, sizeof names, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql,
		 "SELECT %s, rowid FROM requests WHERE time_ms >= ?1 AND time_ms < ?2"
		 " AND (time_ms > ?1 OR rowid > ?3) ORDER BY time_ms, rowid LIMIT ?4",
		 names);
	int rc = rows ? sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) : SQLITE_NOMEM;
	if (rc != SQLITE_OK)
		goto out;
	/* Read some rows and end the transaction before `each` gets them: while a transaction is open the WAL can only
	 * grow. */
	do {
		count = 0;
		sqlite3_bind_int64(st, 1, from_ms);
		sqlite3_bind_int64(st, 2, to_ms);
		sqlite3_bind_int64(st, 3, last_row);
		sqlite3_bind_int(st, 4, EXPORT_ROWS);
		while ((rc = sqlite3_step(st)) == SQLITE_ROW && count < EXPORT_ROWS) {
			read_row(st, &rows[count]);
			from_ms = rows[count++].time_ms;
			last_row = sqlite3_column_int64(st, RECORD_COLUMNS);
		}
		sqlite3_reset(st);
		if (rc != SQLITE_DONE && rc != SQLITE_ROW)
			goto out;
		rc = SQLITE_OK;
		for (size_t i = 0; i < count; i++)
			if (!each(ctx, &rows[i]))
				goto out;
	} while (count == EXPORT_ROWS);
out:
	sqlite3_finalize(st);
	free(rows);
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "reading the rows", e);
}

/* ---- prune */

store_result store_prune(store *s, int64_t before_ms, int64_t *removed, err *e)
{
	static const char doing[] = "removing old rows";
	sqlite3_stmt *st = NULL;
	int64_t now = clock_wall_ms();

	*removed = 0;
	store_result result = store_ready_to_write(s, e);
	if (result != STORE_OK)
		return result;
	/* store_insert() skips records from before this time: a mistyped time in the future would stop the ledger. */
	if (before_ms > now)
		before_ms = now;
	int rc = store_run(s->statements[ST_BEGIN]);
	if (rc == SQLITE_OK)
		rc = store_prepare(s,
				   "DELETE FROM requests WHERE rowid IN"
				   " (SELECT rowid FROM requests WHERE time_ms < ? ORDER BY time_ms LIMIT ?)",
				   &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, before_ms);
		sqlite3_bind_int(st, 2, STORE_PRUNE_ROWS);
		rc = store_run(st);
	}
	int64_t count = rc == SQLITE_OK ? sqlite3_changes64(s->db) : 0;
	sqlite3_finalize(st);
	st = NULL;
	if (rc == SQLITE_OK && count)
		rc = store_prepare(s,
				   "INSERT INTO meta VALUES ('pruned_before', ?) ON CONFLICT (key) DO UPDATE"
				   " SET value = max(value, excluded.value)",
				   &st);
	if (st) {
		sqlite3_bind_int64(st, 1, before_ms);
		rc = store_run(st);
	}
	sqlite3_finalize(st);
	if (rc == SQLITE_OK)
		rc = store_run(s->statements[ST_COMMIT]);
	if (rc != SQLITE_OK)
		return store_fail(s, rc, doing, e);
	*removed = count;
	return STORE_OK;
}

/* ---- verify */

typedef struct verify {
	store *s;
	void (*each)(void *ctx, const char *problem);
	void *ctx;
	size_t problems;
	sqlite3_stmt *next_row, *next_bucket[2]; /* the next row; the next bucket in `hourly`, in `daily` */
	sqlite3_stmt *known;                     /* the labels of a day */
	sqlite3_stmt *rows, *hour;               /* the rows of an hour, its sums */
	sqlite3_stmt *day_more, *day_less;       /* what the hours of a day have and the day has not; the reverse */
	rollup labels;                           /* the labels of the day; their texts are in `texts` */
	rollup cells;                            /* the sums of the hour, added up from its rows */
	char **texts;
	size_t text_count, text_cap;
} verify;

__attribute__((format(printf, 2, 3))) static void problem(verify *v, const char *fmt, ...)
{
	char text[600];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	v->problems++;
	v->each(v->ctx, text);
}

static int integrity(verify *v)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(v->s->db, "PRAGMA integrity_check", -1, &st, NULL);

	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
			const char *text = (const char *)sqlite3_column_text(st, 0);
			if (!text || strcmp(text, "ok") != 0)
				problem(v, "file: %s", text ? text : "?");
		}
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	sqlite3_finalize(st);
	return rc;
}

static void forget_labels(verify *v)
{
	for (size_t i = 0; i < v->text_count; i++)
		free(v->texts[i]);
	v->text_count = 0;
	rollup_clear(&v->labels);
}

/* Reads the labels of a day, and in `count` how many there are of each kind. */
static int know_labels(verify *v, int64_t day, size_t count[KIND_COUNT])
{
	int rc = SQLITE_OK;

	forget_labels(v);
	for (int kind = 0; rc == SQLITE_OK && kind < KIND_COUNT; kind++) {
		count[kind] = 0;
		sqlite3_bind_int(v->known, 1, kind);
		sqlite3_bind_int64(v->known, 2, day);
		while ((rc = sqlite3_step(v->known)) == SQLITE_ROW) {
			if (v->text_count == v->text_cap) {
				size_t cap = v->text_cap ? v->text_cap * 2 : 1024;
				char **texts = realloc(v->texts, cap * sizeof *texts);
				if (!texts)
					return SQLITE_NOMEM;
				v->texts = texts;
				v->text_cap = cap;
			}
			const char *text = (const char *)sqlite3_column_text(v->known, 0);
			char *own = strdup(text ? text : "");
			if (!own)
				return SQLITE_NOMEM;
			v->texts[v->text_count++] = own;
			if (!rollup_cell_of(&v->labels, day, kind, slice_cstr(own)))
				return SQLITE_NOMEM;
			count[kind]++;
		}
		sqlite3_reset(v->known);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	return rc;
}

static void compare(verify *v, const char *when, int kind, slice label, const store_sums *stored, store_sums *rows)
{
	store_sums copy = *stored;

	for (size_t i = 0; i < SUMS_COUNT; i++) {
		int64_t is = *sums_column(&copy, i), should = rows ? *sums_column(rows, i) : 0;
		if (is != should) {
			problem(v, "hour %s, %s \"%.*s\": %s is %lld, but the rows add up to %lld", when,
				kind_names[kind], (int)label.len, label.ptr ? label.ptr : "", sums_name(i),
				(long long)is, (long long)should);
			return;
		}
	}
}

static int compare_hour(verify *v, int64_t hour, const char *when)
{
	int rc = SQLITE_OK;

	for (int kind = 0; rc == SQLITE_OK && kind < KIND_COUNT; kind++) {
		sqlite3_bind_int(v->hour, 1, kind);
		sqlite3_bind_int64(v->hour, 2, hour);
		while ((rc = sqlite3_step(v->hour)) == SQLITE_ROW) {
			const char *text = (const char *)sqlite3_column_text(v->hour, 0);
			slice label = slice_cstr(text);
			rollup_cell *c = rollup_find(&v->cells, hour, kind, label);
			store_sums stored;
			memset(&stored, 0, sizeof stored);
			for (size_t i = 0; i < SUMS_COUNT; i++)
				*sums_column(&stored, i) = sqlite3_column_int64(v->hour, (int)i + 1);
			compare(v, when, kind, label, &stored, c ? &c->sums : NULL);
			if (c)
				c->seen = true;
		}
		sqlite3_reset(v->hour);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	for (size_t i = 0; rc == SQLITE_OK && i < v->cells.count; i++) {
		const rollup_cell *c = &v->cells.cells[i];
		if (!c->seen)
			problem(v, "hour %s, %s \"%.*s\": it has no sums, but rows of %lld requests", when,
				kind_names[c->kind], (int)c->label.len, c->label.ptr ? c->label.ptr : "",
				(long long)c->sums.requests);
	}
	return rc;
}

/* Compares the sums of an hour with its rows. To be called in a transaction, so that both are of the same moment. */
static int verify_hour(verify *v, int64_t hour)
{
	size_t label_count[KIND_COUNT];
	int64_t pruned, day = store_floor(hour, DAY);
	char when[32];

	int rc = store_pruned_before(v->s, &pruned);
	if (rc != SQLITE_OK || hour * 1000 < pruned)
		return rc;
	bucket_label(when, sizeof when, hour, true);
	rc = know_labels(v, day, label_count);
	if (rc != SQLITE_OK)
		return rc;
	rollup_clear(&v->cells);
	sqlite3_bind_int64(v->rows, 1, hour * 1000);
	sqlite3_bind_int64(v->rows, 2, (hour + HOUR) * 1000);
	while ((rc = sqlite3_step(v->rows)) == SQLITE_ROW) {
		record row, *r = &row;
		read_row(v->rows, r);
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			slice label = rollup_label(r, kind);
			const rollup_cell *own = rollup_find(&v->labels, day, kind, label);
			if (!own && label_count[kind] >= STORE_LABELS_PER_DAY) {
				label = STORE_OTHER;
			} else if (!own) {
				problem(v, "hour %s, %s \"%.*s\": a row has it, but the day's sums do not", when,
					kind_names[kind], (int)label.len, label.ptr);
				continue;
			} else {
				label = own->label;
			}
			rollup_cell *c = rollup_cell_of(&v->cells, hour, kind, label);
			if (!c) {
				sqlite3_reset(v->rows);
				return SQLITE_NOMEM;
			}
			store_sums_add(&c->sums, r);
		}
	}
	sqlite3_reset(v->rows);
	return rc == SQLITE_DONE ? compare_hour(v, hour, when) : rc;
}

/* Compares the sums of a day with those of its hours. */
static int verify_day(verify *v, int64_t day)
{
	sqlite3_stmt *const both[] = { v->day_more, v->day_less };
	static const char *const what[] = { "its hours have sums that the day lacks",
					    "the day has sums that its hours lack" };
	char when[32];
	int rc = SQLITE_OK;

	bucket_label(when, sizeof when, day, false);
	for (size_t i = 0; i < 2; i++) {
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			sqlite3_bind_int(both[i], 1, kind);
			sqlite3_bind_int64(both[i], 2, day);
			while ((rc = sqlite3_step(both[i])) == SQLITE_ROW)
				problem(v, "day %s, %s \"%s\": %s", when, kind_names[kind],
					(const char *)sqlite3_column_text(both[i], 0), what[i]);
			sqlite3_reset(both[i]);
			if (rc != SQLITE_DONE)
				return rc;
		}
	}
	return SQLITE_OK;
}

/* Sets `*least` to the value that `st` finds, if that is smaller or `*any` is false; then sets `*any`. */
static int smallest(sqlite3_stmt *st, int64_t *least, bool *any)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW && sqlite3_column_type(st, 0) != SQLITE_NULL) {
		int64_t value = sqlite3_column_int64(st, 0);
		if (!*any || value < *least)
			*least = value;
		*any = true;
	}
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Sets `*next` to the first hour or day from `from` on that has rows or sums. `*any`: there is one. */
static int next_bucket(verify *v, bool days, int64_t from, int64_t *next, bool *any)
{
	int rc = SQLITE_OK;

	*any = false;
	for (int table = 0; table < (days ? 2 : 1); table++) {
		for (int kind = 0; rc == SQLITE_OK && kind < KIND_COUNT; kind++) {
			sqlite3_bind_int(v->next_bucket[table], 1, kind);
			sqlite3_bind_int64(v->next_bucket[table], 2, from);
			rc = smallest(v->next_bucket[table], next, any);
		}
	}
	if (rc == SQLITE_OK && !days) {
		int64_t row = 0;
		bool row_there = false;
		sqlite3_bind_int64(v->next_row, 1, from * 1000);
		rc = smallest(v->next_row, &row, &row_there);
		row = store_hour_of(row);
		if (row_there && (!*any || row < *next)) {
			*next = row;
			*any = true;
		}
	}
	if (days)
		*next = store_floor(*next, DAY);
	return rc;
}

static int verify_prepare(verify *v)
{
	char sums[SQL_LIST], names[SQL_LIST], rows[SQL_LIST], sql[SQL_MAX];
	store *s = v->s;

	sql_list(names, sizeof names, SUMS_COUNT, sums_name, "$");
	sql_list(sums, sizeof sums, SUMS_COUNT, sums_name, "ssum($)");
	int rc = store_prepare(s, "SELECT min(time_ms) FROM requests WHERE time_ms >= ?", &v->next_row);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT min(bucket) FROM hourly WHERE kind = ? AND bucket >= ?",
				   &v->next_bucket[0]);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT min(bucket) FROM daily WHERE kind = ? AND bucket >= ?",
				   &v->next_bucket[1]);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT label FROM daily WHERE kind = ? AND bucket = ?", &v->known);
	sql_list(rows, sizeof rows, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql, "SELECT %s FROM requests WHERE time_ms >= ? AND time_ms < ?", rows);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, sql, &v->rows);
	snprintf(sql, sizeof sql, "SELECT label, %s FROM hourly WHERE kind = ? AND bucket = ?", names);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, sql, &v->hour);
	for (int i = 0; rc == SQLITE_OK && i < 2; i++) {
		char hours[SQL_LIST + 256], day[SQL_LIST + 256];
		snprintf(hours, sizeof hours,
			 "SELECT label, %s FROM hourly WHERE kind = ?1 AND bucket >= ?2"
			 " AND bucket < ?2 + 86400 GROUP BY label",
			 sums);
		snprintf(day, sizeof day, "SELECT label, %s FROM daily WHERE kind = ?1 AND bucket = ?2", names);
		snprintf(sql, sizeof sql, "%s EXCEPT %s", i ? day : hours, i ? hours : day);
		rc = store_prepare(s, sql, i ? &v->day_less : &v->day_more);
	}
	return rc;
}

store_result store_verify(store *s, void (*each)(void *ctx, const char *problem), void *ctx, size_t *problems, err *e)
{
	verify v = { .s = s, .each = each, .ctx = ctx };
	int64_t pruned = 0;

	*problems = 0;
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = integrity(&v);
	if (rc == SQLITE_OK)
		rc = verify_prepare(&v);
	if (rc == SQLITE_OK)
		rc = store_pruned_before(s, &pruned);
	for (int days = 0; days < 2; days++) {
		/* Hours whose rows were pruned cannot be compared with rows; days can always be compared with hours. */
		int64_t at = days ? 0 : ceil_bucket(pruned, HOUR * 1000LL, HOUR);
		bool any = true;
		while (rc == SQLITE_OK) {
			rc = next_bucket(&v, days, at, &at, &any);
			if (rc != SQLITE_OK || !any)
				break;
			rc = store_exec(s, "BEGIN");
			if (rc == SQLITE_OK)
				rc = days ? verify_day(&v, at) : verify_hour(&v, at);
			if (rc == SQLITE_OK)
				rc = store_exec(s, "COMMIT");
			at += days ? DAY : HOUR;
		}
	}
	sqlite3_finalize(v.next_row);
	sqlite3_finalize(v.next_bucket[0]);
	sqlite3_finalize(v.next_bucket[1]);
	sqlite3_finalize(v.known);
	sqlite3_finalize(v.rows);
	sqlite3_finalize(v.hour);
	sqlite3_finalize(v.day_more);
	sqlite3_finalize(v.day_less);
	forget_labels(&v);
	free(v.texts);
	rollup_free(&v.labels);
	rollup_free(&v.cells);
	*problems = v.problems;
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "verifying", e);
}

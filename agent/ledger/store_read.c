/* SPDX-License-Identifier: MIT
 *
 * Sums by group and by time, and how a row is read. */
#include "ledger/store_impl.h"

#include <time.h>

/* ---- report */

int64_t store_ceil(int64_t t, int64_t unit, int64_t seconds)
{
	int64_t n = t / unit;
	return (n + (t % unit > 0)) * seconds;
}

void store_bucket_label(char *out, size_t room, int64_t bucket, bool hour)
{
	time_t t = (time_t)bucket;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, room, hour ? "%Y-%m-%dT%H:00Z" : "%Y-%m-%d", &tm))
		snprintf(out, room, "%lld", (long long)bucket);
}

void store_copy_text(char *out, size_t room, sqlite3_stmt *st, int column)
{
	const unsigned char *text = sqlite3_column_text(st, column);
	size_t len = text ? strnlen((const char *)text, room - 1) : 0;

	if (len)
		memcpy(out, text, len);
	out[len] = '\0';
}

static const struct {
	int kind;
	const char *key;
} groups[] = {
	[GROUP_NONE] = { KIND_ALL, "''" },         [GROUP_MODEL] = { KIND_MODEL, "label" },
	[GROUP_ROUTE] = { KIND_ROUTE, "label" },   [GROUP_PROJECT] = { KIND_PROJECT, "label" },
	[GROUP_CLIENT] = { KIND_CLIENT, "label" }, [GROUP_MEMBER] = { KIND_MEMBER, "label" },
	[GROUP_HOUR] = { KIND_ALL, "bucket" },     [GROUP_DAY] = { KIND_ALL, "bucket - bucket % 86400" },
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
	int64_t day_low = store_ceil(low, DAY, DAY), day_high = store_floor(high, DAY);

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

/* Reads the sums of a row, from the column `first` on. */
static void read_sums(sqlite3_stmt *st, int first, store_sums *sums)
{
	for (size_t i = 0; i < SUMS_COUNT; i++)
		*sums_column(sums, i) = sqlite3_column_int64(st, (int)i + first);
}

store_result store_report(store *s, store_group by, int64_t from_ms, int64_t to_ms,
			  bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e)
{
	int64_t low = store_ceil(from_ms, HOUR * 1000LL, HOUR), high = store_ceil(to_ms, HOUR * 1000LL, HOUR);
	sqlite3_stmt *st = NULL;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = report_prepare(s, by, low, high, &st);
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		store_sums row;
		memset(&row, 0, sizeof row);
		if (is_time(by))
			store_bucket_label(row.label, sizeof row.label, sqlite3_column_int64(st, 0), by == GROUP_HOUR);
		else
			store_copy_text(row.label, sizeof row.label, st, 0);
		read_sums(st, 1, &row);
		rc = each(ctx, &row) ? SQLITE_OK : SQLITE_DONE;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? STORE_OK : store_fail(s, rc, "reading the sums", e);
}

store_result store_series(store *s, store_group by, bool days, int64_t from_ms, int64_t to_ms,
			  bool (*each)(void *ctx, int64_t time_ms, const store_sums *sums), void *ctx, err *e)
{
	int64_t unit = days ? DAY : HOUR;
	char names[SQL_LIST], sql[SQL_MAX];
	sqlite3_stmt *st = NULL;

	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	sql_list(names, sizeof names, SUMS_COUNT, sums_name, "$");
	/* The key begins with kind and bucket, so SQLite sorts only the labels of one bucket at a time. */
	snprintf(sql, sizeof sql,
		 "SELECT bucket, label, %s FROM %s WHERE kind = ?1 AND bucket >= ?2 AND bucket < ?3"
		 " ORDER BY bucket, cost DESC, requests DESC, label",
		 names, days ? "daily" : "hourly");
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int(st, 1, groups[by].kind);
		sqlite3_bind_int64(st, 2, store_ceil(from_ms, unit * 1000LL, unit));
		sqlite3_bind_int64(st, 3, store_ceil(to_ms, unit * 1000LL, unit));
	}
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		store_sums row;
		store_copy_text(row.label, sizeof row.label, st, 1);
		read_sums(st, 2, &row);
		rc = each(ctx, sqlite3_column_int64(st, 0) * 1000, &row) ? SQLITE_OK : SQLITE_DONE;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? STORE_OK : store_fail(s, rc, "reading the sums", e);
}

/* ---- rows */

store_result store_session(store *s, int64_t pause_ms, int64_t *first_ms, int64_t *last_ms, err *e)
{
	sqlite3_stmt *st = NULL;

	*first_ms = *last_ms = 0;
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_int(s, "SELECT max(time_ms) FROM requests", last_ms);
	*first_ms = *last_ms;
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT min(time_ms) FROM requests WHERE time_ms >= ? AND time_ms < ?", &st);
	/* Each step goes back to the first row within the pause, over all rows between. */
	while (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, *first_ms - pause_ms);
		sqlite3_bind_int64(st, 2, *first_ms);
		rc = sqlite3_step(st);
		if (rc != SQLITE_ROW || sqlite3_column_type(st, 0) == SQLITE_NULL)
			break;
		*first_ms = sqlite3_column_int64(st, 0);
		rc = sqlite3_reset(st);
	}
	sqlite3_finalize(st);
	return rc == SQLITE_OK || rc == SQLITE_ROW ? STORE_OK : store_fail(s, rc, "reading the rows", e);
}

store_result store_pruned(store *s, int64_t *before_ms, err *e)
{
	*before_ms = 0;
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_pruned_before(s, before_ms);
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "reading what was pruned", e);
}

void store_read_row(sqlite3_stmt *st, record *r)
{
	for (int i = 0; i < RECORD_COLUMNS; i++) {
		const record_column *c = &record_columns[i];

		if (c->kind == COLUMN_TEXT)
			store_copy_text((char *)r + c->offset, c->size, st, i);
		else if (c->kind == COLUMN_COUNT && sqlite3_column_type(st, i) == SQLITE_NULL)
			column_set(r, c, -1);
		else
			column_set(r, c, sqlite3_column_int64(st, i));
	}
}

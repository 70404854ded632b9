/* SPDX-License-Identifier: MIT */
#include "ship/fleet_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "ledger/columns.h"
#include "ship/fleet_sql.h"

/* ---- sums */

/* The order of SQLite, and of no language. */
#define PLAINLY " COLLATE \"C\""

static const struct {
	int kind; /* of `hourly`: see ledger/store_impl.h */
	const char *key;
} groups[] = {
	[GROUP_NONE] = { 0, "''" },
	[GROUP_MODEL] = { 1, "label" PLAINLY },
	[GROUP_ROUTE] = { 2, "label" PLAINLY },
	[GROUP_PROJECT] = { 3, "label" PLAINLY },
	[GROUP_CLIENT] = { 4, "label" PLAINLY },
	[GROUP_MEMBER] = { 5, "label" PLAINLY },
	[GROUP_HOUR] = { 0, "bucket" },
	[GROUP_DAY] = { 0, "bucket - bucket % 86400" },
	[GROUP_GATEWAY] = { 0, "(SELECT name FROM spoa_llm.fleet_gateways g WHERE g.no = h.gateway)" PLAINLY },
};

typedef struct report {
	store_group by;
	bool (*each)(void *ctx, const store_sums *sums);
	void *ctx;
} report;

static void time_label(char *out, size_t room, int64_t bucket, bool hour)
{
	time_t t = (time_t)bucket;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, room, hour ? "%Y-%m-%dT%H:00Z" : "%Y-%m-%d", &tm))
		snprintf(out, room, "%" PRId64, bucket);
}

static bool take_sums(void *ctx, const pq_rows *row)
{
	const report *r = ctx;
	store_sums sums = { .requests = 0 };

	if (r->by == GROUP_DAY || r->by == GROUP_HOUR)
		time_label(sums.label, sizeof sums.label, pq_int(row, 0, 0), r->by == GROUP_HOUR);
	else
		snprintf(sums.label, sizeof sums.label, "%s", pq_text(row, 0, 0));
	for (size_t i = 0; i < FLEET_SUMS_COUNT; i++)
		*fleet_sum(&sums, i) = pq_int(row, 0, 1 + i);
	return r->each(r->ctx, &sums);
}

/* Returns the bucket of the first hour that does not begin before `ms`. */
static int64_t first_hour(int64_t ms)
{
	return (ms / HOUR_MS + (ms % HOUR_MS > 0)) * 3600;
}

pq_result fleet_report(pq *c, store_group by, int64_t from_ms, int64_t to_ms,
		       bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e)
{
	bool in_time = by == GROUP_DAY || by == GROUP_HOUR;
	char sql[FLEET_SQL_MAX], kind[8], from[24], to[24];
	const char *values[] = { kind, from, to };
	report r = { by, each, ctx };

	snprintf(kind, sizeof kind, "%d", groups[by].kind);
	snprintf(from, sizeof from, "%" PRId64, first_hour(from_ms));
	snprintf(to, sizeof to, "%" PRId64, first_hour(to_ms));
	snprintf(sql, sizeof sql,
		 "SELECT %s AS grouped%s FROM spoa_llm.fleet_sums h"
		 " WHERE kind = $1::smallint AND bucket >= $2::bigint AND bucket < $3::bigint%s%s",
		 groups[by].key, fleet_sums_sums, by == GROUP_NONE ? "" : " GROUP BY grouped HAVING sum(requests) <> 0",
		 by == GROUP_NONE ? "" :
		 in_time          ? " ORDER BY grouped" :
				    " ORDER BY sum(cost) DESC, sum(requests) DESC, grouped");
	return pq_each(c, sql, 3, values, take_sums, &r, e);
}

/* ---- rows */

/* Where the sums of rows are grouped by; `r` is the table. */
static const char *const row_keys[] = {
	[GROUP_NONE] = "''::text",
	[GROUP_MODEL] = "model" PLAINLY,
	[GROUP_ROUTE] = "route" PLAINLY,
	[GROUP_PROJECT] = "project" PLAINLY,
	[GROUP_CLIENT] = "client" PLAINLY,
	[GROUP_MEMBER] = "CASE WHEN member = '' THEN '' ELSE route || '/' || member END" PLAINLY,
	[GROUP_HOUR] = FLEET_HOUR,
	[GROUP_DAY] = FLEET_HOUR " / 86400 * 86400",
	[GROUP_GATEWAY] = "(SELECT name FROM spoa_llm.fleet_gateways g WHERE g.no = r.gateway)" PLAINLY,
};

/* A writer would get its own requests for those of all. */
static pq_result check_reader(pq *c, err *e)
{
	pq_rows *rows = NULL;
	pq_result result = pq_run(c,
				  "SELECT pg_has_role('spoa_llm_writer', 'MEMBER') AND NOT"
				  " pg_has_role('spoa_llm_reader', 'MEMBER')",
				  0, NULL, &rows, e);

	if (result == PQ_OK && pq_rows_count(rows) && strcmp(pq_text(rows, 0, 0), "t") == 0) {
		err_set(e, "this role sees the single requests of its own gateway only: use that of a reader, which "
			   "`spoa-llm fleet add NAME --reader` makes");
		result = PQ_REFUSED;
	}
	pq_rows_free(rows);
	return result;
}

/* The bounds of time, and those of a filter, as parameters. */
typedef struct bounds {
	filter_sql filter;
	char from[24], to[24];
	const char *values[2 + FILTER_VALUES_MAX];
	size_t count;
} bounds;

static void bounds_make(bounds *b, int64_t from_ms, int64_t to_ms, const row_filter *only)
{
	filter_make(&b->filter, only, '$', 3);
	snprintf(b->from, sizeof b->from, "%" PRId64, from_ms);
	snprintf(b->to, sizeof b->to, "%" PRId64, to_ms);
	b->values[0] = b->from;
	b->values[1] = b->to;
	memcpy(b->values + 2, b->filter.values, b->filter.count * sizeof b->values[0]);
	b->count = 2 + b->filter.count;
}

pq_result fleet_report_found(pq *c, store_group by, int64_t from_ms, int64_t to_ms, const row_filter *only,
			     bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e)
{
	bool in_time = by == GROUP_DAY || by == GROUP_HOUR;
	char sql[FLEET_SQL_MAX];
	report r = { by, each, ctx };
	bounds b;

	pq_result result = check_reader(c, e);
	if (result != PQ_OK)
		return result;
	/* The first hour has the rows of clocks before 1970, too. */
	bounds_make(&b, from_ms <= 0 ? INT64_MIN : from_ms, to_ms, only);
	snprintf(sql, sizeof sql,
		 "SELECT %s AS grouped%s FROM spoa_llm.requests r"
		 " WHERE time_ms >= $1::bigint AND time_ms < $2::bigint%s GROUP BY grouped ORDER BY %s",
		 row_keys[by], fleet_sums_of_rows, b.filter.where,
		 in_time ? "grouped" : "sum(cost) DESC, count(*) DESC, grouped");
	return pq_each(c, sql, b.count, b.values, take_sums, &r, e);
}

typedef struct rows {
	bool (*each)(void *ctx, const char *gateway, const record *r);
	void *ctx;
} rows;

static void take_column(record *r, const record_column *c, const pq_rows *row, size_t i)
{
	if (c->kind == COLUMN_TEXT)
		snprintf((char *)r + c->offset, c->size, "%s", pq_text(row, 0, i));
	else if (c->kind == COLUMN_COUNT && pq_is_null(row, 0, i))
		column_set(r, c, -1);
	else
		column_set(r, c, pq_int(row, 0, i));
}

static bool take_row(void *ctx, const pq_rows *row)
{
	const rows *to = ctx;
	record r;

	memset(&r, 0, sizeof r);
	for (size_t i = 0; i < RECORD_COLUMNS; i++)
		take_column(&r, &record_columns[i], row, 1 + i);
	return to->each(to->ctx, pq_text(row, 0, 0), &r);
}

pq_result fleet_export(pq *c, int64_t from_ms, int64_t to_ms, const row_filter *only,
		       bool (*each)(void *ctx, const char *gateway, const record *r), void *ctx, err *e)
{
	char names[2048], sql[4096];
	rows r = { each, ctx };
	size_t len = 0;
	bounds b;

	pq_result result = check_reader(c, e);
	if (result != PQ_OK)
		return result;
	for (size_t i = 0; i < RECORD_COLUMNS && len < sizeof names; i++)
		len += (size_t)snprintf(names + len, sizeof names - len, ", r.%s", record_columns[i].stored);
	bounds_make(&b, from_ms, to_ms, only);
	snprintf(sql, sizeof sql,
		 "SELECT (SELECT name FROM spoa_llm.gateways g WHERE g.no = r.gateway)%s FROM spoa_llm.requests r"
		 " WHERE time_ms >= $1::bigint AND time_ms < $2::bigint%s ORDER BY time_ms, gateway, id",
		 names, b.filter.where);
	return pq_each(c, sql, b.count, b.values, take_row, &r, e);
}

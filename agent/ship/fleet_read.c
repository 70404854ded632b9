/* SPDX-License-Identifier: MIT */
#include "ship/fleet_read.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "ledger/columns.h"
#include "ship/fleet_facets.h"
#include "ship/fleet_span.h"
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

/* The sums of the hours from $2 up to $3. From $4 up to $5, where there are whole days, they come from those of the
 * days. */
#define OF_GATEWAY \
	"($6::text = '*' OR gateway IN (SELECT no FROM spoa_llm.fleet_gateways" \
	" WHERE name = $6::text OR (right($6::text, 1) = '*' AND substr(name, 1, length($6::text) - 1) || '*' = $6::text)))"
#define OF_HOURS " FROM spoa_llm.fleet_sums WHERE " OF_GATEWAY " AND kind = $1::smallint AND "
#define HOURS_AND_DAYS \
	"(SELECT gateway, bucket, label%s" OF_HOURS "bucket >= $2::bigint AND bucket < $4::bigint" \
	" UNION ALL SELECT gateway, bucket, label%s" OF_HOURS "bucket >= $5::bigint AND bucket < $3::bigint" \
	" UNION ALL SELECT gateway, bucket, label%s FROM spoa_llm.fleet_daily WHERE " OF_GATEWAY \
	" AND kind = $1::smallint" \
	" AND bucket >= $4::bigint AND bucket < $5::bigint)"

pq_result fleet_report(pq *c, const char *gateway, store_group by, int64_t from_ms, int64_t to_ms,
		       bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e)
{
	bool in_time = by == GROUP_DAY || by == GROUP_HOUR;
	char sql[FLEET_SQL_MAX], kind[8];
	fleet_bounds at;
	const char *values[] = { kind, at.text[0], at.text[1], at.text[2], at.text[3], gateway ? gateway : "*" };
	report r = { by, each, ctx };
	fleet_span span;

	pq_result result = fleet_span_of(c, from_ms, to_ms, by != GROUP_HOUR, &span, e);
	if (result != PQ_OK)
		return result;
	snprintf(kind, sizeof kind, "%d", groups[by].kind);
	fleet_bounds_of(&at, &span);
	int len = snprintf(sql, sizeof sql, "SELECT %s AS grouped%s FROM " HOURS_AND_DAYS " h%s%s", groups[by].key,
			   fleet_sums_sums, fleet_sums_names, fleet_sums_names, fleet_sums_names,
			   by == GROUP_NONE ? "" : " GROUP BY grouped HAVING sum(requests) <> 0",
			   by == GROUP_NONE ? "" :
			   in_time          ? " ORDER BY grouped" :
					      " ORDER BY sum(cost) DESC, sum(requests) DESC, grouped");
	assert(len > 0 && (size_t)len < sizeof sql);
	return pq_each(c, sql, 6, values, take_sums, &r, e);
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
pq_result fleet_check_reader(pq *c, err *e)
{
	pq_rows *rows = NULL;
	char role[128];
	pq_result result = pq_run(c,
				  "SELECT pg_has_role('spoa_llm_writer', 'MEMBER') AND NOT"
				  " pg_has_role('spoa_llm_reader', 'MEMBER'), current_user",
				  0, NULL, &rows, e);

	if (result == PQ_OK && pq_rows_count(rows) && strcmp(pq_text(rows, 0, 0), "t") == 0) {
		text_plain(role, sizeof role, pq_text(rows, 0, 1));
		err_set(e,
			"this role sees the single requests of its own gateway only: use that of a reader, which "
			"`spoa-llm fleet add NAME --reader` makes, or let this one see those of all gateways by GRANT "
			"spoa_llm_reader TO \"%s\"",
			role);
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

/* The labels by which facets are grouped. */
static const unsigned facet_groups[] = {
	[GROUP_NONE] = FACET_NONE,
	[GROUP_MODEL] = FACET_BIT(FACET_MODEL),
	[GROUP_ROUTE] = FACET_BIT(FACET_ROUTE),
	[GROUP_PROJECT] = FACET_BIT(FACET_PROJECT),
	[GROUP_CLIENT] = FACET_BIT(FACET_CLIENT),
	[GROUP_MEMBER] = FACET_BIT(FACET_POOL_MEMBER),
	[GROUP_HOUR] = FACET_NONE,
	[GROUP_DAY] = FACET_NONE,
	[GROUP_GATEWAY] = FLEET_BY_GATEWAY,
};

static bool take_facet(void *ctx, const store_facet *f)
{
	const report *r = ctx;
	store_sums sums = *f->sums;

	if (r->by == GROUP_DAY || r->by == GROUP_HOUR)
		time_label(sums.label, sizeof sums.label, f->time_ms / 1000, r->by == GROUP_HOUR);
	else
		snprintf(sums.label, sizeof sums.label, "%s", f->label);
	return r->each(r->ctx, &sums);
}

pq_result fleet_report_found(pq *c, store_group by, int64_t from_ms, int64_t to_ms, const row_filter *only,
			     bool (*each)(void *ctx, const store_sums *sums), void *ctx, err *e)
{
	bool in_time = by == GROUP_DAY || by == GROUP_HOUR;
	char sql[FLEET_SQL_MAX];
	report r = { by, each, ctx };
	fleet_span span;
	bounds b;

	pq_result result = fleet_span_of(c, from_ms, to_ms, true, &span, e);
	if (result == PQ_OK && span.facets_s <= span.from_s && !only->id) {
		const store_facet_question q = { .by = facet_groups[by],
						 .unit = by == GROUP_HOUR ? FACET_HOURS :
							 by == GROUP_DAY  ? FACET_DAYS :
									    FACET_WHOLE,
						 .from_ms = from_ms,
						 .to_ms = to_ms,
						 .only = only };
		store_facets_told told;
		return fleet_facets(c, NULL, &q, take_facet, &r, &told, e);
	}
	if (result == PQ_OK)
		result = fleet_check_reader(c, e);
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
	bool (*each)(void *ctx, const record *r, const char *gateway);
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
	return to->each(to->ctx, &r, pq_text(row, 0, 0));
}

void fleet_row_names(char *out, size_t room)
{
	size_t len = 0;

	for (size_t i = 0; i < RECORD_COLUMNS && len < room; i++)
		len += (size_t)snprintf(out + len, room - len, ", p.%s", record_columns[i].stored);
	assert(len < room);
}

pq_result fleet_each_row(pq *c, const char *sql, size_t count, const char *const *values,
			 bool (*each)(void *ctx, const record *r, const char *gateway), void *ctx, err *e)
{
	rows r = { each, ctx };

	return pq_each(c, sql, count, values, take_row, &r, e);
}

pq_result fleet_export(pq *c, int64_t from_ms, int64_t to_ms, const row_filter *only,
		       bool (*each)(void *ctx, const record *r, const char *gateway), void *ctx, err *e)
{
	char names[2048], sql[4096];
	bounds b;

	pq_result result = fleet_check_reader(c, e);
	if (result != PQ_OK)
		return result;
	fleet_row_names(names, sizeof names);
	bounds_make(&b, from_ms, to_ms, only);
	snprintf(sql, sizeof sql,
		 "SELECT (SELECT name FROM spoa_llm.gateways g WHERE g.no = p.gateway)%s FROM spoa_llm.requests p"
		 " WHERE time_ms >= $1::bigint AND time_ms < $2::bigint%s ORDER BY time_ms, gateway, id",
		 names, b.filter.where);
	return fleet_each_row(c, sql, b.count, b.values, each, ctx, e);
}

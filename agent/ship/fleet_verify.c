/* SPDX-License-Identifier: MIT */
#include "ship/fleet_verify.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/text.h"
#include "ledger/store_schema.h"
#include "ship/fleet_sql.h"

#define SUMS_NAME(name) #name,
static const char *const names[] = { STORE_SUMS(SUMS_NAME) };
_Static_assert(sizeof names / sizeof names[0] == FLEET_SUMS_COUNT, "each sum is named");

/* ---- sums and rows of PostgreSQL */

typedef struct telling {
	fleet_difference tell;
	void *ctx;
	const char *problem;
} telling;

static bool tell_hour(void *ctx, const pq_rows *row)
{
	const telling *t = ctx;

	t->tell(t->ctx, pq_text(row, 0, 0), pq_int(row, 0, 1), t->problem);
	return true;
}

/* Sums of gateways that the role may see, in the hours from $2 up to $3; $1 is not used. */
typedef enum source {
	ROWS,
	HOURS,
	HOURS_OF_DAYS, /* the hours of each day added up */
	DAYS,
	FACETS_OF_HOURS,
	FACETS_OF_DAYS,
	FACETS_OF_HOURS_OF_DAYS,
} source;

/* Days of which the period has all hours. */
enum { DAY = 86400 };
#define IN_DAYS "bucket >= ($2::bigint + 86399) / 86400 * 86400 AND bucket < $3::bigint / 86400 * 86400"
#define IN_HOURS "bucket >= $2::bigint AND bucket < $3::bigint"
#define OWN "gateway IN (SELECT no FROM spoa_llm.gateways)"
#define OF_KINDS "SELECT gateway, kind::smallint AS kind, bucket, label"

static int write_source(char *out, size_t room, source from)
{
	switch (from) {
	case ROWS:
		return snprintf(out, room,
				OF_KINDS "%s FROM (SELECT gateway, " FLEET_HOUR " AS bucket, " FLEET_LABELS
					 "%s FROM spoa_llm.requests WHERE " FLEET_ROWS_OF_HOURS
					 " GROUP BY gateway, bucket, " FLEET_LABELS ") AS changes" FLEET_KINDS
					 " GROUP BY gateway, kind, bucket, label",
				fleet_sums_sums, fleet_sums_of_rows);
	case HOURS:
		return snprintf(out, room, "SELECT gateway, kind, bucket, label%s FROM spoa_llm.hourly WHERE " IN_HOURS,
				fleet_sums_names);
	case HOURS_OF_DAYS:
		return snprintf(out, room,
				"SELECT gateway, kind, bucket - bucket %% 86400 AS day, label%s FROM spoa_llm.hourly"
				" WHERE " IN_DAYS " GROUP BY gateway, kind, day, label",
				fleet_sums_sums);
	case DAYS:
		return snprintf(out, room,
				"SELECT gateway, kind, bucket, label%s FROM spoa_llm.fleet_daily WHERE " OWN
				" AND " IN_DAYS,
				fleet_sums_names);
	case FACETS_OF_HOURS:
	case FACETS_OF_DAYS:
	case FACETS_OF_HOURS_OF_DAYS:
		break;
	}
	return snprintf(out, room,
			"SELECT gateway, kind::smallint AS kind, bucket - bucket %% %d AS begin, label%s"
			" FROM spoa_llm.fleet_facets" FLEET_KINDS " WHERE " OWN " AND unit = %d AND %s"
			" GROUP BY gateway, kind, begin, label",
			from == FACETS_OF_HOURS ? 3600 : DAY, fleet_sums_sums, from == FACETS_OF_DAYS,
			from == FACETS_OF_HOURS ? IN_HOURS : IN_DAYS);
}

static const struct {
	source one, other;
	const char *since; /* a condition on the gateway `g` and the bucket of `d` that differs */
	const char *problem;
} comparisons[] = {
	{ ROWS, HOURS, "d.bucket * 1000 >= (SELECT value::numeric FROM spoa_llm.meta WHERE key = 'kept_since_ms')",
	  "the sums of the hour are not those of its rows in PostgreSQL" },
	{ HOURS_OF_DAYS, DAYS, "d.bucket >= g.daily_from",
	  "the sums of the day are not those of its hours in PostgreSQL" },
	{ FACETS_OF_HOURS, HOURS, "d.bucket >= g.facets_from",
	  "the sums of the hour by all labels are not those of its rows in PostgreSQL" },
	{ FACETS_OF_DAYS, FACETS_OF_HOURS_OF_DAYS, "d.bucket >= g.facets_from AND d.bucket < g.days_until",
	  "the sums of the day by all labels are not those of its hours in PostgreSQL" },
};

pq_result fleet_check_sums(pq *c, int64_t from_s, int64_t to_s, fleet_difference tell, void *ctx, err *e)
{
	char sql[FLEET_SQL_MAX], one[FLEET_SQL_MAX / 3], other[FLEET_SQL_MAX / 3], from[24], to[24];
	const char *values[] = { "0", from, to };
	telling t = { tell, ctx, NULL };
	pq_result result = PQ_OK;

	snprintf(from, sizeof from, "%" PRId64, from_s);
	snprintf(to, sizeof to, "%" PRId64, to_s);
	for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0] && result == PQ_OK; i++) {
		int len = write_source(one, sizeof one, comparisons[i].one);
		int other_len = write_source(other, sizeof other, comparisons[i].other);
		assert(len > 0 && (size_t)len < sizeof one && other_len > 0 && (size_t)other_len < sizeof other);
		len = snprintf(
			sql, sizeof sql,
			"WITH one AS (SELECT * FROM (%s) AS r WHERE NOT (%s)),"
			" other AS (SELECT * FROM (%s) AS r WHERE NOT (%s)),"
			" differ (gateway, kind, bucket) AS ((SELECT * FROM one EXCEPT SELECT * FROM other) UNION ALL"
			" (SELECT * FROM other EXCEPT SELECT * FROM one))"
			" SELECT g.name, d.bucket FROM differ d JOIN spoa_llm.fleet_gateways g ON g.no = d.gateway"
			" WHERE $1::int = 0 AND %s GROUP BY g.name, d.bucket ORDER BY g.name, d.bucket",
			one, fleet_sums_all_zero, other, fleet_sums_all_zero, comparisons[i].since);
		assert(len > 0 && (size_t)len < sizeof sql);
		t.problem = comparisons[i].problem;
		result = pq_each(c, sql, 3, values, tell_hour, &t, e);
	}
	return result;
}

/* ---- the hours of one gateway */

void fleet_hours_free(fleet_hours *h)
{
	free(h->items);
	*h = (fleet_hours){ .items = NULL };
}

/* Returns the item of the hour, which is the last one or a new one. NULL: out of memory. */
static fleet_hour *hour_of(fleet_hours *h, int64_t hour)
{
	if (h->count && h->items[h->count - 1].hour == hour)
		return &h->items[h->count - 1];
	fleet_hour *items = list_grow(h->items, &h->room, h->count, sizeof *items);
	if (!items) {
		h->failed = true;
		return NULL;
	}
	h->items = items;
	items[h->count] = (fleet_hour){ .hour = hour };
	return &items[h->count++];
}

pq_result fleet_place_of(pq *c, const char *uuid, fleet_place *place, err *e)
{
	pq_rows *rows;
	pq_result result = pq_run(
		c,
		"SELECT no, name, ledger_epoch, epoch, position,"
		" (SELECT value::bigint FROM spoa_llm.meta WHERE key = 'kept_since_ms') FROM spoa_llm.gateways WHERE uuid = $1::uuid",
		1, &uuid, &rows, e);

	*place = (fleet_place){ .found = false };
	if (result != PQ_OK)
		return result;
	if (pq_rows_count(rows)) {
		place->found = true;
		snprintf(place->no, sizeof place->no, "%s", pq_text(rows, 0, 0));
		text_plain(place->name, sizeof place->name, pq_text(rows, 0, 1));
		snprintf(place->ledger_epoch, sizeof place->ledger_epoch, "%s", pq_text(rows, 0, 2));
		snprintf(place->epoch, sizeof place->epoch, "%s", pq_text(rows, 0, 3));
		place->position = pq_int(rows, 0, 4);
		place->kept_since_ms = pq_int(rows, 0, 5);
	}
	pq_rows_free(rows);
	return PQ_OK;
}

static bool take_hour(void *ctx, const pq_rows *row)
{
	fleet_hour *hour = hour_of(ctx, pq_int(row, 0, 0));

	for (size_t i = 0; hour && i < FLEET_SUMS_COUNT; i++)
		*fleet_sum(&hour->sums, i) = pq_int(row, 0, 1 + i);
	return hour != NULL;
}

static bool take_earlier(void *ctx, const pq_rows *row)
{
	fleet_hour *hour = hour_of(ctx, pq_int(row, 0, 0));

	if (hour)
		hour->sums.requests = pq_int(row, 0, 1);
	return hour != NULL;
}

pq_result fleet_hours_there(pq *c, const char *uuid, int64_t from_s, int64_t to_s, fleet_place *place,
			    fleet_hours *hours, fleet_hours *earlier, err *e)
{
	char sql[FLEET_SQL_MAX], from[24], to[24], position[24];
	err ignored;

	pq_result result = pq_script(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", e);
	if (result == PQ_OK)
		result = fleet_place_of(c, uuid, place, e);
	if (result == PQ_OK && place->found) {
		const char *values[] = { place->no, from, to, place->epoch, position };
		snprintf(from, sizeof from, "%" PRId64, from_s);
		snprintf(to, sizeof to, "%" PRId64, to_s);
		snprintf(position, sizeof position, "%" PRId64, place->position);
		snprintf(sql, sizeof sql,
			 "SELECT " FLEET_HOUR " AS bucket%s FROM spoa_llm.requests WHERE gateway = $1::int AND"
			 " epoch = $4::int AND sequence <= $5::bigint AND " FLEET_ROWS_OF_HOURS
			 " GROUP BY bucket ORDER BY bucket",
			 fleet_sums_of_rows);
		result = pq_each(c, sql, 5, values, take_hour, hours, e);
		if (result == PQ_OK && strcmp(place->epoch, "1") != 0)
			result = pq_each(c,
					 "SELECT " FLEET_HOUR " AS bucket, count(*) FROM spoa_llm.requests"
					 " WHERE gateway = $1::int AND epoch < $4::int AND " FLEET_ROWS_OF_HOURS
					 " GROUP BY bucket ORDER BY bucket",
					 4, values, take_earlier, earlier, e);
	}
	if (result == PQ_OK)
		return pq_script(c, "COMMIT", e);
	if (result == PQ_FAILED && pq_script(c, "ROLLBACK", &ignored) != PQ_OK)
		return PQ_LOST;
	return result;
}

static int64_t hour_of_row(const record *r)
{
	int64_t s = r->time_ms < 0 ? 0 : r->time_ms / 1000;

	if (s >= FLEET_HOURS_END)
		s = FLEET_HOURS_END - 1;
	return s - s % 3600;
}

typedef struct taking {
	fleet_hours *hours;
	int64_t position;
} taking;

static bool take_row(void *ctx, const record *r)
{
	const taking *t = ctx;
	fleet_hour *hour = hour_of(t->hours, hour_of_row(r));

	if (!hour)
		return false;
	store_sums_add(&hour->sums, r);
	hour->waits = hour->waits || r->sequence > t->position;
	return true;
}

store_result fleet_hours_here(store *s, int64_t from_s, int64_t to_s, int64_t position, fleet_hours *hours, err *e)
{
	taking t = { hours, position };

	return store_export(s, fleet_from_ms(from_s), fleet_to_ms(to_s), take_row, &t, e);
}

/* Writes what differs, and returns true if anything does. */
static bool differ(const fleet_hour *here, const fleet_hour *there, char *out, size_t room)
{
	store_sums a = here ? here->sums : (store_sums){ .requests = 0 };
	store_sums b = there ? there->sums : (store_sums){ .requests = 0 };

	if (a.requests != b.requests) {
		snprintf(out, room, "the ledger has %" PRId64 " requests and PostgreSQL %" PRId64, a.requests,
			 b.requests);
		return true;
	}
	for (size_t i = 0; i < FLEET_SUMS_COUNT; i++) {
		int64_t mine = *fleet_sum(&a, i), other = *fleet_sum(&b, i);
		if (mine != other) {
			snprintf(out, room, "the sum of %s is %" PRId64 " in the ledger and %" PRId64 " in PostgreSQL",
				 names[i], mine, other);
			return true;
		}
	}
	return false;
}

size_t fleet_hours_compare(const fleet_hours *here, const fleet_hours *there, int64_t from_s, const char *gateway,
			   fleet_difference tell, void *ctx, size_t *compared)
{
	size_t waiting = 0, i = 0, k = 0;
	char problem[200];

	*compared = 0;
	while (i < here->count || k < there->count) {
		int64_t mine = i < here->count ? here->items[i].hour : INT64_MAX;
		int64_t other = k < there->count ? there->items[k].hour : INT64_MAX;
		int64_t hour = mine < other ? mine : other;
		const fleet_hour *a = mine == hour ? &here->items[i++] : NULL;
		const fleet_hour *b = other == hour ? &there->items[k++] : NULL;
		if (hour < from_s)
			continue;
		if (a && a->waits) {
			waiting++;
			continue;
		}
		++*compared;
		if (differ(a, b, problem, sizeof problem))
			tell(ctx, gateway, hour, problem);
	}
	return waiting;
}

fleet_lost fleet_hours_lost(const fleet_hours *here, const fleet_hours *earlier, int64_t from_s)
{
	fleet_lost lost = { .requests = 0 };
	size_t k = 0;

	for (size_t i = 0; i < earlier->count; i++) {
		const fleet_hour *hour = &earlier->items[i];
		while (k < here->count && here->items[k].hour < hour->hour)
			k++;
		bool waits = k < here->count && here->items[k].hour == hour->hour && here->items[k].waits;
		if (hour->hour < from_s || waits)
			continue;
		if (!lost.requests)
			lost.first_s = hour->hour;
		lost.last_s = hour->hour;
		lost.requests += hour->sums.requests;
	}
	return lost;
}

/* SPDX-License-Identifier: MIT */
#include "ship/fleet_facets.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/sum.h"
#include "ship/fleet_read.h"
#include "ship/fleet_span.h"
#include "ship/fleet_sql.h"

/* ---- parameters */

enum { BOUNDS = 4, LAST = BOUNDS + FILTER_VALUES_MAX + 3 };
_Static_assert((int)LAST <= (int)PQ_PARAMETERS_MAX,
	       "bounds, a filter, a gateway, a limit and an offset are parameters");

/* The bounds of a period ($1 to $4, see fleet_bounds), a filter, and a gateway as parameters. */
typedef struct asked {
	fleet_bounds at;
	filter_sql filter;
	char gateway[96]; /* " AND ..."; "": all */
	char limit[24], offset[24];
	const char *values[LAST];
	size_t count;
} asked;

static void ask(asked *a, const fleet_span *span, const row_filter *only, const char *gateway)
{
	size_t len = gateway ? strlen(gateway) : 0;

	fleet_bounds_of(&a->at, span);
	filter_make(&a->filter, only, '$', BOUNDS + 1);
	for (size_t i = 0; i < BOUNDS; i++)
		a->values[i] = a->at.text[i];
	memcpy(a->values + BOUNDS, a->filter.values, a->filter.count * sizeof a->values[0]);
	a->count = BOUNDS + a->filter.count;
	a->gateway[0] = '\0';
	if (!gateway)
		return;
	a->values[a->count++] = gateway;
	if (len && gateway[len - 1] == '*')
		snprintf(a->gateway, sizeof a->gateway, " AND substr(g.name, 1, length($%zu) - 1) || '*' = $%zu",
			 a->count, a->count);
	else
		snprintf(a->gateway, sizeof a->gateway, " AND g.name = $%zu", a->count);
}

#define GATEWAYS " JOIN spoa_llm.fleet_gateways g ON g.no = gateway"
/* The facets of a span: those of hours at its ends, and of days that are not made yet. */
#define IN_SPAN \
	" ((unit = 0 AND bucket >= $1::bigint AND bucket < $3::bigint) OR (unit = 0 AND bucket >= $4::bigint AND bucket < $2::bigint)" \
	" OR (unit = 1 AND bucket >= $3::bigint AND bucket < $4::bigint AND bucket < g.days_until)" \
	" OR (unit = 0 AND bucket >= greatest($3::bigint, (SELECT min(days_until) FROM spoa_llm.fleet_gateways))" \
	" AND bucket < $4::bigint AND bucket >= g.days_until))"

/* ---- sums */

/* The labels of a facet, in the order of facet_name. */
static const char *const labels[] = {
	[FACET_ROUTE] = "route",
	[FACET_BACKEND] = "backend",
	[FACET_MODEL] = "model",
	[FACET_PROJECT] = "project",
	[FACET_CLIENT] = "client",
	[FACET_MEMBER] = "member",
	[FACET_STATUS] = "status::text",
	[FACET_CODE] = "code",
	[FACET_STATUS_CLASS] = "(CASE WHEN status BETWEEN 100 AND 599 THEN status / 100 ELSE 0 END)::text",
	[FACET_POOL_MEMBER] = "CASE WHEN member = '' THEN '' ELSE route || '/' || member END",
	[FACET_COUNT] = "g.name",
};

static void label_of(char *out, size_t room, unsigned by)
{
	size_t len = (size_t)snprintf(out, room, "concat_ws(U&'\\001f'");

	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
		if (by & FACET_BIT(i))
			len += (size_t)snprintf(out + len, room - len, ", %s", labels[i]);
	len += (size_t)snprintf(out + len, room - len, by ? ")" : ", '')");
	assert(len < room);
}

#define STATUS(class) ", coalesce(sum(requests) FILTER (WHERE status / 100 = " #class "), 0)"

/* Writes the statement: a row for each time and label, with the sums, those of the classes of status from 1 on, when
 * the last request came, and the times of answers. */
static void make_sql(char *out, size_t room, const store_facet_question *q, const asked *a)
{
	const char *time = q->unit == FACET_HOURS ? "bucket" :
			   q->unit == FACET_DAYS  ? "bucket - bucket % 86400" :
						    "0::bigint";
	char label[512];

	label_of(label, sizeof label, q->by);
	int len = snprintf(
		out, room,
		"WITH found AS NOT MATERIALIZED (SELECT %s AS at, %s AS named, f.* FROM"
		" spoa_llm.fleet_facets f" GATEWAYS " WHERE" IN_SPAN "%s%s),"
		" sums AS (SELECT at, named" STATUS(1) STATUS(2) STATUS(3) STATUS(4) STATUS(
			5) ", max(last_ms) AS last%s"
			   " FROM found GROUP BY at, named HAVING sum(requests) <> 0),"
			   " times AS (SELECT at, named, string_agg(ms || ':' || n, ',' ORDER BY ms) FILTER (WHERE NOT whole),"
			   " string_agg(ms || ':' || n, ',' ORDER BY ms) FILTER (WHERE whole) FROM (SELECT at, named, whole,"
			   " (t + 134217728) >> 28 AS ms, sum(t - ((t + 134217728) >> 28 << 28))::bigint AS n FROM"
			   " (SELECT at, named, false AS whole, unnest(first_byte) AS t FROM found"
			   " UNION ALL SELECT at, named, true, unnest(whole) FROM found) AS t"
			   " GROUP BY at, named, whole, ms) AS n WHERE n > 0 AND %s GROUP BY at, named)"
			   " SELECT * FROM sums LEFT JOIN times USING (at, named)"
			   " ORDER BY at, cost DESC, requests DESC, named COLLATE \"C\"",
		time, label, a->gateway, a->filter.where, fleet_sums_sums, q->times ? "true" : "false");
	assert(len > 0 && (size_t)len < room);
}

typedef struct reading {
	bool (*each)(void *ctx, const store_facet *f);
	void *ctx;
	store_times times; /* whose bins have room for all */
	bool bad;
} reading;

/* Returns the bin of a time, which has two digits. */
static int bin_of(int64_t ms)
{
	int bin = TIMES_EXACT;

	if (ms < TIMES_EXACT)
		return ms < 0 ? 0 : (int)ms;
	for (; ms >= 1000; ms /= 10)
		bin += 90;
	bin += (int)ms / 10 - 10;
	return bin < TIMES_BINS ? bin : TIMES_BINS - 1;
}

/* Adds the times of `text`, "MS:COUNT,MS:COUNT" in their order. False: it is something else. */
static bool add_times(store_times *to, time_which which, const char *text)
{
	int last = -1;

	while (*text) {
		char *end;
		int bin = (int)which * TIMES_BINS + bin_of(strtoll(text, &end, 10));
		if (end == text || *end != ':')
			return false;
		text = end + 1;
		int64_t count = strtoll(text, &end, 10);
		if (end == text || (*end && *end != ',') || (bin != last && to->count == to->room))
			return false;
		if (bin != last)
			to->bins[to->count++] = (times_bin){ bin, 0 };
		to->bins[to->count - 1].count = add_capped(to->bins[to->count - 1].count, count);
		last = bin;
		text = end + (*end == ',');
	}
	return true;
}

/* The columns of a row. */
enum { AT, LABEL, CLASS_1, LAST_MS = CLASS_1 + 5, SUMS, FIRST_BYTE = SUMS + FLEET_SUMS_COUNT, WHOLE };

static bool take(void *ctx, const pq_rows *row)
{
	reading *r = ctx;
	store_sums sums = { .requests = 0 };
	store_facet f = { .time_ms = fleet_within(pq_int(row, 0, AT)) * 1000,
			  .label = pq_text(row, 0, LABEL),
			  .sums = &sums,
			  .times = &r->times,
			  .last_ms = pq_int(row, 0, LAST_MS) };

	for (size_t i = 0; i < FLEET_SUMS_COUNT; i++)
		*fleet_sum(&sums, i) = pq_int(row, 0, SUMS + i);
	f.status[0] = sums.requests;
	for (size_t i = 1; i < 6; i++) {
		f.status[i] = pq_int(row, 0, CLASS_1 + i - 1);
		f.status[0] = sub_capped(f.status[0], f.status[i]);
	}
	r->times.count = 0;
	r->bad = !add_times(&r->times, TIME_FIRST_BYTE, pq_text(row, 0, FIRST_BYTE)) ||
		 !add_times(&r->times, TIME_WHOLE, pq_text(row, 0, WHOLE));
	return !r->bad && r->each(r->ctx, &f);
}

/* Notes what an answer is about. */
static void tell_period(const fleet_span *span, int64_t to_ms, int64_t *from, int64_t *to)
{
	*from = span->from_s * 1000;
	*to = to_ms == INT64_MAX ? INT64_MAX : span->to_s * 1000;
}

pq_result fleet_facets(pq *c, const char *gateway, const store_facet_question *q,
		       bool (*each)(void *ctx, const store_facet *f), void *ctx, store_facets_told *told, err *e)
{
	times_bin bins[TIME_KINDS * TIMES_BINS];
	reading r = { each, ctx, { bins, 0, TIME_KINDS * TIMES_BINS }, false };
	char sql[FLEET_SQL_MAX];
	fleet_span span;
	asked a;

	*told = (store_facets_told){ .from_ms = 0 };
	pq_result result = fleet_span_of(c, q->from_ms, q->to_ms, q->unit != FACET_HOURS, &span, e);
	if (result != PQ_OK)
		return result;
	tell_period(&span, q->to_ms, &told->from_ms, &told->to_ms);
	told->whole_ms = span.facets_s * 1000;
	ask(&a, &span, q->only, gateway);
	make_sql(sql, sizeof sql, q, &a);
	result = pq_each(c, sql, a.count, a.values, take, &r, e);
	if (result == PQ_OK && r.bad) {
		err_set(e, "the times of answers in PostgreSQL cannot be read");
		result = PQ_FAILED;
	}
	return result;
}

/* ---- pages of the list */

static bool take_total(void *ctx, const store_facet *f)
{
	*(int64_t *)ctx = f->sums->requests;
	return true;
}

/* The bounds of days have no meaning for rows, but each parameter needs a type. */
#define UNUSED_DAYS " AND $3::bigint IS NOT NULL AND $4::bigint IS NOT NULL"
/* The hours in which the rows of the page are. `skip`: how many of an hour's matching rows come before the page. `upto`
 * and `before`: how many rows, matching or not, these hours have together with this one and without it. %s: the
 * direction in time, three times. */
#define HOURS_OF_PAGE \
	"WITH hours AS (SELECT bucket, sum(requests) AS n FROM spoa_llm.fleet_facets" GATEWAYS \
	" WHERE unit = 0 AND bucket >= $1::bigint AND bucket < $2::bigint" UNUSED_DAYS "%s%s" \
	" GROUP BY bucket HAVING sum(requests) > 0)," \
	" run AS (SELECT bucket, n, sum(n) OVER (ORDER BY bucket %s) AS upto FROM hours)," \
	" part AS (SELECT bucket, greatest(0, $%zu::bigint - (upto - n))::bigint AS skip FROM run" \
	" WHERE upto > $%zu::bigint AND upto - n < $%zu::bigint + $%zu::bigint)," \
	" need AS MATERIALIZED (SELECT bucket, skip, sum(n) OVER (ORDER BY bucket %s) AS upto," \
	" least(sum(n) OVER (ORDER BY bucket %s) - n, %d)::bigint AS before FROM part JOIN (SELECT bucket, sum(requests) AS n" \
	" FROM spoa_llm.fleet_sums WHERE kind = 0 AND bucket >= $1::bigint AND bucket < $2::bigint GROUP BY bucket) AS s" \
	" USING (bucket))"
#define ROWS_OF_HOUR \
	" r.time_ms >= CASE h.bucket WHEN 0 THEN -9223372036854775807 ELSE h.bucket * 1000 END" \
	" AND r.time_ms < CASE h.bucket WHEN 253402297200 THEN 9223372036854775807 ELSE (h.bucket + 3600) * 1000 END"

/* The rows of ids that are UUIDs of version 7, as haproxy.cfg.example makes them, which begin with a time in
 * milliseconds: the hours around it. False: the id, or its beginning, tells no time. */
static bool period_of_id(const char *id, int64_t *from_ms, int64_t *to_ms)
{
	int64_t ms = 0;

	for (size_t i = 0; i < 15; i++) {
		const char *digits = "0123456789abcdef", *digit = id[i] ? strchr(digits, id[i] | 0x20) : NULL;
		if (i == 8 || i == 13 ? id[i] != '-' : i == 14 ? id[i] != '7' : !digit)
			return false;
		if (i < 14 && i != 8 && i != 13)
			ms = ms * 16 + (digit - digits);
	}
	*from_ms = ms - HOUR_MS;
	*to_ms = ms + HOUR_MS;
	return true;
}

/* As ask(), with the limit and the offset of a page as the last two parameters. */
static void ask_page(asked *a, const fleet_span *span, const store_page_question *q, const char *gateway)
{
	ask(a, span, q->only, gateway);
	snprintf(a->limit, sizeof a->limit, "%" PRId64, q->limit);
	snprintf(a->offset, sizeof a->offset, "%" PRId64, q->offset);
	a->values[a->count++] = a->limit;
	a->values[a->count++] = a->offset;
}

typedef struct noting {
	bool (*each)(void *ctx, const record *r, const char *gateway);
	void *ctx;
	int64_t rows;
	bool ended;
} noting;

static bool note_row(void *ctx, const record *r, const char *gateway)
{
	noting *n = ctx;

	n->rows++;
	n->ended = !n->each(n->ctx, r, gateway);
	return !n->ended;
}

/* Sets `*any` if `sql` has a row. */
static pq_result is_any(pq *c, const char *sql, const asked *a, size_t count, bool *any, err *e)
{
	pq_rows *rows = NULL;
	pq_result result = pq_run(c, sql, count, a->values, &rows, e);

	*any = result == PQ_OK && pq_rows_count(rows) > 0;
	pq_rows_free(rows);
	return result;
}

/* If `on`, has PostgreSQL read rows by the key, in the order of time. Else it may sort all rows to return some. */
static pq_result read_by_key(pq *c, bool on, err *e)
{
	return pq_run(c, on ? "SET enable_sort = off" : "RESET enable_sort", 0, NULL, NULL, e);
}

/* Reads a page of the rows in [from_ms, to_ms), in the order of time. It looks at STORE_PAGE_READ of them. Sets
 * `*stopped` if the page is not full and there are more rows. */
static pq_result read_rows(pq *c, const char *gateway, const store_page_question *q, int64_t from_ms, int64_t to_ms,
			   noting *to, bool *stopped, err *e)
{
	/* The first hour has the rows of clocks before 1970, too. */
	const fleet_span span = { from_ms <= 0 ? INT64_MIN : from_ms, to_ms, 0, 0, 0 };
	const char *way = q->oldest_first ? "ASC" : "DESC";
	char sql[FLEET_SQL_MAX], names[2048], looked[512];
	asked a;

	ask_page(&a, &span, q, gateway);
	fleet_row_names(names, sizeof names);
	snprintf(looked, sizeof looked,
		 " FROM spoa_llm.requests WHERE time_ms >= $1::bigint AND time_ms < $2::bigint" UNUSED_DAYS
		 " ORDER BY time_ms %s, gateway %s, id %s",
		 way, way, way);
	int len = snprintf(sql, sizeof sql,
			   "SELECT g.name%s FROM (SELECT *%s LIMIT %d) AS p" GATEWAYS " WHERE true%s%s"
			   " ORDER BY p.time_ms %s, p.gateway %s, p.id %s LIMIT $%zu::bigint OFFSET $%zu::bigint",
			   names, looked, (int)STORE_PAGE_READ, a.gateway, a.filter.where, way, way, way, a.count - 1,
			   a.count);
	assert(len > 0 && (size_t)len < sizeof sql);
	pq_result result = fleet_each_row(c, sql, a.count, a.values, note_row, to, e);
	*stopped = false;
	if (result != PQ_OK || to->ended || to->rows >= q->limit)
		return result;
	snprintf(sql, sizeof sql, "SELECT 1%s LIMIT 1 OFFSET %d", looked, (int)STORE_PAGE_READ);
	return is_any(c, sql, &a, BOUNDS, stopped, e);
}

/* Reads a page of rows from the hours that have some, as their facets say. */
static pq_result read_hours(pq *c, const char *gateway, const store_page_question *q, const fleet_span *span,
			    noting *to, bool *stopped, err *e)
{
	const char *way = q->oldest_first ? "ASC" : "DESC";
	char sql[FLEET_SQL_MAX], names[2048], hours[4096];
	asked a;

	ask_page(&a, span, q, gateway);
	size_t of = a.count, lim = a.count - 1;
	fleet_row_names(names, sizeof names);
	int len = snprintf(hours, sizeof hours, HOURS_OF_PAGE, a.gateway, a.filter.where, way, of, of, of, lim, way,
			   way, (int)STORE_PAGE_READ);
	assert(len > 0 && (size_t)len < sizeof hours);
	len = snprintf(
		sql, sizeof sql,
		"%s SELECT p.name%s FROM need h CROSS JOIN LATERAL (SELECT g.name, r.* FROM"
		" (SELECT * FROM spoa_llm.requests r WHERE" ROWS_OF_HOUR
		" ORDER BY r.time_ms %s, r.gateway %s, r.id %s LIMIT %d - h.before) AS r" GATEWAYS
		" WHERE true%s%s ORDER BY r.time_ms %s, r.gateway %s, r.id %s"
		" LIMIT $%zu::bigint OFFSET h.skip) AS p ORDER BY p.time_ms %s, p.gateway %s, p.id %s LIMIT $%zu::bigint",
		hours, names, way, way, way, (int)STORE_PAGE_READ, a.gateway, a.filter.where, way, way, way, lim, way,
		way, way, lim);
	assert(len > 0 && (size_t)len < sizeof sql);
	pq_result result = fleet_each_row(c, sql, a.count, a.values, note_row, to, e);
	if (result != PQ_OK || to->ended || to->rows >= q->limit)
		return result;
	len = snprintf(sql, sizeof sql, "%s SELECT 1 FROM need WHERE upto > %d LIMIT 1", hours, (int)STORE_PAGE_READ);
	assert(len > 0 && (size_t)len < sizeof sql);
	return is_any(c, sql, &a, a.count, stopped, e);
}

static pq_result read_page(pq *c, const char *gateway, const store_page_question *q, noting *to, store_page_told *told,
			   err *e)
{
	const store_facet_question all = { .from_ms = q->from_ms, .to_ms = q->to_ms, .only = q->only };
	const bool has_id = q->only && q->only->id;
	store_facets_told facets = { .whole_ms = 0 };
	int64_t near_ms, far_ms;
	fleet_span span;

	pq_result result = fleet_span_of(c, q->from_ms, q->to_ms, true, &span, e);
	if (result != PQ_OK)
		return result;
	tell_period(&span, q->to_ms, &told->from_ms, &told->to_ms);
	if (span.facets_s <= span.from_s && !has_id) {
		told->total = 0;
		result = fleet_facets(c, gateway, &all, take_total, &told->total, &facets, e);
		if (result != PQ_OK || !told->total)
			return result;
	}
	result = read_by_key(c, true, e);
	if (result != PQ_OK)
		return result;
	if (has_id && period_of_id(q->only->id, &near_ms, &far_ms)) {
		near_ms = near_ms > told->from_ms ? near_ms : told->from_ms;
		far_ms = far_ms < told->to_ms ? far_ms : told->to_ms;
		result = read_rows(c, gateway, q, near_ms, far_ms, to, &told->stopped, e);
		if (result != PQ_OK || to->rows)
			return result;
	}
	if (span.facets_s > span.from_s || has_id)
		return read_rows(c, gateway, q, told->from_ms, told->to_ms, to, &told->stopped, e);
	result = read_hours(c, gateway, q, &span, to, &told->stopped, e);
	/* Facets also count the rows that were dropped by their age. */
	if (told->stopped || (!to->ended && to->rows < q->limit && q->offset + to->rows < told->total))
		told->total = -1;
	return result;
}

pq_result fleet_page(pq *c, const char *gateway, const store_page_question *q,
		     bool (*each)(void *ctx, const record *r, const char *gateway), void *ctx, store_page_told *told,
		     err *e)
{
	noting to = { each, ctx, 0, false };
	err other = { 0 };

	*told = (store_page_told){ .total = -1 };
	pq_result result = fleet_check_reader(c, e);
	if (result == PQ_OK)
		result = read_page(c, gateway, q, &to, told, e);
	/* It fails only if the connection is gone. */
	(void)!read_by_key(c, false, &other);
	return result;
}

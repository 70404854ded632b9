/* SPDX-License-Identifier: MIT */
#include "ship/spent.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/text.h"
#include "budget/period.h"

enum { TOLD_AT_ONCE = 1000 }; /* accounts in one statement */

/* As in the tables. */
enum { PROJECT = 3, CLIENT = 4 };

/* $1: the gateway's number, $2: the accounts, $3: the day. Accounts of which nothing has changed are left alone. */
#define SUMS(of) \
	of "day_nano, " of "week_nano, " of "month_nano, " of "day_before, " of "week_before, " of "month_before"
#define TELL \
	"WITH q AS (UPDATE spoa_llm.gateways SET spent_sequence = spent_sequence + 1, seen = now() WHERE no = $1::int" \
	" RETURNING spent_sequence) INSERT INTO spoa_llm.spending AS s (gateway, kind, name, day, sequence, " SUMS("") ") SELECT $1::int, v.kind, v.name, $3::int, q.spent_sequence, " SUMS( \
		"v.") " FROM q CROSS JOIN json_to_recordset($2::json) AS v (kind int, name text, day_nano bigint, week_nano bigint," \
		      " month_nano bigint, day_before bigint, week_before bigint, month_before bigint) ORDER BY v.kind, v.name" \
		      " ON CONFLICT (kind, name, gateway) DO UPDATE SET day = EXCLUDED.day, sequence = EXCLUDED.sequence, day_nano =" \
		      " EXCLUDED.day_nano, week_nano = EXCLUDED.week_nano, month_nano = EXCLUDED.month_nano, day_before =" \
		      " EXCLUDED.day_before, week_before = EXCLUDED.week_before, month_before = EXCLUDED.month_before WHERE (s.day, " SUMS( \
			      "s.") ") IS DISTINCT FROM (EXCLUDED.day, " SUMS("EXCLUDED.") ")"
#define READ \
	"SELECT gateway, sequence, near, kind, name, day_nano, week_nano, month_nano" \
	" FROM spoa_llm.spent_elsewhere($1::int, $2::int[], $3::bigint[])"

static int64_t positive(int64_t nano)
{
	return nano > 0 ? nano : 0;
}

/* ---- the list */

void spent_init(spent *s)
{
	/* Another number than those of the process before. */
	*s = (spent){ .after = -1, .pass = (uint32_t)clock_mono_ms() };
}

void spent_deinit(spent *s)
{
	free(s->items);
	free(s->marks);
	spent_init(s);
}

/* Forgets what was read. The agent goes on with what it was told until a pass is complete. */
static void forget(spent *s)
{
	free(s->items);
	s->items = NULL;
	s->count = s->marks_count = s->next = 0;
	s->read = false;
}

void spent_begin(spent *s)
{
	s->after = -1;
	forget(s);
}

static int compare(const spent_account *a, const spent_account *b)
{
	return a->project != b->project ? (a->project ? -1 : 1) : strcmp(a->name, b->name);
}

/* ---- here */

/* An account of this gateway. */
typedef struct here {
	bool project;
	char name[RECORD_LABEL_MAX + 1];
	int64_t nano[6]; /* in the day, week and month, and in those before */
} here;

typedef struct here_list {
	here *items;
	size_t count, room;
	bool failed; /* out of memory */
} here_list;

static bool take_here(void *ctx, const store_spending *a)
{
	here_list *l = ctx;
	here *all = list_grow(l->items, &l->room, l->count, sizeof *all);

	l->failed = !all;
	if (!all)
		return false;
	l->items = all;
	here *one = &all[l->count++];
	one->project = a->project;
	snprintf(one->name, sizeof one->name, "%s", a->name);
	for (size_t i = 0; i < 3; i++) {
		one->nano[i] = positive(a->nano[i]);
		one->nano[i + 3] = positive(a->before[i]);
	}
	return true;
}

static void write_here(FILE *f, const here *a)
{
	static const char *const names[] = { "day_nano",   "week_nano",   "month_nano",
					     "day_before", "week_before", "month_before" };

	fprintf(f, "{\"kind\":%d,\"name\":", a->project ? PROJECT : CLIENT);
	json_write_text(f, a->name);
	for (size_t i = 0; i < 6; i++)
		fprintf(f, ",\"%s\":%" PRId64, names[i], a->nano[i]);
	fputc('}', f);
}

/* Tells PostgreSQL of `count` accounts by one statement. */
static pq_result tell_some(const here *items, size_t count, pq *c, const char *no, const char *day, err *e)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	pq_result result = PQ_LOST;

	for (size_t i = 0; f && i < count; i++) {
		fputc(i ? ',' : '[', f);
		write_here(f, &items[i]);
	}
	if (f)
		fputc(']', f);
	if (f && fclose(f) == 0)
		result = pq_run(c, TELL, 3, (const char *[]){ no, text, day }, NULL, e);
	else
		err_memory(e);
	free(text);
	return result;
}

static store_periods periods_of(int64_t day)
{
	static const period_kind kinds[] = { PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH };
	store_periods p = { .first_s = { 0 } };

	for (size_t i = 0; i < 3; i++) {
		int64_t first = period_first(kinds[i], day);
		p.first_s[i] = first * (DAY_MS / 1000);
		p.before_s[i] = period_first(kinds[i], first - 1) * (DAY_MS / 1000);
	}
	return p;
}

static pq_result tell_here(spent *s, pq *c, const char *no, store *db, const char *day, err *e)
{
	const store_periods periods = periods_of(s->day);
	here_list changed = { .items = NULL };
	pq_result result = PQ_OK;
	store_id id;

	/* The sequence first: what changes meanwhile is told by the next call. */
	if (store_identity(db, &id, e) != STORE_OK)
		return PQ_LOST;
	if (id.sequence == s->after)
		return PQ_OK;
	/* All of them before the first statement, because SQLite cannot begin its log anew while it is read. */
	if (store_spendings(db, s->after, &periods, take_here, &changed, e) != STORE_OK)
		result = PQ_LOST;
	if (changed.failed) {
		err_memory(e);
		result = PQ_LOST;
	}
	for (size_t at = 0; result == PQ_OK && at < changed.count; at += TOLD_AT_ONCE) {
		size_t left = changed.count - at;
		result = tell_some(changed.items + at, left < TOLD_AT_ONCE ? left : TOLD_AT_ONCE, c, no, day, e);
	}
	free(changed.items);
	if (result == PQ_OK)
		s->after = id.sequence;
	return result;
}

/* ---- elsewhere */

static bool append_number(buf *to, int64_t n, bool first)
{
	char text[24];
	int len = snprintf(text, sizeof text, "%s%" PRId64, first ? "{" : ",", n);

	return buf_append(to, text, (size_t)len);
}

/* Writes the marks as two arrays of PostgreSQL. */
static bool write_marks(const spent *s, buf *gateways, buf *sequences)
{
	for (size_t i = 0; i < s->marks_count; i++)
		if (!append_number(gateways, s->marks[i].gateway, i == 0) ||
		    !append_number(sequences, s->marks[i].sequence, i == 0))
			return false;
	const char *end = s->marks_count ? "}" : "{}";
	return buf_append(gateways, end, strlen(end) + 1) && buf_append(sequences, end, strlen(end) + 1);
}

/* Takes the gateways, which come first. Sets `*at` to the row behind them. */
static bool take_marks(spent *s, const pq_rows *rows, size_t *at)
{
	s->marks_count = 0;
	s->gateways = 1;
	for (*at = 0; *at < pq_rows_count(rows) && !pq_is_null(rows, *at, 0); (*at)++) {
		spent_mark *all = list_grow(s->marks, &s->marks_room, s->marks_count, sizeof *all);
		if (!all)
			return false;
		s->marks = all;
		s->marks[s->marks_count++] = (spent_mark){ pq_int(rows, *at, 0), pq_int(rows, *at, 1) };
		s->gateways += *pq_text(rows, *at, 2) == 't';
	}
	return true;
}

/* Puts the accounts from the row `at` on into the list. Both are in the same order. */
static bool take_items(spent *s, const pq_rows *rows, size_t at)
{
	size_t end = pq_rows_count(rows), old = 0, count = 0;

	if (at == end)
		return true;
	spent_account *all = malloc((s->count + end - at) * sizeof *all);
	for (size_t i = at; all && i < end; i++) {
		spent_account is = { .project = pq_int(rows, i, 3) == PROJECT };
		if (strlen(pq_text(rows, i, 4)) > RECORD_LABEL_MAX) /* no client or project has such a name */
			continue;
		snprintf(is.name, sizeof is.name, "%s", pq_text(rows, i, 4));
		for (size_t k = 0; k < 3; k++)
			is.nano[k] = pq_int(rows, i, 5 + k);
		while (old < s->count && compare(&s->items[old], &is) < 0)
			all[count++] = s->items[old++];
		old += old < s->count && compare(&s->items[old], &is) == 0;
		all[count++] = is;
	}
	if (!all)
		return false;
	while (old < s->count)
		all[count++] = s->items[old++];
	free(s->items);
	s->items = all;
	s->count = count;
	return true;
}

static pq_result read_elsewhere(spent *s, pq *c, const char *day, err *e)
{
	buf gateways, sequences;
	pq_rows *rows = NULL;
	pq_result result = PQ_LOST;
	size_t at;

	buf_init(&gateways, SIZE_MAX / 2);
	buf_init(&sequences, SIZE_MAX / 2);
	if (write_marks(s, &gateways, &sequences)) {
		const char *values[] = { day, (const char *)gateways.data, (const char *)sequences.data };
		result = pq_run(c, READ, 3, values, &rows, e);
	} else {
		err_memory(e);
	}
	if (result == PQ_OK && !(take_marks(s, rows, &at) && take_items(s, rows, at))) {
		err_memory(e);
		result = PQ_LOST;
	}
	s->read = s->read || result == PQ_OK;
	pq_rows_free(rows);
	buf_deinit(&gateways);
	buf_deinit(&sequences);
	return result;
}

pq_result spent_exchange(spent *s, pq *c, const char *no, store *db, int64_t now_ms, err *e)
{
	int64_t day = period_day(now_ms);
	char text[24];

	if (day != s->day) { /* what was read is of other periods */
		forget(s);
		s->day = day;
	}
	snprintf(text, sizeof text, "%" PRId64, day);
	pq_result result = tell_here(s, c, no, db, text, e);
	return result == PQ_OK ? read_elsewhere(s, c, text, e) : result;
}

/* ---- the agent */

/* Writes one message, with as many accounts from `s->next` on, and before `end`, as it has room for. Returns its
 * length, and sets `*next` to the first account that is not in it. */
static size_t write_message(const spent *s, size_t end, char out[SPENT_MESSAGE_MAX], size_t *next)
{
	FILE *f = fmemopen(out, SPENT_MESSAGE_MAX, "w");
	long len = 0;

	if (!f)
		return 0;
	fprintf(f,
		"{\"v\":1,\"kind\":\"spent\",\"pass\":%" PRIu32 ",\"first\":%s,\"day\":%" PRId64
		",\"gateways\":%" PRId64 ",\"spent\":[",
		s->pass, s->next == 0 ? "true" : "false", s->day, s->gateways);
	/* An account has a name of at most RECORD_LABEL_MAX bytes, each of them six if it is escaped, and three sums.
	 */
	size_t at = s->next;
	for (; at < end && ftell(f) < SPENT_MESSAGE_MAX - 6 * RECORD_LABEL_MAX - 128; at++) {
		const spent_account *a = &s->items[at];
		fprintf(f, "%s[%d,", at > s->next ? "," : "", a->project ? PROJECT : CLIENT);
		json_write_text(f, a->name);
		fprintf(f, ",%" PRId64 ",%" PRId64 ",%" PRId64 "]", a->nano[0], a->nano[1], a->nano[2]);
	}
	fprintf(f, "],\"last\":%s}", at == s->count ? "true" : "false");
	len = ftell(f);
	*next = at;
	return fclose(f) == 0 && len > 0 ? (size_t)len : 0;
}

void spent_tell(spent *s, bool (*say)(void *ctx, slice message), void *ctx)
{
	char message[SPENT_MESSAGE_MAX];
	size_t end = s->count - s->next > SPENT_TOLD ? s->next + SPENT_TOLD : s->count, next;

	if (!s->read)
		return;
	do {
		if (s->next == 0)
			s->pass++;
		size_t len = write_message(s, end, message, &next);
		if (len == 0 || !say(ctx, slice_of(message, len)))
			break;
		s->next = next;
	} while (s->next < end);
	if (s->next == s->count)
		s->next = 0;
}

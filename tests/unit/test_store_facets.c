/* SPDX-License-Identifier: MIT
 *
 * Facets against the records themselves: random records, questions and pages are counted one by one here. */
#include "store_rig.h"

#include "ledger/store_impl.h"

enum { ROWS = 4500, GROUPS = 5000 };

static record rows[ROWS];
static size_t row_count;

/* ---- what is to be said of rows */

static bool label_passes(const char *want, const char *label)
{
	size_t len = want ? strlen(want) : 0;

	if (!want)
		return true;
	return len && want[len - 1] == '*' ? strncmp(label, want, len - 1) == 0 : strcmp(label, want) == 0;
}

static bool row_passes(const row_filter *f, const record *r)
{
	return label_passes(f->model, r->model) && label_passes(f->route, r->route) &&
	       label_passes(f->project, r->project) && label_passes(f->client, r->client) &&
	       label_passes(f->member, r->member) && label_passes(f->code, r->code) && label_passes(f->id, r->id) &&
	       (!f->status_to || (r->status >= f->status_from && r->status < f->status_to));
}

static void label_of(unsigned by, const record *r, char out[1000])
{
	char status[16], class[16], member[200];
	const char *const labels[FACET_COUNT] = { r->route,  r->backend, r->model, r->project, r->client,
						  r->member, status,     r->code,  class,      member };
	size_t len = 0;

	snprintf(status, sizeof status, "%d", (int)r->status);
	snprintf(class, sizeof class, "%d", (int)r->status / 100);
	snprintf(member, sizeof member, "%s%s%s", r->member[0] ? r->route : "", r->member[0] ? "/" : "", r->member);
	out[0] = '\0';
	for (unsigned i = 0, any = 0; i < FACET_COUNT; i++)
		if (by & FACET_BIT(i))
			len += (size_t)snprintf(out + len, 1000 - len, "%s%s", any++ ? "\x1f" : "", labels[i]);
}

static int64_t two_digits(int64_t ms)
{
	int64_t unit = 1;

	while (ms / unit >= 100)
		unit *= 10;
	int64_t digits = (ms + unit / 2) / unit;
	return digits * unit;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

typedef struct want {
	int64_t time_ms, last_ms, status[6];
	char label[1000];
	store_sums sums;
	int last_row; /* of the group; -1: none */
	bool seen;
} want;

static want *wants;
static int before[ROWS]; /* the row of the same group before this one */
static size_t want_count, seen_count;
static int64_t before_cost, before_time;

static void count_rows(const store_facet_question *q)
{
	static const row_filter all = { .model = NULL };
	int64_t unit = q->unit == FACET_DAYS ? DAY_MS : HOUR_MS;

	want_count = seen_count = 0;
	for (size_t i = 0; i < row_count; i++) {
		const record *r = &rows[i];
		char label[1000];
		int64_t hour = r->time_ms / HOUR_MS * HOUR_MS,
			time = q->unit == FACET_WHOLE ? 0 : r->time_ms / unit * unit;
		if (hour < q->from_ms || hour >= q->to_ms || !row_passes(q->only ? q->only : &all, r))
			continue;
		label_of(q->by, r, label);
		want *w = wants;
		while (w < wants + want_count && (w->time_ms != time || strcmp(w->label, label) != 0))
			w++;
		if (w == wants + want_count) {
			if (want_count++ == GROUPS)
				abort();
			memset(w, 0, sizeof *w);
			w->time_ms = time;
			w->last_row = -1;
			memcpy(w->label, label, sizeof label);
		}
		store_sums_add(&w->sums, r);
		w->status[r->status / 100]++;
		w->last_ms = r->time_ms > w->last_ms ? r->time_ms : w->last_ms;
		before[i] = w->last_row;
		w->last_row = (int)i;
	}
}

static bool same_sums(const store_sums *a, const store_sums *b)
{
	return memcmp(&a->requests, &b->requests, sizeof *a - offsetof(store_sums, requests)) == 0;
}

static bool compare(void *ctx, const store_facet *f)
{
	const store_facet_question *q = ctx;
	want *w = wants;

	CHECK(f->label != NULL);
	while (w < wants + want_count && (w->time_ms != f->time_ms || strcmp(w->label, f->label) != 0))
		w++;
	CHECK(w < wants + want_count);
	if (w == wants + want_count)
		return false;
	CHECK(!w->seen && same_sums(&w->sums, f->sums) && w->last_ms == f->last_ms &&
	      memcmp(w->status, f->status, sizeof w->status) == 0);
	CHECK(f->time_ms > before_time || (f->time_ms == before_time && f->sums->cost <= before_cost));
	before_time = f->time_ms;
	before_cost = f->sums->cost;
	w->seen = true;
	seen_count++;
	for (int which = 0; q->times && which < TIME_KINDS; which++) {
		static int64_t times[ROWS];
		size_t n = 0;
		for (int i = w->last_row; i >= 0; i = before[i]) {
			int64_t ms = which == TIME_WHOLE ? rows[i].total_ms : rows[i].ttfb_ms;
			if (!rows[i].code[0] && ms >= 0)
				times[n++] = ms;
		}
		CHECK(times_count(f->times, (time_which)which) == (int64_t)n);
		qsort(times, n, sizeof times[0], by_size);
		for (unsigned p = 1; p <= 100; p += p == 1 ? 49 : 5) {
			int64_t want_ms = n ? two_digits(times[(n * p + 99) / 100 - 1]) : -1;
			CHECK(times_percentile(f->times, (time_which)which, p) == want_ms);
		}
	}
	return true;
}

/* Asks `s`, and compares the answer with the rows. */
static void ask_facets(store *s, const store_facet_question *q)
{
	store_facets_told told;
	err e = { 0 };

	count_rows(q);
	before_time = -1;
	before_cost = 0;
	CHECK(store_facets(s, q, compare, (void *)(uintptr_t)q, &told, &e) == STORE_OK);
	CHECK(seen_count == want_count && told.untold == 0);
}

/* ---- questions at random */

static row_filter some_filter(void)
{
	static char texts[7][100];
	const record *r = &rows[roll((int64_t)row_count)];
	row_filter f = { .model = NULL };

	for (int i = 0; i < 7; i++)
		snprintf(texts[i], sizeof texts[i], "%s",
			 (const char *const[]){ r->model, r->route, r->project, r->client, r->member, r->code,
						r->id }[i]);
	if (roll(3) == 0)
		f.model = texts[0];
	if (roll(3) == 0)
		f.route = texts[1];
	if (roll(3) == 0)
		f.project = texts[2];
	if (roll(4) == 0)
		f.client = texts[3];
	if (roll(4) == 0)
		f.member = texts[4];
	if (roll(4) == 0)
		f.code = texts[5];
	if (roll(8) == 0)
		f.id = texts[6];
	if (f.id && roll(2))
		memcpy(texts[6] + 4, "*", 2);
	if (f.model && roll(2))
		texts[0][strlen(texts[0]) - 1] = '*';
	if (roll(4) == 0) {
		f.status_from = roll(3) ? r->status / 100 * 100 : 0;
		f.status_to = f.status_from ? f.status_from + 100 : 1;
	}
	return f;
}

static void some_period(int64_t *from, int64_t *to)
{
	*from = roll(3) ? BEGIN_MS + roll(5 * DAY_MS) : 0;
	*to = roll(3) ? *from + roll(5 * DAY_MS) : INT64_MAX;
}

static void ask_at_random(store *s, int questions)
{
	static const unsigned bys[] = { FACET_NONE,
					FACET_UPSTREAM,
					FACET_REFUSAL,
					FACET_BIT(FACET_MODEL),
					FACET_BIT(FACET_STATUS_CLASS),
					FACET_BIT(FACET_POOL_MEMBER),
					FACET_BIT(FACET_PROJECT) | FACET_BIT(FACET_CLIENT) };

	for (int i = 0; i < questions; i++) {
		row_filter f = some_filter();
		store_facet_question q = { .by = bys[roll(sizeof bys / sizeof bys[0])],
					   .unit = (facet_unit)roll(3),
					   .only = roll(4) ? &f : NULL,
					   .times = roll(2) == 1 };
		some_period(&q.from_ms, &q.to_ms);
		ask_facets(s, &q);
	}
}

static void fill(store *s)
{
	row_count = ROWS;
	for (int i = 0; i < ROWS; i++) {
		record *r = &rows[i];
		*r = record_number(i);
		if (roll(50) == 0)
			r->status = 0;
		r->ttfb_ms = roll(20) == 0 ? -1 : roll(roll(3) ? 400 : 200000);
		r->total_ms = roll(20) == 0 ? -1 : roll(roll(3) ? 9000 : 4000000000);
	}
	for (int i = 0; i < ROWS; i += 100)
		CHECK(insert(s, rows + i, 100) == 100);
}

typedef struct page {
	char ids[ROWS][RECORD_ID_MAX + 1];
	size_t count;
} page;

static page shown;

static bool keep_id(void *ctx, const record *r)
{
	page *p = ctx;
	memcpy(p->ids[p->count++], r->id, sizeof r->id);
	return true;
}

/* After fill() some facets are in the tables, and some wait in `facet_log`. */
static void questions_are_answered_as_the_rows_do(void)
{
	store *s = new_store();
	fill(s);
	CHECK(strcmp(ask("SELECT (SELECT count(*) > 0 FROM facet_log), (SELECT count(*) > 0 FROM hourly WHERE kind = 6)"),
		     "1|1") == 0);
	ask_at_random(s, 15);
	CHECK(sound(s));
	store *reader = open_store(false);
	ask_at_random(reader, 5);
	store_close(reader);
	store_close(s);
}

/* A report of the tap changes what a request used. */
static void apply(void *ctx, record *r, const tap_report *told)
{
	(void)ctx;
	(void)told;
	r->output += 1000;
	r->cost += 5000000;
	r->usage = USAGE_STREAM;
	r->tap = TAP_TOLD;
}

static void what_changes_afterwards_counts_once(void)
{
	const store_join join = { .apply = apply };
	store *s = new_store();
	store_added added;
	err e = { 0 };

	fill(s);
	for (int i = 0; i < ROWS; i += 7) {
		tap_report late = { .time_ms = rows[i].time_ms, .status = 200, .final = true };
		store_batch b = { .reports = &late, .reports_count = 1 };
		memcpy(late.id, rows[i].id, sizeof late.id);
		CHECK(store_add(s, &b, &join, &added, &e) == STORE_OK && added.joined == 1);
		apply(NULL, &rows[i], &late);
	}
	CHECK(insert(s, rows, 100) == 0);
	ask_at_random(s, 5);
	CHECK(sound(s));
	store_close(s);
}

/* Rows that are removed stay in facets, and are on no page. */
static void pruned_rows_stay_in_facets(void)
{
	store_facet_question q = { .by = FACET_UPSTREAM, .unit = FACET_DAYS, .to_ms = INT64_MAX, .times = true };
	store_page_question all = { .to_ms = INT64_MAX, .limit = ROWS };
	store *s = new_store();
	store_page_told told;
	int64_t removed = 1;
	err e = { 0 };

	fill(s);
	while (removed)
		CHECK(store_prune(s, BEGIN_MS + 2 * DAY_MS + 12345678, INT64_MAX, &removed, &e) == STORE_OK);
	ask_facets(s, &q);
	shown.count = 0;
	CHECK(store_page(s, &all, keep_id, &shown, &told, &e) == STORE_OK);
	CHECK((size_t)told.total == shown.count && shown.count > ROWS / 3 && shown.count < ROWS);
	CHECK(atoll(ask("SELECT count(*) FROM requests")) == told.total);
	CHECK(sound(s));
	store_close(s);
}

/* A page has the rows that retention has kept for the shipper, with each filter, as an export does. */
static void kept_rows_are_on_the_page(void)
{
	const row_filter model = { .model = "model-1" }, id = { .id = "6*" };
	const row_filter *const filters[] = { NULL, &model, &id };
	int64_t removed = 1;
	store *s = new_store();
	err e = { 0 };

	fill(s);
	while (removed)
		CHECK(store_prune(s, BEGIN_MS + 2 * DAY_MS, ROWS / 4, &removed, &e) == STORE_OK);
	int64_t kept = atoll(ask(
		"SELECT count(*) FROM requests WHERE time_ms < (SELECT value FROM meta WHERE key = 'pruned_before')"));
	CHECK(kept > 100);
	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
		for (int oldest = 0; oldest < 2; oldest++) {
			store_page_question q = {
				.to_ms = INT64_MAX, .limit = ROWS, .only = filters[i], .oldest_first = oldest
			};
			store_page_told told;
			shown.count = 0;
			CHECK(store_page(s, &q, keep_id, &shown, &told, &e) == STORE_OK);
			size_t listed = shown.count;
			CHECK((size_t)told.total == listed && listed > (size_t)kept / 10);
			shown.count = 0;
			CHECK(store_last(s, 0, INT64_MAX, filters[i], ROWS, keep_id, &shown, &e) == STORE_OK);
			CHECK(shown.count == listed);
		}
	store_close(s);
}

/* Counts the requests that are told apart, and those that are not. */
static bool count_untold(void *ctx, const store_facet *f)
{
	int64_t *counts = ctx;
	counts[f->label ? 0 : 1] += f->sums->requests;
	return true;
}

/* Combinations beyond the limit are one sum, and an answer says how many requests that concerns. */
static void combinations_beyond_the_limit_are_not_told_apart(void)
{
	enum { COUNT = 3 * STORE_FACETS_PER_DAY };
	static record many[COUNT];
	row_filter only = { .model = "m1*" };
	store_facet_question q = { .by = FACET_BIT(FACET_MODEL), .unit = FACET_HOURS, .to_ms = INT64_MAX };
	store_page_question page_q = { .to_ms = INT64_MAX, .limit = 20, .only = &only };
	store_page_told page_told;
	store *s = new_store();
	store_facets_told told;
	int64_t counts[2] = { 0, 0 };
	err e = { 0 };

	for (int i = 0; i < COUNT; i++) {
		many[i] = record_number(i);
		many[i].time_ms = BEGIN_MS + roll(DAY_MS);
		snprintf(many[i].model, sizeof many[i].model, "m%d", i);
	}
	for (int i = 0; i < COUNT; i += 512)
		CHECK(insert(s, many + i, 512) == 512);
	CHECK(sound(s));
	CHECK(strcmp(ask("SELECT count(*), sum(label = 'other') FROM daily WHERE kind = 6"), "4097|1") == 0);
	CHECK(store_facets(s, &q, count_untold, counts, &told, &e) == STORE_OK);
	CHECK(counts[0] + counts[1] == COUNT && counts[1] == told.untold && told.untold >= STORE_FACETS_PER_DAY);
	/* With a filter they are left out; a page finds their rows all the same. */
	counts[0] = counts[1] = 0;
	q.only = &only;
	CHECK(store_facets(s, &q, count_untold, counts, &told, &e) == STORE_OK);
	CHECK(counts[0] > 0 && counts[1] == 0 && told.untold >= STORE_FACETS_PER_DAY);
	shown.count = 0;
	CHECK(store_page(s, &page_q, keep_id, &shown, &page_told, &e) == STORE_OK && shown.count == 20);
	CHECK(page_told.total == atoll(ask("SELECT count(*) FROM requests WHERE model LIKE 'm1%'")));
	store_close(s);
}

/* Facets of hours go after 40 days; those of days stay. */
static void old_hours_are_asked_by_days(void)
{
	store_facet_question q = {
		.by = FACET_BIT(FACET_CLIENT), .unit = FACET_DAYS, .to_ms = INT64_MAX, .times = true
	};
	store_facets_told told;
	store_added added;
	store *s = new_store();
	int64_t now = clock_wall_ms(), counts[2] = { 0, 0 };
	bool more = true;
	err e = { 0 };

	fill(s);
	for (int i = 0; i < ROWS; i++)
		rows[i].time_ms += (now - BEGIN_MS) / DAY_MS * DAY_MS - (STORE_FACET_HOURS_DAYS + 2) * DAY_MS;
	store_close(s);
	s = new_store();
	for (int i = 0; i < ROWS; i += 100)
		CHECK(insert(s, rows + i, 100) == 100);
	while (more)
		CHECK(store_tidy(s, NULL, 0, &added, &more, &e) == STORE_OK);
	CHECK(strcmp(ask("SELECT min(bucket) / 86400 = (SELECT min(bucket) / 86400 FROM hourly WHERE kind = 0) + 2"
			 " FROM hourly WHERE kind = 6"),
		     "1") == 0);
	CHECK(sound(s));
	ask_facets(s, &q);
	q.unit = FACET_HOURS;
	CHECK(store_facets(s, &q, count_untold, counts, &told, &e) == STORE_OK && counts[0] < ROWS);
	CHECK(told.from_ms == (now / DAY_MS - STORE_FACET_HOURS_DAYS) * DAY_MS);
	/* A late record of such an hour counts for its day. */
	record late = rows[0];
	late.time_ms = told.from_ms - 2 * DAY_MS + 5;
	snprintf(late.id, sizeof late.id, "late");
	CHECK(insert(s, &late, 1) == 1 && sound(s));
	store_close(s);
}

/* ---- pages */

static int newest_first(const void *a, const void *b)
{
	const record *x = a, *y = b;
	if (x->time_ms != y->time_ms)
		return x->time_ms < y->time_ms ? 1 : -1;
	return strcmp(y->id, x->id);
}

static void look_at_pages(store *s, int pages)
{
	qsort(rows, row_count, sizeof *rows, newest_first);
	for (int i = 0; i < pages; i++) {
		row_filter f = some_filter();
		store_page_question q = { .only = roll(4) ? &f : NULL,
					  .offset = roll(3) ? roll(40) : 0,
					  .limit = 1 + roll(30),
					  .oldest_first = roll(2) == 1 };
		store_page_told told;
		int64_t all = 0, given = 0;
		err e = { 0 };

		some_period(&q.from_ms, &q.to_ms);
		shown.count = 0;
		CHECK(store_page(s, &q, keep_id, &shown, &told, &e) == STORE_OK);
		for (size_t n = 0; n < row_count; n++) {
			const record *r = &rows[q.oldest_first ? row_count - 1 - n : n];
			int64_t hour = r->time_ms / HOUR_MS * HOUR_MS;
			if (hour < q.from_ms || hour >= q.to_ms || (q.only && !row_passes(q.only, r)))
				continue;
			if (all++ < q.offset || given == q.limit)
				continue;
			CHECK((size_t)given < shown.count && strcmp(shown.ids[given], r->id) == 0);
			given++;
		}
		CHECK(told.total == all && shown.count == (size_t)given && !told.stopped);
	}
}

static void pages_are_the_rows_in_their_order(void)
{
	store *s = new_store();
	fill(s);
	look_at_pages(s, 60);
	store_close(s);
}

/* ---- what is read */

typedef struct plans {
	char bad[300];
	int64_t steps;
} plans;

/* Looks at the plan of a statement that was run, and counts its steps. */
static int on_statement(unsigned type, void *ctx, void *ran, void *took)
{
	plans *p = ctx;
	sqlite3_stmt *st = ran;
	sqlite3 *db;

	(void)type;
	(void)took;
	p->steps += sqlite3_stmt_status(st, SQLITE_STMTSTATUS_VM_STEP, 1);
	sqlite3_stmt *plan = plan_of(sqlite3_sql(st), &db);
	while (plan && sqlite3_step(plan) == SQLITE_ROW) {
		const char *line = (const char *)sqlite3_column_text(plan, 3);
		bool scans = strncmp(line, "SCAN", 4) == 0 && !strstr(line, "facet_log") && !strstr(line, "CONSTANT");
		if (scans || strcmp(line, "USE TEMP B-TREE FOR ORDER BY") == 0)
			snprintf(p->bad, sizeof p->bad, "%s: %.200s", line, sqlite3_sql(st));
	}
	sqlite3_finalize(plan);
	sqlite3_close(db);
	return 0;
}

static bool at_once(void)
{
	return true;
}

/* A page and sums of 20 rows among 20,000 take a few steps of SQLite for each hour, not for each row. */
static void few_matches_read_few_rows(void)
{
	enum { COUNT = 20000 };
	static record many[COUNT];
	row_filter rare = { .model = "rare" }, one = { .id = "row-77*" };
	store_facet_question q = { .by = FACET_BIT(FACET_MODEL), .to_ms = INT64_MAX, .only = &rare, .times = true };
	store_page_question page_q = { .to_ms = INT64_MAX, .limit = 50, .only = &rare };
	int64_t counts[2] = { 0, 0 };
	store *s = new_store();
	store_page_told page_told;
	store_facets_told told;
	plans p = { .steps = 0 };
	err e = { 0 };

	for (int i = 0; i < COUNT; i++) {
		many[i] = (record){
			.time_ms = BEGIN_MS + i * (5 * DAY_MS / COUNT), .status = 200, .ttfb_ms = i, .total_ms = i
		};
		snprintf(many[i].id, sizeof many[i].id, "row-%d", i);
		snprintf(many[i].model, sizeof many[i].model, "%s", i % 1000 == 500 ? "rare" : i % 3 ? "glm" : "gpt");
	}
	for (int i = 0; i < COUNT; i += 500)
		CHECK(insert(s, many + i, 500) == 500);
	sqlite3_trace_v2(s->db, SQLITE_TRACE_PROFILE, on_statement, &p);
	CHECK(store_facets(s, &q, count_untold, counts, &told, &e) == STORE_OK && counts[0] == 20);
	CHECK(p.steps > 0 && p.steps < COUNT);
	p.steps = 0;
	shown.count = 0;
	CHECK(store_page(s, &page_q, keep_id, &shown, &page_told, &e) == STORE_OK && page_told.total == 20);
	CHECK(p.steps < 5 * COUNT && shown.count == 20);
	/* Deep in the list. */
	page_q.only = NULL;
	page_q.offset = COUNT - 100;
	p.steps = 0;
	shown.count = 0;
	CHECK(store_page(s, &page_q, keep_id, &shown, &page_told, &e) == STORE_OK && shown.count == 50);
	CHECK(p.steps < 2 * COUNT && strcmp(shown.ids[0], "row-99") == 0);
	CHECK(!p.bad[0]);
	if (p.bad[0])
		printf("%s\n", p.bad);
	/* By ids: the few that are found are sorted. */
	page_q.only = &one;
	page_q.offset = 0;
	p.steps = 0;
	CHECK(store_page(s, &page_q, keep_id, &shown, &page_told, &e) == STORE_OK && page_told.total == 111);
	CHECK(p.steps < COUNT);
	sqlite3_trace_v2(s->db, 0, NULL, NULL);
	CHECK(!strstr(p.bad, "SCAN"));
	/* A search that looks at all rows ends when somebody wants that. */
	shown.count = 0;
	store_stop_if(s, at_once);
	CHECK(store_last(s, 0, INT64_MAX, &rare, 50, keep_id, &shown, &e) == STORE_OK && shown.count < 20);
	store_close(s);
}

int main(void)
{
	store_rig_init();
	wants = malloc(GROUPS * sizeof *wants);
	if (!wants)
		abort();
	RUN(questions_are_answered_as_the_rows_do);
	RUN(what_changes_afterwards_counts_once);
	RUN(pruned_rows_stay_in_facets);
	RUN(kept_rows_are_on_the_page);
	RUN(combinations_beyond_the_limit_are_not_told_apart);
	RUN(old_hours_are_asked_by_days);
	RUN(pages_are_the_rows_in_their_order);
	RUN(few_matches_read_few_rows);
	free(wants);
	return store_rig_end();
}

/* SPDX-License-Identifier: MIT
 *
 * Reports of the tap and rows: whatever comes first, however often, and whenever a process dies, each row gets what its
 * report tells, once, and the sums equal the rows. */
#include "store_rig.h"

#include <sys/wait.h>

#include "ledger/usage.h"

/* ---- joining, with a price of its own */

static int die_at; /* the call of apply() in which the process dies; 0: in none */

static void price(record *r)
{
	r->cost = r->usage == USAGE_UNKNOWN ? 0 : 3 * r->input + 15 * r->output + r->cache_read + 4 * r->cache_write;
	r->saved_cache = r->usage == USAGE_UNKNOWN ? 0 : 2 * r->cache_read - r->cache_write;
	r->price = r->usage == USAGE_UNKNOWN ? PRICE_NONE : PRICE_TABLE;
	r->price_missing[0] = '\0';
}

static void apply(void *ctx, record *r, const tap_report *told)
{
	usage_parts parts;

	(void)ctx;
	if (die_at && --die_at == 0)
		_exit(1);
	if (usage_apply_report(r, told, &parts))
		price(r);
}

static const store_join join = { .apply = apply };

/* ---- what happens to a request: its line and its reports, some of them twice */

typedef struct event {
	bool report;
	union {
		record line;
		tap_report told;
	};
} event;

enum { REQUESTS = 12, EVENTS = REQUESTS * 6, ORDERS = 300, FIRST = 1000 };

static event events[EVENTS];
static int event_count;
static record expected[ORDERS * REQUESTS];
static int64_t line_count; /* requests whose line comes */

static record line_of(int64_t n)
{
	static const usage_from kinds[] = { USAGE_ESTIMATED, USAGE_ESTIMATED, USAGE_UNKNOWN, USAGE_PARTIAL,
					    USAGE_REPORTED };
	record r;

	do
		r = record_number(n);
	while (r.usage == USAGE_UNKNOWN || r.code[0] || r.status != 200);
	r.usage = kinds[roll(5)];
	r.tap = roll(8) ? TAP_MISSING : TAP_NOT;
	if (r.usage == USAGE_UNKNOWN)
		r.input = r.output = r.cache_read = r.cache_write = -1;
	price(&r);
	return r;
}

static tap_report report_of(const char *id, bool exact)
{
	tap_report p = { .end = exact ? TAP_END_WHOLE : (tap_end)(1 + roll(3)),
			 .status = 200,
			 .final = exact,
			 .content = roll(99) };

	snprintf(p.id, sizeof p.id, "%s", id);
	if (exact || roll(2))
		snprintf(p.last, sizeof p.last, "{\"prompt_tokens\":%d,\"completion_tokens\":%d}", (int)roll(9999),
			 1 + (int)roll(999)); /* content without output would make an exact report one that is not */
	if (!exact && !roll(3))
		p.end = TAP_END_WHOLE;
	return p;
}

static void add_event(event e)
{
	int copies = 1 + (roll(4) == 0);

	while (copies--)
		events[event_count++] = e;
}

static void make_events(int64_t first)
{
	event_count = 0;
	for (int i = 0; i < REQUESTS; i++) {
		event line = { .report = false, .line = line_of(first + i) };
		int reports = (int)roll(4); /* none, one, one exact, both */
		record *want = &expected[first + i - FIRST];
		*want = line.line;
		if (roll(12)) {
			add_event(line);
			line_count++;
		}
		for (int exact = 0; exact < 2; exact++) {
			event e = { .report = true };
			if (!(reports & 1 << exact))
				continue;
			e.told = report_of(line.line.id, exact);
			/* A whole answer with a usage that is not marked as the last one is exact, too. */
			if (!exact && reports == 3 && e.told.end == TAP_END_WHOLE)
				e.told.end = TAP_END_CLIENT;
			apply(NULL, want, &e.told);
			add_event(e);
		}
	}
	for (int i = event_count - 1; i > 0; i--) {
		int k = (int)roll(i + 1);
		event e = events[i];
		events[i] = events[k];
		events[k] = e;
	}
}

/* ---- a store that is killed */

static store *s;

static store_result take(store *to, int from, int upto, const store_join *by)
{
	static record lines[EVENTS];
	static tap_report told[EVENTS];
	store_batch b = { lines, 0, told, 0, false };
	store_added added;
	err e;

	for (int i = from; i < upto; i++) {
		if (events[i].report)
			told[b.reports_count++] = events[i].told;
		else
			lines[b.count++] = events[i].line;
	}
	return store_add(to, &b, by, &added, &e);
}

/* A process that dies inside the transaction, or right after it. */
static void take_and_die(int from, int upto)
{
	fflush(stdout);
	store_close(s);
	pid_t pid = fork();
	if (pid == 0) {
		store *own = open_store(true);
		die_at = (int)roll(4);
		CHECK(take(own, from, upto, &join) == STORE_OK);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	s = open_store(true);
}

typedef struct found {
	int64_t rows, wrong;
} found;

static bool row_is(void *ctx, const record *r)
{
	found *f = ctx;
	const char *number = strrchr(r->id, '-');
	const record *want = &expected[atoll(number + 1) - FIRST];
	bool same = r->usage == want->usage && r->tap == want->tap && r->input == want->input &&
		    r->output == want->output && r->cache_read == want->cache_read &&
		    r->cache_write == want->cache_write && r->cost == want->cost &&
		    r->saved_cache == want->saved_cache && r->price == want->price && r->time_ms == want->time_ms &&
		    strcmp(r->model, want->model) == 0 && strcmp(r->route, want->route) == 0;
	if (!same)
		printf("row %s: usage %s tap %s output %lld, not %s %s %lld\n", r->id, usage_from_name(r->usage),
		       tap_state_name(r->tap), (long long)r->output, usage_from_name(want->usage),
		       tap_state_name(want->tap), (long long)want->output);
	f->rows++;
	f->wrong += !same;
	return true;
}

static int count_of(const char *text)
{
	return atoi(ask(text));
}

static void tidy(int64_t before_ms, size_t *joined, size_t *orphans)
{
	bool more = true;
	err e;

	*joined = *orphans = 0;
	while (more) {
		store_added added;
		CHECK(store_tidy(s, &join, before_ms, &added, &more, &e) == STORE_OK);
		*joined += added.joined;
		*orphans += added.orphans;
	}
}

static void any_order_gives_the_same_ledger(void)
{
	size_t joined, orphans;
	found f = { 0, 0 };
	err e;

	s = new_store();
	for (int order = 0; order < ORDERS; order++) {
		make_events(FIRST + (int64_t)order * REQUESTS);
		for (int at = 0, upto; at < event_count; at = upto) {
			upto = at + 1 + (int)roll(event_count - at);
			if (order % 30 == 0)
				take_and_die(at, upto); /* its journal is read again */
			/* Without prices, as a backup takes in the journal; or the journal is read twice. */
			if (roll(10) == 0)
				CHECK(take(s, at, upto, NULL) == STORE_OK);
			CHECK(take(s, at, upto, &join) == STORE_OK);
		}
		if (order % 15 == 0)
			tidy(0, &joined, &orphans);
		CHECK(order % 100 || sound(s));
	}
	tidy(0, &joined, &orphans);
	CHECK(sound(s));
	CHECK(store_export(s, 0, INT64_MAX, row_is, &f, &e) == STORE_OK);
	CHECK(f.rows == line_count && f.wrong == 0);
	/* What waits still has no row. */
	CHECK(count_of("SELECT count(*) FROM reports WHERE id IN (SELECT id FROM requests)") == 0);
	CHECK(count_of("SELECT count(*) FROM reports") > 30);
	store_close(s);
}

static size_t add_one(const record *line, const tap_report *told, store_added *added)
{
	store_batch b = { line, line != NULL, told, told != NULL, false };
	err e;

	CHECK(store_add(s, &b, &join, added, &e) == STORE_OK);
	return added->joined;
}

static tap_report exact_for(const record *r, int output)
{
	tap_report p = report_of(r->id, true);

	snprintf(p.last, sizeof p.last, "{\"prompt_tokens\":7,\"completion_tokens\":%d}", output);
	return p;
}

static record tapped(int64_t n)
{
	record r = line_of(n);

	r.tap = TAP_MISSING;
	r.usage = USAGE_ESTIMATED;
	price(&r);
	return r;
}

static void what_is_counted(void)
{
	store_added added;
	record a = tapped(1), b = tapped(2), other = tapped(3);
	tap_report of_a = exact_for(&a, 5), of_b = exact_for(&b, 6), of_other = exact_for(&other, 7);

	other.tap = TAP_NOT;
	s = new_store();
	/* The line first, then twice its report. */
	CHECK(add_one(&a, NULL, &added) == 0 && added.rows == 1 && added.usage[USAGE_ESTIMATED] == 1);
	CHECK(add_one(NULL, &of_a, &added) == 1 && added.rows == 0 && added.usage[USAGE_ESTIMATED] == -1 &&
	      added.usage[USAGE_STREAM] == 1);
	CHECK(add_one(NULL, &of_a, &added) == 0 && added.usage[USAGE_STREAM] == 0);
	/* The report first. */
	CHECK(add_one(NULL, &of_b, &added) == 0 && add_one(NULL, &of_b, &added) == 0);
	CHECK(add_one(&b, NULL, &added) == 1 && added.rows == 1 && added.usage[USAGE_STREAM] == 1 &&
	      added.usage[USAGE_ESTIMATED] == 0);
	/* Both in one batch. */
	record c = tapped(4);
	tap_report of_c = exact_for(&c, 8);
	CHECK(add_one(&c, &of_c, &added) == 1 && added.usage[USAGE_STREAM] == 1);
	/* A report for an answer that did not go through the tap. */
	CHECK(add_one(&other, NULL, &added) == 0);
	CHECK(add_one(NULL, &of_other, &added) == 0 && added.usage[USAGE_STREAM] == 0);
	CHECK(count_of("SELECT count(*) FROM reports") == 0);
	CHECK(strcmp(ask("SELECT group_concat(usage_from || ' ' || tap) FROM (SELECT * FROM ledger ORDER BY id LIKE '%-3')"),
		     "stream told,stream told,stream told,estimated no") == 0);
	CHECK(sound(s));
	store_close(s);
}

/* Rows of labels after the first 1,000 of a day are summed as `other`, before and after their report. */
static void labels_beyond_the_limit_stay_other(void)
{
	enum { COUNT = 3 * STORE_LABELS_PER_DAY };
	store_added added;
	record *r = calloc(COUNT, sizeof *r);
	tap_report *told = calloc(COUNT, sizeof *told);
	err e;

	s = new_store();
	for (int i = 0; i < COUNT; i++) {
		r[i] = tapped(i);
		r[i].time_ms = BEGIN_MS + roll(DAY_MS / 8);
		snprintf(r[i].project, sizeof r[i].project, "p%d", i / 2);
		told[i] = exact_for(&r[i], i);
	}
	store_batch b = { r, COUNT, NULL, 0, false }, late = { NULL, 0, told, COUNT, false };
	CHECK(store_add(s, &b, &join, &added, &e) == STORE_OK && added.rows == COUNT);
	CHECK(count_of("SELECT requests FROM daily WHERE kind = 3 AND label = 'other'") ==
	      COUNT - 2 * STORE_LABELS_PER_DAY);
	CHECK(sound(s));
	CHECK(store_add(s, &late, &join, &added, &e) == STORE_OK && added.joined == COUNT);
	CHECK(sound(s));
	CHECK(count_of("SELECT output FROM daily WHERE kind = 3 AND label = 'p10'") == 20 + 21);
	CHECK(strcmp(ask("SELECT sum(estimated_requests), sum(estimated_cost) FROM hourly"), "0|0") == 0);
	store_close(s);
	free(r);
	free(told);
}

static void reports_do_not_wait_for_ever(void)
{
	enum { COUNT = STORE_REPORTS + 10 };
	record gone = tapped(COUNT + 1), r = tapped(COUNT + 2);
	tap_report *told = calloc(COUNT, sizeof *told), of_gone = exact_for(&gone, 1), of_r = exact_for(&r, 2);
	store_batch b = { NULL, 0, told, COUNT, false };
	size_t joined, orphans;
	store_added added;
	int64_t removed;
	err e;

	s = new_store();
	/* Whoever can write to the tap's socket can invent reports: only so many are kept, the newest. */
	for (int i = 0; i < COUNT; i++) {
		told[i].time_ms = BEGIN_MS + i;
		snprintf(told[i].id, sizeof told[i].id, "invented-%d", i);
	}
	CHECK(store_add(s, &b, &join, &added, &e) == STORE_OK && added.orphans == 10);
	CHECK(strcmp(ask("SELECT count(*), min(time_ms) - 1763942400000 FROM reports"), "100000|10") == 0);
	/* They go when they are old. */
	tidy(BEGIN_MS + 110, &joined, &orphans);
	CHECK(joined == 0 && orphans == 100);
	tidy(INT64_MAX, &joined, &orphans);
	CHECK(orphans == STORE_REPORTS - 100 && count_of("SELECT count(*) FROM reports") == 0);
	/* A row that was pruned does not come back, nor does its report find it. */
	gone.time_ms = BEGIN_MS;
	r.time_ms = BEGIN_MS + DAY_MS;
	CHECK(insert(s, &gone, 1) == 1 && insert(s, &r, 1) == 1);
	CHECK(store_prune(s, BEGIN_MS + 1000, INT64_MAX, &removed, &e) == STORE_OK && removed == 1);
	CHECK(add_one(NULL, &of_gone, &added) == 0 && add_one(&gone, NULL, &added) == 0 && added.rows == 0);
	CHECK(add_one(NULL, &of_r, &added) == 1);
	CHECK(sound(s));
	CHECK(count_of("SELECT sum(requests) FROM daily WHERE kind = 0") == 2);
	store_close(s);
	free(told);
}

int main(void)
{
	store_rig_init();
	RUN(what_is_counted);
	RUN(labels_beyond_the_limit_stay_other);
	RUN(reports_do_not_wait_for_ever);
	RUN(any_order_gives_the_same_ledger);
	return store_rig_end();
}

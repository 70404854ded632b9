/* SPDX-License-Identifier: MIT
 *
 * The budgets' memory: admission, settling, periods, tokens of a minute. */
#include <time.h>

#include "budget_rig.h"

/* ---- the calendar */

static int64_t day_of(int year, int month, int day)
{
	struct tm t = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day };
	return (int64_t)timegm(&t) / 86400;
}

static void periods_are_those_of_the_calendar(void)
{
	for (int64_t day = day_of(1999, 1, 1); day < day_of(2105, 1, 1); day++) {
		time_t at = (time_t)(day * 86400);
		struct tm t;
		gmtime_r(&at, &t);
		int64_t month = day - (t.tm_mday - 1), week = day - (t.tm_wday + 6) % 7;
		CHECK(period_first(PERIOD_DAY, day) == day && period_next(PERIOD_DAY, day) == day + 1);
		CHECK(period_first(PERIOD_WEEK, day) == week && period_next(PERIOD_WEEK, day) == week + 7);
		CHECK(period_first(PERIOD_MONTH, day) == month);
		CHECK(period_next(PERIOD_MONTH, day) == day_of(t.tm_year + 1900, t.tm_mon + 2, 1));
	}
	CHECK(period_day(-1) == -1 && period_day(0) == 0 && period_day(86399999) == 0 && period_day(86400000) == 1);
	CHECK(period_first(PERIOD_WEEK, -3) == -3 && period_first(PERIOD_WEEK, -4) == -10);
}

/* ---- admission */

static void an_account_is_found_by_kind_and_name(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t alice = budget_account(b, ACCOUNT_CLIENT, SLICE("alice"));

	CHECK(alice != BUDGET_NO_ACCOUNT && budget_account(b, ACCOUNT_CLIENT, SLICE("alice")) == alice);
	CHECK(budget_account(b, ACCOUNT_PROJECT, SLICE("alice")) != alice);
	CHECK(budget_account_find(b, ACCOUNT_CLIENT, SLICE("alice")) == alice);
	CHECK(budget_account_find(b, ACCOUNT_CLIENT, SLICE("bob")) == BUDGET_NO_ACCOUNT);
	CHECK(!budget_account_known(b, alice, PERIOD_DAY, NOON));
	budget_keep_seed(b, alice, PERIOD_DAY, NOON, 7);
	CHECK(budget_account_known(b, alice, PERIOD_DAY, NOON) && !budget_account_known(b, alice, PERIOD_MONTH, NOON));
	budget_unmap(b);
	close(fd);
}

static void a_region_takes_so_many_accounts_and_no_more(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	char name[32];

	for (int i = 0; i < BUDGET_ACCOUNTS; i++) {
		snprintf(name, sizeof name, "client %d", i);
		CHECK(budget_account(b, ACCOUNT_CLIENT, slice_cstr(name)) == (uint32_t)i);
	}
	CHECK(budget_account(b, ACCOUNT_CLIENT, SLICE("one more")) == BUDGET_NO_ACCOUNT);
	CHECK(budget_account_find(b, ACCOUNT_CLIENT, SLICE("one more")) == BUDGET_NO_ACCOUNT);
	CHECK(budget_account(b, ACCOUNT_CLIENT, SLICE("client 99999")) == 99999);
	CHECK(budget_count(b).accounts == BUDGET_ACCOUNTS);
	budget_unmap(b);
	close(fd);
}

static void another_layout_is_foreign(void)
{
	int fd;
	bool foreign;
	err e;
	budget *b = rig_budget(&fd);

	budget_unmap(b);
	b = budget_map(fd, &foreign, &e);
	CHECK(b && !foreign); /* the same again is not */
	budget_unmap(b);
	uint32_t version = 99;
	CHECK(pwrite(fd, &version, sizeof version, 8) == sizeof version);
	CHECK(!budget_map(fd, &foreign, &e) && foreign);
	close(fd);
	fd = memfd_create("small", MFD_CLOEXEC);
	CHECK(ftruncate(fd, 4096) == 0 && !budget_map(fd, &foreign, &e) && foreign);
	close(fd);
}

static void a_budget_admits_what_fits(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "alice", 100, PERIOD_DAY);
	budget_limit l = rig_limit(a, 100, PERIOD_DAY, 0);

	CHECK(rig_money(b, "1", l, 60, NOON) == BUDGET_ADMITTED);
	CHECK(rig_money(b, "2", l, 41, NOON) == BUDGET_SPENT);
	CHECK(rig_money(b, "3", l, 40, NOON) == BUDGET_ADMITTED);
	CHECK(rig_money(b, "4", l, 1, NOON) == BUDGET_SPENT);
	CHECK(rig_money(b, "5", l, 0, NOON) == BUDGET_ADMITTED);
	CHECK(rig_settle(b, "1", a, BUDGET_NO_ACCOUNT, 50, NOON) == 60);
	CHECK(rig_settle(b, "1", a, BUDGET_NO_ACCOUNT, 0, NOON) == -1); /* it is settled */
	CHECK(rig_money(b, "6", l, 11, NOON) == BUDGET_SPENT);
	CHECK(rig_money(b, "7", l, 10, NOON) == BUDGET_ADMITTED);
	budget_release(b, SLICE("7"));
	CHECK(rig_settle(b, "3", a, BUDGET_NO_ACCOUNT, 45, NOON) == 40); /* dearer than thought */
	CHECK(rig_sum(b, a, NOON) == 95);
	CHECK(rig_settle(b, "unheard of", a, BUDGET_NO_ACCOUNT, 7, NOON) == -1);
	CHECK(rig_sum(b, a, NOON) == 102 && rig_money(b, "8", l, 0, NOON) == BUDGET_SPENT);
	account_view v = budget_account_view(b, a, NOON);
	CHECK(v.why == BUDGET_SPENT && v.refused_s == NOON / 1000 && v.spent == 102 && v.nano == 100);
	CHECK(v.refusals[BUDGET_SPENT] == 4 && v.refusals[BUDGET_TOKENS] == 0);
	/* HAProxy's refusals are told by the keeper; an older one is not the last. */
	budget_keep_refused(b, a, BUDGET_TOKENS, NOON - 1000);
	CHECK(budget_account_view(b, a, NOON).why == BUDGET_SPENT);
	budget_keep_refused(b, a, BUDGET_TOKENS, NOON + 1000);
	v = budget_account_view(b, a, NOON);
	CHECK(v.why == BUDGET_TOKENS && v.refused_s == NOON / 1000 + 1 && v.refusals[BUDGET_TOKENS] == 0);
	budget_keep_refused(b, BUDGET_NO_ACCOUNT, BUDGET_TOKENS, NOON);
	CHECK(rig_money(b, "9", rig_limit(a, INT64_MAX, PERIOD_DAY, 0), INT64_MAX, NOON) == BUDGET_ADMITTED);
	CHECK(rig_money(b, "10", rig_limit(a, 100, PERIOD_DAY, 0), INT64_MAX, NOON) == BUDGET_SPENT);
	budget_unmap(b);
	close(fd);
}

/* What budget_look() says, which has to change nothing. */
static budget_result look(budget *b, budget_limit client, budget_limit project, int64_t nano, uint64_t tokens,
			  bool *of_project)
{
	budget_ask a = { SLICE("a look"), client, project, nano, tokens };
	budget_answer out, again;

	budget_look(b, &a, SECOND_NS, NOON, &out);
	budget_look(b, &a, SECOND_NS, NOON, &again);
	CHECK(out.result == again.result && out.tokens_left == again.tokens_left && out.wait_ns == again.wait_ns);
	*of_project = out.project;
	return out.result;
}

static void a_look_answers_as_an_admission_and_takes_nothing(void)
{
	static const struct {
		int64_t client, project; /* budgets */
		uint64_t client_tokens, project_tokens;
		int64_t nano;
		uint64_t tokens;
	} cases[] = {
		{ 100, 100, 0, 0, 100, 10 },
		{ 99, 100, 0, 0, 100, 10 },
		{ 100, 99, 0, 0, 100, 10 },
		{ 100, 100, 10, 10, 1, 10 },
		{ 100, 100, 9, 10, 1, 10 },
		{ 100, 100, 10, 9, 1, 10 },
		{ 0, 0, 9, 9, 1, 10 },
		{ 0, 0, 15, 15, 1, 5 },
		{ 100, 100, 14, 100, 1, 10 },
		{ 100, 100, 100, 14, 1, 10 },
		{ INT64_MAX, INT64_MAX, 0, 0, INT64_MAX, 1 },
		{ 1, BUDGET_NO_LIMIT, 0, 0, 1, 1 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int fd;
		bool of_project;
		budget *b = rig_budget(&fd);
		uint32_t a = rig_account(b, ACCOUNT_CLIENT, "a", cases[i].client, PERIOD_DAY);
		uint32_t p = rig_account(b, ACCOUNT_PROJECT, "p", cases[i].project, PERIOD_DAY);
		budget_limit client = rig_limit(a, cases[i].client, PERIOD_DAY, cases[i].client_tokens);
		budget_limit project = rig_limit(p, cases[i].project, PERIOD_DAY, cases[i].project_tokens);
		/* Five tokens of a minute are gone already, where there is a limit. */
		rig_ask(b, "before", client, project, 0, 5, SECOND_NS, NOON);
		account_view before = budget_account_view(b, a, NOON);
		budget_result said = look(b, client, project, cases[i].nano, cases[i].tokens, &of_project);
		account_view after = budget_account_view(b, a, NOON);
		CHECK(after.spent + after.reserved == before.spent + before.reserved);
		CHECK(after.refused_s == before.refused_s && budget_count(b).reservations == 1);
		budget_answer real = rig_ask(b, "1", client, project, cases[i].nano, cases[i].tokens, SECOND_NS, NOON);
		CHECK(said == real.result);
		CHECK(said == BUDGET_ADMITTED || of_project == real.project);
		budget_unmap(b);
		close(fd);
	}
}

static void what_was_spent_has_to_be_known(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = budget_account(b, ACCOUNT_CLIENT, SLICE("alice"));

	CHECK(rig_money(b, "1", rig_limit(a, 100, PERIOD_DAY, 0), 1, NOON) == BUDGET_UNKNOWN);
	CHECK(rig_money(b, "2", rig_limit(a, BUDGET_NO_LIMIT, PERIOD_DAY, 0), 1, NOON) == BUDGET_ADMITTED);
	budget_release(b, SLICE("2"));
	budget_keep_seed(b, a, PERIOD_DAY, NOON, 99);
	CHECK(rig_money(b, "3", rig_limit(a, 100, PERIOD_DAY, 0), 1, NOON) == BUDGET_ADMITTED);
	CHECK(rig_money(b, "4", rig_limit(a, 100, PERIOD_MONTH, 0), 1, NOON) == BUDGET_UNKNOWN); /* of another period */
	CHECK(rig_sum(b, a, NOON) == 100);
	budget_unmap(b);
	close(fd);
}

static void a_project_limits_its_clients_together(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "alice", 100, PERIOD_DAY);
	uint32_t p = rig_account(b, ACCOUNT_PROJECT, "search", 30, PERIOD_MONTH);
	budget_limit client = rig_limit(a, 100, PERIOD_DAY, 0), project = rig_limit(p, 30, PERIOD_MONTH, 0);

	CHECK(rig_ask(b, "1", client, project, 20, 0, SECOND_NS, NOON).result == BUDGET_ADMITTED);
	budget_answer no = rig_ask(b, "2", client, project, 20, 0, SECOND_NS, NOON);
	CHECK(no.result == BUDGET_SPENT && no.project);
	CHECK(rig_sum(b, a, NOON) == 20 && rig_sum(b, p, NOON) == 20);
	CHECK(rig_ask(b, "3", rig_none(), project, 10, 0, SECOND_NS, NOON).used_percent == 100);
	CHECK(budget_keep_reserved(b, SLICE("1")) == 20 && budget_keep_reserved(b, SLICE("2")) == -1);
	CHECK(rig_settle(b, "1", a, p, 5, NOON) == 20 && rig_settle(b, "3", BUDGET_NO_ACCOUNT, p, 0, NOON) == 10);
	CHECK(rig_sum(b, a, NOON) == 5 && rig_sum(b, p, NOON) == 5);
	CHECK(budget_count(b).reservations == 0);
	budget_unmap(b);
	close(fd);
}

static void a_request_that_asks_twice_is_one(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "alice", 100, PERIOD_DAY);
	budget_limit l = rig_limit(a, 100, PERIOD_DAY, 0);

	CHECK(rig_money(b, "1", l, 60, NOON) == BUDGET_ADMITTED && rig_money(b, "1", l, 60, NOON) == BUDGET_ADMITTED);
	CHECK(rig_sum(b, a, NOON) == 60);
	CHECK(rig_money(b, "1", l, 10, NOON) == BUDGET_ADMITTED && rig_sum(b, a, NOON) == 60);
	CHECK(rig_money(b, "1", l, 80, NOON) == BUDGET_ADMITTED && rig_sum(b, a, NOON) == 80);
	CHECK(rig_money(b, "1", l, 101, NOON) == BUDGET_SPENT && rig_sum(b, a, NOON) == 80);
	CHECK(budget_count(b).reservations == 1 && budget_keep_reserved(b, SLICE("1")) == 80);
	CHECK(rig_settle(b, "1", a, BUDGET_NO_ACCOUNT, 80, NOON) == 80 && rig_sum(b, a, NOON) == 80);
	/* Between its two questions the client was moved to another project. */
	uint32_t from = rig_account(b, ACCOUNT_PROJECT, "from", 100, PERIOD_DAY);
	uint32_t to = rig_account(b, ACCOUNT_PROJECT, "to", 100, PERIOD_DAY);
	CHECK(rig_ask(b, "2", l, rig_limit(from, 100, PERIOD_DAY, 0), 5, 0, SECOND_NS, NOON).result == BUDGET_ADMITTED);
	CHECK(rig_ask(b, "2", l, rig_limit(to, 100, PERIOD_DAY, 0), 7, 0, SECOND_NS, NOON).result == BUDGET_ADMITTED);
	CHECK(rig_settle(b, "2", a, to, 0, NOON) == 7);
	CHECK(rig_sum(b, from, NOON) == 0 && rig_sum(b, to, NOON) == 0 && rig_sum(b, a, NOON) == 80);
	budget_unmap(b);
	close(fd);
}

/* ---- tokens of a minute */

static void tokens_come_back_with_time(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "alice", BUDGET_NO_LIMIT, PERIOD_DAY);
	budget_limit l = rig_limit(a, BUDGET_NO_LIMIT, PERIOD_DAY, 600); /* ten a second */
	uint64_t now = 5 * SECOND_NS;

	budget_answer one = rig_ask(b, "1", l, rig_none(), 0, 600, now, NOON);
	CHECK(one.result == BUDGET_ADMITTED && one.tokens_limit == 600 && one.tokens_left == 0 &&
	      one.tokens_reset_ns == 60 * SECOND_NS && one.used_percent == 0);
	budget_answer two = rig_ask(b, "2", l, rig_none(), 0, 10, now, NOON);
	CHECK(two.result == BUDGET_TOKENS && two.wait_ns == SECOND_NS && !two.project);
	CHECK(rig_ask(b, "3", l, rig_none(), 0, 10, now + SECOND_NS, NOON).result == BUDGET_ADMITTED);
	CHECK(rig_ask(b, "4", l, rig_none(), 0, 601, now + 500 * SECOND_NS, NOON).result == BUDGET_TOO_LARGE);
	/* Half of the first one's tokens were not used. */
	budget_end end = { SLICE("1"), a, BUDGET_NO_ACCOUNT, NOON, 0, 300 };
	CHECK(budget_keep_settle(b, &end, NOON) == 0);
	two = rig_ask(b, "5", l, rig_none(), 0, 300, now + SECOND_NS, NOON);
	CHECK(two.result == BUDGET_ADMITTED && two.tokens_left == 0);
	CHECK(rig_ask(b, "6", l, rig_none(), 0, 1, now + SECOND_NS, NOON).result == BUDGET_TOKENS);
	/* This one took 100 more than it had: a debt. */
	end = (budget_end){ SLICE("5"), a, BUDGET_NO_ACCOUNT, NOON, 0, 400 };
	CHECK(budget_keep_settle(b, &end, NOON) == 0);
	CHECK(rig_ask(b, "7", l, rig_none(), 0, 1, now + 11 * SECOND_NS, NOON).result == BUDGET_TOKENS);
	CHECK(rig_ask(b, "8", l, rig_none(), 0, 1, now + 12 * SECOND_NS, NOON).result == BUDGET_ADMITTED);
	budget_release(b, SLICE("8"));
	CHECK(rig_ask(b, "9", l, rig_none(), 0, 600, now + 99 * SECOND_NS, NOON).result == BUDGET_ADMITTED);
	budget_release(b, SLICE("9"));
	budget_release(b, SLICE("3")); /* longer ago than the bucket's memory */
	CHECK(rig_ask(b, "10", l, rig_none(), 0, 600, now + 99 * SECOND_NS, NOON).result == BUDGET_ADMITTED);
	budget_unmap(b);
	close(fd);
}

static void what_the_money_refuses_takes_no_tokens(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "alice", 100, PERIOD_DAY);
	uint32_t p = rig_account(b, ACCOUNT_PROJECT, "search", BUDGET_NO_LIMIT, PERIOD_DAY);
	budget_limit l = rig_limit(a, 100, PERIOD_DAY, 600), all = rig_limit(p, BUDGET_NO_LIMIT, PERIOD_DAY, 1000);
	uint64_t now = 5 * SECOND_NS;

	CHECK(rig_ask(b, "1", l, all, 101, 600, now, NOON).result == BUDGET_SPENT);
	CHECK(rig_ask(b, "2", l, all, 50, 600, now, NOON).result == BUDGET_ADMITTED);
	budget_answer no = rig_ask(b, "3", rig_none(), all, 0, 401, now, NOON);
	CHECK(no.result == BUDGET_TOKENS && no.project && no.tokens_left == 400);
	CHECK(rig_ask(b, "4", rig_none(), all, 0, 400, now, NOON).result == BUDGET_ADMITTED);
	CHECK(rig_sum(b, a, NOON) == 50 && budget_count(b).reservations == 2);
	budget_unmap(b);
	close(fd);
}

/* ---- time */

static void a_period_begins_with_nothing_spent(void)
{
	static const struct {
		period_kind kind;
		int days; /* until the next one: Thu, 29 Feb 2024 */
	} rows[] = { { PERIOD_DAY, 1 }, { PERIOD_WEEK, 4 }, { PERIOD_MONTH, 1 } };
	int fd;
	budget *b = rig_budget(&fd);

	for (int i = 0; i < 3; i++) {
		char name[16];
		snprintf(name, sizeof name, "%d", i);
		uint32_t a = rig_account(b, ACCOUNT_CLIENT, name, 100, rows[i].kind);
		budget_limit l = rig_limit(a, 100, rows[i].kind, 0);
		int64_t last = NOON + (rows[i].days - 1) * DAY_OF_MS + DAY_OF_MS / 2 - 1, next = last + 1;

		budget_keep_seed(b, a, rows[i].kind, NOON, 90);
		CHECK(rig_money(b, "in flight", l, 10, last) == BUDGET_ADMITTED);
		CHECK(rig_money(b, "refused", l, 1, last) == BUDGET_SPENT);
		/* The keeper has not begun it yet; what is reserved stays. */
		CHECK(rig_money(b, "too much", l, 91, next) == BUDGET_SPENT);
		CHECK(rig_money(b, "enough", l, 90, next) == BUDGET_ADMITTED);
		CHECK(rig_settle(b, "in flight", a, BUDGET_NO_ACCOUNT, 10, last) == 10);
		CHECK(budget_keep_time(b, SECOND_NS, next) == 0);
		CHECK(rig_sum(b, a, next) == 90 && budget_account_view(b, a, next).spent == 0);
		/* A decider whose clock is behind by a moment does not spend the new period's money as the old one's.
		 */
		budget_keep_seed(b, a, rows[i].kind, next, 10);
		CHECK(rig_money(b, "behind", l, 1, last) == BUDGET_SPENT);
		/* A request of the old one that ends now costs the new one nothing. */
		CHECK(rig_settle(b, "enough", a, BUDGET_NO_ACCOUNT, 0, next) == 90);
		budget_end late = { SLICE("late"), a, BUDGET_NO_ACCOUNT, last, 77, -1 };
		CHECK(budget_keep_settle(b, &late, next) == -1 && budget_account_view(b, a, next).spent == 10);
	}
	budget_unmap(b);
	close(fd);
}

static void a_clock_that_was_set_back_gives_no_second_budget(void)
{
	int fd;
	budget *b = rig_budget(&fd);

	for (int kind = PERIOD_DAY; kind <= PERIOD_MONTH; kind++) {
		char name[16];
		snprintf(name, sizeof name, "%d", kind);
		uint32_t a = rig_account(b, ACCOUNT_CLIENT, name, 100, (period_kind)kind);
		budget_limit l = rig_limit(a, 100, (period_kind)kind, 0);
		int64_t wrong = NOON + 40 * DAY_OF_MS;

		budget_keep_seed(b, a, (period_kind)kind, NOON, 90);
		(void)budget_keep_time(b, SECOND_NS, wrong);
		CHECK(budget_account_known(b, a, (period_kind)kind, wrong) &&
		      budget_account_view(b, a, wrong).spent == 0);
		CHECK(!budget_account_known(b, a, (period_kind)kind, NOON));
		budget_keep_seed(b, a, (period_kind)kind, NOON, 90);
		CHECK(budget_account_known(b, a, (period_kind)kind, NOON));
		CHECK(rig_money(b, "1", l, 11, NOON) == BUDGET_SPENT &&
		      rig_money(b, "2", l, 10, NOON) == BUDGET_ADMITTED);
		CHECK(rig_settle(b, "2", a, BUDGET_NO_ACCOUNT, 7, NOON) == 10 && rig_sum(b, a, NOON) == 97);
	}
	budget_unmap(b);
	close(fd);
}

static void a_request_without_a_record_is_charged(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "alice", 100, PERIOD_DAY);
	uint32_t p = rig_account(b, ACCOUNT_PROJECT, "search", BUDGET_NO_LIMIT, PERIOD_MONTH);
	budget_limit l = rig_limit(a, 100, PERIOD_DAY, 0), all = rig_limit(p, BUDGET_NO_LIMIT, PERIOD_MONTH, 0);
	uint64_t end = (BUDGET_EXPIRES_S + 1) * SECOND_NS;

	CHECK(rig_ask(b, "1", l, all, 60, 0, SECOND_NS, NOON).result == BUDGET_ADMITTED);
	CHECK(rig_ask(b, "2", l, all, 30, 0, SECOND_NS, NOON).result == BUDGET_ADMITTED);
	CHECK(budget_keep_time(b, end - 1, NOON) == 0 && budget_keep_time(b, end, NOON) == 2);
	account_view v = budget_account_view(b, a, NOON);
	CHECK(v.charged == 90 && v.reserved == 0 && v.spent == 0 && budget_charged(b) == 2);
	CHECK(rig_money(b, "3", l, 11, NOON) == BUDGET_SPENT && budget_keep_reserved(b, SLICE("1")) == 60);
	/* A record that comes later takes the charge back. */
	CHECK(rig_settle(b, "1", a, p, 5, NOON) == 60);
	v = budget_account_view(b, a, NOON);
	CHECK(v.charged == 30 && v.spent == 5 && budget_count(b).charged == 1);
	/* But not of another period. */
	CHECK(budget_keep_time(b, end, NOON + DAY_OF_MS) == 0);
	CHECK(rig_sum(b, a, NOON + DAY_OF_MS) == 0 && rig_sum(b, p, NOON + DAY_OF_MS) == 0);
	CHECK(rig_settle(b, "2", a, p, 0, NOON + DAY_OF_MS) == 30 && rig_sum(b, a, NOON + DAY_OF_MS) == 0);
	budget_unmap(b);
	close(fd);
}

static void a_share_is_told_once_a_period(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "alice", 100, PERIOD_DAY);

	budget_keep_seed(b, a, PERIOD_DAY, NOON, 79);
	CHECK(budget_keep_crossed(b, a, NOON) == 0);
	budget_keep_seed(b, a, PERIOD_DAY, NOON, 80);
	CHECK(budget_keep_crossed(b, a, NOON) == 80 && budget_keep_crossed(b, a, NOON) == 0);
	CHECK(rig_money(b, "1", rig_limit(a, 100, PERIOD_DAY, 0), 21, NOON) == BUDGET_SPENT);
	CHECK(budget_keep_crossed(b, a, NOON) == 100 && budget_keep_crossed(b, a, NOON) == 0);
	budget_keep_seed(b, a, PERIOD_DAY, NOON, 100);
	CHECK(budget_keep_crossed(b, a, NOON) == 0 && budget_keep_crossed(b, a, NOON + DAY_OF_MS) == 0);
	budget_keep_seed(b, a, PERIOD_DAY, NOON + DAY_OF_MS, 100);
	CHECK(budget_keep_crossed(b, a, NOON + DAY_OF_MS) == 100);
	budget_unmap(b);
	close(fd);
}

/* ---- room */

static void so_many_fit_and_the_charged_ones_give_way(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "alice", INT64_MAX, PERIOD_DAY);
	budget_limit l = rig_limit(a, INT64_MAX, PERIOD_DAY, 0);
	char id[32];
	int admitted = 0, i = 0;

	for (; i < 65536; i++) {
		snprintf(id, sizeof id, "request %d", i);
		CHECK(rig_money(b, id, l, 1, NOON) == BUDGET_ADMITTED);
	}
	for (; i < 200000; i++) {
		snprintf(id, sizeof id, "request %d", i);
		admitted += rig_money(b, id, l, 1, NOON) == BUDGET_ADMITTED;
	}
	CHECK(admitted > BUDGET_RESERVATIONS / 4 && admitted <= BUDGET_RESERVATIONS / 2);
	CHECK(rig_sum(b, a, NOON) == 65536 + admitted);
	snprintf(id, sizeof id, "request %d", 199999);
	CHECK(rig_money(b, id, l, 1, NOON) == BUDGET_FULL);
	CHECK((int)budget_keep_time(b, UINT64_C(90000) * SECOND_NS, NOON) == 65536 + admitted);
	CHECK(rig_money(b, id, l, 1, NOON) == BUDGET_ADMITTED);
	CHECK(rig_sum(b, a, NOON) == 65536 + admitted + 1);
	budget_unmap(b);
	close(fd);
}

static void outputs_are_learned_by_model(void)
{
	int fd;
	budget *b = rig_budget(&fd);

	CHECK(budget_output(b, SLICE("gpt-5")) == 0);
	budget_keep_output(b, SLICE("gpt-5"), 100);
	CHECK(budget_output(b, SLICE("gpt-5")) == 100);
	budget_keep_output(b, SLICE("gpt-5"), 1100);
	CHECK(budget_output(b, SLICE("gpt-5")) == 600);
	for (int i = 0; i < 200; i++)
		budget_keep_output(b, SLICE("gpt-5"), 100);
	CHECK(budget_output(b, SLICE("gpt-5")) <= 120 && budget_output(b, SLICE("gpt-5-mini")) == 0);
	for (int i = 0; i < 5000; i++) {
		char name[32];
		snprintf(name, sizeof name, "model %d", i);
		budget_keep_output(b, slice_cstr(name), 7);
	}
	CHECK(budget_output(b, SLICE("gpt-5")) <= 120 && budget_output(b, SLICE("gpt-5")) > 0);
	budget_unmap(b);
	close(fd);
}

int main(void)
{
	RUN(periods_are_those_of_the_calendar);
	RUN(an_account_is_found_by_kind_and_name);
	RUN(a_region_takes_so_many_accounts_and_no_more);
	RUN(another_layout_is_foreign);
	RUN(a_budget_admits_what_fits);
	RUN(a_look_answers_as_an_admission_and_takes_nothing);
	RUN(what_was_spent_has_to_be_known);
	RUN(a_project_limits_its_clients_together);
	RUN(a_request_that_asks_twice_is_one);
	RUN(tokens_come_back_with_time);
	RUN(what_the_money_refuses_takes_no_tokens);
	RUN(a_period_begins_with_nothing_spent);
	RUN(a_clock_that_was_set_back_gives_no_second_budget);
	RUN(a_request_without_a_record_is_charged);
	RUN(a_share_is_told_once_a_period);
	RUN(so_many_fit_and_the_charged_ones_give_way);
	RUN(outputs_are_learned_by_model);
	return unit_end();
}

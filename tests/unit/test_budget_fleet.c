/* SPDX-License-Identifier: MIT
 *
 * The budgets' memory, and what other gateways of a fleet spend: told, withheld, noted. */
#include "budget_rig.h"

#define DAY (NOON / DAY_OF_MS)

static void told(budget *b, const char *name, int64_t day_nano, uint32_t pass, int64_t now_ms)
{
	const int64_t nano[3] = { day_nano, day_nano * 10, day_nano * 100 };
	budget_fleet_told(b, ACCOUNT_CLIENT, slice_cstr(name), now_ms / DAY_OF_MS, nano, pass);
}

/* Returns the most that a request of the account may cost. */
static int64_t room(budget *b, uint32_t a, int64_t nano, period_kind period, int64_t now_ms)
{
	const budget_ask none = { SLICE(""), rig_limit(a, nano, period, 0), rig_none(), 0, 0 };
	int64_t low = -1, high = nano + 1;

	while (high - low > 1) {
		budget_ask one = none;
		budget_answer out;
		one.nano = low + (high - low) / 2;
		budget_look(b, &one, SECOND_NS, now_ms, &out);
		*(out.result == BUDGET_ADMITTED ? &low : &high) = one.nano;
	}
	return low;
}

static void what_is_told_counts_in_its_period(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t day = rig_account(b, ACCOUNT_CLIENT, "day", 1000, PERIOD_DAY);
	uint32_t month = rig_account(b, ACCOUNT_CLIENT, "month", 1000, PERIOD_MONTH);

	budget_fleet_begin(b, 1);
	CHECK(room(b, day, 1000, PERIOD_DAY, NOON) == 1000);
	told(b, "day", 7, 1, NOON);
	told(b, "month", 7, 1, NOON);
	told(b, "nobody", 7, 1, NOON);
	budget_fleet_whole(b, 1, 3);
	CHECK(room(b, day, 1000, PERIOD_DAY, NOON) == 993 && room(b, month, 1000, PERIOD_MONTH, NOON) == 300);
	CHECK(budget_account_view(b, month, NOON).elsewhere == 700 && budget_account_view(b, day, NOON).withheld == 0);
	CHECK(rig_money(b, "1", rig_limit(day, 1000, PERIOD_DAY, 0), 994, NOON) == BUDGET_SPENT);
	CHECK(rig_money(b, "2", rig_limit(day, 1000, PERIOD_DAY, 0), 993, NOON) == BUDGET_ADMITTED);
	budget_release(b, SLICE("2"));
	/* The next day; the last day of February is over, too. */
	CHECK(room(b, day, 1000, PERIOD_DAY, NOON + DAY_OF_MS) == 1000);
	CHECK(room(b, month, 1000, PERIOD_MONTH, NOON + DAY_OF_MS) == 1000);
	/* A pass in which one of them is missing: others spent nothing of it. */
	told(b, "day", 9, 2, NOON);
	budget_fleet_whole(b, 2, 3);
	CHECK(room(b, day, 1000, PERIOD_DAY, NOON) == 991 && room(b, month, 1000, PERIOD_MONTH, NOON) == 1000);
	/* Sums that no budget has. */
	told(b, "day", INT64_MAX / 200, 3, NOON);
	CHECK(room(b, day, 1000, PERIOD_DAY, NOON) == -1);
	told(b, "day", -5, 3, NOON);
	CHECK(room(b, day, 1000, PERIOD_DAY, NOON) == 1000);
	/* Another period for the client: what was told of the old one says nothing. */
	told(b, "day", 900, 4, NOON);
	budget_account_rules(b, day, 1000, PERIOD_WEEK);
	budget_keep_seed(b, day, PERIOD_WEEK, NOON, 0);
	CHECK(room(b, day, 1000, PERIOD_WEEK, NOON) == 1000);
	budget_fleet_end(b);
	CHECK(room(b, month, 1000, PERIOD_MONTH, NOON) == 1000 && budget_fleet_now(b).gateways == 0);
	budget_unmap(b);
	close(fd);
}

static void alone_it_has_its_share(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "a", 1000, PERIOD_DAY);
	uint32_t c = rig_account(b, ACCOUNT_CLIENT, "c", 1000, PERIOD_DAY);
	budget_limit l = rig_limit(a, 1000, PERIOD_DAY, 0);

	CHECK(!budget_fleet_alone(b, NOON)); /* there is no fleet */
	budget_fleet_begin(b, 2);
	CHECK(!budget_fleet_alone(b, NOON) && budget_fleet_now(b).alone);
	/* Nobody has told anything yet. */
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 500);
	told(b, "a", 100, 1, NOON);
	budget_fleet_whole(b, 1, 4);
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 900 && room(b, c, 1000, PERIOD_DAY, NOON) == 1000);
	CHECK(rig_money(b, "1", l, 300, NOON) == BUDGET_ADMITTED);
	rig_settle(b, "2", a, BUDGET_NO_ACCOUNT, 200, NOON);
	/* 1,000 - 100 elsewhere - 200 spent - 300 in flight: 400 are left, for four. */
	CHECK(budget_fleet_alone(b, NOON) && !budget_fleet_alone(b, NOON));
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 100 && room(b, c, 1000, PERIOD_DAY, NOON) == 250);
	account_view v = budget_account_view(b, a, NOON);
	CHECK(v.elsewhere == 100 && v.withheld == 300);
	CHECK(rig_settle(b, "1", a, BUDGET_NO_ACCOUNT, 300, NOON) == 300);
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 100);
	/* The next day, before and after the listener has looked. */
	for (int i = 0; i < 2; i++) {
		CHECK(room(b, a, 1000, PERIOD_DAY, NOON + DAY_OF_MS) == 250);
		CHECK(budget_account_view(b, a, NOON + DAY_OF_MS).withheld == 750);
		CHECK(!budget_fleet_alone(b, NOON + DAY_OF_MS));
	}
	/* A client that is new meanwhile. */
	uint32_t d = rig_account(b, ACCOUNT_CLIENT, "d", 1000, PERIOD_DAY);
	CHECK(room(b, d, 1000, PERIOD_DAY, NOON) == 250);
	/* The fleet is back, also for accounts of which others spent nothing. */
	told(b, "a", 600, 2, NOON + DAY_OF_MS);
	CHECK(budget_fleet_now(b).alone);
	budget_fleet_whole(b, 2, 4);
	CHECK(!budget_fleet_now(b).alone && room(b, a, 1000, PERIOD_DAY, NOON + DAY_OF_MS) == 400);
	CHECK(room(b, c, 1000, PERIOD_DAY, NOON + DAY_OF_MS) == 1000 && room(b, d, 1000, PERIOD_DAY, NOON) == 1000);
	budget_unmap(b);
	close(fd);
}

/* If a budget is raised on all gateways while they are alone, each gets its share of what was added. */
static void a_budget_that_changes_meanwhile_is_shared(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "a", 1000, PERIOD_DAY);
	budget_noted noted;

	budget_fleet_begin(b, 4);
	told(b, "a", 200, 1, NOON);
	budget_fleet_whole(b, 1, 4);
	CHECK(budget_fleet_alone(b, NOON) && room(b, a, 1000, PERIOD_DAY, NOON) == 200);
	budget_account_rules(b, a, 1000, PERIOD_DAY);
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 200);
	CHECK(budget_fleet_changed(b, a, &noted));
	budget_account_rules(b, a, 9000, PERIOD_DAY);
	CHECK(room(b, a, 9000, PERIOD_DAY, NOON) == 2200);
	CHECK(budget_fleet_changed(b, a, &noted) && noted.nano == 200 && noted.withheld == 6600);
	budget_account_rules(b, a, 1000, PERIOD_DAY);
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 200);
	budget_account_rules(b, a, 100, PERIOD_DAY);
	CHECK(room(b, a, 100, PERIOD_DAY, NOON) == -1 && budget_account_view(b, a, NOON).elsewhere == 200);
	budget_account_rules(b, a, INT64_MAX, PERIOD_DAY);
	budget_account_rules(b, a, BUDGET_NO_LIMIT, PERIOD_DAY);
	budget_account_rules(b, a, 1000, PERIOD_DAY);
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) <= 200);
	/* Together again, it is the whole. */
	told(b, "a", 300, 2, NOON);
	budget_fleet_whole(b, 2, 4);
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 700);
	budget_account_rules(b, a, 9000, PERIOD_DAY);
	CHECK(room(b, a, 9000, PERIOD_DAY, NOON) == 8700);
	budget_unmap(b);
	close(fd);
}

static void what_was_noted_is_not_divided_again(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "a", 1000, PERIOD_DAY);
	budget_noted noted;

	CHECK(!budget_fleet_changed(b, a, &noted));
	budget_fleet_begin(b, 1);
	told(b, "a", 100, 1, NOON);
	budget_fleet_whole(b, 1, 3);
	CHECK(budget_fleet_changed(b, a, &noted) && !budget_fleet_changed(b, a, &(budget_noted){ 0 }));
	CHECK(noted.until == DAY + 1 && noted.nano == 100 && noted.withheld == 0);
	told(b, "a", 100, 2, NOON);
	budget_fleet_whole(b, 2, 3);
	CHECK(!budget_fleet_changed(b, a, &noted));
	CHECK(budget_fleet_alone(b, NOON) && budget_fleet_changed(b, a, &noted));
	CHECK(noted.nano == 100 && noted.withheld == 600);
	budget_fleet_again(b, a);
	CHECK(budget_fleet_changed(b, a, &noted) && noted.withheld == 600);
	budget_unmap(b);
	close(fd);

	/* Another memory, in which 250 of the share of 300 are spent. */
	b = rig_budget(&fd);
	a = rig_account(b, ACCOUNT_CLIENT, "a", 1000, PERIOD_DAY);
	budget_fleet_begin(b, 3);
	budget_keep_seed(b, a, PERIOD_DAY, NOON, 250);
	budget_fleet_seed(b, a, &noted, NOON);
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 50);
	budget_fleet_seed(b, a, &(budget_noted){ DAY + 1, 900, 0 }, NOON); /* it is known by now */
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 50);
	/* What was noted without a share, or for another period, is divided by three. */
	uint32_t c = rig_account(b, ACCOUNT_CLIENT, "c", 1000, PERIOD_DAY);
	budget_fleet_seed(b, c, &(budget_noted){ DAY, 900, 0 }, NOON);
	CHECK(room(b, c, 1000, PERIOD_DAY, NOON) == 333);
	budget_fleet_seed(b, c, &(budget_noted){ DAY + 1, 400, 0 }, NOON);
	CHECK(room(b, c, 1000, PERIOD_DAY, NOON) == 200);
	/* A message of the shipper takes the place of both. */
	told(b, "a", 100, 1, NOON);
	budget_fleet_whole(b, 1, 3);
	CHECK(room(b, a, 1000, PERIOD_DAY, NOON) == 650 && room(b, c, 1000, PERIOD_DAY, NOON) == 1000);
	budget_unmap(b);
	close(fd);
}

static void eighty_percent_are_those_of_the_fleet(void)
{
	int fd;
	budget *b = rig_budget(&fd);
	uint32_t a = rig_account(b, ACCOUNT_CLIENT, "a", 1000, PERIOD_DAY);

	budget_fleet_begin(b, 1);
	rig_settle(b, "1", a, BUDGET_NO_ACCOUNT, 300, NOON);
	CHECK(budget_keep_crossed(b, a, NOON) == 0);
	told(b, "a", 500, 1, NOON);
	CHECK(budget_keep_crossed(b, a, NOON) == 80 && budget_keep_crossed(b, a, NOON) == 0);
	told(b, "a", 700, 1, NOON);
	CHECK(budget_keep_crossed(b, a, NOON) == 100);
	CHECK(budget_keep_crossed(b, a, NOON + DAY_OF_MS) == 0);
	budget_unmap(b);
	close(fd);
}

int main(void)
{
	RUN(what_is_told_counts_in_its_period);
	RUN(alone_it_has_its_share);
	RUN(a_budget_that_changes_meanwhile_is_shared);
	RUN(what_was_noted_is_not_divided_again);
	RUN(eighty_percent_are_those_of_the_fleet);
	return unit_end();
}

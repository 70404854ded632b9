/* SPDX-License-Identifier: MIT */
#include "serve/accounts.h"

#include <stdlib.h>

#include "base/clock.h"
#include "budget/budget.h"
#include "decide/decision.h"
#include "decide/pricing.h"

enum {
	QUICK_NS = 1000000,   /* a look at all accounts that took no longer is followed by no pause */
	SHARE = 500,          /* a longer look is followed by a pause of so many times its length */
	FORECAST_AFTER = 100, /* there is a forecast once this part of a period, one in so many, is over */
};

/* An account that is among those with the largest shares so far. */
typedef struct ranked {
	double used;
	int64_t spent;
	uint32_t at; /* index of the client, or the count of clients and the index of the project */
} ranked;

static bool is_before(const ranked *a, const ranked *b)
{
	return a->used > b->used || (a->used == b->used && a->spent > b->spent);
}

/* Keeps `one` in `best`, which is in order, if it belongs there. Of two that are equal, the first one comes first. */
static void rank(ranked best[BUDGETS_SHOWN], size_t *count, ranked one)
{
	size_t to = *count;

	if (to == BUDGETS_SHOWN && !is_before(&one, &best[to - 1]))
		return;
	to -= to == BUDGETS_SHOWN;
	for (; to > 0 && is_before(&one, &best[to - 1]); to--)
		best[to] = best[to - 1];
	best[to] = one;
	*count += *count < BUDGETS_SHOWN;
}

static int64_t forecast(const account_view *v, int64_t now_ms)
{
	int64_t length = (v->next_day - v->first_day) * DAY_MS, gone = now_ms - v->first_day * DAY_MS;

	if (gone < length / FORECAST_AFTER)
		return -1;
	double nano = ((double)v->spent + (double)v->charged + (double)v->elsewhere) * ((double)length / (double)gone);
	return nano < 9e18 ? (int64_t)nano : INT64_MAX;
}

/* Looks at one account, and fills `out` but for its texts. */
static void look(const budget *b, uint32_t account, const client_limits *l, int64_t now_ms, host_account *out)
{
	static const struct {
		budget_result why;
		refusal refusal;
	} whys[BUDGETS_ERRORS] = {
		{ BUDGET_SPENT, REFUSE_QUOTA },
		{ BUDGET_TOKENS, REFUSE_RATE },
		{ BUDGET_TOO_LARGE, REFUSE_TOKENS },
		{ BUDGET_UNKNOWN, REFUSE_GATEWAY },
	};
	account_view v = budget_account_view(b, account, now_ms);

	*out = (host_account){ .per = period_name(v.period),
			       .first_ms = v.first_day * DAY_MS,
			       .next_ms = v.next_day * DAY_MS,
			       .budget = v.nano,
			       .spent = v.spent,
			       .charged = v.charged,
			       .reserved = v.reserved > 0 ? v.reserved : 0,
			       .elsewhere = v.elsewhere,
			       .withheld = v.withheld,
			       .forecast = forecast(&v, now_ms),
			       .tokens_per_minute = l->tokens_per_minute,
			       .refused_ms = v.refused_s * 1000 };
	for (size_t i = 0; i < BUDGETS_ERRORS; i++) {
		const char *error = refusal_describe(whys[i].refusal)->code;
		out->refusals[i].error = error;
		out->refusals[i].count = v.refusals[whys[i].why];
		if (v.refused_s && v.why == whys[i].why)
			out->refused = error;
	}
}

/* Returns the limits of the client of index `at`; behind the clients, those of a project. Sets `*account`. */
static const client_limits *limits_at(const client_table *t, uint32_t at, uint32_t *account)
{
	const client_project *p = at < t->count ? NULL : &t->projects[at - t->count];

	*account = p ? p->account : t->clients[at].account;
	return p ? &p->limits : &t->clients[at].limits;
}

static void copy_texts(const client_table *t, uint32_t at, host_account *out)
{
	const client *c = at < t->count ? &t->clients[at] : NULL;

	out->owner = c ? OWNER_CLIENT : OWNER_PROJECT;
	out->enabled = !c || c->enabled;
	snprintf(out->name, sizeof out->name, "%s", c ? c->name : t->projects[at - t->count].name);
	snprintf(out->project, sizeof out->project, "%s", c && c->project ? c->project : "");
}

static void look_at_all(host_budgets *out, const client_table *t, const budget *b, int64_t now_ms)
{
	ranked best[BUDGETS_SHOWN];
	host_account one;
	uint32_t account;

	*out = (host_budgets){ .shown_count = 0 };
	for (uint32_t at = 0; b && at < t->count + t->projects_count; at++) {
		const client_limits *l = limits_at(t, at, &account);
		budget_owner owner = at < t->count ? OWNER_CLIENT : OWNER_PROJECT;
		if (account == NO_ACCOUNT)
			continue;
		look(b, account, l, now_ms, &one);
		out->accounts[owner]++;
		out->reserved[owner] += one.reserved;
		out->charged[owner] += one.charged;
		/* Those that can spend nothing come last. */
		bool can = owner == OWNER_PROJECT || t->clients[at].enabled;
		rank(best, &out->shown_count, (ranked){ can ? budgets_used(&one) : -2, one.spent, at });
	}
	for (size_t i = 0; i < out->shown_count; i++) {
		const client_limits *l = limits_at(t, best[i].at, &account);
		look(b, account, l, now_ms, &out->shown[i]);
		copy_texts(t, best[i].at, &out->shown[i]);
	}
	out->charged_requests = b ? budget_charged(b) : 0;
}

void accounts_init(accounts *a)
{
	*a = (accounts){ .table = NULL };
	pthread_mutex_init(&a->lock, NULL);
}

void accounts_deinit(accounts *a)
{
	pthread_mutex_destroy(&a->lock);
}

bool accounts_read(accounts *a, const policy *p, host_budgets **out)
{
	*out = NULL;
	if (!p->clients)
		return true;
	*out = malloc(sizeof **out);
	if (!*out)
		return false;
	pthread_mutex_lock(&a->lock);
	int64_t began = (int64_t)clock_mono_ns();
	if (a->table != p->clients || began >= a->next_ns) {
		look_at_all(&a->now, p->clients, p->pricing ? p->pricing->budget : NULL, clock_wall_ms());
		int64_t ended = (int64_t)clock_mono_ns(), took = ended - began;
		a->table = p->clients;
		a->next_ns = ended + (took > QUICK_NS ? took * SHARE : 0);
	}
	**out = a->now;
	pthread_mutex_unlock(&a->lock);
	return true;
}

/* SPDX-License-Identifier: MIT
 *
 * A region of budgets, and short ways to ask it. */
#ifndef BUDGET_RIG_H
#define BUDGET_RIG_H

#include "budget/budget.h"

#include "unit.h"

#define NOON INT64_C(1709208000000) /* Thu, 29 Feb 2024 12:00 UTC */
#define DAY_OF_MS INT64_C(86400000)
#define SECOND_NS UINT64_C(1000000000)

static inline budget *rig_budget(int *fd)
{
	bool foreign;
	err e;

	*fd = budget_memory(&e);
	budget *b = *fd >= 0 ? budget_map(*fd, &foreign, &e) : NULL;
	if (!b) {
		printf("%s\n", e.text);
		abort();
	}
	return b;
}

/* A client's or project's account, with nothing spent. */
static inline uint32_t rig_account(budget *b, account_kind kind, const char *name, int64_t nano, period_kind period)
{
	uint32_t a = budget_account(b, kind, slice_cstr(name));

	budget_account_rules(b, a, nano, period);
	budget_keep_seed(b, a, period, NOON, 0);
	return a;
}

static inline budget_limit rig_limit(uint32_t number, int64_t nano, period_kind period, uint64_t tokens)
{
	return (budget_limit){ number, period, nano, tokens };
}

static inline budget_limit rig_none(void)
{
	return (budget_limit){ BUDGET_NO_ACCOUNT, PERIOD_DAY, BUDGET_NO_LIMIT, 0 };
}

static inline int64_t rig_sum(const budget *b, uint32_t number, int64_t now_ms)
{
	account_view v = budget_account_view(b, number, now_ms);
	return v.spent + v.charged + v.reserved;
}

/* Settles a request that arrived at `now_ms`. */
static inline int64_t rig_settle(budget *b, const char *id, uint32_t client, uint32_t project, int64_t nano,
				 int64_t now_ms)
{
	budget_end end = { slice_cstr(id), client, project, now_ms, nano, -1 };
	return budget_keep_settle(b, &end, now_ms);
}

/* Asks for a request of `nano` and `tokens`. */
static inline budget_answer rig_ask(budget *b, const char *id, budget_limit client, budget_limit project, int64_t nano,
				    uint64_t tokens, uint64_t mono_ns, int64_t now_ms)
{
	budget_ask a = { slice_cstr(id), client, project, nano, tokens };
	budget_answer out;

	budget_reserve(b, &a, mono_ns, now_ms, &out);
	return out;
}

/* Asks for a request of a client without a project. */
static inline budget_result rig_money(budget *b, const char *id, budget_limit client, int64_t nano, int64_t now_ms)
{
	return rig_ask(b, id, client, rig_none(), nano, 0, SECOND_NS, now_ms).result;
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * Budgets in /metrics. Sums are over all clients and projects; those of BUDGETS_SHOWN have series of their own, which
 * end when others have used a larger share of their budgets. A client that is disabled has none, because it spends
 * nothing. */
#include "ops/metrics_impl.h"

static void write_sums(FILE *f, const char *name, const char *help, const int64_t nano[OWNERS])
{
	head(f, name, "gauge", help);
	for (unsigned o = 0; o < OWNERS; o++) {
		labelled(f, name, "kind", budget_owner_names[o], NULL);
		value_usd(f, nano[o]);
	}
}

/* Returns the next account that has series; NULL: there is no further one. */
static const host_account *next(const host_budgets *b, size_t *at)
{
	while (*at < b->shown_count && !b->shown[*at].enabled)
		(*at)++;
	return *at < b->shown_count ? &b->shown[(*at)++] : NULL;
}

void metrics_write_budgets(FILE *f, const host_budgets *b)
{
	static const char ratio[] = "spoa_llm_budget_used_ratio", limit[] = "spoa_llm_budget_limit_usd",
			  spent[] = "spoa_llm_budget_spent_usd", elsewhere[] = "spoa_llm_budget_elsewhere_usd",
			  refusals[] = "spoa_llm_budget_refusals_total";
	const host_account *a;

	head(f, "spoa_llm_budget_accounts", "gauge", "Clients and projects that have a budget or tokens_per_minute.");
	for (unsigned o = 0; o < OWNERS; o++) {
		labelled(f, "spoa_llm_budget_accounts", "kind", budget_owner_names[o], NULL);
		value_u(f, b->accounts[o]);
	}
	write_sums(f, "spoa_llm_budget_reserved_usd",
		   "Dollars that are reserved for requests in flight, of all clients and of all projects.",
		   b->reserved);
	write_sums(
		f, "spoa_llm_budget_charged_usd",
		"Dollars of the present periods that are charged for requests whose record did not come, of all clients and of all projects.",
		b->charged);
	one(f, "spoa_llm_budget_charged_requests_total", "counter",
	    "Requests of clients that were charged, because their record did not come for four hours.",
	    b->charged_requests);
	head(f, ratio, "gauge",
	     "Which share of its budget a client or project has used: spent, here and elsewhere, and charged. Of the hundred that have used the largest shares.");
	for (size_t i = 0; (a = next(b, &i));) {
		if (a->budget < 0)
			continue;
		labelled(f, ratio, "kind", budget_owner_names[a->owner], "name", a->name, NULL);
		value_s(f, budgets_used(a));
	}
	head(f, limit, "gauge", "The budget in dollars, of the same clients and projects, and its period.");
	for (size_t i = 0; (a = next(b, &i));) {
		if (a->budget < 0)
			continue;
		labelled(f, limit, "kind", budget_owner_names[a->owner], "name", a->name, "per", a->per, NULL);
		value_usd(f, a->budget);
	}
	head(f, spent, "gauge",
	     "Dollars that the same clients and projects spent, or were charged, since their period began; without a budget since the month began.");
	for (size_t i = 0; (a = next(b, &i));) {
		labelled(f, spent, "kind", budget_owner_names[a->owner], "name", a->name, NULL);
		value_usd(f, a->spent + a->charged);
	}
	head(f, elsewhere, "gauge",
	     "Dollars that the same clients and projects spent on other gateways of the fleet in the same period.");
	for (size_t i = 0; (a = next(b, &i));) {
		labelled(f, elsewhere, "kind", budget_owner_names[a->owner], "name", a->name, NULL);
		value_usd(f, a->elsewhere);
	}
	head(f, refusals, "counter",
	     "Requests that the budgets or tokens a minute of the same clients and projects refused, by the error that the caller gets.");
	for (size_t i = 0; (a = next(b, &i));) {
		for (unsigned e = 0; e < BUDGETS_ERRORS; e++) {
			labelled(f, refusals, "kind", budget_owner_names[a->owner], "name", a->name, "error",
				 a->refusals[e].error, NULL);
			value_u(f, a->refusals[e].count);
		}
	}
}

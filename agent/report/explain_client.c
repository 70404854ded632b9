/* SPDX-License-Identifier: MIT */
#include "report/explain_client.h"

#include "base/clock.h"
#include "budget/budget.h"
#include "config/clients.h"
#include "decide/pricing.h"
#include "report/print.h"

static const char *const output_words[] = {
	[OUTPUT_ASKED] = "request",
	[OUTPUT_LEARNED] = "recent answers",
	[OUTPUT_ASSUMED] = "assumed",
};

/* Reads what `account` has used of its budget. False: there is no budget, or nobody knows. */
static bool used(const explain_client *x, const client_limits *l, uint32_t account, account_view *v, int64_t *left)
{
	const budget *b = x->policy->pricing ? x->policy->pricing->budget : NULL;

	if (!b || l->budget_nano == BUDGET_NONE ||
	    !budget_account_known(b, account, (period_kind)l->period, clock_wall_ms()))
		return false;
	*v = budget_account_view(b, account, clock_wall_ms());
	int64_t gone = v->spent + v->charged + v->reserved + v->elsewhere + v->withheld;
	*left = gone < l->budget_nano ? l->budget_nano - gone : 0;
	return true;
}

/* ---- JSON */

static void add_count(cJSON *json, const char *key, uint64_t n, bool known)
{
	if (known)
		cJSON_AddNumberToObject(json, key, (double)n);
	else
		cJSON_AddNullToObject(json, key);
}

static void add_usd(cJSON *json, const char *key, int64_t nano, bool known)
{
	char usd[PRINT_NUMBER];

	if (known)
		cJSON_AddStringToObject(json, key, print_dollars(usd, nano, 9));
	else
		cJSON_AddNullToObject(json, key);
}

static void add_name(cJSON *json, const char *key, slice name)
{
	char text[CLIENT_NAME_MAX + 1];

	snprintf(text, sizeof text, "%.*s", (int)name.len, name.len ? name.ptr : "");
	if (name.len)
		cJSON_AddStringToObject(json, key, text);
	else
		cJSON_AddNullToObject(json, key);
}

static void add_limits(cJSON *json, const explain_client *x, const client_limits *l, uint32_t account)
{
	account_view v = { .spent = 0 };
	int64_t left = 0;

	add_count(json, "tokens_per_minute", l->tokens_per_minute, l->tokens_per_minute > 0);
	if (l->budget_nano == BUDGET_NONE) {
		cJSON_AddNullToObject(json, "budget");
		return;
	}
	cJSON *money = cJSON_AddObjectToObject(json, "budget");
	bool known = used(x, l, account, &v, &left);
	add_usd(money, "usd", l->budget_nano, true);
	cJSON_AddStringToObject(money, "per", client_periods[l->period]);
	add_usd(money, "spent_usd", v.spent, known);
	add_usd(money, "charged_usd", v.charged, known && !x->by_ledger);
	add_usd(money, "reserved_usd", v.reserved, known && !x->by_ledger);
	if (v.elsewhere || v.withheld) { /* of a fleet */
		add_usd(money, "elsewhere_usd", v.elsewhere, known);
		add_usd(money, "withheld_usd", v.withheld, known);
	}
	add_usd(money, "left_usd", left, known);
}

static void add_reserves(cJSON *json, const admission_estimate *e)
{
	if (!e) {
		cJSON_AddNullToObject(json, "reserves");
		return;
	}
	cJSON *reserves = cJSON_AddObjectToObject(json, "reserves");
	add_count(reserves, "input_tokens", (uint64_t)e->input, true);
	add_count(reserves, "output_tokens", (uint64_t)e->output, true);
	cJSON_AddStringToObject(reserves, "output_from", output_words[e->from]);
	add_usd(reserves, "usd", e->nano, e->priced);
}

void explain_client_json(cJSON *json, const explain_client *x)
{
	const client *c = x->client;

	if (x->name.len == 0)
		return;
	add_name(json, "client", x->name);
	add_name(json, "project", x->project);
	if (!c)
		return;
	const client_project *project = client_project_of(x->policy->clients, c);
	cJSON *limits = cJSON_AddObjectToObject(json, "limits");
	cJSON *own = cJSON_AddObjectToObject(limits, "client");
	add_count(own, "requests_per_minute", c->requests_per_minute, c->requests_per_minute > 0);
	add_count(own, "parallel", c->parallel, c->parallel > 0);
	add_limits(own, x, &c->limits, c->account);
	if (project && project->listed)
		add_limits(cJSON_AddObjectToObject(limits, "project"), x, &project->limits, project->account);
	else
		cJSON_AddNullToObject(limits, "project");
	add_count(limits, "tokens_left", x->left.tokens_left, x->left.tokens_limit > 0 && !x->by_ledger);
	add_reserves(json, x->takes);
}

/* ---- text */

static void print_budget(FILE *f, const char *name, const explain_client *x, const client_limits *l, uint32_t account)
{
	char text[PRINT_NUMBER];
	account_view v;
	int64_t left;

	if (l->budget_nano == BUDGET_NONE)
		return;
	fprintf(f, "%s%s a %s", name, print_amount(text, l->budget_nano), client_periods[l->period]);
	if (!used(x, l, account, &v, &left)) {
		fprintf(f, "; what was spent is not known\n");
		return;
	}
	fprintf(f, ": %s spent", print_amount(text, v.spent));
	if (!x->by_ledger) {
		fprintf(f, ", %s charged", print_amount(text, v.charged));
		fprintf(f, ", %s reserved", print_amount(text, v.reserved));
	}
	if (v.elsewhere)
		fprintf(f, ", %s spent elsewhere in the fleet", print_amount(text, v.elsewhere));
	if (v.withheld)
		fprintf(f, ", %s withheld for the fleet", print_amount(text, v.withheld));
	fprintf(f, ", %s left%s\n", print_amount(text, left), x->by_ledger ? ", but for requests in flight" : "");
}

static void print_tokens(FILE *f, const char *name, uint64_t tokens)
{
	char text[PRINT_NUMBER];

	if (tokens)
		fprintf(f, "%s%s tokens a minute\n", name, print_count(text, (int64_t)tokens));
}

static void print_reserves(FILE *f, const admission_estimate *e)
{
	static const char *const words[] = {
		[OUTPUT_ASKED] = "as the request says",
		[OUTPUT_LEARNED] = "as recent answers of the model took",
		[OUTPUT_ASSUMED] = "because nothing is known of the model's answers",
	};
	char usd[PRINT_NUMBER], input[PRINT_NUMBER], output[PRINT_NUMBER];

	fprintf(f, "reserves:  %s, for tokens: %s in and %s out, %s\n",
		e->priced ? print_amount(usd, e->nano) : "no money, because the model has no price",
		print_count(input, e->input), print_count(output, e->output), words[e->from]);
}

void explain_client_text(FILE *f, const explain_client *x)
{
	const client *c = x->client;
	char text[PRINT_NUMBER];

	if (x->name.len == 0)
		return;
	fprintf(f, "client:    %.*s%s%.*s, by its key%s\n", (int)x->name.len, x->name.ptr,
		x->project.len ? " of project " : "", (int)x->project.len, x->project.len ? x->project.ptr : "",
		c ? "" : ", which is refused");
	if (!c)
		return;
	const client_project *project = client_project_of(x->policy->clients, c);
	if (c->requests_per_minute)
		fprintf(f, "limit:     %s requests a minute, which HAProxy counts\n",
			print_count(text, c->requests_per_minute));
	if (c->parallel)
		fprintf(f, "limit:     %s requests in parallel, which HAProxy counts\n",
			print_count(text, c->parallel));
	print_tokens(f, "limit:     ", c->limits.tokens_per_minute);
	print_budget(f, "budget:    ", x, &c->limits, c->account);
	if (project && project->listed) {
		print_tokens(f, "limit:     for all of the project, ", project->limits.tokens_per_minute);
		print_budget(f, "budget:    of the project, ", x, &project->limits, project->account);
	}
	if (x->left.tokens_limit && !x->by_ledger)
		fprintf(f, "tokens:    %s are left of this minute\n", print_count(text, (int64_t)x->left.tokens_left));
	if (x->takes)
		print_reserves(f, x->takes);
}

/* SPDX-License-Identifier: MIT */
#include "ops/budgets.h"

#include <inttypes.h>

#include "base/text.h"

const char *const budget_owner_names[OWNERS] = { [OWNER_CLIENT] = "client", [OWNER_PROJECT] = "project" };

double budgets_used(const host_account *a)
{
	double used = (double)a->spent + (double)a->charged + (double)a->elsewhere;

	if (a->budget < 0)
		return -1;
	return a->budget ? used / (double)a->budget : used > 0;
}

static void write_optional(FILE *f, const char *name, bool there, int64_t n)
{
	fprintf(f, ",\"%s\":", name);
	if (there)
		fprintf(f, "%" PRId64, n);
	else
		fputs("null", f);
}

static void write_text(FILE *f, const char *name, const char *text)
{
	fprintf(f, ",\"%s\":", name);
	if (text && *text)
		json_write_text(f, text);
	else
		fputs("null", f);
}

static void write_account(FILE *f, const host_account *a)
{
	bool budget = a->budget >= 0;

	fprintf(f, "{\"kind\":\"%s\"", budget_owner_names[a->owner]);
	write_text(f, "name", a->name);
	write_text(f, "project", a->project);
	fprintf(f, ",\"enabled\":%s", a->enabled ? "true" : "false");
	write_optional(f, "budget_nano", budget, a->budget);
	write_text(f, "per", budget ? a->per : NULL);
	fprintf(f,
		",\"period_start\":%" PRId64 ",\"period_end\":%" PRId64 ",\"spent_nano\":%" PRId64
		",\"charged_nano\":%" PRId64 ",\"reserved_nano\":%" PRId64 ",\"elsewhere_nano\":%" PRId64
		",\"withheld_nano\":%" PRId64 ",\"used_ratio\":",
		a->first_ms, a->next_ms, a->spent, a->charged, a->reserved, a->elsewhere, a->withheld);
	if (budget)
		fprintf(f, "%.6f", budgets_used(a));
	else
		fputs("null", f);
	write_optional(f, "forecast_nano", a->forecast >= 0, a->forecast);
	write_optional(f, "tokens_per_minute", a->tokens_per_minute > 0, (int64_t)a->tokens_per_minute);
	if (a->refused)
		fprintf(f, ",\"last_refusal\":{\"at\":%" PRId64 ",\"error\":\"%s\"}}", a->refused_ms, a->refused);
	else
		fputs(",\"last_refusal\":null}", f);
}

void budgets_write(FILE *f, const host_budgets *b)
{
	if (!b) {
		fputs("null", f);
		return;
	}
	fprintf(f, "{\"of\":%" PRIu64 ",\"shown\":%zu,\"accounts\":[",
		b->accounts[OWNER_CLIENT] + b->accounts[OWNER_PROJECT], b->shown_count);
	for (size_t i = 0; i < b->shown_count; i++) {
		if (i)
			fputc(',', f);
		write_account(f, &b->shown[i]);
	}
	fputs("]}", f);
}

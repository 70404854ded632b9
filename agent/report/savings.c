/* SPDX-License-Identifier: MIT */
#include "report/savings.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/sum.h"
#include "report/ledger_store.h"

static const struct {
	const char *name;
	store_group group;
} groups[] = {
	{ "model", GROUP_MODEL },   { "route", GROUP_ROUTE }, { "project", GROUP_PROJECT },
	{ "client", GROUP_CLIENT }, { "day", GROUP_DAY },     { "hour", GROUP_HOUR },
};

/* The figures of a group, in the order of JSON and CSV. Programs read the names: never change one. */
static const struct {
	const char *name; /* for money without the unit: JSON appends _nanodollars, CSV _usd */
	size_t offset;
	bool money;
} figures[] = {
	{ "requests", offsetof(store_sums, requests), false },
	{ "streams", offsetof(store_sums, streams), false },
	{ "refused", offsetof(store_sums, refused), false },
	{ "failed", offsetof(store_sums, failed), false },
	{ "input", offsetof(store_sums, input), false },
	{ "output", offsetof(store_sums, output), false },
	{ "cache_read", offsetof(store_sums, cache_read), false },
	{ "cache_write", offsetof(store_sums, cache_write), false },
	{ "saved", offsetof(store_sums, saved), false },
	{ "bytes_in", offsetof(store_sums, bytes_in), false },
	{ "bytes_out", offsetof(store_sums, bytes_out), false },
	{ "cost", offsetof(store_sums, cost), true },
	{ "saved_compression", offsetof(store_sums, saved_compression), true },
	{ "saved_cache", offsetof(store_sums, saved_cache), true },
	{ "saved_routing", offsetof(store_sums, saved_routing), true },
	{ "estimated_requests", offsetof(store_sums, estimated_requests), false },
	{ "estimated_output", offsetof(store_sums, estimated_output), false },
	{ "estimated_cost", offsetof(store_sums, estimated_cost), true },
	{ "partial_requests", offsetof(store_sums, partial_requests), false },
	{ "unpriced_requests", offsetof(store_sums, unpriced_requests), false },
	{ "unpriced_tokens", offsetof(store_sums, unpriced_tokens), false },
};

enum { FIGURES = sizeof figures / sizeof figures[0] };

_Static_assert(sizeof(store_sums) - offsetof(store_sums, requests) == FIGURES * sizeof(int64_t),
	       "each figure is named");

static int64_t figure(const store_sums *s, size_t i)
{
	return *(const int64_t *)(const void *)((const char *)s + figures[i].offset);
}

int64_t savings_all(const store_sums *s)
{
	return add_capped(add_capped(s->saved_compression, s->saved_cache), s->saved_routing);
}

/* ---- reading */

static bool keep(void *ctx, const store_sums *sums)
{
	savings_list *l = ctx;
	store_sums *items = list_grow(l->items, &l->room, l->count, sizeof *items);

	if (!items) {
		l->failed = true;
		return false;
	}
	l->items = items;
	l->items[l->count++] = *sums;
	return true;
}

static bool keep_unpriced(void *ctx, const store_sums *sums)
{
	return !sums->unpriced_requests || keep(ctx, sums);
}

static int by_unpriced(const void *a, const void *b)
{
	const store_sums *x = a, *y = b;

	if (x->unpriced_tokens != y->unpriced_tokens)
		return x->unpriced_tokens < y->unpriced_tokens ? 1 : -1;
	return strcmp(x->label, y->label);
}

static store_result read_list(store *s, store_group group, const period *p, bool (*each)(void *, const store_sums *),
			      savings_list *l, err *e)
{
	store_result result;
	int tries = 0;

	do {
		l->count = 0;
		result = store_report(s, group, p->from_ms, p->to_ms, each, l, e);
	} while (ledger_store_retry(result, &tries));
	if (l->failed) {
		err_memory(e);
		return STORE_ERROR;
	}
	return result;
}

/* The totals are the sums of the rows that were read, so that totals and rows agree even if the agent writes meanwhile.
 */
store_result savings_read(store *s, savings_report *r, err *e)
{
	store_result result = read_list(s, r->group, &r->period, keep, &r->rows, e);

	for (size_t i = 0; i < r->rows.count; i++)
		store_sums_merge(&r->total, &r->rows.items[i]);
	if (result == STORE_OK && r->total.unpriced_requests)
		result = read_list(s, GROUP_MODEL, &r->period, keep_unpriced, &r->models, e);
	if (r->models.count)
		qsort(r->models.items, r->models.count, sizeof *r->models.items, by_unpriced);
	return result;
}

/* ---- for programs */

static void json_figures(FILE *f, const store_sums *s)
{
	for (size_t i = 0; i < FIGURES; i++)
		fprintf(f, "%s\"%s%s\":%" PRId64, i ? "," : "", figures[i].name, figures[i].money ? "_nanodollars" : "",
			figure(s, i));
	fprintf(f, ",\"saved_total_nanodollars\":%" PRId64, savings_all(s));
}

static void json_time(FILE *f, const char *name, int64_t ms, bool unlimited)
{
	char text[PRINT_NUMBER];

	if (unlimited)
		fprintf(f, "\"%s\":null,", name);
	else
		fprintf(f, "\"%s\":\"%s\",", name, print_time(text, ms));
}

static void print_json(FILE *f, const savings_report *r)
{
	const store_sums *t = &r->total;

	fprintf(f, "{");
	json_time(f, "since", r->period.from_ms, r->period.from_ms == 0);
	json_time(f, "until", r->period.to_ms, r->period.to_ms == INT64_MAX);
	fprintf(f, "\"by\":\"%s\",\"totals\":{", r->by);
	json_figures(f, t);
	fprintf(f,
		"},\"without_estimates\":{\"requests\":%" PRId64 ",\"output\":%" PRId64 ",\"cost_nanodollars\":%" PRId64
		"},",
		t->requests - t->estimated_requests, t->output - t->estimated_output, t->cost - t->estimated_cost);
	fprintf(f, "\"unpriced_models\":[");
	for (size_t i = 0; i < r->models.count; i++) {
		const store_sums *m = &r->models.items[i];
		fprintf(f, "%s{\"model\":", i ? "," : "");
		json_write_text(f, m->label);
		fprintf(f, ",\"requests\":%" PRId64 ",\"tokens\":%" PRId64 "}", m->unpriced_requests,
			m->unpriced_tokens);
	}
	fprintf(f, "],\"rows\":[");
	for (size_t i = 0; i < r->rows.count && !ferror(f); i++) {
		fprintf(f, "%s\n{\"%s\":", i ? "," : "", r->by);
		json_write_text(f, r->rows.items[i].label);
		fprintf(f, ",");
		json_figures(f, &r->rows.items[i]);
		fprintf(f, "}");
	}
	fprintf(f, "%s]}\n", r->rows.count ? "\n" : "");
}

static void print_csv(FILE *f, const savings_report *r)
{
	char number[PRINT_NUMBER];

	fputs(r->by, f);
	for (size_t i = 0; i < FIGURES; i++)
		fprintf(f, ",%s%s", figures[i].name, figures[i].money ? "_usd" : "");
	fputs(",saved_total_usd\r\n", f);
	for (size_t row = 0; row < r->rows.count && !ferror(f); row++) {
		const store_sums *s = &r->rows.items[row];
		csv_write_text(f, s->label, true);
		for (size_t i = 0; i < FIGURES; i++) {
			if (figures[i].money)
				fprintf(f, ",%s", print_dollars(number, figure(s, i), 9));
			else
				fprintf(f, ",%" PRId64, figure(s, i));
		}
		fprintf(f, ",%s\r\n", print_dollars(number, savings_all(s), 9));
	}
}

bool savings_prepare(savings_report *r, const char *since, const char *until, const char *by, err *e)
{
	size_t i = 0;

	*r = (savings_report){ .by = by ? by : "model", .now_ms = clock_wall_ms() };
	while (i < sizeof groups / sizeof groups[0] && strcmp(groups[i].name, r->by) != 0)
		i++;
	if (i == sizeof groups / sizeof groups[0])
		return err_set(e, "--by \"%.60s\": model, route, project, client, day or hour is expected", r->by);
	r->group = groups[i].group;
	if (!period_parse(since, until, "30d", &r->period, e))
		return false;
	/* The store has sums of whole hours: widen the period to the hours that it touches. */
	r->period.from_ms -= r->period.from_ms % HOUR_MS;
	if (r->period.to_ms != INT64_MAX && r->period.to_ms % HOUR_MS)
		r->period.to_ms += HOUR_MS - r->period.to_ms % HOUR_MS;
	return true;
}

void savings_write(FILE *f, const savings_report *r, bool csv)
{
	if (csv)
		print_csv(f, r);
	else
		print_json(f, r);
}

void savings_deinit(savings_report *r)
{
	free(r->rows.items);
	free(r->models.items);
}

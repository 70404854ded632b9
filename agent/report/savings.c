/* SPDX-License-Identifier: MIT */
#include "report/savings_impl.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/sum.h"
#include "report/ledger_store.h"
#include "ship/fleet_read.h"

static const struct {
	const char *name;
	store_group group;
} groups[] = {
	{ "model", GROUP_MODEL },   { "route", GROUP_ROUTE },     { "project", GROUP_PROJECT },
	{ "client", GROUP_CLIENT }, { "member", GROUP_MEMBER },   { "day", GROUP_DAY },
	{ "hour", GROUP_HOUR },     { "gateway", GROUP_GATEWAY },
};

void savings_bucket(char *out, size_t room, int64_t time_ms, bool hour)
{
	char text[PRINT_NUMBER];

	print_time(text, time_ms);
	snprintf(out, room, "%.*s%s", hour ? 13 : 10, text, hour ? ":00Z" : "");
}

int64_t savings_gateway(const store_sums *s)
{
	return add_capped(s->saved_compression, s->saved_routing);
}

int64_t savings_all(const store_sums *s)
{
	return add_capped(savings_gateway(s), s->saved_cache);
}

int64_t savings_estimated_gateway(const store_sums *s)
{
	return add_capped(s->estimated_saved_compression, s->estimated_saved_routing);
}

int64_t savings_estimated(const store_sums *s)
{
	return add_capped(savings_estimated_gateway(s), s->estimated_saved_cache);
}

/* The figures of a group, in the order of JSON and CSV. Programs read the names and the order: add figures at the end,
 * change none. */
static const struct {
	const char *name; /* for money without the unit: JSON appends _nanodollars, CSV _usd */
	size_t offset;    /* of a sum; not used if there is `made` */
	bool money;
	int64_t (*made)(const store_sums *s); /* makes the figure of several sums */
} figures[] = {
#define SUM(name) \
	{ \
#name, offsetof(store_sums, name), false, NULL \
	}
#define MONEY(name) \
	{ \
#name, offsetof(store_sums, name), true, NULL \
	}
	SUM(requests),
	SUM(streams),
	SUM(refused),
	SUM(failed),
	SUM(input),
	SUM(output),
	SUM(cache_read),
	SUM(cache_write),
	SUM(saved),
	SUM(bytes_in),
	SUM(bytes_out),
	MONEY(cost),
	MONEY(saved_compression),
	MONEY(saved_cache),
	MONEY(saved_routing),
	SUM(estimated_requests),
	SUM(estimated_output),
	MONEY(estimated_cost),
	SUM(partial_requests),
	SUM(unpriced_requests),
	SUM(unpriced_tokens),
	{ "saved_total", 0, true, savings_all },
	SUM(unknown_requests),
	SUM(partly_priced_requests),
	{ "saved_gateway", 0, true, savings_gateway },
	MONEY(estimated_saved_compression),
	MONEY(estimated_saved_cache),
	MONEY(estimated_saved_routing),
	{ "estimated_saved_gateway", 0, true, savings_estimated_gateway },
	{ "estimated_saved_total", 0, true, savings_estimated },
	SUM(untold_requests),
};

enum { FIGURES = sizeof figures / sizeof figures[0], FIGURES_MADE = 4 };

_Static_assert(sizeof(store_sums) - offsetof(store_sums, requests) == (FIGURES - FIGURES_MADE) * sizeof(int64_t),
	       "each sum is named");

/* Returns the sum at the offset `sum`. */
static int64_t sum_at(const store_sums *s, size_t sum)
{
	return *(const int64_t *)(const void *)((const char *)s + sum);
}

static int64_t figure(const store_sums *s, size_t i)
{
	return figures[i].made ? figures[i].made(s) : sum_at(s, figures[i].offset);
}

/* ---- reading */

bool savings_keep(void *ctx, const store_sums *sums)
{
	savings_list *l = ctx;
	l->full = l->most && l->count == l->most;
	store_sums *items = l->full ? NULL : list_grow(l->items, &l->room, l->count, sizeof *items);

	if (!items) {
		l->failed = !l->full;
		return false;
	}
	l->items = items;
	l->items[l->count++] = *sums;
	return true;
}

static bool doubtful(const store_sums *sums)
{
	return sums->unpriced_requests || sums->unknown_requests || sums->partly_priced_requests ||
	       sums->untold_requests;
}

static bool keep_doubtful(void *ctx, const store_sums *sums)
{
	return !doubtful(sums) || savings_keep(ctx, sums);
}

static bool keep_untold(void *ctx, const store_sums *sums)
{
	return !sums->untold_requests || savings_keep(ctx, sums);
}

const savings_doubt savings_doubts[SAVINGS_DOUBTS] = {
	[DOUBT_UNPRICED] = { "unpriced_models", offsetof(store_sums, unpriced_requests),
			     offsetof(store_sums, unpriced_tokens) },
	[DOUBT_UNKNOWN] = { "unknown_models", offsetof(store_sums, unknown_requests),
			    offsetof(store_sums, unknown_requests) },
	[DOUBT_PARTLY_PRICED] = { "partly_priced_models", offsetof(store_sums, partly_priced_requests),
				  offsetof(store_sums, partly_priced_requests) },
	[DOUBT_UNTOLD] = { "untold_models", offsetof(store_sums, untold_requests),
			   offsetof(store_sums, untold_requests) },
};

static int by_doubt(const void *a, const void *b, void *of)
{
	const store_sums *x = a, *y = b;
	const savings_doubt *d = of;
	bool has = sum_at(x, d->requests) > 0, other_has = sum_at(y, d->requests) > 0;
	int64_t weight = sum_at(x, d->weight), other = sum_at(y, d->weight);

	if (has != other_has)
		return has ? -1 : 1;
	return weight != other ? (weight < other ? 1 : -1) : strcmp(x->label, y->label);
}

size_t savings_order(const savings_list *l, const savings_doubt *d)
{
	savings_doubt copy = *d;
	size_t count = 0;

	if (l->count)
		qsort_r(l->items, l->count, sizeof *l->items, by_doubt, &copy);
	while (count < l->count && sum_at(&l->items[count], d->requests) > 0)
		count++;
	return count;
}

typedef struct store_reading {
	store *store;
	int64_t pruned_ms; /* requests before this time are missing */
} store_reading;

static int read_store(void *ctx, store_group group, const savings_report *r, bool (*each)(void *, const store_sums *),
		      savings_list *l, store_facets_told *told, err *e)
{
	const store_reading *reading = ctx;
	store *from = reading->store;
	const period *p = &r->period;
	store_result result;
	int tries = 0;

	*told = (store_facets_told){ .from_ms = p->from_ms, .to_ms = p->to_ms, .whole_ms = reading->pruned_ms };
	do {
		l->count = 0;
		result = filter_is_empty(&r->only) ?
				 store_report(from, group, p->from_ms, p->to_ms, each, l, e) :
				 store_report_found(from, group, p->from_ms, p->to_ms, &r->only, each, l, e);
	} while (ledger_store_retry(result, &tries));
	return l->failed ? STORE_ERROR : (int)result;
}

static int read_fleet(void *from, store_group group, const savings_report *r, bool (*each)(void *, const store_sums *),
		      savings_list *l, store_facets_told *told, err *e)
{
	const period *p = &r->period;

	*told = (store_facets_told){ .from_ms = p->from_ms, .to_ms = p->to_ms };
	pq_result result = filter_is_empty(&r->only) ?
				   fleet_report(from, NULL, group, p->from_ms, p->to_ms, each, l, e) :
				   fleet_report_found(from, group, p->from_ms, p->to_ms, &r->only, each, l, e);

	return l->failed || l->full ? PQ_FAILED : (int)result;
}

_Static_assert(STORE_OK == 0 && PQ_OK == 0, "0 is a success of both");

/* The totals are the sums of the rows that were read, so that totals and rows agree even if somebody writes meanwhile.
 */
int savings_read_all(savings_report *r, savings_reading read, void *from, store_facets_told *told, err *e)
{
	store_facets_told same;
	int result = read(from, r->group, r, savings_keep, &r->rows, told, e);

	for (size_t i = 0; i < r->rows.count; i++)
		store_sums_merge(&r->total, &r->rows.items[i]);
	if (!result && doubtful(&r->total))
		result = read(from, GROUP_MODEL, r, keep_doubtful, &r->models, &same, e);
	if (!result && r->total.untold_requests)
		result = read(from, GROUP_CLIENT, r, keep_untold, &r->clients, &same, e);
	if (r->rows.failed || r->models.failed || r->clients.failed)
		err_memory(e);
	if (r->rows.full || r->models.full || r->clients.full)
		err_set(e, "the period has more than %zu lines by %s: ask for a shorter one", r->rows.most, r->by);
	return result;
}

store_result savings_read(store *s, savings_report *r, err *e)
{
	store_reading from = { .store = s };
	store_facets_told told;
	int result = filter_is_empty(&r->only) ? 0 : (int)store_pruned(s, &from.pruned_ms, e);

	r->missing_ms = from.pruned_ms > r->period.from_ms ? from.pruned_ms : 0;
	if (!result)
		result = savings_read_all(r, read_store, &from, &told, e);
	if (!result && r->compare)
		result = savings_compare(r, read_store, &from, e);
	return (store_result)result;
}

pq_result savings_read_fleet(pq *c, savings_report *r, err *e)
{
	store_facets_told told;
	int result = savings_read_all(r, read_fleet, c, &told, e);

	return (pq_result)(!result && r->compare ? savings_compare(r, read_fleet, c, e) : result);
}

/* ---- for programs */

void savings_write_json(FILE *f, const store_sums *s)
{
	for (size_t i = 0; i < FIGURES; i++)
		fprintf(f, "%s\"%s%s\":%" PRId64, i ? "," : "", figures[i].name, figures[i].money ? "_nanodollars" : "",
			figure(s, i));
}

/* Writes the list `name` of the models or clients, each a `what`, that have requests of the doubt `d`. */
static void json_named(FILE *f, const char *name, const char *what, const savings_list *l, const savings_doubt *d)
{
	size_t count = savings_order(l, d);

	fprintf(f, "\"%s\":[", name);
	for (size_t i = 0; i < count; i++) {
		const store_sums *m = &l->items[i];
		fprintf(f, "%s{\"%s\":", i ? "," : "", what);
		json_write_text(f, m->label);
		fprintf(f, ",\"requests\":%" PRId64, sum_at(m, d->requests));
		if (d == &savings_doubts[DOUBT_UNPRICED])
			fprintf(f, ",\"tokens\":%" PRId64, m->unpriced_tokens);
		fprintf(f, "}");
	}
	fprintf(f, "],");
}

/* Writes the member `only`, and since when there are requests, if only some are asked for. */
static void write_filter(FILE *f, const savings_report *r)
{
	const struct {
		const char *name, *value;
	} labels[] = {
		{ "model", r->only.model },   { "route", r->only.route },   { "project", r->only.project },
		{ "client", r->only.client }, { "member", r->only.member }, { "code", r->only.code },
		{ "id", r->only.id },         { "gateway", r->gateway },
	};
	char text[PRINT_NUMBER];
	bool any = false;

	if (!savings_filtered(r)) {
		if (r->missing_ms)
			fprintf(f, "\"requests_since\":\"%s\",", print_time(text, r->missing_ms));
		return;
	}
	fprintf(f, "\"only\":{");
	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
		if (!labels[i].value)
			continue;
		fprintf(f, "%s\"%s\":", any ? "," : "", labels[i].name);
		json_write_text(f, labels[i].value);
		any = true;
	}
	if (r->only.status_to)
		fprintf(f, "%s\"status_from\":%d,\"status_to\":%d", any ? "," : "", (int)r->only.status_from,
			(int)r->only.status_to - 1);
	fprintf(f, "},\"requests_since\":");
	if (r->missing_ms)
		fprintf(f, "\"%s\",", print_time(text, r->missing_ms));
	else
		fprintf(f, "null,");
}

static void print_json(FILE *f, const savings_report *r)
{
	const store_sums *t = &r->total;

	fprintf(f, "{");
	period_write_json(f, &r->period);
	fprintf(f, "\"by\":\"%s\",", r->by);
	write_filter(f, r);
	fprintf(f, "\"totals\":{");
	savings_write_json(f, t);
	fprintf(f,
		"},\"without_estimates\":{\"requests\":%" PRId64 ",\"output\":%" PRId64
		",\"cost_nanodollars\":%" PRId64,
		t->requests - t->estimated_requests, t->output - t->estimated_output, t->cost - t->estimated_cost);
	fprintf(f,
		",\"saved_gateway_nanodollars\":%" PRId64 ",\"saved_cache_nanodollars\":%" PRId64
		",\"saved_total_nanodollars\":%" PRId64 "},",
		savings_gateway(t) - savings_estimated_gateway(t), t->saved_cache - t->estimated_saved_cache,
		savings_all(t) - savings_estimated(t));
	for (size_t i = 0; i < SAVINGS_DOUBTS; i++)
		json_named(f, savings_doubts[i].name, "model", &r->models, &savings_doubts[i]);
	json_named(f, "untold_clients", "client", &r->clients, &savings_doubts[DOUBT_UNTOLD]);
	savings_write_view(f, r);
	fprintf(f, "\"rows\":[");
	if (r->split)
		savings_write_parts(f, r, false);
	for (size_t i = 0; !r->split && i < r->rows.count && !ferror(f); i++) {
		fprintf(f, "%s\n{\"%s\":", i ? "," : "", r->by);
		json_write_text(f, r->rows.items[i].label);
		fprintf(f, ",");
		savings_write_json(f, &r->rows.items[i]);
		fprintf(f, "}");
	}
	fprintf(f, "%s]}\n", r->rows.count ? "\n" : "");
}

void savings_write_csv(FILE *f, const store_sums *s)
{
	char number[PRINT_NUMBER];

	for (size_t i = 0; i < FIGURES; i++) {
		if (figures[i].money)
			fprintf(f, ",%s", print_dollars(number, figure(s, i), 9));
		else
			fprintf(f, ",%" PRId64, figure(s, i));
	}
	fputs("\r\n", f);
}

static void print_csv(FILE *f, const savings_report *r)
{
	fprintf(f, "%s%s", r->by, r->split ? ",split" : "");
	for (size_t i = 0; i < FIGURES; i++)
		fprintf(f, ",%s%s", figures[i].name, figures[i].money ? "_usd" : "");
	fputs("\r\n", f);
	if (r->split)
		savings_write_parts(f, r, true);
	for (size_t row = 0; !r->split && row < r->rows.count && !ferror(f); row++) {
		csv_write_text(f, r->rows.items[row].label, true);
		savings_write_csv(f, &r->rows.items[row]);
	}
}

bool savings_prepare(savings_report *r, const char *since, const char *until, const char *by, bool fleet, err *e)
{
	size_t i = 0;

	*r = (savings_report){ .by = by ? by : "model", .fleet = fleet, .now_ms = clock_wall_ms() };
	while (i < sizeof groups / sizeof groups[0] && strcmp(groups[i].name, r->by) != 0)
		i++;
	if (i == sizeof groups / sizeof groups[0])
		return err_set(e, "--by \"%.60s\": model, route, project, client, member, day or hour is expected%s",
			       r->by, fleet ? ", or gateway" : "");
	r->group = groups[i].group;
	if (r->group == GROUP_GATEWAY && !fleet)
		return err_set(e, "--by gateway needs --fleet, because this ledger is of one gateway");
	if (!period_parse(since, until, "30d", &r->period, e))
		return false;
	period_widen(&r->period);
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
	free(r->clients.items);
	free(r->parts);
	for (size_t i = 0; i < SAVINGS_PARTS; i++)
		free(r->part_names[i]);
}

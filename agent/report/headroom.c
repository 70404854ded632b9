/* SPDX-License-Identifier: MIT
 *
 * The ledger as Headroom's proxy_savings.json (schema 3), for Headroom's dashboard.
 *
 * lifetime: every recorded request; `requests` leaves out refused ones. total_input_tokens: all tokens sent, cached or
 * not. total_input_cost_usd: the ledger has one cost a request, so it is divided between input and output at the price
 * table's prices for the group's average prompt; all of it is input if the table has no price.
 *
 * display_session: the same for the last session. Sessions are separated by 60 minutes without a request.
 *
 * history: cumulative; a point for each model of each hour of the last 7 days, and of each day up to 365 days back.
 * What is older is part of the first point. A point's time is the beginning of the hour or day, a second later for each
 * further point in it, because Headroom merges points of the same time.
 *
 * projects: the 50 that saved most. last_activity_at is exact to the hour, or to the day. The input cost is the
 * project's cost times input's share of all cost.
 *
 * cache_read_tokens and cache_savings_usd came with a later schema; readers of schema 3 ignore them. */
#include "report/headroom.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/sum.h"
#include "ledger/provider.h"
#include "report/print.h"

__extension__ typedef __int128 wide;

/* ---- input's part of a cost */

static int64_t cost_of(const price_table *t, const char *model, int64_t input, int64_t output, int64_t read,
		       int64_t write)
{
	record r = { .input = input, .output = output, .cache_read = read, .cache_write = write };
	usage_parts parts = { .cost = -1 }; /* text, and nothing else */

	snprintf(r.model, sizeof r.model, "%s", model);
	price_apply(t, &r, &parts, slice_of(NULL, 0));
	return r.price == PRICE_TABLE || r.price == PRICE_PARTIAL ? r.cost : -1;
}

static int64_t input_cost(const price_table *t, const store_sums *s)
{
	/* The average prompt, because a price may depend on the length of the prompt. At least 100,000 tokens, because
	 * costs of few tokens are rounded too much; no price tier begins below that length. */
	int64_t prompt = add_capped(add_capped(s->input, s->cache_read), s->cache_write) /
			 (s->requests ? s->requests : 1);

	if (!s->cost)
		return 0;
	prompt = prompt < 100000 ? 100000 : prompt;
	int64_t in = cost_of(t, s->label, prompt, 0, 0, 0), read = cost_of(t, s->label, 0, 0, prompt, 0);
	int64_t write = cost_of(t, s->label, 0, 0, 0, prompt), both = cost_of(t, s->label, prompt, prompt, 0, 0);
	if (in < 0 || read < 0 || write < 0 || both < 0)
		return s->cost;
	wide of_input = (wide)s->input * in + (wide)s->cache_read * read + (wide)s->cache_write * write;
	wide all = of_input + (wide)s->output * (both - in);
	if (all <= 0)
		return s->cost;
	/* Keep cost times weight within 128 bits; the bits that are dropped do not matter. */
	while (all >> 62) {
		all >>= 1;
		of_input >>= 1;
	}
	return (int64_t)(((wide)s->cost * of_input + all / 2) / all);
}

static void add(headroom_figures *to, const store_sums *s, int64_t input)
{
	to->requests = add_capped(to->requests, s->requests - s->refused);
	to->tokens_saved = add_capped(to->tokens_saved, s->saved);
	to->saved = add_capped(to->saved, s->saved_compression);
	to->input_tokens = add_capped(to->input_tokens,
				      add_capped(add_capped(s->input, s->cache_read), s->cache_write));
	to->input_cost = add_capped(to->input_cost, input);
	to->cache_read = add_capped(to->cache_read, s->cache_read);
	to->cache_saved = add_capped(to->cache_saved, s->saved_cache);
}

/* ---- reading */

static bool fail(headroom *x)
{
	x->out_of_memory = true;
	return false;
}

static bool on_group(void *ctx, const store_sums *s)
{
	headroom *x = ctx;
	add(x->into, s, input_cost(x->prices, s));
	if (x->into == &x->lifetime)
		x->cost = add_capped(x->cost, s->cost);
	return true;
}

/* Adds the models of an hour or day to the history, and those from the first hour of the session on to the session. The
 * sums of whole hours are right for the session: a row in its first hour, but before its beginning, would be less than
 * 60 minutes away and so belong to the session. */
static bool on_model(void *ctx, int64_t begin, const store_sums *s)
{
	headroom *x = ctx;
	int64_t input = input_cost(x->prices, s);

	if (begin != x->bucket) {
		x->bucket = begin;
		x->in_bucket = 0;
	}
	add(&x->lifetime, s, input);
	x->cost = add_capped(x->cost, s->cost);
	if (x->last_ms && begin >= x->started_ms - x->started_ms % HOUR_MS)
		add(&x->session, s, input);
	/* Headroom has no point for requests without input and without savings. */
	if (!s->saved && !s->saved_compression && !s->input && !s->cache_read && !s->cache_write)
		return true;
	headroom_point *history = list_grow(x->history, &x->history_room, x->points, sizeof *history);
	if (!history)
		return fail(x);
	x->history = history;
	headroom_point *p = &history[x->points++];
	p->time_ms = begin + (int64_t)x->in_bucket++ * 1000;
	memcpy(p->model, s->label, sizeof p->model);
	p->total = x->lifetime;
	return true;
}

static bool on_project(void *ctx, const store_sums *s)
{
	headroom *x = ctx;

	if (!*s->label)
		return true;
	headroom_project *projects = list_grow(x->projects, &x->project_room, x->project_count, sizeof *projects);
	if (!projects)
		return fail(x);
	x->projects = projects;
	headroom_project *p = &projects[x->project_count++];
	memset(p, 0, sizeof *p);
	snprintf(p->name, sizeof p->name, "%s", s->label);
	add(&p->total, s, 0);
	p->cost = s->cost;
	return true;
}

static bool on_active_project(void *ctx, int64_t begin, const store_sums *s)
{
	headroom *x = ctx;
	size_t low = 0, high = x->project_count; /* sorted by name */

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(x->projects[middle].name, s->label);
		if (order == 0)
			x->projects[middle].last_ms = begin;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const headroom_project *)a)->name, ((const headroom_project *)b)->name);
}

static int by_saved(const void *a, const void *b)
{
	const headroom_project *x = a, *y = b;

	if (x->total.tokens_saved != y->total.tokens_saved)
		return x->total.tokens_saved < y->total.tokens_saved ? 1 : -1;
	if (x->last_ms != y->last_ms)
		return x->last_ms < y->last_ms ? 1 : -1;
	return strcmp(x->name, y->name);
}

static store_result read_all(headroom *x, int64_t now, err *e)
{
	int64_t today = now - now % DAY_MS, hourly = today - HOURLY_DAYS * DAY_MS,
		daily = today - HISTORY_DAYS * DAY_MS;

	store_result result = store_report(x->store, GROUP_PROJECT, 0, INT64_MAX, on_project, x, e);
	if (x->project_count)
		qsort(x->projects, x->project_count, sizeof *x->projects, by_name);
	if (result == STORE_OK)
		result = store_session(x->store, HOUR_MS, &x->started_ms, &x->last_ms, e);
	/* If the last request is older than the hourly part, no session is shown. */
	if (x->last_ms < hourly)
		x->started_ms = x->last_ms = 0;
	x->into = &x->lifetime;
	if (result == STORE_OK)
		result = store_report(x->store, GROUP_MODEL, 0, daily, on_group, x, e);
	x->before = x->lifetime;
	x->hourly_ms = hourly;
	/* The part of the session before the first of its whole days, which the history has. */
	int64_t session = x->started_ms - x->started_ms % HOUR_MS, whole = (session + DAY_MS - 1) / DAY_MS * DAY_MS;
	x->into = &x->session;
	if (result == STORE_OK && x->last_ms && session < hourly)
		result = store_report(x->store, GROUP_MODEL, session, whole, on_group, x, e);
	if (result == STORE_OK)
		result = store_series(x->store, GROUP_MODEL, true, daily, hourly, on_model, x, e);
	if (result == STORE_OK)
		result = store_series(x->store, GROUP_MODEL, false, hourly, INT64_MAX, on_model, x, e);
	for (int days = 1; result == STORE_OK && days >= 0; days--)
		result = store_series(x->store, GROUP_PROJECT, days, days ? daily : hourly, days ? hourly : INT64_MAX,
				      on_active_project, x, e);
	if (x->project_count)
		qsort(x->projects, x->project_count, sizeof *x->projects, by_saved);
	if (x->out_of_memory) {
		err_memory(e);
		return STORE_ERROR;
	}
	return result;
}

/* ---- writing */

static void write_number(FILE *f, const char *name, int64_t n)
{
	fprintf(f, "\"%s\": %" PRId64, name, n);
}

static void write_usd(FILE *f, const char *name, int64_t nano)
{
	char text[PRINT_NUMBER];
	fprintf(f, "\"%s\": %s", name, print_dollars(text, nano, 6));
}

static void write_time(FILE *f, const char *name, int64_t ms)
{
	char text[PRINT_NUMBER];
	if (ms > 0)
		fprintf(f, "\"%s\": \"%s\"", name, print_time(text, ms));
	else
		fprintf(f, "\"%s\": null", name);
}

static void write_figures(FILE *f, const headroom_figures *n, const char *between, bool cache)
{
	write_number(f, "requests", n->requests);
	fputs(between, f);
	write_number(f, "tokens_saved", n->tokens_saved);
	fputs(between, f);
	write_usd(f, "compression_savings_usd", n->saved);
	fputs(between, f);
	write_number(f, "total_input_tokens", n->input_tokens);
	fputs(between, f);
	write_usd(f, "total_input_cost_usd", n->input_cost);
	if (!cache)
		return;
	fputs(between, f);
	write_number(f, "cache_read_tokens", n->cache_read);
	fputs(between, f);
	write_usd(f, "cache_savings_usd", n->cache_saved);
}

void headroom_write_lifetime(FILE *f, const headroom *x, const char *between)
{
	write_figures(f, &x->lifetime, between, true);
}

void headroom_write_session(FILE *f, const headroom *x, const char *between)
{
	const headroom_figures *s = &x->session;
	int64_t sent = add_capped(s->tokens_saved, s->input_tokens);
	char percent[PRINT_NUMBER];

	write_figures(f, s, between, true);
	/* Per cent in billionths, so that print_dollars() can write it; limited to a million per cent. */
	wide share = sent > 0 ? (wide)s->tokens_saved * 100000000000 / sent : 0;
	const int64_t most = 1000000000000000;
	print_dollars(percent, share > most ? most : share < -most ? -most : (int64_t)share, 2);
	fprintf(f, "%s\"savings_percent\": %s%s", between, percent, between);
	write_time(f, "started_at", x->started_ms);
	fputs(between, f);
	write_time(f, "last_activity_at", x->last_ms);
}

void headroom_write_point(FILE *f, const headroom_point *p)
{
	write_time(f, "timestamp", p->time_ms);
	fprintf(f, ", \"provider\": \"%s\", \"model\": ", model_provider(p->model));
	json_write_text(f, *p->model ? p->model : "unknown");
	fputs(", ", f);
	write_number(f, "total_tokens_saved", p->total.tokens_saved);
	fputs(", ", f);
	write_usd(f, "compression_savings_usd", p->total.saved);
	fputs(", ", f);
	write_number(f, "total_input_tokens", p->total.input_tokens);
	fputs(", ", f);
	write_usd(f, "total_input_cost_usd", p->total.input_cost);
	fputs(", ", f);
	write_number(f, "cache_read_tokens", p->total.cache_read);
	fputs(", ", f);
	write_usd(f, "cache_savings_usd", p->total.cache_saved);
}

void headroom_write(FILE *f, const headroom *x)
{
	size_t first = x->points > HISTORY_MAX ? x->points - HISTORY_MAX : 0;

	fprintf(f, "{\n  \"schema_version\": 3,\n  \"lifetime\": {\n    ");
	headroom_write_lifetime(f, x, ",\n    ");
	fprintf(f, "\n  },\n  \"display_session\": {\n    ");
	headroom_write_session(f, x, ",\n    ");
	fprintf(f, "\n  },\n  \"history\": [");
	for (size_t i = first; i < x->points; i++) {
		fprintf(f, "%s\n    {", i > first ? "," : "");
		headroom_write_point(f, &x->history[i]);
		fputs("}", f);
	}
	fprintf(f, "%s],\n  \"projects\": {", x->points ? "\n  " : "");
	for (size_t i = 0; i < x->project_count && i < PROJECTS_MAX; i++) {
		headroom_project p = x->projects[i];
		fprintf(f, "%s\n    ", i ? "," : "");
		json_write_text(f, p.name);
		fputs(": {", f);
		p.total.input_cost = x->cost > 0 ? (int64_t)((wide)p.cost * x->lifetime.input_cost / x->cost) : 0;
		write_figures(f, &p.total, ", ", false);
		fputs(", ", f);
		write_time(f, "last_activity_at", p.last_ms);
		fputs("}", f);
	}
	fprintf(f, "%s}\n}\n", x->project_count ? "\n  " : "");
}

headroom *headroom_read(store *s, price_table *prices, store_result *result, err *e)
{
	headroom *x = calloc(1, sizeof *x);

	if (!x) {
		err_memory(e);
		*result = STORE_ERROR;
		return NULL;
	}
	x->store = s;
	x->prices = prices;
	*result = read_all(x, clock_wall_ms(), e);
	return x;
}

void headroom_free(headroom *x)
{
	if (!x)
		return;
	free(x->history);
	free(x->projects);
	free(x);
}

/* SPDX-License-Identifier: MIT
 *
 * What the savings of a period are compared with: the period before, and what the month will have cost at its end. */
#include "report/savings_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/sum.h"

enum {
	FORECAST_DAYS = 7, /* whole days that a forecast is made from */
	MONTH_DAYS = 31,
};

static int read_before(savings_report *r, savings_reading read, void *from, err *e)
{
	savings_report other = *r;
	savings_list l = { .items = NULL };
	store_facets_told told = { .from_ms = 0 };
	int64_t end = r->period.to_ms, now_end = r->now_ms - r->now_ms % HOUR_MS + HOUR_MS;

	if (end > now_end)
		end = now_end;
	int64_t length = end - r->period.from_ms;
	if (r->period.from_ms <= 0 || length <= 0)
		return 0;
	other.period = r->before = (period){ r->period.from_ms > length ? r->period.from_ms - length : 0,
					     r->period.from_ms };
	int result = read(from, GROUP_NONE, &other, savings_keep, &l, &told, e);
	/* Facets of long ago are of whole days, and those of an older ledger may lack its first requests. */
	if (savings_filtered(r))
		r->before = (period){ told.from_ms, told.to_ms };
	bool whole = !savings_filtered(r) || told.whole_ms <= r->before.from_ms;
	for (size_t i = 0; i < l.count; i++)
		store_sums_merge(&r->before_total, &l.items[i]);
	if (l.failed)
		err_memory(e);
	free(l.items);
	r->compared = !result && whole;
	return result;
}

static int64_t month_begin(int64_t now_ms, int month)
{
	time_t now = (time_t)(now_ms / 1000);
	struct tm tm = { 0 };

	gmtime_r(&now, &tm);
	tm = (struct tm){ .tm_year = tm.tm_year, .tm_mon = tm.tm_mon + month, .tm_mday = 1 };
	return (int64_t)timegm(&tm) * 1000;
}

__extension__ typedef __int128 wide;

/* Returns `so_far` and what is added in `left_ms`, if that goes on as in the last `days` days, which came to `last`. */
static int64_t go_on(int64_t so_far, int64_t last, unsigned days, int64_t left_ms)
{
	const wide of = (wide)days * DAY_MS, all = (wide)last * left_ms;
	const wide more = (all < 0 ? all - of / 2 : all + of / 2) / of;

	return add_capped(so_far, more > INT64_MAX ? INT64_MAX : more < INT64_MIN ? INT64_MIN : (int64_t)more);
}

/* Makes the forecast from the sums of days. The first of them has perhaps not been a whole one, because the gateway,
 * or what the filter is about, began in it. */
static void make_forecast(savings_report *r, const savings_list *days)
{
	const int64_t today = r->now_ms - r->now_ms % DAY_MS, begin = month_begin(r->now_ms, 0);
	store_sums month = { .label = "" }, last = { .label = "" };
	unsigned whole = 0;

	for (size_t i = 0; i < days->count; i++) {
		char first[PRINT_NUMBER];
		savings_bucket(first, sizeof first, begin, false);
		if (strcmp(days->items[i].label, first) >= 0)
			store_sums_merge(&month, &days->items[i]);
	}
	for (int64_t day = today - DAY_MS; days->count && whole < FORECAST_DAYS; day -= DAY_MS, whole++) {
		char label[PRINT_NUMBER];
		savings_bucket(label, sizeof label, day, false);
		if (strcmp(label, days->items[0].label) <= 0)
			break;
		for (size_t i = 0; i < days->count; i++)
			if (strcmp(days->items[i].label, label) == 0)
				store_sums_merge(&last, &days->items[i]);
	}
	r->forecast = (savings_forecast){ .from_days = whole, .until_ms = month_begin(r->now_ms, 1) };
	if (!whole)
		return;
	int64_t left = r->forecast.until_ms - r->now_ms;
	r->forecast.cost = go_on(month.cost, last.cost, whole, left);
	r->forecast.saved_gateway = go_on(savings_gateway(&month), savings_gateway(&last), whole, left);
	r->forecast.saved_cache = go_on(month.saved_cache, last.saved_cache, whole, left);
}

static int read_forecast(savings_report *r, savings_reading read, void *from, err *e)
{
	savings_report other = *r;
	savings_list days = { .items = NULL };
	store_facets_told told = { .from_ms = 0 };
	int64_t today = r->now_ms - r->now_ms % DAY_MS;

	other.period = (period){ today - MONTH_DAYS * DAY_MS, today + DAY_MS };
	int result = read(from, GROUP_DAY, &other, savings_keep, &days, &told, e);
	if (days.failed)
		err_memory(e);
	r->whole_ms = savings_filtered(r) ? told.whole_ms : 0;
	/* Of a month whose first days are missing nothing can be said. */
	if (!result && r->whole_ms <= month_begin(r->now_ms, 0))
		make_forecast(r, &days);
	free(days.items);
	return result;
}

int savings_compare(savings_report *r, savings_reading read, void *from, err *e)
{
	int result = read_before(r, read, from, e);

	return result ? result : read_forecast(r, read, from, e);
}

/* ---- for programs */

void savings_write_compared(FILE *f, const savings_report *r)
{
	char text[PRINT_NUMBER];

	if (!r->compare)
		return;
	fprintf(f, "\"before\":");
	if (r->compared) {
		fprintf(f, "{");
		period_write_json(f, &r->before);
		fprintf(f, "\"totals\":{");
		savings_write_json(f, &r->before_total);
		fprintf(f, "}}");
	} else {
		fprintf(f, "null");
	}
	fprintf(f, ",\"forecast\":");
	if (r->forecast.from_days)
		fprintf(f,
			"{\"until\":\"%s\",\"cost_nanodollars\":%" PRId64 ",\"saved_gateway_nanodollars\":%" PRId64
			",\"saved_cache_nanodollars\":%" PRId64 ",\"from_days\":%u},",
			print_time(text, r->forecast.until_ms), r->forecast.cost, r->forecast.saved_gateway,
			r->forecast.saved_cache, r->forecast.from_days);
	else
		fprintf(f, "null,");
	if (r->whole_ms)
		fprintf(f, "\"whole_from\":\"%s\",", print_time(text, r->whole_ms));
}

/* ---- for a person */

enum { COMPARED_NAME = 28, COMPARED_FIGURE = 12 }; /* columns */

/* Prints a figure of the period before, which is `text`, and how much more or less it is now. */
static void print_before(const char *name, const char *text, int64_t before, int64_t now)
{
	char share[PRINT_NUMBER];
	int64_t more = sub_capped(now, before);

	printf("  %-*s%*s", COMPARED_NAME, name, COMPARED_FIGURE, text);
	if (before > 0 && more)
		printf("  now %s %s", print_share(share, absolute(more), before), more > 0 ? "more" : "less");
	else if (before > 0)
		printf("  now the same");
	putchar('\n');
}

static void print_money_before(const char *name, int64_t before, int64_t now)
{
	char text[PRINT_NUMBER];

	print_before(name, savings_money(text, savings_decimals(absolute(before)), before), before, now);
}

static void print_forecast(const char *name, int64_t nano)
{
	char text[PRINT_NUMBER];

	printf("  %-*s%*s\n", COMPARED_NAME, name, COMPARED_FIGURE,
	       savings_money(text, savings_decimals(absolute(nano)), nano));
}

void savings_print_compared(const savings_report *r)
{
	const char *gateway = r->fleet ? "saved by the gateways" : "saved by this gateway";
	const char *caches = "saved by providers' caches";
	const store_sums *before = &r->before_total, *now = &r->total;
	char from[PRINT_NUMBER], to[PRINT_NUMBER];

	if (!r->compare)
		return;
	if (r->compared) {
		printf("\nthe period before, %s to %s UTC\n", print_minute(from, r->before.from_ms),
		       print_minute(to, r->before.to_ms));
		print_before("requests", print_count(from, before->requests), before->requests, now->requests);
		print_money_before("cost", before->cost, now->cost);
		print_money_before(gateway, savings_gateway(before), savings_gateway(now));
		print_money_before(caches, before->saved_cache, now->saved_cache);
	} else {
		printf("\nThere is nothing to compare with: %s.\n",
		       r->period.from_ms ? "requests of the period before were pruned" :
					   "the period has no beginning (--since)");
	}
	if (r->forecast.from_days) {
		printf("\nforecast for all of %.7s, if all goes on as in the last ",
		       print_minute(to, r->forecast.until_ms - 1));
		printf(r->forecast.from_days > 1 ? "%u days\n" : "day\n", r->forecast.from_days);
		print_forecast("cost", r->forecast.cost);
		print_forecast(gateway, r->forecast.saved_gateway);
		print_forecast(caches, r->forecast.saved_cache);
	} else if (r->whole_ms > month_begin(r->now_ms, 0)) {
		printf("\nThere is no forecast: requests of the month's first days were pruned.\n");
	} else {
		printf("\nThere is no forecast yet: it needs one whole day.\n");
	}
}

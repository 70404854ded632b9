/* SPDX-License-Identifier: MIT
 *
 * Headroom's GET /stats-history. A series has a row for each hour (of the last 7 days), day, week (from Monday) or
 * month with a point in the history: what it added (tokens_saved, ..._delta) and the totals at its end. */
#include "report/headroom.h"

#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "ledger/provider.h"
#include "report/period.h"
#include "report/print.h"

static const char *const series_names[] = { "hourly", "daily", "weekly", "monthly" };
enum { HOURLY, DAILY, WEEKLY, MONTHLY, SERIES };

bool headroom_series_valid(const char *series)
{
	for (size_t i = 0; i < SERIES; i++)
		if (strcmp(series, series_names[i]) == 0)
			return true;
	return strcmp(series, "history") == 0;
}

/* Returns when the hour, day, week or month that contains `ms` began. */
static int64_t floor_to(int series, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	if (series == HOURLY)
		return ms - ms % HOUR_MS;
	if (series == WEEKLY) /* 1970-01-01 was a Thursday */
		return ms - (ms + 3 * DAY_MS) % (7 * DAY_MS);
	if (series == MONTHLY && gmtime_r(&seconds, &tm))
		ms -= (tm.tm_mday - 1) * DAY_MS;
	return ms - ms % DAY_MS;
}

typedef struct bucket {
	int64_t time_ms;
	headroom_figures before, after;
} bucket;

/* Takes the points of the next bucket, from `*at` on, and moves `*at` behind them. False: there is none. */
static bool next_bucket(const headroom *x, int series, size_t *at, bucket *b)
{
	while (series == HOURLY && *at < x->points && x->history[*at].time_ms < x->hourly_ms)
		++*at;
	if (*at >= x->points)
		return false;
	b->time_ms = floor_to(series, x->history[*at].time_ms);
	b->before = *at ? x->history[*at - 1].total : x->before;
	while (*at < x->points && floor_to(series, x->history[*at].time_ms) == b->time_ms)
		b->after = x->history[(*at)++].total;
	return true;
}

static void write_row(FILE *f, const bucket *b, bool csv)
{
	const struct {
		const char *name;
		int64_t value;
		bool money;
	} fields[] = {
		{ "tokens_saved", b->after.tokens_saved - b->before.tokens_saved, false },
		{ "compression_savings_usd_delta", b->after.saved - b->before.saved, true },
		{ "total_tokens_saved", b->after.tokens_saved, false },
		{ "compression_savings_usd", b->after.saved, true },
		{ "total_input_tokens_delta", b->after.input_tokens - b->before.input_tokens, false },
		{ "total_input_tokens", b->after.input_tokens, false },
		{ "total_input_cost_usd_delta", b->after.input_cost - b->before.input_cost, true },
		{ "total_input_cost_usd", b->after.input_cost, true },
	};
	char text[PRINT_NUMBER];

	fprintf(f, csv ? "%s" : "{\"timestamp\": \"%s\"", print_time(text, b->time_ms));
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		if (csv)
			fputc(',', f);
		else
			fprintf(f, ", \"%s\": ", fields[i].name);
		if (fields[i].money)
			fputs(print_dollars(text, fields[i].value, 6), f);
		else
			fprintf(f, "%" PRId64, fields[i].value);
	}
	fputs(csv ? "\r\n" : "}", f);
}

static void write_csv_history(FILE *f, const headroom *x, size_t first)
{
	char text[PRINT_NUMBER];

	fputs("timestamp,provider,model,total_tokens_saved,compression_savings_usd,total_input_tokens,total_input_cost_usd\r\n",
	      f);
	for (size_t i = first; i < x->points; i++) {
		const headroom_point *p = &x->history[i];
		fprintf(f, "%s,%s,", print_time(text, p->time_ms), model_provider(p->model));
		csv_write_text(f, *p->model ? p->model : "unknown", true);
		fprintf(f, ",%" PRId64, p->total.tokens_saved);
		fprintf(f, ",%s", print_dollars(text, p->total.saved, 6));
		fprintf(f, ",%" PRId64, p->total.input_tokens);
		fprintf(f, ",%s\r\n", print_dollars(text, p->total.input_cost, 6));
	}
}

static void write_csv(FILE *f, const headroom *x, int series)
{
	bucket b;
	size_t at = 0;

	fputs("timestamp,tokens_saved,compression_savings_usd_delta,total_tokens_saved,compression_savings_usd,"
	      "total_input_tokens_delta,total_input_tokens,total_input_cost_usd_delta,total_input_cost_usd\r\n",
	      f);
	while (next_bucket(x, series, &at, &b))
		write_row(f, &b, true);
}

void headroom_stats_history(FILE *f, const headroom *x, const char *storage, const char *series, bool csv)
{
	size_t first = x->points > HISTORY_MAX ? x->points - HISTORY_MAX : 0;
	char text[PRINT_NUMBER];

	if (csv) {
		for (int i = 0; i < SERIES; i++)
			if (series && strcmp(series, series_names[i]) == 0) {
				write_csv(f, x, i);
				return;
			}
		write_csv_history(f, x, first);
		return;
	}
	fprintf(f, "{\"schema_version\": 3, \"generated_at\": \"%s\", \"storage_path\": ",
		print_time(text, clock_wall_ms()));
	json_write_text(f, storage);
	fprintf(f, ",\n\"lifetime\": {");
	headroom_write_lifetime(f, x, ", ");
	fprintf(f, "},\n\"display_session\": {");
	headroom_write_session(f, x, ", ");
	fprintf(f, "},\n\"display_session_policy\": {\"rollover_inactivity_minutes\": %d},\n\"history\": [",
		SESSION_MINUTES);
	for (size_t i = first; i < x->points; i++) {
		fprintf(f, "%s\n{", i > first ? "," : "");
		headroom_write_point(f, &x->history[i]);
		fputs("}", f);
	}
	fprintf(f, "],\n\"series\": {");
	for (int i = 0; i < SERIES; i++) {
		bucket b;
		size_t at = 0, rows = 0;
		fprintf(f, "%s\n\"%s\": [", i ? "," : "", series_names[i]);
		while (next_bucket(x, i, &at, &b)) {
			fputs(rows++ ? ",\n" : "\n", f);
			write_row(f, &b, false);
		}
		fputs("]", f);
	}
	fprintf(f,
		"},\n\"exports\": {\"default_format\": \"json\", \"available_formats\": [\"json\", \"csv\"], \"available_series\": "
		"[\"history\", \"hourly\", \"daily\", \"weekly\", \"monthly\"]},\n"
		"\"retention\": {\"max_history_points\": %d, \"max_history_age_days\": %d, \"max_response_history_points\": %d},\n"
		"\"history_summary\": {\"mode\": \"full\", \"stored_points\": %zu, \"returned_points\": %zu, \"compacted\": %s}}\n",
		HISTORY_MAX, HISTORY_DAYS, HISTORY_MAX, x->points, x->points - first, first ? "true" : "false");
}

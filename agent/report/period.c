/* SPDX-License-Identifier: MIT */
#include "report/period.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "report/print.h"

/* The end of the year 9999: the store accepts no record after it. */
static const int64_t LAST_END = 253402300800000;

enum { SECOND_MS = 1000, MINUTE_MS = 60000 };

/* Reads `count` digits and moves `*at` behind them. -1: there are fewer. */
static int digits(const char **at, int count)
{
	int n = 0;

	for (int i = 0; i < count; i++) {
		if (!isdigit((unsigned char)**at))
			return -1;
		n = n * 10 + (*(*at)++ - '0');
	}
	return n;
}

bool period_span(const char *text, int64_t *ms)
{
	int64_t n = 0;

	if (!isdigit((unsigned char)*text))
		return false;
	for (; isdigit((unsigned char)*text); text++) {
		if (n > 99999999)
			return false;
		n = n * 10 + (*text - '0');
	}
	int64_t unit = *text == 'm' ? MINUTE_MS :
		       *text == 'h' ? HOUR_MS :
		       *text == 'd' ? DAY_MS :
		       *text == 'w' ? 7 * DAY_MS :
				      0;
	*ms = n * unit;
	return unit && !text[1];
}

/* Reads 2026-11-01, or such a day with T and a time. */
static bool date(const char *text, bool end, int64_t *ms)
{
	const char *at = text;
	struct tm tm = { 0 };
	int year = digits(&at, 4);
	bool dash = *at == '-' && at++;
	int month = dash ? digits(&at, 2) : -1;
	dash = dash && *at == '-' && at++;
	int day = dash ? digits(&at, 2) : -1, hour = 0, minute = 0, second = 0;

	if (year < 1970 || month < 1 || month > 12 || day < 1)
		return false;
	bool whole_day = !*at;
	if (!whole_day) {
		if (*at != 'T' && *at != 't' && *at != ' ')
			return false;
		at++;
		hour = digits(&at, 2);
		if (*at == ':' && at++)
			minute = digits(&at, 2);
		if (*at == ':' && at++)
			second = digits(&at, 2);
		if (*at == 'Z' || *at == 'z')
			at++;
		if (*at || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
			return false;
	}
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	*ms = (int64_t)timegm(&tm) * SECOND_MS + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS +
	      (whole_day && end ? DAY_MS : 0);
	/* timegm() turns the 31st of a short month into the 1st of the next one. */
	return tm.tm_mday == day;
}

bool period_point(const char *text, int64_t now_ms, bool end, int64_t *ms, err *e)
{
	int64_t today = now_ms - now_ms % DAY_MS, back;

	if (strcmp(text, "all") == 0)
		*ms = end ? INT64_MAX : 0;
	else if (strcmp(text, "now") == 0)
		*ms = now_ms;
	else if (strcmp(text, "today") == 0)
		*ms = today + (end ? DAY_MS : 0);
	else if (strcmp(text, "yesterday") == 0)
		*ms = today - DAY_MS + (end ? DAY_MS : 0);
	else if (period_span(text, &back))
		*ms = back < now_ms ? now_ms - back : 0;
	else if (!date(text, end, ms))
		return err_set(
			e,
			"\"%.60s\" is not a time: give a span like 24h, 7d or 4w, a day like 2026-11-01, a time like "
			"2026-11-01T13:00Z (all in UTC), today, yesterday, now or all",
			text);
	return true;
}

bool period_parse(const char *since, const char *until, const char *fallback, period *p, err *e)
{
	int64_t now = clock_wall_ms();
	err why;

	p->to_ms = INT64_MAX;
	if (!period_point(since ? since : fallback, now, false, &p->from_ms, &why))
		return err_set_kind(e, why.kind, "--since %s", why.text);
	if (until && !period_point(until, now, true, &p->to_ms, &why))
		return err_set_kind(e, why.kind, "--until %s", why.text);
	if (p->to_ms >= LAST_END)
		p->to_ms = INT64_MAX;
	if (!until && p->from_ms > now)
		return err_set(e, "--since \"%.60s\" is still to come", since ? since : fallback);
	if (p->from_ms >= p->to_ms)
		return err_set(e, "--since must be before --until");
	return true;
}

void period_widen(period *p)
{
	p->from_ms -= p->from_ms % HOUR_MS;
	if (p->to_ms != INT64_MAX && p->to_ms % HOUR_MS)
		p->to_ms += HOUR_MS - p->to_ms % HOUR_MS;
}

static void write_limit(FILE *f, const char *name, int64_t ms, bool unlimited)
{
	char text[PRINT_NUMBER];

	if (unlimited)
		fprintf(f, "\"%s\":null,", name);
	else
		fprintf(f, "\"%s\":\"%s\",", name, print_time(text, ms));
}

void period_write_json(FILE *f, const period *p)
{
	write_limit(f, "since", p->from_ms, p->from_ms == 0);
	write_limit(f, "until", p->to_ms, p->to_ms == INT64_MAX);
}

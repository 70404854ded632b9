/* SPDX-License-Identifier: MIT */
#include "budget/period.h"

#include "base/clock.h"

enum { DAYS_400_YEARS = 146097, DAYS_BEFORE_1970 = 719468 /* from 0000-03-01 on */ };

int64_t period_day(int64_t wall_ms)
{
	return wall_ms >= 0 ? (int64_t)((uint64_t)wall_ms / DAY_MS) :
			      -(int64_t)((uint64_t)(-wall_ms + DAY_MS - 1) / DAY_MS);
}

/* Returns which day of its month `day` is, from 0 on. Counts years from March on, so that the leap day is the last of
 * its year (Howard Hinnant: "chrono-Compatible Low-Level Date Algorithms"). */
static int64_t day_of_month(int64_t day)
{
	int64_t since = day + DAYS_BEFORE_1970;
	int64_t era = (since >= 0 ? since : since - (DAYS_400_YEARS - 1)) / DAYS_400_YEARS;
	int64_t of_era = since - era * DAYS_400_YEARS;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;

	return of_year - (153 * month + 2) / 5;
}

int64_t period_first(period_kind kind, int64_t day)
{
	switch (kind) {
	case PERIOD_DAY:
		return day;
	case PERIOD_WEEK: /* 1970-01-01 was a Thursday */
		return day - ((day + 3) % 7 + 7) % 7;
	case PERIOD_MONTH:
		return day - day_of_month(day);
	}
	return day;
}

int64_t period_next(period_kind kind, int64_t day)
{
	switch (kind) {
	case PERIOD_DAY:
		return day + 1;
	case PERIOD_WEEK:
		return period_first(kind, day) + 7;
	case PERIOD_MONTH: /* no month has 32 days, and none fewer than 4 */
		return period_first(kind, period_first(kind, day) + 31);
	}
	return day;
}

const char *period_name(period_kind kind)
{
	static const char *const names[] = { "day", "week", "month" };
	return names[kind];
}

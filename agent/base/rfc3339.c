/* SPDX-License-Identifier: MIT */
#include "base/rfc3339.h"

#include <stdio.h>
#include <time.h>

/* Seconds since 1970 of the first and of the last second that four digits of a year can name. */
static const int64_t FIRST = -62167219200, LAST = 253402300799;

/* Takes `count` digits from the front of `*s`. -1: they are not there. */
static int digits(slice *s, size_t count)
{
	int n = 0;

	if (s->len < count)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (s->ptr[i] < '0' || s->ptr[i] > '9')
			return -1;
		n = n * 10 + (s->ptr[i] - '0');
	}
	*s = slice_from(*s, count);
	return n;
}

/* Takes one character from the front of `*s`, which has to be one of `any`. */
static bool mark(slice *s, const char *any)
{
	if (s->len == 0 || !strchr(any, s->ptr[0]) || s->ptr[0] == '\0')
		return false;
	*s = slice_from(*s, 1);
	return true;
}

static bool leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && leap(year));
}

/* Days from the first of January of the year 0 until the day, in the Gregorian calendar. */
static int64_t day_number(int year, int month, int day)
{
	int64_t before = year - 1, days = (int64_t)year * 365;

	if (year > 0)
		days += before / 4 - before / 100 + before / 400 + 1; /* the year 0 was a leap year */
	for (int m = 1; m < month; m++)
		days += days_of(year, m);
	return days + day - 1;
}

/* Takes the digits of a fraction of a second, of which the first three count. -1: there are none. */
static int fraction(slice *s)
{
	int ms = 0, unit = 100;
	size_t n = 0;

	for (; n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9'; n++, unit /= 10)
		ms += (s->ptr[n] - '0') * unit;
	*s = slice_from(*s, n);
	return n ? ms : -1;
}

bool rfc3339_read(slice text, int64_t *ms)
{
	int year = digits(&text, 4), month = mark(&text, "-") ? digits(&text, 2) : -1,
	    day = mark(&text, "-") ? digits(&text, 2) : -1, hour = mark(&text, "Tt ") ? digits(&text, 2) : -1,
	    minute = mark(&text, ":") ? digits(&text, 2) : -1, second = mark(&text, ":") ? digits(&text, 2) : -1;
	int part = mark(&text, ".") ? fraction(&text) : 0, ahead = 0;

	if (year < 0 || month < 1 || month > 12 || day < 1 || day > days_of(year, month) || hour < 0 || hour > 23 ||
	    minute < 0 || minute > 59 || second < 0 || second > 60 || part < 0)
		return false;
	if (!mark(&text, "Zz")) {
		bool behind = text.len && text.ptr[0] == '-';
		int hours = mark(&text, "+-") ? digits(&text, 2) : -1,
		    minutes = mark(&text, ":") ? digits(&text, 2) : -1;
		if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
			return false;
		ahead = (hours * 60 + minutes) * (behind ? -60 : 60);
	}
	if (text.len)
		return false;
	int64_t days = day_number(year, month, day);
	*ms = (days * 86400 + hour * 3600 + minute * 60 + second - ahead + FIRST) * 1000 + part;
	return true;
}

void rfc3339_write(int64_t ms, char out[RFC3339_TEXT])
{
	int64_t seconds = ms / 1000 - (ms % 1000 < 0);
	time_t second = (time_t)(seconds < FIRST ? FIRST : seconds > LAST ? LAST : seconds);
	struct tm tm;

	gmtime_r(&second, &tm);
	/* Without the moduli the compiler would see numbers that do not fit. */
	snprintf(out, RFC3339_TEXT, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)(tm.tm_year + 1900) % 10000,
		 (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
		 (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

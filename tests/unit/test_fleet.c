/* SPDX-License-Identifier: MIT
 *
 * What of the fleet needs no PostgreSQL: URIs and names, rows of a COPY, and hours that differ. */
#include "unit.h"

#include "config/fleet.h"
#include "ledger/columns.h"
#include "ship/fleet_sql.h"
#include "ship/fleet_verify.h"

static void test_uris(void)
{
	static const char *const good[] = {
		"postgresql://h/d",
		"postgres://user@h:5432,[::1]:5433/d?sslmode=verify-ca&application_name=password",
		"postgresql:///d?host=/run/postgresql&user=a",
		"postgresql://",
		"postgresql://h:5432/d@x:y",
		"postgresql://h/d?options=-c%20work_mem=8MB",
	};
	static const char *const bad[] = {
		"",
		"h",
		"mysql://h/d",
		"host=h password=x",
		"postgresql://u:p@h/d",
		"postgresql://u:@h/d",
		"postgresql://u:p@@h/d",
		"postgresql://:p@h",
		"postgresql://u:p@h?x=y",
		"postgres://u@h/d?password=x",
		"postgres://u@h/d?sslmode=require&password=x",
		"postgres://u@h?passfile=/x",
		"postgres://u@h/d?service",
		"postgres://u@h/d?sslpassword=",
		"postgres://u@h/d?p%61ssword=x",
		"postgres://u@h/d ?x=y",
		"postgres://u@h/d\n",
	};
	err e;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		CHECK(fleet_uri_check(good[i], &e));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CHECK(!fleet_uri_check(bad[i], &e));
		CHECK(!strstr(e.text, "u:p"));
	}
}

static void test_names(void)
{
	char longest[FLEET_NAME_MAX + 2];
	err e;

	memset(longest, 'a', sizeof longest);
	CHECK(fleet_name_check(slice_of(longest, FLEET_NAME_MAX), &e));
	CHECK(!fleet_name_check(slice_of(longest, FLEET_NAME_MAX + 1), &e));
	CHECK(fleet_name_check(SLICE("eu-west-1.a_b"), &e));
	CHECK(!fleet_name_check(SLICE(""), &e));
	CHECK(!fleet_name_check(SLICE("-a"), &e));
	CHECK(!fleet_name_check(SLICE("a b"), &e));
	CHECK(!fleet_name_check(SLICE("a\"b"), &e));
	CHECK(!fleet_name_check(SLICE("\xc3\xa4"), &e));
}

/* Compares the line's first fields, up to the model, with `expected`. */
static void check_line(const record *r, const char *expected)
{
	buf b;

	buf_init(&b, 65536);
	CHECK(fleet_copy_row(&b, 7, r));
	slice line = buf_slice(&b);
	CHECK(slice_starts(line, slice_cstr(expected)));
	CHECK(line.ptr[line.len - 1] == '\n');
	size_t tabs = 0;
	for (size_t i = 0; i < line.len; i++) {
		tabs += line.ptr[i] == '\t';
		CHECK(line.ptr[i] != '\n' || i + 1 == line.len);
	}
	CHECK(tabs == RECORD_COLUMNS); /* the sequence and the columns of columns.h */
	buf_deinit(&b);
}

static void test_rows(void)
{
	record r = { .id = "a", .time_ms = INT64_MIN, .route = "r\t\n\r\\N", .model = "\xff\xc3\xa4\x80", .input = -1 };
	buf small;

	check_line(&r, "7\ta\t-9223372036854775808\tr\\t\\n\\r\\\\N\t\t\t\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\t");
	/* A row for which there is no room leaves nothing behind. */
	buf_init(&small, 256);
	CHECK(fleet_copy_row(&small, 1, &r));
	size_t len = buf_len(&small);
	while (fleet_copy_row(&small, 2, &r))
		len = buf_len(&small);
	CHECK(buf_len(&small) == len);
	buf_deinit(&small);
}

static void count(void *ctx, const char *gateway, int64_t hour_s, const char *problem)
{
	int64_t *sum = ctx;

	(void)gateway;
	CHECK(*problem);
	*sum += hour_s;
}

static void test_hours(void)
{
	fleet_hour here[] = { { .hour = 3600, .sums.requests = 1 },
			      { .hour = 7200, .sums.requests = 2, .waits = true },
			      { .hour = 10800, .sums = { .requests = 3, .cost = 5 } },
			      { .hour = 14400, .sums.requests = 1 } };
	fleet_hour there[] = { { .hour = 3600, .sums.requests = 1 },
			       { .hour = 10800, .sums = { .requests = 3, .cost = 6 } },
			       { .hour = 18000, .sums.requests = 1 } };
	const fleet_hours a = { .items = here, .count = 4 }, b = { .items = there, .count = 3 },
			  none = { .items = NULL };
	int64_t sum = 0;
	size_t compared;

	CHECK(fleet_hours_compare(&a, &a, 0, "g", count, &sum, &compared) == 1 && sum == 0 && compared == 3);
	CHECK(fleet_hours_compare(&a, &b, 0, "g", count, &sum, &compared) == 1);
	CHECK(sum == 10800 + 14400 + 18000 && compared == 4);
	sum = 0;
	CHECK(fleet_hours_compare(&a, &b, 14400, "g", count, &sum, &compared) == 0);
	CHECK(sum == 14400 + 18000 && compared == 2);
	sum = 0;
	CHECK(fleet_hours_compare(&none, &b, 0, "g", count, &sum, &compared) == 0);
	CHECK(sum == 3600 + 10800 + 18000);
}

static void test_lost(void)
{
	fleet_hour here[] = { { .hour = 3600 }, { .hour = 7200, .waits = true }, { .hour = 14400 } };
	fleet_hour earlier[] = { { .hour = 0, .sums.requests = 1 },
				 { .hour = 3600, .sums.requests = 20 },
				 { .hour = 7200, .sums.requests = 300 },
				 { .hour = 10800, .sums.requests = 4000 } };
	const fleet_hours a = { .items = here, .count = 3 }, b = { .items = earlier, .count = 4 },
			  none = { .items = NULL };

	fleet_lost lost = fleet_hours_lost(&a, &b, 0);
	CHECK(lost.requests == 4021 && lost.first_s == 0 && lost.last_s == 10800);
	lost = fleet_hours_lost(&none, &b, 3600);
	CHECK(lost.requests == 4320 && lost.first_s == 3600 && lost.last_s == 10800);
	CHECK(fleet_hours_lost(&a, &none, 0).requests == 0);
}

int main(void)
{
	RUN(test_uris);
	RUN(test_names);
	RUN(test_rows);
	RUN(test_hours);
	RUN(test_lost);
	return unit_end();
}

/* SPDX-License-Identifier: MIT */
#include "report/upstreams.h"

#include <inttypes.h>

enum { ROUTE_MAX = 24, BACKEND_MAX = 40, MEMBER_MAX = 24 }; /* columns of a terminal */

/* Counts how long an answer of an upstream took, where ends_add() has counted the answer. */
static bool take_times(upstreams_report *report, const record *r)
{
	size_t i = 0;

	if (r->code[0] || r->ttfb_ms < 0 || r->status < 100 || r->status >= 600)
		return true;
	/* The last place is that of all others. */
	while (i < ENDS_PLACES && i < report->ends.places_count &&
	       (strcmp(report->ends.places[i].route, r->route) != 0 ||
		strcmp(report->ends.places[i].backend, r->backend) != 0))
		i++;
	return times_add(&report->times[i], r);
}

static bool take(void *ctx, const record *r)
{
	upstreams_report *report = ctx;
	const char *backend;
	/* The ledger does not keep the name that HAProxy did not know. */
	const char *named = strcmp(r->code, end_refusals[END_NO_BACKEND].code) == 0 ? r->backend : "";

	ends_add(&report->ends, r, named, AGENT_UNKNOWN, &backend);
	report->failed = !take_times(report, r);
	return !report->failed;
}

store_result upstreams_read(store *s, upstreams_report *r, err *e)
{
	store_result result = store_export(s, r->period.from_ms, r->period.to_ms, take, r, e);

	if (!r->failed)
		return result;
	err_memory(e);
	return STORE_ERROR;
}

void upstreams_deinit(upstreams_report *r)
{
	for (size_t i = 0; i <= ENDS_PLACES; i++)
		times_deinit(&r->times[i]);
}

/* ---- for programs */

static const unsigned percents[] = { 50, 95, 99 };

static void write_percentiles(FILE *f, const char *name, const store_times *t, time_which which)
{
	fprintf(f, ",\"%s\":{", name);
	for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
		int64_t ms = times_percentile(t, which, percents[i]);
		fprintf(f, "%s\"p%u\":", i ? "," : "", percents[i]);
		if (ms < 0)
			fputs("null", f);
		else
			fprintf(f, "%" PRId64, ms);
	}
	fputc('}', f);
}

static void write_answers(FILE *f, const uint64_t answers[ENDS_CLASSES])
{
	fputs(",\"answers\":{", f);
	for (unsigned c = 0; c < ENDS_CLASSES; c++)
		fprintf(f, "%s\"%uxx\":%" PRIu64, c ? "," : "", c + 1, answers[c]);
	fputc('}', f);
}

static void write_members_json(FILE *f, const ends *e)
{
	fputs("\"members\":[", f);
	for (size_t i = 0; i < e->members_count; i++) {
		const end_member *m = &e->members[i];
		fputs(i ? ",\n{\"route\":" : "\n{\"route\":", f);
		json_write_text(f, m->route);
		fputs(",\"member\":", f);
		json_write_text(f, m->member);
		fprintf(f, ",\"attempts\":%" PRIu64, ends_attempts(m));
		write_answers(f, m->answers);
		fprintf(f, ",\"broken_off\":%" PRIu64 ",\"unanswered\":%" PRIu64 ",\"declined\":{", m->cut,
			m->unanswered);
		for (unsigned why = 0; why < END_WHYS; why++)
			fprintf(f, "%s\"%s\":%" PRIu64, why ? "," : "", end_why_names[why], m->declined[why]);
		fputs("}}", f);
	}
	fputs(e->members_count ? "\n]}\n" : "]}\n", f);
}

static void write_json(FILE *f, const upstreams_report *r)
{
	fputc('{', f);
	period_write_json(f, &r->period);
	if (r->by_member) {
		write_members_json(f, &r->ends);
		return;
	}
	fputs("\"upstreams\":[", f);
	for (size_t i = 0; i < r->ends.places_count; i++) {
		const end_place *p = &r->ends.places[i];
		fputs(i ? ",\n{\"route\":" : "\n{\"route\":", f);
		json_write_text(f, p->route);
		fputs(",\"backend\":", f);
		json_write_text(f, p->backend);
		write_answers(f, p->answers);
		fprintf(f, ",\"broken_off\":%" PRIu64 ",\"refused\":{", p->cut);
		for (unsigned why = 0; why < END_REFUSALS; why++)
			fprintf(f, "%s\"%s\":%" PRIu64, why ? "," : "", end_refusals[why].code, p->refusals[why]);
		fputc('}', f);
		write_percentiles(f, "first_byte_ms", &r->times[i], TIME_FIRST_BYTE);
		write_percentiles(f, "whole_ms", &r->times[i], TIME_WHOLE);
		fputc('}', f);
	}
	fputs(r->ends.places_count ? "\n]}\n" : "]}\n", f);
}

static void write_csv_percentiles(FILE *f, const store_times *t, time_which which)
{
	for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
		int64_t ms = times_percentile(t, which, percents[i]);
		fputc(',', f);
		if (ms >= 0)
			fprintf(f, "%" PRId64, ms);
	}
}

static void write_members_csv(FILE *f, const ends *e)
{
	fputs("route,member,attempts", f);
	for (unsigned c = 0; c < ENDS_CLASSES; c++)
		fprintf(f, ",%uxx", c + 1);
	fputs(",broken_off,unanswered", f);
	for (unsigned why = 0; why < END_WHYS; why++)
		fprintf(f, ",declined_%s", end_why_names[why]);
	fputs("\r\n", f);
	for (size_t i = 0; i < e->members_count; i++) {
		const end_member *m = &e->members[i];
		csv_write_text(f, m->route, true);
		fputc(',', f);
		csv_write_text(f, m->member, true);
		fprintf(f, ",%" PRIu64, ends_attempts(m));
		for (unsigned c = 0; c < ENDS_CLASSES; c++)
			fprintf(f, ",%" PRIu64, m->answers[c]);
		fprintf(f, ",%" PRIu64 ",%" PRIu64, m->cut, m->unanswered);
		for (unsigned why = 0; why < END_WHYS; why++)
			fprintf(f, ",%" PRIu64, m->declined[why]);
		fputs("\r\n", f);
	}
}

static void write_csv(FILE *f, const upstreams_report *r)
{
	if (r->by_member) {
		write_members_csv(f, &r->ends);
		return;
	}
	fputs("route,backend", f);
	for (unsigned c = 0; c < ENDS_CLASSES; c++)
		fprintf(f, ",%uxx", c + 1);
	fputs(",broken_off", f);
	for (unsigned why = 0; why < END_REFUSALS; why++)
		fprintf(f, ",%s", end_refusals[why].code);
	fputs(",first_byte_p50_ms,first_byte_p95_ms,first_byte_p99_ms,whole_p50_ms,whole_p95_ms,whole_p99_ms\r\n", f);
	for (size_t i = 0; i < r->ends.places_count; i++) {
		const end_place *p = &r->ends.places[i];
		csv_write_text(f, p->route, true);
		fputc(',', f);
		csv_write_text(f, p->backend, true);
		for (unsigned c = 0; c < ENDS_CLASSES; c++)
			fprintf(f, ",%" PRIu64, p->answers[c]);
		fprintf(f, ",%" PRIu64, p->cut);
		for (unsigned why = 0; why < END_REFUSALS; why++)
			fprintf(f, ",%" PRIu64, p->refusals[why]);
		write_csv_percentiles(f, &r->times[i], TIME_FIRST_BYTE);
		write_csv_percentiles(f, &r->times[i], TIME_WHOLE);
		fputs("\r\n", f);
	}
}

void upstreams_write(FILE *f, const upstreams_report *r, bool csv)
{
	if (csv)
		write_csv(f, r);
	else
		write_json(f, r);
}

/* ---- for a person */

/* Prints `label` in `columns` columns. */
static void print_cell(const terminal *t, const char *label, int columns)
{
	char text[PRINT_LABEL];
	int width = print_label(text, t, *label ? label : "-", columns);

	printf("%s%*s", text, columns - width, "");
}

/* Prints a time of two significant digits, as the page writes it. */
static void print_ms(int64_t ms)
{
	if (ms < 0)
		printf("%9s", "-");
	else if (ms < 1000)
		printf("%6" PRId64 " ms", ms);
	else if (ms < 10000)
		printf("%5" PRId64 ".%" PRId64 " s", ms / 1000, ms % 1000 / 100);
	else
		printf("%7" PRId64 " s", ms / 1000);
}

static void print_place(const end_place *p, const store_times *times, const terminal *t)
{
	char number[PRINT_NUMBER];

	print_cell(t, p->route, ROUTE_MAX);
	fputs("  ", stdout);
	print_cell(t, p->backend, BACKEND_MAX);
	for (unsigned c = 1; c < ENDS_CLASSES; c++)
		printf(" %7s", print_short(number, (int64_t)p->answers[c]));
	printf(" %7s", print_short(number, (int64_t)p->cut));
	printf(" %7s", print_short(number, (int64_t)ends_unanswered(p)));
	print_ms(times_percentile(times, TIME_FIRST_BYTE, 50));
	print_ms(times_percentile(times, TIME_FIRST_BYTE, 95));
	print_ms(times_percentile(times, TIME_WHOLE, 50));
	print_ms(times_percentile(times, TIME_WHOLE, 95));
	putchar('\n');
}

static void print_members(const ends *e, const terminal *t)
{
	char number[PRINT_NUMBER];

	if (!e->members_count) {
		puts("no request went to a pool in this time");
		return;
	}
	printf("%-*s  %-*s %7s %7s %7s %7s %7s %7s\n%-*s  %-*s %7s %7s %7s %7s %7s %7s  %s\n", ROUTE_MAX, "",
	       MEMBER_MAX, "", "", "", "", "", "broken", "no", ROUTE_MAX, "route", MEMBER_MAX, "member", "2xx", "3xx",
	       "4xx", "5xx", "off", "answer", "went on to the next member");
	for (size_t i = 0; i < e->members_count && !output_failed(); i++) {
		const end_member *m = &e->members[i];
		const char *before = "  ";
		print_cell(t, m->route, ROUTE_MAX);
		fputs("  ", stdout);
		print_cell(t, m->member, MEMBER_MAX);
		for (unsigned c = 1; c < ENDS_CLASSES; c++)
			printf(" %7s", print_short(number, (int64_t)m->answers[c]));
		printf(" %7s", print_short(number, (int64_t)m->cut));
		printf(" %7s", print_short(number, (int64_t)m->unanswered));
		for (unsigned why = 0; why < END_WHYS; why++) {
			if (!m->declined[why])
				continue;
			printf("%s%s: %s", before, end_why_names[why], print_short(number, (int64_t)m->declined[why]));
			before = ", ";
		}
		putchar('\n');
	}
}

/* Prints how many requests HAProxy itself refused, by code. Answers in place of an upstream do not count: the table has
 * them. */
static void print_refused(const ends *e)
{
	bool any = false;

	for (unsigned why = 0; why < END_REFUSALS; why++) {
		uint64_t n = end_refusals[why].upstream ? 0 : ends_refused(e, why);
		if (n)
			printf("%s%s %" PRIu64, any ? ", " : "\nrefused by HAProxy: ", end_refusals[why].code, n);
		any = any || n;
	}
	if (any)
		putchar('\n');
}

void upstreams_print(const upstreams_report *r, const terminal *t)
{
	bool any = false;

	if (r->by_member) {
		print_members(&r->ends, t);
		return;
	}
	for (size_t i = 0; i < r->ends.places_count && !output_failed(); i++) {
		const end_place *p = &r->ends.places[i];
		if (!ends_count(&p->whole) && !ends_unanswered(p))
			continue;
		if (!any)
			printf("%-*s  %-*s %7s %7s %7s %7s %7s %7s%18s%18s\n%-*s  %-*s %7s %7s %7s %7s %7s %7s%9s%9s%9s%9s\n",
			       ROUTE_MAX, "", BACKEND_MAX, "", "", "", "", "", "broken", "no", "first byte",
			       "whole answer", ROUTE_MAX, "route", BACKEND_MAX, "backend", "2xx", "3xx", "4xx", "5xx",
			       "off", "answer", "p50", "p95", "p50", "p95");
		any = true;
		print_place(p, &r->times[i], t);
	}
	if (!any)
		puts("no upstream was asked in this time");
	print_refused(&r->ends);
	if (r->ends.members_count)
		puts("\nby member of a pool: spoa-llm upstreams --by member");
}

/* SPDX-License-Identifier: MIT */
#include "report/operation.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/sum.h"
#include "ledger/ends.h"
#include "report/print.h"
#include "report/refusal_words.h"

enum {
	HOURS_UPTO = 48, /* of a period that is shown by hours, if nobody says how */
	GROUPS_MAX = 500,
};

typedef struct operation {
	facet_unit unit;
	figures_groups series, upstreams, refusals, groups;
	store_facets_told told; /* of the series */
	int64_t untold;
} operation;

/* ---- reading */

static int read_groups(const view_question *q, const figures_source *source, unsigned by, facet_unit unit, bool times,
		       figures_groups *l, store_facets_told *told, err *e)
{
	period p = q->period;

	period_widen(&p);
	const store_facet_question ask = { .by = by,
					   .unit = unit,
					   .from_ms = p.from_ms,
					   .to_ms = p.to_ms,
					   .only = &q->only,
					   .times = times,
					   .counts = true };

	return figures_read(source, &ask, l, told, e);
}

static unsigned group_bits(const view_question *q)
{
	const view_label *l = q->by ? view_label_of(q->by) : NULL;

	return l ? FACET_BIT(l->bit) : FIGURES_BY_GATEWAY;
}

static int read_all(const view_question *q, const figures_source *source, operation *o, err *e)
{
	store_facets_told told;
	int result = read_groups(q, source, FACET_NONE, o->unit, true, &o->series, &o->told, e);

	o->untold = o->told.untold;
	if (!result)
		result = read_groups(q, source, FACET_UPSTREAM | FACET_BIT(FACET_CODE), FACET_WHOLE, true,
				     &o->upstreams, &told, e);
	if (!result)
		result = read_groups(q, source, FACET_REFUSAL, FACET_WHOLE, false, &o->refusals, &told, e);
	if (!result && q->by)
		result = read_groups(q, source, group_bits(q), FACET_WHOLE, true, &o->groups, &told, e);
	return result;
}

/* ---- writing */

static void write_ms(FILE *f, const char *name, const int64_t ms[3])
{
	static const char *const names[] = { "p50", "p95", "p99" };

	fprintf(f, ",\"%s\":{", name);
	for (size_t i = 0; i < 3; i++) {
		fprintf(f, "%s\"%s\":", i ? "," : "", names[i]);
		if (ms[i] < 0)
			fputs("null", f);
		else
			fprintf(f, "%" PRId64, ms[i]);
	}
	fputc('}', f);
}

static void write_figures(FILE *f, const figures_group *g)
{
	fprintf(f, "\"requests\":%" PRId64 ",\"refused\":%" PRId64 ",\"failed\":%" PRId64 ",\"status\":{",
		g->sums.requests, g->sums.refused, g->sums.failed);
	for (int i = 1; i <= 5; i++)
		fprintf(f, "\"%dxx\":%" PRId64 ",", i, g->status[i]);
	fprintf(f, "\"none\":%" PRId64 "}", g->status[0]);
	write_ms(f, "first_byte_ms", g->ms[TIME_FIRST_BYTE]);
	write_ms(f, "whole_ms", g->ms[TIME_WHOLE]);
}

/* Writes a time that may not be there: null. */
static void write_time(FILE *f, const char *name, bool known, int64_t ms)
{
	char text[PRINT_NUMBER];

	if (known)
		fprintf(f, "\"%s\":\"%s\"", name, print_time(text, ms));
	else
		fprintf(f, "\"%s\":null", name);
}

/* Writes the `i`th label of `g`. */
static void write_part(FILE *f, const char *name, const figures_group *g, size_t i)
{
	char part[FACET_LABEL_MAX + 1];

	facet_part(g->label, i, part, sizeof part);
	fprintf(f, "\"%s\":", name);
	json_write_text(f, part);
	fputc(',', f);
}

/* What the gateway answered in place of an upstream counts as the upstream's, other refusals do not: these requests
 * went to none. */
static bool is_of_upstream(const char *code)
{
	for (unsigned i = 0; i < END_REFUSALS; i++)
		if (end_refusals[i].upstream && strcmp(end_refusals[i].code, code) == 0)
			return true;
	return !*code;
}

static void merge(figures_group *to, const figures_group *from)
{
	store_sums_merge(&to->sums, &from->sums);
	for (int i = 0; i < 6; i++)
		to->status[i] = add_capped(to->status[i], from->status[i]);
	/* Only requests without a code have times: one of the two. */
	for (time_which w = 0; w < TIME_KINDS; w++)
		for (int i = 0; i < 3; i++)
			to->ms[w][i] = from->ms[w][i] > to->ms[w][i] ? from->ms[w][i] : to->ms[w][i];
	to->last_ms = from->last_ms > to->last_ms ? from->last_ms : to->last_ms;
}

/* Merges the groups by upstream and code into groups by upstream. Drops those that are not an upstream's, have no
 * label, or are beyond GROUPS_MAX. */
static void fold_codes(figures_groups *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->count; i++) {
		figures_group *g = &l->items[i];
		char *code = g->label ? strrchr(g->label, FACET_SEPARATOR) : NULL;
		size_t same = 0;
		if (!code || !is_of_upstream(code + 1))
			continue;
		*code = '\0';
		while (same < kept && strcmp(l->items[same].label, g->label) != 0)
			same++;
		if (same < kept) {
			merge(&l->items[same], g);
		} else if (kept < GROUPS_MAX) {
			const figures_group other = l->items[kept];
			l->items[kept++] = *g;
			*g = other;
		}
	}
	while (l->count > kept)
		free(l->items[--l->count].label);
}

static void write_upstreams(FILE *f, figures_groups *l)
{
	fold_codes(l);
	fputs("\"upstreams\":[", f);
	for (size_t i = 0; i < l->count; i++) {
		const figures_group *g = &l->items[i];
		fputs(i ? ",\n{" : "\n{", f);
		write_part(f, "route", g, 0);
		write_part(f, "backend", g, 1);
		write_part(f, "member", g, 2);
		write_figures(f, g);
		fputc(',', f);
		write_time(f, "last", true, g->last_ms);
		fputc('}', f);
	}
	fputs("],\n", f);
}

static int by_requests(const void *a, const void *b)
{
	const figures_group *x = a, *y = b;

	if (x->sums.requests != y->sums.requests)
		return x->sums.requests < y->sums.requests ? 1 : -1;
	return strcmp(x->label ? x->label : "", y->label ? y->label : "");
}

/* Writes what the refusal means, and what to do. */
static void write_words(FILE *f, const char *code)
{
	const refusal_words *w = refusal_words_find(code);

	fputs(",\"what\":", f);
	if (w)
		json_write_text(f, w->what);
	else
		fputs("null", f);
	fputs(",\"todo\":", f);
	if (w)
		json_write_text(f, w->todo);
	else
		fputs("null", f);
}

static void write_refusals(FILE *f, figures_groups *l)
{
	size_t written = 0;

	if (l->count)
		qsort(l->items, l->count, sizeof *l->items, by_requests);
	fputs("\"refusals\":[", f);
	for (size_t i = 0; i < l->count && written < GROUPS_MAX; i++) {
		const figures_group *g = &l->items[i];
		const char *code = g->label ? strrchr(g->label, FACET_SEPARATOR) : NULL;
		if (!code || !code[1])
			continue;
		fputs(written++ ? ",\n{" : "\n{", f);
		write_part(f, "code", g, 1);
		fprintf(f, "\"status\":%d,\"requests\":%" PRId64 ",", (int)strtol(g->label, NULL, 10),
			g->sums.requests);
		write_time(f, "last", true, g->last_ms);
		write_words(f, code + 1);
		fputc('}', f);
	}
	fputs("],\n", f);
}

static void write_series(FILE *f, const operation *o)
{
	fputs("\"series\":[", f);
	for (size_t i = 0; i < o->series.count; i++) {
		fputs(i ? ",\n{" : "\n{", f);
		write_time(f, "time", true, o->series.items[i].time_ms);
		fputc(',', f);
		write_figures(f, &o->series.items[i]);
		fputc('}', f);
	}
	fputs("],\n", f);
}

static void write_groups(FILE *f, const view_question *q, figures_groups *l)
{
	if (!q->by)
		return;
	if (l->count)
		qsort(l->items, l->count, sizeof *l->items, by_requests);
	fprintf(f, "\"by\":\"%s\",\"groups\":[", q->by);
	for (size_t i = 0; i < l->count && i < GROUPS_MAX; i++) {
		const figures_group *g = &l->items[i];
		fputs(i ? ",\n{\"label\":" : "\n{\"label\":", f);
		if (g->label)
			json_write_text(f, g->label);
		else
			fputs("null", f);
		fputc(',', f);
		write_figures(f, g);
		fputc(',', f);
		write_time(f, "last", true, g->last_ms);
		fputc('}', f);
	}
	fprintf(f, "],\"groups_left_out\":%zu,\n", l->count > GROUPS_MAX ? l->count - GROUPS_MAX : 0);
}

static void write_all(FILE *f, const view_question *q, operation *o)
{
	const int64_t length = o->unit == FACET_DAYS ? DAY_MS : HOUR_MS, now = clock_wall_ms();
	const period p = { o->told.from_ms, o->told.to_ms };

	fputs("{\"period\":{", f);
	write_time(f, "since", p.from_ms > 0, p.from_ms);
	fputc(',', f);
	write_time(f, "until", p.to_ms < INT64_MAX, p.to_ms);
	fprintf(f, "},\"unit\":\"%s\",", o->unit == FACET_DAYS ? "day" : "hour");
	write_time(f, "unfinished", now >= p.from_ms && now < p.to_ms, now - now % length);
	fputs(",\n", f);
	write_series(f, o);
	fputs("\"totals\":{", f);
	write_figures(f, &o->series.total);
	fputs("},\n", f);
	write_upstreams(f, &o->upstreams);
	write_refusals(f, &o->refusals);
	write_groups(f, q, &o->groups);
	fprintf(f, "\"not_told_apart\":%" PRId64 ",", o->untold);
	write_time(f, "whole_from", o->told.whole_ms > 0, o->told.whole_ms);
	fputs("}\n", f);
}

/* ---- */

static bool unit_of(const view_question *q, facet_unit *unit, err *e)
{
	int64_t now = clock_wall_ms(), to = q->period.to_ms < now ? q->period.to_ms : now,
		length = to - q->period.from_ms;

	if (!q->unit)
		*unit = length <= HOURS_UPTO * HOUR_MS ? FACET_HOURS : FACET_DAYS;
	else
		*unit = strcmp(q->unit, "day") == 0 ? FACET_DAYS : FACET_HOURS;
	return *unit == FACET_DAYS || length <= STORE_FACET_HOURS_DAYS * DAY_MS ||
	       err_set(e, "unit=hour: figures of hours are kept for %d days; ask for a shorter period, or for unit=day",
		       STORE_FACET_HOURS_DAYS);
}

view_result operation_answer(const view_question *q, const figures_source *source, FILE *out, int *result, err *e)
{
	operation o = { .unit = FACET_DAYS };

	if (!unit_of(q, &o.unit, e))
		return VIEW_WRONG;
	*result = read_all(q, source, &o, e);
	if (!*result)
		write_all(out, q, &o);
	figures_groups_deinit(&o.series);
	figures_groups_deinit(&o.upstreams);
	figures_groups_deinit(&o.refusals);
	figures_groups_deinit(&o.groups);
	return *result ? VIEW_FAILED : VIEW_OK;
}

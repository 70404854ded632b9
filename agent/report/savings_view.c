/* SPDX-License-Identifier: MIT
 *
 * What the page asks of savings beyond the command: figures of some requests by their facets, and split by a label. */
#include "report/savings_impl.h"

#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/sum.h"
#include "report/figures_fleet.h"

bool savings_prepare_view(savings_report *r, const view_question *q, err *e)
{
	if (!savings_prepare(r, q->since, q->until, q->by, q->fleet, e))
		return false;
	if (q->fleet)
		r->rows.most = r->models.most = r->clients.most = FIGURES_FLEET_LINES;
	r->only = q->only;
	r->gateway = q->gateway;
	r->split = q->split ? view_label_of(q->split) : NULL;
	r->compare = q->compare;
	return true;
}

/* ---- reading */

typedef struct adapter {
	bool (*each)(void *, const store_sums *);
	savings_list *l;
	facet_unit unit;
} adapter;

static bool on_facet(void *ctx, const store_facet *f)
{
	const adapter *a = ctx;
	store_sums sums = *f->sums;

	if (a->unit != FACET_WHOLE)
		savings_bucket(sums.label, sizeof sums.label, f->time_ms, a->unit == FACET_HOURS);
	else
		snprintf(sums.label, sizeof sums.label, "%s", f->label ? f->label : "");
	return a->each(a->l, &sums);
}

static void forget(void *ctx)
{
	((savings_list *)ctx)->count = 0;
}

static void forget_adapted(void *ctx)
{
	forget(((adapter *)ctx)->l);
}

static unsigned bits_of(store_group group)
{
	switch (group) {
	case GROUP_MODEL:
		return FACET_BIT(FACET_MODEL);
	case GROUP_ROUTE:
		return FACET_BIT(FACET_ROUTE);
	case GROUP_PROJECT:
		return FACET_BIT(FACET_PROJECT);
	case GROUP_CLIENT:
		return FACET_BIT(FACET_CLIENT);
	case GROUP_MEMBER:
		return FACET_BIT(FACET_POOL_MEMBER);
	case GROUP_GATEWAY:
		return FIGURES_BY_GATEWAY;
	case GROUP_NONE:
	case GROUP_DAY:
	case GROUP_HOUR:
		break;
	}
	return FACET_NONE;
}

static store_facet_question question_of(const savings_report *r, unsigned by, facet_unit unit)
{
	return (store_facet_question){
		.by = by, .unit = unit, .from_ms = r->period.from_ms, .to_ms = r->period.to_ms, .only = &r->only
	};
}

static facet_unit unit_of(store_group group)
{
	return group == GROUP_DAY ? FACET_DAYS : group == GROUP_HOUR ? FACET_HOURS : FACET_WHOLE;
}

typedef struct view_reading {
	const figures_source *source;
} view_reading;

static int read_view(void *from, store_group group, const savings_report *r, bool (*each)(void *, const store_sums *),
		     savings_list *l, store_facets_told *told, err *e)
{
	const figures_source *source = ((view_reading *)from)->source;
	adapter a = { each, l, unit_of(group) };
	int result;

	*told = (store_facets_told){ .from_ms = r->period.from_ms, .to_ms = r->period.to_ms };
	if (savings_filtered(r)) {
		const store_facet_question q = question_of(r, bits_of(group), a.unit);
		result = source->facets(source->from, &q, on_facet, forget_adapted, &a, told, e);
	} else {
		result = source->report(source->from, group, r->period.from_ms, r->period.to_ms, each, forget, l, e);
	}
	return l->failed || l->full ? (int)STORE_ERROR : result;
}

/* ---- split */

static int find_part(const savings_report *r, const char *label)
{
	for (int i = 0; i < SAVINGS_PARTS && r->part_names[i]; i++)
		if (label && strcmp(r->part_names[i], label) == 0)
			return i;
	return SAVINGS_PARTS;
}

typedef struct splitting {
	savings_report *r;
	size_t names;
	bool failed; /* out of memory */
} splitting;

static bool on_name(void *ctx, const store_facet *f)
{
	splitting *s = ctx;
	char *name = f->label ? strdup(f->label) : NULL;

	if (!f->label)
		return true;
	s->failed = !name;
	if (name)
		s->r->part_names[s->names++] = name;
	return name && s->names < SAVINGS_PARTS;
}

static void forget_names(void *ctx)
{
	splitting *s = ctx;

	for (size_t i = 0; i < SAVINGS_PARTS; i++) {
		free(s->r->part_names[i]);
		s->r->part_names[i] = NULL;
	}
	s->names = 0;
}

/* Parts of one day or hour come one after another. */
static bool on_part(void *ctx, const store_facet *f)
{
	splitting *s = ctx;
	savings_report *r = s->r;
	int name = find_part(r, f->label);

	for (size_t i = r->parts_count; i-- > 0 && r->parts[i].time_ms == f->time_ms;)
		if (r->parts[i].name == name) {
			store_sums_merge(&r->parts[i].sums, f->sums);
			return true;
		}
	savings_part *parts = list_grow(r->parts, &r->parts_room, r->parts_count, sizeof *parts);
	s->failed = !parts;
	if (!parts)
		return false;
	r->parts = parts;
	savings_part *p = &r->parts[r->parts_count++];
	*p = (savings_part){ .time_ms = f->time_ms, .name = name, .sums = *f->sums };
	savings_bucket(p->sums.label, sizeof p->sums.label, f->time_ms, r->group == GROUP_HOUR);
	return true;
}

static void forget_parts(void *ctx)
{
	((splitting *)ctx)->r->parts_count = 0;
}

static int by_time_and_name(const void *a, const void *b)
{
	const savings_part *x = a, *y = b;

	return x->time_ms != y->time_ms ? (x->time_ms < y->time_ms ? -1 : 1) :
					  (x->name > y->name) - (x->name < y->name);
}

static int read_parts(savings_report *r, const figures_source *source, store_facets_told *told, err *e)
{
	const unsigned by = FACET_BIT(r->split->bit);
	const store_facet_question parts = question_of(r, by, unit_of(r->group));
	store_facet_question names = question_of(r, by, FACET_WHOLE);
	splitting s = { .r = r };

	names.counts = true; /* cost and requests put the names in their order, and nothing else of them is needed */
	int result = source->facets(source->from, &names, on_name, forget_names, &s, told, e);

	if (!result && !s.failed)
		result = source->facets(source->from, &parts, on_part, forget_parts, &s, told, e);
	if (s.failed) {
		err_memory(e);
		return result ? result : (int)STORE_ERROR;
	}
	if (r->parts_count)
		qsort(r->parts, r->parts_count, sizeof *r->parts, by_time_and_name);
	return result;
}

int savings_read_view(const figures_source *source, savings_report *r, err *e)
{
	view_reading v = { .source = source };
	store_facets_told told = { .from_ms = r->period.from_ms, .to_ms = r->period.to_ms }, of_rows = told;
	int result = r->split ? read_parts(r, source, &told, e) : 0;

	/* All figures are of the period that the parts are of. */
	r->period = (period){ told.from_ms, told.to_ms };
	if (!result)
		result = savings_read_all(r, read_view, &v, &of_rows, e);
	if (!result && savings_filtered(r)) {
		told = of_rows;
		r->period = (period){ told.from_ms, told.to_ms };
	}
	r->missing_ms = told.whole_ms > r->period.from_ms ? told.whole_ms : 0;
	r->untold = told.untold;
	return !result && r->compare ? savings_compare(r, read_view, &v, e) : result;
}

/* ---- writing */

void savings_write_view(FILE *f, const savings_report *r)
{
	const int64_t length = r->group == GROUP_HOUR ? HOUR_MS : DAY_MS;
	char text[PRINT_NUMBER];

	if (r->group == GROUP_DAY || r->group == GROUP_HOUR) {
		bool open = r->now_ms >= r->period.from_ms && r->now_ms < r->period.to_ms;
		savings_bucket(text, sizeof text, r->now_ms - r->now_ms % length, r->group == GROUP_HOUR);
		fprintf(f, "\"unfinished\":%s%s%s,", open ? "\"" : "", open ? text : "null", open ? "\"" : "");
	}
	if (r->untold)
		fprintf(f, "\"not_told_apart\":%" PRId64 ",", r->untold);
	if (r->split)
		fprintf(f, "\"split\":\"%s\",", r->split->name);
	savings_write_compared(f, r);
}

void savings_write_parts(FILE *f, const savings_report *r, bool csv)
{
	for (size_t i = 0; i < r->parts_count && !ferror(f); i++) {
		const savings_part *p = &r->parts[i];
		const char *name = p->name < SAVINGS_PARTS ? r->part_names[p->name] : NULL;
		if (csv) {
			fprintf(f, "%s,", p->sums.label);
			csv_write_text(f, name ? name : "(other)", name != NULL);
			savings_write_csv(f, &p->sums);
			continue;
		}
		fprintf(f, "%s\n{\"%s\":\"%s\",\"split\":", i ? "," : "", r->by, p->sums.label);
		if (name)
			json_write_text(f, name);
		else
			fputs("null", f);
		fputc(',', f);
		savings_write_json(f, &p->sums);
		fputc('}', f);
	}
}

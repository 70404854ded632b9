/* SPDX-License-Identifier: MIT */
#include "report/request_list.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/sum.h"
#include "report/export.h"
#include "report/print.h"

typedef struct row {
	record record;
	char gateway[RECORD_LABEL_MAX + 1]; /* of a fleet */
	size_t place;                       /* in the order of time */
	int64_t key;                        /* what the list is sorted by; INT64_MIN: not known */
} row;

typedef struct rows {
	row *items;
	size_t count, room;
	view_sort sort;
	bool failed; /* out of memory */
} rows;

static int64_t tokens(const record *r)
{
	int64_t n = 0;
	bool known = false;
	const int64_t counts[] = { r->input, r->output, r->cache_read, r->cache_write };

	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
		if (counts[i] >= 0) {
			n = add_capped(n, counts[i]);
			known = true;
		}
	return known ? n : INT64_MIN;
}

static int64_t key_of(const record *r, view_sort sort)
{
	switch (sort) {
	case SORT_TIME:
		break;
	case SORT_COST:
		return r->price == PRICE_TABLE || r->price == PRICE_PARTIAL ? r->cost : INT64_MIN;
	case SORT_WHOLE:
		return r->total_ms >= 0 ? r->total_ms : INT64_MIN;
	case SORT_FIRST_BYTE:
		return r->ttfb_ms >= 0 ? r->ttfb_ms : INT64_MIN;
	case SORT_TOKENS:
		return tokens(r);
	}
	return 0;
}

static bool keep(void *ctx, const record *r, const char *gateway)
{
	rows *l = ctx;
	row *items = list_grow(l->items, &l->room, l->count, sizeof *items);

	if (!items) {
		l->failed = true;
		return false;
	}
	l->items = items;
	row *to = &l->items[l->count];
	to->record = *r;
	snprintf(to->gateway, sizeof to->gateway, "%s", gateway ? gateway : "");
	to->place = l->count++;
	to->key = key_of(r, l->sort);
	return true;
}

static void forget(void *ctx)
{
	((rows *)ctx)->count = 0;
}

/* What is not known stands at the end, whatever the order. */
static int compare(const row *x, const row *y, bool ascending)
{
	if (x->key != y->key && (x->key == INT64_MIN || y->key == INT64_MIN))
		return x->key == INT64_MIN ? 1 : -1;
	if (x->key != y->key)
		return (x->key < y->key) == ascending ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static int most_first(const void *a, const void *b)
{
	return compare(a, b, false);
}

static int least_first(const void *a, const void *b)
{
	return compare(a, b, true);
}

static void write_rows(FILE *f, const view_question *q, const rows *l, size_t from, const store_page_told *told)
{
	size_t to = l->count - from > (size_t)q->limit ? from + (size_t)q->limit : l->count;

	if (q->csv) {
		export_write_head(f, q->fleet);
		for (size_t i = from; i < to; i++)
			export_write_row(f, &l->items[i].record, q->fleet ? l->items[i].gateway : NULL, true);
		return;
	}
	fprintf(f, "{");
	period_write_json(f, &(period){ told->from_ms, told->to_ms });
	if (told->total < 0)
		fputs("\"total\":null,", f);
	else
		fprintf(f, "\"total\":%" PRId64 ",", told->total);
	fprintf(f, "\"offset\":%" PRId64 ",\"of_last\":", q->offset);
	if (q->sort != SORT_TIME && l->count == VIEW_SORTED)
		fprintf(f, "%d", VIEW_SORTED);
	else
		fputs("null", f);
	fprintf(f, ",\"stopped\":%s,\"rows\":[\n", told->stopped ? "true" : "false");
	for (size_t i = from; i < to; i++) {
		fputs(i > from ? "," : "", f);
		export_write_row(f, &l->items[i].record, q->fleet ? l->items[i].gateway : NULL, false);
	}
	fputs("]}\n", f);
}

view_result request_list_answer(const view_question *q, const figures_source *source, FILE *out, int *result, err *e)
{
	const bool sorted = q->sort != SORT_TIME;
	period p = q->period;

	period_widen(&p);
	const store_page_question ask = { .from_ms = p.from_ms,
					  .to_ms = p.to_ms,
					  .only = &q->only,
					  .offset = sorted ? 0 : q->offset,
					  .limit = sorted ? VIEW_SORTED : q->limit,
					  .oldest_first = !sorted && q->ascending };
	rows l = { .sort = q->sort };
	store_page_told told = { .total = -1 };

	*result = source->page(source->from, &ask, keep, forget, &l, &told, e);
	if (l.failed) {
		err_memory(e);
		*result = *result ? *result : (int)STORE_ERROR;
	}
	if (!*result) {
		size_t from = sorted ? (size_t)q->offset : 0;
		if (sorted && l.count)
			qsort(l.items, l.count, sizeof *l.items, q->ascending ? least_first : most_first);
		write_rows(out, q, &l, from < l.count ? from : l.count, &told);
	}
	free(l.items);
	return *result ? VIEW_FAILED : VIEW_OK;
}

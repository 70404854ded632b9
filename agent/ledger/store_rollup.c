/* SPDX-License-Identifier: MIT
 *
 * The sums: what a record adds to them, and how those of a batch get into `hourly` and `daily` with few statements. */
#include "ledger/store_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/sum.h"

/* ---- store_sums as columns */

static const struct {
	const char *name;
	size_t offset;
} columns[] = {
#define STORE_SUMS_COLUMN(name) { #name, offsetof(store_sums, name) },
	STORE_SUMS(STORE_SUMS_COLUMN)
};

/* Each field of store_sums has a column. */
_Static_assert(sizeof(store_sums) - offsetof(store_sums, requests) == sizeof(int64_t) * SUMS_COUNT, "one column each");

int64_t *sums_column(store_sums *sums, size_t i)
{
	return (int64_t *)(void *)((char *)sums + columns[i].offset);
}

const char *sums_name(size_t i)
{
	return columns[i].name;
}

void store_sums_merge(store_sums *to, const store_sums *from)
{
	store_sums copy = *from;
	for (size_t i = 0; i < SUMS_COUNT; i++) {
		int64_t *column = sums_column(to, i);
		*column = add_capped(*column, *sums_column(&copy, i));
	}
}

static int64_t known(int64_t count)
{
	return count > 0 ? count : 0;
}

/* The first letter of HAProxy's termination state tells who ended a request early: '-' nobody, 'L' HAProxy answered by
 * itself, 'C' and 'c' the client; any other letter is the server, HAProxy or a lack of resources. */
static bool has_failed(const record *r)
{
	if (r->code[0])
		return false;
	if (r->status < 100 || r->status >= 400)
		return true;
	char by = r->termination[0];
	return by && by != '-' && by != 'L' && by != 'C' && by != 'c';
}

void rollup_add_estimated(store_sums *sums, const record *r)
{
	sums->estimated_saved_compression = add_capped(sums->estimated_saved_compression, r->saved_compression);
	sums->estimated_saved_cache = add_capped(sums->estimated_saved_cache, r->saved_cache);
	sums->estimated_saved_routing = add_capped(sums->estimated_saved_routing, r->saved_routing);
}

void store_sums_add(store_sums *sums, const record *r)
{
	int64_t output = known(r->output);

	sums->requests = add_capped(sums->requests, 1);
	sums->streams = add_capped(sums->streams, r->stream);
	sums->refused = add_capped(sums->refused, r->code[0] != '\0');
	sums->failed = add_capped(sums->failed, has_failed(r));
	sums->input = add_capped(sums->input, known(r->input));
	sums->output = add_capped(sums->output, output);
	sums->cache_read = add_capped(sums->cache_read, known(r->cache_read));
	sums->cache_write = add_capped(sums->cache_write, known(r->cache_write));
	sums->saved = add_capped(sums->saved, r->saved);
	sums->cost = add_capped(sums->cost, r->cost);
	sums->saved_compression = add_capped(sums->saved_compression, r->saved_compression);
	sums->saved_cache = add_capped(sums->saved_cache, r->saved_cache);
	sums->saved_routing = add_capped(sums->saved_routing, r->saved_routing);
	sums->bytes_in = add_capped(sums->bytes_in, known(r->bytes_in));
	sums->bytes_out = add_capped(sums->bytes_out, known(r->bytes_out));
	if (r->usage == USAGE_ESTIMATED) {
		sums->estimated_requests = add_capped(sums->estimated_requests, 1);
		sums->estimated_output = add_capped(sums->estimated_output, output);
		sums->estimated_cost = add_capped(sums->estimated_cost, r->cost);
		rollup_add_estimated(sums, r);
	}
	if (r->usage == USAGE_PARTIAL)
		sums->partial_requests = add_capped(sums->partial_requests, 1);
	sums->unknown_requests = add_capped(sums->unknown_requests, r->usage == USAGE_UNKNOWN);
	sums->partly_priced_requests = add_capped(sums->partly_priced_requests, r->price == PRICE_PARTIAL);
	sums->untold_requests = add_capped(sums->untold_requests, r->tap == TAP_UNTOLD);
	if (r->price == PRICE_UNPRICED) {
		sums->unpriced_requests = add_capped(sums->unpriced_requests, 1);
		sums->unpriced_tokens = add_capped(sums->unpriced_tokens,
						   add_capped(add_capped(known(r->input), output),
							      add_capped(known(r->cache_read), known(r->cache_write))));
	}
}

/* ---- cells */

enum {
	ROLLUP_FIRST = 256,
	ROLLUP_KEEP = 16384, /* cells that stay allocated between batches */
};

static void remove_cells(rollup *r)
{
	while (r->count) {
		rollup_cell *c = &r->cells[--r->count];
		free(c->own);
		times_deinit(&c->times);
	}
}

void rollup_clear(rollup *r)
{
	if (r->cap > ROLLUP_KEEP) {
		rollup_free(r);
		return;
	}
	remove_cells(r);
	if (r->slots)
		memset(r->slots, 0, r->slot_count * sizeof *r->slots);
}

void rollup_free(rollup *r)
{
	remove_cells(r);
	free(r->cells);
	free(r->slots);
	*r = (rollup){ NULL, 0, 0, NULL, 0 };
}

/* The key is secret, because clients choose labels: they could make names that all hash to one slot. */
static uint32_t hash_of_cell(int64_t hour, int kind, slice label)
{
	return (uint32_t)hash_of(hash_own_key(), (uint64_t)hour * KIND_COUNT + (uint64_t)kind, label);
}

static bool grow(rollup *r)
{
	size_t cap = r->cap ? r->cap * 2 : ROLLUP_FIRST;
	rollup_cell *cells = realloc(r->cells, cap * sizeof *cells);
	if (!cells)
		return false;
	r->cells = cells;
	uint32_t *slots = calloc(cap * 2, sizeof *slots);
	if (!slots)
		return false;
	free(r->slots);
	r->slots = slots;
	r->slot_count = cap * 2;
	r->cap = cap;
	for (size_t i = 0; i < r->count; i++) {
		size_t at = r->cells[i].hash & (r->slot_count - 1);
		while (slots[at])
			at = (at + 1) & (r->slot_count - 1);
		slots[at] = (uint32_t)i + 1;
	}
	return true;
}

/* Returns the slot that has the cell, or else the free one where it belongs; at least half of the slots are free. */
static size_t slot_of(const rollup *r, uint32_t hash, int64_t hour, int kind, slice label)
{
	size_t at = hash & (r->slot_count - 1);

	for (; r->slots[at]; at = (at + 1) & (r->slot_count - 1)) {
		const rollup_cell *c = &r->cells[r->slots[at] - 1];
		if (c->hash == hash && c->hour == hour && c->kind == kind && slice_eq(c->label, label))
			break;
	}
	return at;
}

rollup_cell *rollup_find(rollup *r, int64_t hour, int kind, slice label)
{
	if (!r->count)
		return NULL;
	size_t at = slot_of(r, hash_of_cell(hour, kind, label), hour, kind, label);
	return r->slots[at] ? &r->cells[r->slots[at] - 1] : NULL;
}

rollup_cell *rollup_cell_of(rollup *r, int64_t hour, int kind, slice label)
{
	uint32_t hash = hash_of_cell(hour, kind, label);

	if (r->count == r->cap && !grow(r))
		return NULL;
	size_t at = slot_of(r, hash, hour, kind, label);
	if (r->slots[at])
		return &r->cells[r->slots[at] - 1];
	char *own = NULL;
	if (kind >= KIND_MEMBER && label.len) {
		own = strndup(label.ptr, label.len);
		if (!own)
			return NULL;
		label.ptr = own;
	}
	rollup_cell *c = &r->cells[r->count++];
	r->slots[at] = (uint32_t)r->count;
	memset(c, 0, sizeof *c);
	c->own = own;
	c->hash = hash;
	c->hour = hour;
	c->kind = kind;
	c->label = label;
	return c;
}

slice rollup_label(const record *r, int kind, char room[ROLLUP_LABEL_MAX + 1])
{
	switch (kind) {
	case KIND_MODEL:
		return slice_cstr(r->model);
	case KIND_ROUTE:
		return slice_cstr(r->route);
	case KIND_PROJECT:
		return slice_cstr(r->project);
	case KIND_CLIENT:
		return slice_cstr(r->client);
	case KIND_MEMBER:
		if (!r->member[0])
			return SLICE("");
		return slice_of(room, (size_t)snprintf(room, ROLLUP_LABEL_MAX + 1, "%s/%s", r->route, r->member));
	case KIND_FACET:
		return slice_of(room, facet_label(r, room));
	default:
		return SLICE("");
	}
}

bool rollup_add_times(rollup_cell *c, const record *r)
{
	int64_t time_ms = store_time_of(r);

	c->last_ms = time_ms > c->last_ms ? time_ms : c->last_ms;
	return times_add(&c->times, r);
}

bool rollup_merge(rollup_cell *to, const rollup_cell *from)
{
	store_sums_merge(&to->sums, &from->sums);
	to->last_ms = from->last_ms > to->last_ms ? from->last_ms : to->last_ms;
	return times_merge(&to->times, &from->times);
}

/* Returns the cell of the record's facet. NULL: out of memory. */
static rollup_cell *facet_of(rollup *roll, const record *r)
{
	char room[ROLLUP_LABEL_MAX + 1];
	rollup_cell *c = rollup_cell_of(roll, store_hour_of(store_time_of(r)), KIND_FACET,
					rollup_label(r, KIND_FACET, room));

	if (c && !c->of)
		c->of = r;
	return c;
}

bool rollup_add(rollup *roll, const record *r)
{
	rollup_cell *c = facet_of(roll, r);

	if (!c)
		return false;
	store_sums_add(&c->sums, r);
	return rollup_add_times(c, r);
}

bool rollup_change(rollup *roll, const record *was, const record *is)
{
	store_sums before = { .requests = 0 }, after = { .requests = 0 };
	rollup_cell *c = facet_of(roll, is);

	if (!c)
		return false;
	store_sums_add(&before, was);
	store_sums_add(&after, is);
	for (size_t i = 0; i < SUMS_COUNT; i++) {
		int64_t *sum = sums_column(&c->sums, i);
		*sum = add_capped(*sum, sub_capped(*sums_column(&after, i), *sums_column(&before, i)));
	}
	return true;
}

/* Adds the sums of the facets, which are all cells so far, to cells of all other kinds. False: out of memory. */
static bool add_up(rollup *roll)
{
	const size_t facets = roll->count;
	char room[ROLLUP_LABEL_MAX + 1];

	for (size_t i = 0; i < facets; i++) {
		const rollup_cell from = roll->cells[i]; /* the cells may move */
		for (int kind = 0; kind < KIND_FACET; kind++) {
			rollup_cell *c = rollup_cell_of(roll, from.hour, kind, rollup_label(from.of, kind, room));
			if (!c)
				return false;
			store_sums_merge(&c->sums, &from.sums);
		}
	}
	return true;
}

/* ---- into the tables */

static int by_place(const void *a, const void *b)
{
	const rollup_cell *x = a, *y = b;
	int64_t x_day = store_floor(x->hour, DAY), y_day = store_floor(y->hour, DAY);

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x_day != y_day)
		return x_day < y_day ? -1 : 1;
	size_t len = x->label.len < y->label.len ? x->label.len : y->label.len;
	int order = len ? memcmp(x->label.ptr, y->label.ptr, len) : 0;
	if (order)
		return order;
	if (x->label.len != y->label.len)
		return x->label.len < y->label.len ? -1 : 1;
	return (x->hour > y->hour) - (x->hour < y->hour);
}

void rollup_sort(rollup *r)
{
	if (r->count)
		qsort(r->cells, r->count, sizeof *r->cells, by_place);
}

/* Runs `st`, an UPDATE or INSERT of `hourly` or `daily`. */
static int put(sqlite3_stmt *st, int kind, int64_t bucket, slice label, store_sums *sums)
{
	sqlite3_bind_int(st, 1, kind);
	sqlite3_bind_int64(st, 2, bucket);
	sqlite3_bind_text(st, 3, label.len ? label.ptr : "", (int)label.len, SQLITE_STATIC);
	for (size_t i = 0; i < SUMS_COUNT; i++)
		sqlite3_bind_int64(st, (int)i + 4, *sums_column(sums, i));
	return store_run(st);
}

/* Adds to a row; `*there` tells whether the row is there. */
static int update(store *s, statement which, int kind, int64_t bucket, slice label, store_sums *sums, bool *there)
{
	int rc = put(s->statements[which], kind, bucket, label, sums);
	*there = rc == SQLITE_OK && sqlite3_changes(s->db) > 0;
	return rc;
}

static int update_or_insert(store *s, statement updating, statement inserting, int kind, int64_t bucket, slice label,
			    store_sums *sums)
{
	bool there;
	int rc = update(s, updating, kind, bucket, label, sums, &there);
	if (rc == SQLITE_OK && !there)
		rc = put(s->statements[inserting], kind, bucket, label, sums);
	return rc;
}

static int count_labels(store *s, int kind, int64_t day, int64_t *count)
{
	sqlite3_stmt *st = s->statements[ST_LABELS];
	sqlite3_bind_int(st, 1, kind);
	sqlite3_bind_int64(st, 2, day);
	int rc = sqlite3_step(st);
	*count = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_reset(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* A label that has a row in `daily` keeps its name in the hours of that day; a new one becomes `other` once the day has
 * STORE_LABELS_PER_DAY labels. So a label has one name all day, because no label is ever removed. */
int rollup_write(store *s, rollup *r)
{
	int64_t labels = -1, labels_day = 0; /* how many labels this kind and day has; -1: not counted yet */
	int labels_kind = -1;

	if (!add_up(r))
		return SQLITE_NOMEM;
	rollup_sort(r);
	for (size_t begin = 0, end; begin < r->count; begin = end) {
		int kind = r->cells[begin].kind;
		int64_t day = store_floor(r->cells[begin].hour, DAY);
		slice label = r->cells[begin].label;
		store_sums total = r->cells[begin].sums;
		bool there;

		/* Facets are the last kind. */
		if (kind == KIND_FACET)
			return facets_log_add(s, &r->cells[begin], r->count - begin);
		for (end = begin + 1;
		     end < r->count && r->cells[end].kind == kind && store_floor(r->cells[end].hour, DAY) == day &&
		     slice_eq(r->cells[end].label, label);
		     end++)
			store_sums_merge(&total, &r->cells[end].sums);
		if (kind != labels_kind || day != labels_day) {
			labels = -1;
			labels_kind = kind;
			labels_day = day;
		}
		int rc = update(s, ST_DAILY_UPDATE, kind, day, label, &total, &there);
		if (rc == SQLITE_OK && !there) {
			if (labels < 0)
				rc = count_labels(s, kind, day, &labels);
			if (labels >= STORE_LABELS_PER_DAY)
				label = STORE_OTHER;
			else
				labels++;
			if (rc == SQLITE_OK)
				rc = update_or_insert(s, ST_DAILY_UPDATE, ST_DAILY_INSERT, kind, day, label, &total);
		}
		for (size_t i = begin; rc == SQLITE_OK && i < end; i++)
			rc = update_or_insert(s, ST_HOURLY_UPDATE, ST_HOURLY_INSERT, kind, r->cells[i].hour, label,
					      &r->cells[i].sums);
		if (rc != SQLITE_OK)
			return rc;
	}
	return SQLITE_OK;
}

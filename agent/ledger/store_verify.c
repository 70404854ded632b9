/* SPDX-License-Identifier: MIT
 *
 * Verifies the ledger: the file, and that sums equal rows. */
#include "ledger/store_impl.h"

#include <stdlib.h>

static const char *const kind_names[KIND_COUNT] = { "all", "model", "route", "project", "client", "member", "facet" };

typedef struct verify {
	store *s;
	void (*each)(void *ctx, const char *problem);
	void *ctx;
	size_t problems;
	sqlite3_stmt *next_row, *next_bucket[2]; /* the next row; the next bucket in `hourly`, in `daily` */
	sqlite3_stmt *names;                     /* the labels of a day */
	sqlite3_stmt *rows, *stored[2];          /* the rows of an hour; sums in `hourly`, in `daily` */
	int64_t day, version;  /* of what follows: whose labels; the version of the database that they are of */
	bool any_known, fresh; /* there are labels; they are of this version, and not of one before it */
	rollup known;          /* the labels in `daily`, by kinds in place of hours, and without sums */
	size_t known_count[KIND_COUNT];
	rollup log, waiting; /* what waits in `facet_log`, by hours; its labels of the day, as in `known` */
	rollup sums_of_rows; /* of an hour */
	int64_t read, all;   /* rows that were read; the largest rowid, about as many as there are */
	size_t sums;         /* how many of the sums are compared */
	int64_t facets_ms, facet_hours_ms; /* see facets_bounds() */
} verify;

__attribute__((format(printf, 2, 3))) static void problem(verify *v, const char *fmt, ...)
{
	char text[600];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	for (char *at = text; (at = strchr(at, FACET_SEPARATOR)) != NULL;)
		*at = '|';
	v->problems++;
	v->each(v->ctx, text);
}

/* ---- labels */

/* How many kinds of sums are compared: facets, the last one, only where they have all requests and their hours are
 * kept. */
static int kinds_of(const verify *v, int64_t bucket)
{
	return bucket * 1000 < v->facets_ms || bucket * 1000 < v->facet_hours_ms ? KIND_FACET : KIND_COUNT;
}

/* Adds the labels that the day has by now: none is ever removed. */
static int learn_labels(verify *v)
{
	int rc = SQLITE_OK;

	for (int kind = 0; rc == SQLITE_OK && kind < KIND_COUNT; kind++) {
		v->known_count[kind] = 0;
		sqlite3_bind_int(v->names, 1, kind);
		sqlite3_bind_int64(v->names, 2, v->day);
		while ((rc = sqlite3_step(v->names)) == SQLITE_ROW) {
			slice label = slice_of((const char *)sqlite3_column_text(v->names, 0),
					       (size_t)sqlite3_column_bytes(v->names, 0));
			v->known_count[kind]++;
			/* Of KIND_FACET, which has a copy of its label. */
			if (!rollup_cell_of(&v->known, kind, KIND_FACET, label)) {
				rc = SQLITE_NOMEM;
				break;
			}
		}
		sqlite3_reset(v->names);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	v->fresh = true;
	return rc;
}

/* Gets ready for an hour of the day. Labels that are known are not read again: a day has thousands, and an hour of a
 * quiet ledger a few rows. */
static int know_labels(verify *v, int64_t day)
{
	int64_t version = 0;
	int rc = store_int(v->s, "PRAGMA data_version", &version);
	bool changed = !v->any_known || version != v->version, next = !v->any_known || day != v->day;

	if (rc != SQLITE_OK || (!changed && !next))
		return rc;
	v->any_known = true;
	v->version = version;
	v->day = day;
	v->fresh = false;
	rollup_clear(&v->waiting);
	if (changed) {
		rollup_clear(&v->log);
		rc = facets_log_load(v->s, &v->log);
	}
	for (size_t i = 0; rc == SQLITE_OK && i < v->log.count; i++)
		if (store_floor(v->log.cells[i].hour, DAY) == day &&
		    !rollup_cell_of(&v->waiting, KIND_FACET, KIND_FACET, v->log.cells[i].label))
			rc = SQLITE_NOMEM;
	if (next)
		rollup_clear(&v->known);
	/* Whether facets that wait will be told apart depends on how many the day has now. */
	return rc == SQLITE_OK && (next || v->waiting.count) ? learn_labels(v) : rc;
}

/* Sets `*name` to the label under which the day's sums count rows with `label`: that label itself, or `other`; `ptr`
 * NULL: they have neither. Returns an SQLite result code. */
static int name_of(verify *v, int kind, slice label, slice *name)
{
	for (;;) {
		bool full = v->known_count[kind] >= STORE_LABELS_OF(kind);
		const rollup_cell *c = rollup_find(&v->known, kind, KIND_FACET, label);
		if (!c && kind == KIND_FACET && !full)
			c = rollup_find(&v->waiting, kind, KIND_FACET, label);
		*name = c ? c->label : full ? STORE_OTHER : slice_of(NULL, 0);
		if (c || full || v->fresh)
			return SQLITE_OK;
		int rc = learn_labels(v);
		if (rc != SQLITE_OK)
			return rc;
	}
}

/* ---- sums that are stored, and what they have to be */

/* Adds the stored sums of a kind and time to cells of `to`, all of the kind KIND_FACET, which has copies of its labels.
 */
static int read_stored(verify *v, bool days, int kind, int64_t from, int64_t upto, rollup *to)
{
	sqlite3_stmt *st = v->stored[days];
	const int last = (int)v->sums + 1;
	char when[32];
	int rc;

	sqlite3_bind_int(st, 1, kind);
	sqlite3_bind_int64(st, 2, from);
	sqlite3_bind_int64(st, 3, upto);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		store_sums sums = { .requests = 0 };
		slice label = slice_of((const char *)sqlite3_column_text(st, 0), (size_t)sqlite3_column_bytes(st, 0));
		rollup_cell *c = rollup_cell_of(to, 0, KIND_FACET, label);
		if (!c)
			break;
		for (size_t i = 0; i < v->sums; i++)
			*sums_column(&sums, i) = sqlite3_column_int64(st, (int)i + 1);
		store_sums_merge(&c->sums, &sums);
		if (kind != KIND_FACET)
			continue;
		int64_t last_ms = sqlite3_column_int64(st, last);
		c->last_ms = last_ms > c->last_ms ? last_ms : c->last_ms;
		if (!times_decode(&c->times, slice_of(sqlite3_column_blob(st, last + 1),
						      (size_t)sqlite3_column_bytes(st, last + 1)))) {
			store_bucket_label(when, sizeof when, from, !days);
			problem(v, "%s %s, facet \"%.*s\": its times cannot be read", days ? "day" : "hour", when,
				(int)label.len, label.ptr);
		}
	}
	sqlite3_reset(st);
	return rc == SQLITE_DONE ? SQLITE_OK : rc == SQLITE_ROW ? SQLITE_NOMEM : rc;
}

static bool same_times(const rollup_cell *a, const rollup_cell *b)
{
	return a->last_ms == b->last_ms && a->times.count == b->times.count &&
	       (!a->times.count || memcmp(a->times.bins, b->times.bins, a->times.count * sizeof *a->times.bins) == 0);
}

/* What is compared with what: sums of hours with rows, or those of days with hours. */
typedef struct comparing {
	const char *unit, *parts;
	char when[32];
	int kind;
} comparing;

/* `should` NULL: there is nothing of that label. */
static void compare(verify *v, const comparing *of, rollup_cell *is, rollup_cell *should)
{
	const char *label = is->label.len ? is->label.ptr : "";
	const int len = (int)is->label.len;

	for (size_t i = 0; i < v->sums; i++) {
		int64_t stored = *sums_column(&is->sums, i), sum = should ? *sums_column(&should->sums, i) : 0;
		if (stored != sum) {
			problem(v, "%s %s, %s \"%.*s\": %s is %lld, but the %s add up to %lld", of->unit, of->when,
				kind_names[of->kind], len, label, sums_name(i), (long long)stored, of->parts,
				(long long)sum);
			break;
		}
	}
	if (of->kind == KIND_FACET && should && !same_times(is, should))
		problem(v, "%s %s, facet \"%.*s\": its times are not those of the %s", of->unit, of->when, len, label,
			of->parts);
	if (should)
		should->seen = true;
}

/* Tells of the cells of a kind that compare() has not met. */
static void tell_missing(verify *v, const comparing *of, const rollup *should, int kind)
{
	for (size_t i = 0; i < should->count; i++) {
		const rollup_cell *c = &should->cells[i];
		if (c->kind == kind && !c->seen && c->sums.requests > 0)
			problem(v, "%s %s, %s \"%.*s\": it has no sums, but %s of %lld requests", of->unit, of->when,
				kind_names[of->kind], (int)c->label.len, c->label.len ? c->label.ptr : "", of->parts,
				(long long)c->sums.requests);
	}
}

/* ---- an hour */

/* Adds what waits in `facet_log` to the stored facets of an hour. */
static int add_waiting(verify *v, int64_t hour, rollup *stored)
{
	int rc = SQLITE_OK;

	for (size_t i = 0; rc == SQLITE_OK && i < v->log.count; i++) {
		const rollup_cell *waits = &v->log.cells[i];
		slice name;
		if (waits->hour != hour)
			continue;
		rc = name_of(v, KIND_FACET, waits->label, &name);
		rollup_cell *c = rc == SQLITE_OK ? rollup_cell_of(stored, 0, KIND_FACET, name) : NULL;
		if (rc == SQLITE_OK && (!c || !rollup_merge(c, waits)))
			rc = SQLITE_NOMEM;
	}
	return rc;
}

static int compare_hour(verify *v, int64_t hour, comparing *of)
{
	rollup stored = { .cells = NULL };
	int rc = SQLITE_OK;

	for (int kind = 0; rc == SQLITE_OK && kind < kinds_of(v, hour); kind++) {
		of->kind = kind;
		rollup_clear(&stored);
		rc = read_stored(v, false, kind, hour, hour + HOUR, &stored);
		if (rc == SQLITE_OK && kind == KIND_FACET)
			rc = add_waiting(v, hour, &stored);
		for (size_t i = 0; rc == SQLITE_OK && i < stored.count; i++)
			compare(v, of, &stored.cells[i],
				rollup_find(&v->sums_of_rows, hour, kind, stored.cells[i].label));
		if (rc == SQLITE_OK)
			tell_missing(v, of, &v->sums_of_rows, kind);
	}
	rollup_free(&stored);
	return rc;
}

/* Adds a row to the sums of its labels. */
static int add_row(verify *v, int64_t hour, const char *when, const record *r)
{
	char room[ROLLUP_LABEL_MAX + 1];

	for (int kind = 0; kind < kinds_of(v, hour); kind++) {
		slice label = rollup_label(r, kind, room), name;
		int rc = name_of(v, kind, label, &name);
		if (rc != SQLITE_OK)
			return rc;
		if (!name.ptr) {
			problem(v, "hour %s, %s \"%.*s\": a row has it, but the day's sums do not", when,
				kind_names[kind], (int)label.len, label.ptr);
			continue;
		}
		rollup_cell *c = rollup_cell_of(&v->sums_of_rows, hour, kind, name);
		if (!c)
			return SQLITE_NOMEM;
		store_sums_add(&c->sums, r);
		if (kind == KIND_FACET && !rollup_add_times(c, r))
			return SQLITE_NOMEM;
	}
	return SQLITE_OK;
}

/* Compares the sums of an hour with its rows. To be called in a transaction, so that both are of the same moment. */
static int verify_hour(verify *v, int64_t hour)
{
	comparing of = { .unit = "hour", .parts = "rows" };
	int64_t pruned;

	int rc = store_pruned_before(v->s, &pruned);
	if (rc == SQLITE_OK)
		rc = facets_bounds(v->s, &v->facet_hours_ms, &v->facets_ms);
	if (rc != SQLITE_OK || hour * 1000 < pruned)
		return rc;
	rollup_clear(&v->sums_of_rows);
	rc = know_labels(v, store_floor(hour, DAY));
	if (rc != SQLITE_OK)
		return rc;
	store_bucket_label(of.when, sizeof of.when, hour, true);
	sqlite3_bind_int64(v->rows, 1, hour * 1000);
	sqlite3_bind_int64(v->rows, 2, (hour + HOUR) * 1000);
	while ((rc = sqlite3_step(v->rows)) == SQLITE_ROW) {
		record row;
		store_read_row(v->rows, &row);
		rc = add_row(v, hour, of.when, &row);
		if (rc != SQLITE_OK)
			break;
		if (++v->read % 10000 == 0)
			store_tell(v->s, v->read, v->all);
	}
	sqlite3_reset(v->rows);
	return rc == SQLITE_DONE ? compare_hour(v, hour, &of) : rc;
}

/* ---- a day */

/* Compares the sums of a day with those of its hours. */
static int verify_day(verify *v, int64_t day)
{
	comparing of = { .unit = "day", .parts = "hours" };
	rollup hours = { .cells = NULL }, stored = { .cells = NULL };
	int rc = facets_bounds(v->s, &v->facet_hours_ms, &v->facets_ms);

	store_bucket_label(of.when, sizeof of.when, day, false);
	for (int kind = 0; rc == SQLITE_OK && kind < kinds_of(v, day); kind++) {
		of.kind = kind;
		rollup_clear(&hours);
		rollup_clear(&stored);
		rc = read_stored(v, false, kind, day, day + DAY, &hours);
		if (rc == SQLITE_OK)
			rc = read_stored(v, true, kind, day, day + DAY, &stored);
		for (size_t i = 0; rc == SQLITE_OK && i < stored.count; i++) {
			rollup_cell *is = &stored.cells[i], *should = rollup_find(&hours, 0, KIND_FACET, is->label);
			compare(v, &of, is, should);
			if (!should && !is->sums.requests)
				problem(v, "day %s, %s \"%.*s\": none of its hours has it", of.when, kind_names[kind],
					(int)is->label.len, is->label.len ? is->label.ptr : "");
		}
		if (rc == SQLITE_OK)
			tell_missing(v, &of, &hours, KIND_FACET);
	}
	rollup_free(&hours);
	rollup_free(&stored);
	return rc;
}

/* Sets `*least` to the value that `st` finds, if that is smaller or `*any` is false; then sets `*any`. */
static int smallest(sqlite3_stmt *st, int64_t *least, bool *any)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW && sqlite3_column_type(st, 0) != SQLITE_NULL) {
		int64_t value = sqlite3_column_int64(st, 0);
		if (!*any || value < *least)
			*least = value;
		*any = true;
	}
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Sets `*next` to the first hour or day from `from` on that has rows or sums. `*any`: there is one. */
static int next_bucket(verify *v, bool days, int64_t from, int64_t *next, bool *any)
{
	int rc = SQLITE_OK;

	*any = false;
	for (int table = 0; table < (days ? 2 : 1); table++) {
		for (int kind = 0; rc == SQLITE_OK && kind < KIND_COUNT; kind++) {
			sqlite3_bind_int(v->next_bucket[table], 1, kind);
			sqlite3_bind_int64(v->next_bucket[table], 2, from);
			rc = smallest(v->next_bucket[table], next, any);
		}
	}
	if (rc == SQLITE_OK && !days) {
		int64_t row = 0;
		bool row_there = false;
		sqlite3_bind_int64(v->next_row, 1, from * 1000);
		rc = smallest(v->next_row, &row, &row_there);
		row = store_hour_of(row);
		if (row_there && (!*any || row < *next)) {
			*next = row;
			*any = true;
		}
	}
	if (days)
		*next = store_floor(*next, DAY);
	return rc;
}

static bool tell_spending(void *ctx, int kind, const char *name, int64_t day)
{
	char when[32];

	store_bucket_label(when, sizeof when, day, false);
	problem(ctx, "day %s, %s \"%s\": what it spent is not what its rows add up to", when,
		kind == KIND_PROJECT ? "project" : "client", name);
	return true;
}

static int verify_prepare(verify *v)
{
	char names[SQL_LIST], rows[SQL_LIST], sql[SQL_MAX];
	store *s = v->s;
	bool waits = false;
	int rc = store_catching_up(s, &waits);

	v->sums = SUMS_COUNT - (waits ? 3 : 0);
	sql_list(names, sizeof names, v->sums, sums_name, "$");
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT min(time_ms) FROM requests WHERE time_ms >= ?", &v->next_row);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT min(bucket) FROM hourly WHERE kind = ? AND bucket >= ?",
				   &v->next_bucket[0]);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT min(bucket) FROM daily WHERE kind = ? AND bucket >= ?",
				   &v->next_bucket[1]);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT label FROM daily WHERE kind = ? AND bucket = ?", &v->names);
	sql_list(rows, sizeof rows, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql, "SELECT %s FROM requests WHERE time_ms >= ? AND time_ms < ?", rows);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, sql, &v->rows);
	for (int days = 0; rc == SQLITE_OK && days < 2; days++) {
		snprintf(sql, sizeof sql,
			 "SELECT label, %s, last_ms, times FROM %s WHERE kind = ? AND bucket >= ? AND bucket < ?",
			 names, days ? "daily" : "hourly");
		rc = store_prepare(s, sql, &v->stored[days]);
	}
	return rc;
}

static void tell_rows(void *ctx)
{
	const verify *v = ctx;

	store_tell(v->s, v->read, v->all);
}

static void file_problem(void *ctx, const char *text)
{
	problem(ctx, "file: %s", text);
}

store_result store_verify(store *s, void (*each)(void *ctx, const char *problem), void *ctx, size_t *problems, err *e)
{
	verify v = { .s = s, .each = each, .ctx = ctx };
	int64_t pruned = 0;

	*problems = 0;
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	file_check *file = file_check_begin(s);
	sqlite3_progress_handler(s->db, STORE_STEPS, store_wants_end, s);
	int rc = verify_prepare(&v);
	if (rc == SQLITE_OK)
		rc = store_int(s, "SELECT max(rowid) - min(rowid) + 1 FROM requests", &v.all);
	if (rc == SQLITE_OK)
		rc = store_pruned_before(s, &pruned);
	for (int days = 0; days < 2; days++) {
		/* Hours whose rows were pruned cannot be compared with rows; days can always be compared with hours. */
		int64_t at = days ? 0 : store_ceil(pruned, HOUR * 1000LL, HOUR);
		bool any = true;
		while (rc == SQLITE_OK) {
			rc = next_bucket(&v, days, at, &at, &any);
			if (rc != SQLITE_OK || !any)
				break;
			rc = store_wants_end(s) ? SQLITE_INTERRUPT : store_exec(s, "BEGIN");
			if (rc == SQLITE_OK)
				rc = days ? verify_day(&v, at) : verify_hour(&v, at);
			if (rc == SQLITE_OK)
				rc = store_exec(s, "COMMIT");
			at += days ? DAY : HOUR;
		}
	}
	if (rc == SQLITE_OK)
		rc = spending_compare(s, store_ceil(pruned, DAY * 1000LL, DAY) * 1000, tell_spending, &v);
	sqlite3_finalize(v.next_row);
	sqlite3_finalize(v.next_bucket[0]);
	sqlite3_finalize(v.next_bucket[1]);
	sqlite3_finalize(v.names);
	sqlite3_finalize(v.rows);
	sqlite3_finalize(v.stored[0]);
	sqlite3_finalize(v.stored[1]);
	rollup_free(&v.sums_of_rows);
	rollup_free(&v.known);
	rollup_free(&v.waiting);
	rollup_free(&v.log);
	int file_rc = file_check_end(file, s, tell_rows, file_problem, &v);
	sqlite3_progress_handler(s->db, 0, NULL, NULL);
	rc = rc == SQLITE_OK ? file_rc : rc;
	*problems = v.problems;
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "verifying", e);
}

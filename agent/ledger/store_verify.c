/* SPDX-License-Identifier: MIT
 *
 * Verifies the ledger: the file, and that sums equal rows. */
#include "ledger/store_impl.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/thread.h"

static const char *const kind_names[KIND_COUNT] = { "all", "model", "route", "project", "client", "member", "facet" };

/* Texts, each of which the list owns. */
typedef struct texts {
	char **at;
	size_t count, room;
} texts;

static bool texts_add(texts *t, const char *text)
{
	char **at = list_grow(t->at, &t->room, t->count, sizeof *at);
	char *own = strdup(text ? text : "");

	if (at)
		t->at = at;
	if (at && own)
		at[t->count++] = own;
	else
		free(own);
	return at && own;
}

static void texts_empty(texts *t)
{
	while (t->count)
		free(t->at[--t->count]);
}

/* SQLite's own check, which takes as long as all the rest: a thread of its own does it beside that. */
typedef struct integrity {
	pthread_t thread;
	bool threaded;
	pthread_mutex_t lock; /* of `done` */
	pthread_cond_t ended;
	bool done;
	char *path; /* owned */
	bool (*stop)(void);
	texts found;
	int rc;
} integrity;

enum { WAIT_MS = 100 }; /* between two looks whether the check is done, or is to end */

typedef struct verify {
	store *s;
	void (*each)(void *ctx, const char *problem);
	void *ctx;
	size_t problems;
	sqlite3_stmt *next_row, *next_bucket[2]; /* the next row; the next bucket in `hourly`, in `daily` */
	sqlite3_stmt *known;                     /* the labels of a day */
	sqlite3_stmt *rows, *hour;               /* the rows of an hour, its sums */
	sqlite3_stmt *day_more, *day_less;       /* what the hours of a day have and the day has not; the reverse */
	rollup labels;     /* the labels of the day, with the sums of the hour, added up from its rows */
	texts texts;       /* which the labels point to */
	int64_t read, all; /* rows that were read; the largest rowid, about as many as there are */
	size_t sums;       /* how many of the sums are compared */
	int64_t facets_ms, facet_hours_ms; /* see facets_bounds() */
	rollup log;                        /* what waits in `facet_log` */
	bool log_known;                    /* as of the version `log_version` of the database */
	int64_t log_version;
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

/* ---- the file */

static void check_file(integrity *in, store *s)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA integrity_check", -1, &st, NULL);

	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
			const char *text = (const char *)sqlite3_column_text(st, 0);
			if ((!text || strcmp(text, "ok") != 0) && !texts_add(&in->found, text ? text : "?")) {
				rc = SQLITE_NOMEM;
				break;
			}
		}
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	sqlite3_finalize(st);
	in->rc = rc;
}

static void *check_file_main(void *arg)
{
	integrity *in = arg;
	store_result result;
	err e;
	store *own = store_open(in->path, false, &result, &e);

	in->rc = SQLITE_BUSY;
	if (own) {
		store_stop_if(own, in->stop);
		sqlite3_progress_handler(own->db, STORE_STEPS, store_wants_end, own);
		check_file(in, own);
	}
	store_close(own);
	pthread_mutex_lock(&in->lock);
	in->done = true;
	pthread_cond_signal(&in->ended);
	pthread_mutex_unlock(&in->lock);
	return NULL;
}

/* NULL: out of memory. */
static integrity *check_file_begin(const store *s)
{
	integrity *in = calloc(1, sizeof *in);

	if (!in || !(in->path = strdup(s->path))) {
		free(in);
		return NULL;
	}
	pthread_mutex_init(&in->lock, NULL);
	thread_cond_init(&in->ended);
	in->stop = s->stop;
	in->threaded = thread_start(&in->thread, check_file_main, in) == 0;
	return in;
}

/* False: the check is to end, and SQLite looks at that too seldom to be waited for. */
static bool check_file_wait(integrity *in, verify *v)
{
	bool end = false;

	pthread_mutex_lock(&in->lock);
	while (!in->done && !end) {
		struct timespec until = clock_timespec(clock_mono_ms() + WAIT_MS);
		pthread_cond_timedwait(&in->ended, &in->lock, &until);
		end = !in->done && store_wants_end(v->s);
		store_tell(v->s, v->read, v->all);
	}
	pthread_mutex_unlock(&in->lock);
	return !end;
}

/* Waits for the check, and tells what it has found. Returns an SQLite result code. */
static int check_file_end(integrity *in, verify *v)
{
	if (!in)
		return SQLITE_NOMEM;
	if (in->threaded && !check_file_wait(in, v)) {
		pthread_detach(in->thread); /* which goes on using `in` */
		return SQLITE_INTERRUPT;
	}
	if (in->threaded)
		pthread_join(in->thread, NULL);
	if (!in->threaded || in->rc == SQLITE_BUSY)
		check_file(in, v->s);
	for (size_t i = 0; i < in->found.count; i++)
		problem(v, "file: %s", in->found.at[i]);
	int rc = in->rc;
	texts_empty(&in->found);
	free(in->found.at);
	pthread_mutex_destroy(&in->lock);
	pthread_cond_destroy(&in->ended);
	free(in->path);
	free(in);
	return rc;
}

/* ---- an hour */

/* How many kinds of sums an hour or day has: facets are the last one. */
static int kinds_of(const verify *v, int64_t bucket)
{
	return bucket * 1000 < v->facets_ms || bucket * 1000 < v->facet_hours_ms ? KIND_FACET : KIND_COUNT;
}

/* Reads the labels of a day, and in `count` how many there are of each kind. */
static int know_labels(verify *v, int64_t day, int64_t hour, size_t count[KIND_COUNT])
{
	int rc = SQLITE_OK;

	texts_empty(&v->texts);
	rollup_clear(&v->labels);
	for (int kind = 0; rc == SQLITE_OK && kind < kinds_of(v, hour); kind++) {
		count[kind] = 0;
		sqlite3_bind_int(v->known, 1, kind);
		sqlite3_bind_int64(v->known, 2, day);
		while ((rc = sqlite3_step(v->known)) == SQLITE_ROW) {
			if (!texts_add(&v->texts, (const char *)sqlite3_column_text(v->known, 0)) ||
			    !rollup_cell_of(&v->labels, hour, kind, slice_cstr(v->texts.at[v->texts.count - 1]))) {
				rc = SQLITE_NOMEM;
				break;
			}
			count[kind]++;
		}
		sqlite3_reset(v->known);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	if (rc == SQLITE_OK && kinds_of(v, hour) > KIND_FACET && count[KIND_FACET] < STORE_FACETS_PER_DAY)
		for (size_t i = 0; i < v->log.count; i++)
			if (store_floor(v->log.cells[i].hour, DAY) == day &&
			    !rollup_cell_of(&v->labels, hour, KIND_FACET, v->log.cells[i].label))
				return SQLITE_NOMEM;
	return rc;
}

static void compare(verify *v, const char *when, int kind, slice label, store_sums *stored, store_sums *rows)
{
	for (size_t i = 0; i < v->sums; i++) {
		int64_t is = *sums_column(stored, i), should = rows ? *sums_column(rows, i) : 0;
		if (is != should) {
			problem(v, "hour %s, %s \"%.*s\": %s is %lld, but the rows add up to %lld", when,
				kind_names[kind], (int)label.len, label.ptr ? label.ptr : "", sums_name(i),
				(long long)is, (long long)should);
			return;
		}
	}
}

/* Compares the facets of an hour, those that wait in `facet_log` included, with its rows. */
static int compare_facets(verify *v, int64_t hour, const char *when)
{
	rollup stored = { .cells = NULL };
	int rc;

	sqlite3_bind_int(v->hour, 1, KIND_FACET);
	sqlite3_bind_int64(v->hour, 2, hour);
	while ((rc = sqlite3_step(v->hour)) == SQLITE_ROW) {
		int last = (int)v->sums + 1;
		slice label = slice_cstr((const char *)sqlite3_column_text(v->hour, 0));
		rollup_cell *c = label.len ? rollup_cell_of(&stored, hour, KIND_FACET, label) : NULL;
		if (!c)
			break;
		for (size_t i = 0; i < v->sums; i++)
			*sums_column(&c->sums, i) = sqlite3_column_int64(v->hour, (int)i + 1);
		c->last_ms = sqlite3_column_int64(v->hour, last);
		if (!times_decode(&c->times, slice_of(sqlite3_column_blob(v->hour, last + 1),
						      (size_t)sqlite3_column_bytes(v->hour, last + 1))))
			problem(v, "hour %s, facet \"%.*s\": its times cannot be read", when, (int)label.len,
				label.ptr);
	}
	sqlite3_reset(v->hour);
	for (size_t i = 0; rc == SQLITE_DONE && i < v->log.count; i++) {
		const rollup_cell *waits = &v->log.cells[i];
		if (waits->hour != hour)
			continue;
		bool known = rollup_find(&v->labels, hour, KIND_FACET, waits->label) != NULL;
		rollup_cell *c = rollup_cell_of(&stored, hour, KIND_FACET, known ? waits->label : STORE_OTHER);
		if (!c || !rollup_merge(c, waits))
			rc = SQLITE_NOMEM;
	}
	for (size_t i = 0; rc == SQLITE_DONE && i < stored.count; i++) {
		rollup_cell *is = &stored.cells[i], *rows = rollup_find(&v->labels, hour, KIND_FACET, is->label);
		compare(v, when, KIND_FACET, is->label, &is->sums, rows ? &rows->sums : NULL);
		if (rows && (is->last_ms != rows->last_ms || is->times.count != rows->times.count ||
			     (is->times.count &&
			      memcmp(is->times.bins, rows->times.bins, is->times.count * sizeof *is->times.bins) != 0)))
			problem(v, "hour %s, facet \"%.*s\": its times are not those of the rows", when,
				(int)is->label.len, is->label.ptr);
		if (rows)
			rows->seen = true;
	}
	rollup_free(&stored);
	return rc == SQLITE_DONE ? SQLITE_OK : rc == SQLITE_ROW ? SQLITE_NOMEM : rc;
}

static int compare_hour(verify *v, int64_t hour, const char *when)
{
	int rc = SQLITE_OK;

	for (int kind = 0; rc == SQLITE_OK && kind < KIND_FACET; kind++) {
		sqlite3_bind_int(v->hour, 1, kind);
		sqlite3_bind_int64(v->hour, 2, hour);
		while ((rc = sqlite3_step(v->hour)) == SQLITE_ROW) {
			const char *text = (const char *)sqlite3_column_text(v->hour, 0);
			slice label = slice_cstr(text);
			rollup_cell *c = rollup_find(&v->labels, hour, kind, label);
			store_sums stored;
			memset(&stored, 0, sizeof stored);
			for (size_t i = 0; i < v->sums; i++)
				*sums_column(&stored, i) = sqlite3_column_int64(v->hour, (int)i + 1);
			compare(v, when, kind, label, &stored, c ? &c->sums : NULL);
			if (c)
				c->seen = true;
		}
		sqlite3_reset(v->hour);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	if (rc == SQLITE_OK && kinds_of(v, hour) > KIND_FACET)
		rc = compare_facets(v, hour, when);
	for (size_t i = 0; rc == SQLITE_OK && i < v->labels.count; i++) {
		const rollup_cell *c = &v->labels.cells[i];
		if (!c->seen && c->sums.requests > 0)
			problem(v, "hour %s, %s \"%.*s\": it has no sums, but rows of %lld requests", when,
				kind_names[c->kind], (int)c->label.len, c->label.ptr ? c->label.ptr : "",
				(long long)c->sums.requests);
	}
	return rc;
}

/* Adds a row to the sums of its labels. False: out of memory. */
static bool add_row(verify *v, int64_t hour, const char *when, const size_t label_count[KIND_COUNT], const record *r)
{
	char room[ROLLUP_LABEL_MAX + 1];

	for (int kind = 0; kind < kinds_of(v, hour); kind++) {
		slice label = rollup_label(r, kind, room);
		rollup_cell *c = rollup_find(&v->labels, hour, kind, label);
		if (!c && label_count[kind] < STORE_LABELS_OF(kind)) {
			problem(v, "hour %s, %s \"%.*s\": a row has it, but the day's sums do not", when,
				kind_names[kind], (int)label.len, label.ptr);
			continue;
		}
		if (!c)
			c = rollup_cell_of(&v->labels, hour, kind, STORE_OTHER);
		if (!c)
			return false;
		store_sums_add(&c->sums, r);
		if (kind == KIND_FACET && !rollup_add_times(c, r))
			return false;
	}
	return true;
}

/* Reads what waits in `facet_log`, if the database has changed. */
static int know_log(verify *v)
{
	int64_t version = 0;
	int rc = store_int(v->s, "PRAGMA data_version", &version);

	if (rc != SQLITE_OK || (v->log_known && version == v->log_version))
		return rc;
	v->log_known = true;
	v->log_version = version;
	rollup_clear(&v->log);
	return facets_log_load(v->s, &v->log);
}

/* Compares the sums of an hour with its rows. To be called in a transaction, so that both are of the same moment. */
static int verify_hour(verify *v, int64_t hour)
{
	size_t label_count[KIND_COUNT];
	int64_t pruned;
	char when[32];

	int rc = store_pruned_before(v->s, &pruned);
	if (rc == SQLITE_OK)
		rc = facets_bounds(v->s, &v->facet_hours_ms, &v->facets_ms);
	if (rc == SQLITE_OK)
		rc = know_log(v);
	if (rc != SQLITE_OK || hour * 1000 < pruned)
		return rc;
	store_bucket_label(when, sizeof when, hour, true);
	rc = know_labels(v, store_floor(hour, DAY), hour, label_count);
	if (rc != SQLITE_OK)
		return rc;
	sqlite3_bind_int64(v->rows, 1, hour * 1000);
	sqlite3_bind_int64(v->rows, 2, (hour + HOUR) * 1000);
	while ((rc = sqlite3_step(v->rows)) == SQLITE_ROW) {
		record row;
		store_read_row(v->rows, &row);
		if (!add_row(v, hour, when, label_count, &row)) {
			rc = SQLITE_NOMEM;
			break;
		}
		if (++v->read % 10000 == 0)
			store_tell(v->s, v->read, v->all);
	}
	sqlite3_reset(v->rows);
	return rc == SQLITE_DONE ? compare_hour(v, hour, when) : rc;
}

/* ---- a day */

/* Compares the sums of a day with those of its hours. */
static int verify_day(verify *v, int64_t day)
{
	sqlite3_stmt *const both[] = { v->day_more, v->day_less };
	static const char *const what[] = { "its hours have sums that the day lacks",
					    "the day has sums that its hours lack" };
	char when[32];
	int rc = facets_bounds(v->s, &v->facet_hours_ms, &v->facets_ms);

	store_bucket_label(when, sizeof when, day, false);
	if (rc != SQLITE_OK)
		return rc;
	for (size_t i = 0; i < 2; i++) {
		for (int kind = 0; kind < kinds_of(v, day); kind++) {
			sqlite3_bind_int(both[i], 1, kind);
			sqlite3_bind_int64(both[i], 2, day);
			while ((rc = sqlite3_step(both[i])) == SQLITE_ROW)
				problem(v, "day %s, %s \"%s\": %s", when, kind_names[kind],
					(const char *)sqlite3_column_text(both[i], 0), what[i]);
			sqlite3_reset(both[i]);
			if (rc != SQLITE_DONE)
				return rc;
		}
	}
	return SQLITE_OK;
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
	char sums[SQL_LIST], names[SQL_LIST], rows[SQL_LIST], sql[SQL_MAX];
	store *s = v->s;
	bool waits = false;
	int rc = store_catching_up(s, &waits);

	v->sums = SUMS_COUNT - (waits ? 3 : 0);
	sql_list(names, sizeof names, v->sums, sums_name, "$");
	sql_list(sums, sizeof sums, v->sums, sums_name, "ssum($)");
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT min(time_ms) FROM requests WHERE time_ms >= ?", &v->next_row);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT min(bucket) FROM hourly WHERE kind = ? AND bucket >= ?",
				   &v->next_bucket[0]);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT min(bucket) FROM daily WHERE kind = ? AND bucket >= ?",
				   &v->next_bucket[1]);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT label FROM daily WHERE kind = ? AND bucket = ?", &v->known);
	sql_list(rows, sizeof rows, RECORD_COLUMNS, row_name, "$");
	snprintf(sql, sizeof sql, "SELECT %s FROM requests WHERE time_ms >= ? AND time_ms < ?", rows);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, sql, &v->rows);
	snprintf(sql, sizeof sql, "SELECT label, %s, last_ms, times FROM hourly WHERE kind = ? AND bucket = ?", names);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, sql, &v->hour);
	for (int i = 0; rc == SQLITE_OK && i < 2; i++) {
		char hours[SQL_LIST + 256], day[SQL_LIST + 256];
		snprintf(hours, sizeof hours,
			 "SELECT label, %s FROM hourly WHERE kind = ?1 AND bucket >= ?2"
			 " AND bucket < ?2 + 86400 GROUP BY label",
			 sums);
		snprintf(day, sizeof day, "SELECT label, %s FROM daily WHERE kind = ?1 AND bucket = ?2", names);
		snprintf(sql, sizeof sql, "%s EXCEPT %s", i ? day : hours, i ? hours : day);
		rc = store_prepare(s, sql, i ? &v->day_less : &v->day_more);
	}
	return rc;
}

store_result store_verify(store *s, void (*each)(void *ctx, const char *problem), void *ctx, size_t *problems, err *e)
{
	verify v = { .s = s, .each = each, .ctx = ctx };
	int64_t pruned = 0;

	*problems = 0;
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	integrity *file = check_file_begin(s);
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
	sqlite3_finalize(v.known);
	sqlite3_finalize(v.rows);
	sqlite3_finalize(v.hour);
	sqlite3_finalize(v.day_more);
	sqlite3_finalize(v.day_less);
	texts_empty(&v.texts);
	free(v.texts.at);
	rollup_free(&v.labels);
	rollup_free(&v.log);
	int file_rc = check_file_end(file, &v);
	sqlite3_progress_handler(s->db, 0, NULL, NULL);
	rc = rc == SQLITE_OK ? file_rc : rc;
	*problems = v.problems;
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "verifying", e);
}

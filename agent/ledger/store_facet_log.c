/* SPDX-License-Identifier: MIT
 *
 * The table `facet_log`. A transaction touches about as many facets as it has records, and each of them would take two
 * updates in large tables. So a transaction appends what it adds to facets as one row, and each STORE_FACET_LOG such
 * additions go into the tables together, when most of them are of the same facets. Whoever reads facets reads both. */
#include <stdlib.h>

#include "ledger/codec.h"
#include "ledger/store_impl.h"

/* ---- as bytes: hour, label, the sums, the time of the last request, the histogram of times */

#define HOUR_LAST INT64_C(253402297200) /* of the year 9999 */

enum { CELL_MAX = (4 + SUMS_COUNT) * 10 + FACET_LABEL_MAX + TIMES_ENCODED_MAX };

/* Makes room for one more cell behind the `len` bytes. NULL: out of memory. */
static unsigned char *room_for_cell(store *s, size_t len)
{
	if (s->log_room - len < CELL_MAX) {
		size_t room = s->log_room * 2 + CELL_MAX;
		unsigned char *bytes = realloc(s->log_bytes, room);
		if (!bytes)
			return NULL;
		s->log_bytes = bytes;
		s->log_room = room;
	}
	return s->log_bytes + len;
}

static unsigned char *put_cell(unsigned char *at, const rollup_cell *c)
{
	store_sums sums = c->sums;

	at = put_int(at, c->hour);
	at = put_varint(at, c->label.len);
	memcpy(at, c->label.ptr, c->label.len);
	at += c->label.len;
	for (size_t i = 0; i < SUMS_COUNT; i++)
		at = put_int(at, *sums_column(&sums, i));
	at = put_int(at, c->last_ms);
	/* The length is known only afterwards, so two bytes are left for it. */
	size_t len = times_encode(&c->times, at + 2);
	at[0] = (unsigned char)(len >> 8);
	at[1] = (unsigned char)len;
	return at + 2 + len;
}

bool facets_log_read(rollup *to, slice bytes)
{
	cursor c = cursor_of(bytes);

	while (!cursor_done(&c)) {
		store_sums sums = { .requests = 0 };
		int64_t hour = get_int(&c);
		uint64_t len = get_varint(&c);
		slice label = cursor_take(&c, len);
		for (size_t i = 0; i < SUMS_COUNT; i++)
			*sums_column(&sums, i) = get_int(&c);
		int64_t last_ms = get_int(&c);
		len = cursor_u8(&c);
		len = len << 8 | cursor_u8(&c);
		slice times = cursor_take(&c, len);
		if (c.failed || !label.len || label.len > FACET_LABEL_MAX || slice_find(label, 0, '\0') != label.len ||
		    hour < 0 || hour > HOUR_LAST || hour % HOUR)
			return false;
		rollup_cell *cell = rollup_cell_of(to, hour, KIND_FACET, label);
		if (!cell)
			return false;
		store_sums_merge(&cell->sums, &sums);
		cell->last_ms = last_ms > cell->last_ms ? last_ms : cell->last_ms;
		if (!times_decode(&cell->times, times))
			return false;
	}
	return !c.failed;
}

/* ---- the table */

int facets_log_prepare(store *s)
{
	int rc = store_prepare(s, "INSERT INTO facet_log (cells, data) VALUES (?1, ?2)", &s->statements[ST_FACET_LOG]);

	if (rc == SQLITE_OK)
		rc = store_prepare(s, "SELECT coalesce(sum(cells), 0) FROM facet_log",
				   &s->statements[ST_FACET_LOG_CELLS]);
	return rc;
}

int facets_log_load(store *s, rollup *to)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(s, "SELECT data FROM facet_log", &st);

	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *bytes = sqlite3_column_blob(st, 0);
		/* Damaged bytes must not keep every later record out. `ledger verify` tells of them. */
		(void)!facets_log_read(to, slice_of(bytes, (size_t)sqlite3_column_bytes(st, 0)));
		rc = SQLITE_OK;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Reads how many cells the table has, if that is not known. */
static int count_cells(store *s)
{
	sqlite3_stmt *st = s->statements[ST_FACET_LOG_CELLS];

	if (s->log_cells >= 0)
		return SQLITE_OK;
	int rc = sqlite3_step(st);
	s->log_cells = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int facets_log_fold(store *s, const rollup_cell *cells, size_t count)
{
	rollup all = { .cells = NULL };
	int rc = facets_log_load(s, &all);

	for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
		if (cells[i].hour < s->facets_from)
			continue;
		rollup_cell *c = rollup_cell_of(&all, cells[i].hour, KIND_FACET, cells[i].label);
		rc = c && rollup_merge(c, &cells[i]) ? SQLITE_OK : SQLITE_NOMEM;
	}
	rollup_sort(&all);
	if (rc == SQLITE_OK)
		rc = facets_write(s, all.cells, all.count);
	rollup_free(&all);
	s->log_cells = 0;
	return rc == SQLITE_OK ? store_exec(s, "DELETE FROM facet_log") : rc;
}

/* What lies before s->facets_from is left to facets_fill(), which reads the rows. */
int facets_log_add(store *s, const rollup_cell *cells, size_t count)
{
	size_t len = 0;
	int64_t added = 0;
	int rc = count_cells(s);

	if (rc != SQLITE_OK || s->log_cells + (int64_t)count >= STORE_FACET_LOG)
		return rc == SQLITE_OK ? facets_log_fold(s, cells, count) : rc;
	for (size_t i = 0; i < count; i++) {
		if (cells[i].hour < s->facets_from)
			continue;
		unsigned char *at = room_for_cell(s, len);
		if (!at)
			return SQLITE_NOMEM;
		len = (size_t)(put_cell(at, &cells[i]) - s->log_bytes);
		added++;
	}
	if (!added)
		return SQLITE_OK;
	sqlite3_bind_int64(s->statements[ST_FACET_LOG], 1, added);
	sqlite3_bind_blob64(s->statements[ST_FACET_LOG], 2, s->log_bytes, len, SQLITE_STATIC);
	s->log_cells += added;
	return store_run(s->statements[ST_FACET_LOG]);
}

/* SPDX-License-Identifier: MIT
 *
 * What clients with a key, and their projects, spent on each day: the truth that budgets begin with. */
#include "ledger/store_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/sum.h"

enum { SPENDING_DAYS = 731 }; /* two years: no budget's period is longer than a month */

int spending_prepare(store *s)
{
	return store_prepare(
		s,
		"INSERT INTO spending (kind, name, day, cost, tokens, requests) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
		" ON CONFLICT (kind, name, day) DO UPDATE SET cost = cost + ?4, tokens = tokens + ?5,"
		" requests = requests + ?6",
		&s->statements[ST_SPENDING]);
}

int64_t spending_charge(const record *r, int64_t reserved)
{
	return !record_is_settled(r) && reserved > r->cost ? reserved - r->cost : 0;
}

static int64_t nano_of(const record *r)
{
	return r && r->keyed ? add_capped(r->cost, r->charged) : 0;
}

static int64_t tokens_of(const record *r)
{
	const int64_t counts[] = { r->input, r->output, r->cache_read, r->cache_write };
	int64_t sum = 0;

	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
		sum = add_capped(sum, counts[i] > 0 ? counts[i] : 0);
	return sum;
}

/* Notes what the transaction tells of a request. If it has told of the request before, because it has brought both
 * record and report, only the later of both is told: what was reserved is given back once, by what is known then. */
static bool settle(store *s, const record *r, int64_t nano, bool again)
{
	for (size_t i = s->settled_count; again && i-- > 0;) {
		if (strcmp(s->settled[i].r->id, r->id) == 0) {
			s->settled[i] = (settled){ r, add_capped(s->settled[i].nano, nano) };
			return true;
		}
	}
	settled *all = list_grow(s->settled, &s->settled_room, s->settled_count, sizeof *all);

	if (!all)
		return false;
	s->settled = all;
	all[s->settled_count++] = (settled){ r, nano };
	return true;
}

bool spending_same(store *s, const record *r)
{
	return settle(s, r, 0, false);
}

bool spending_change(store *s, const record *was, const record *is)
{
	static const int kinds[] = { KIND_PROJECT, KIND_CLIENT };
	int64_t day = store_floor(store_time_of(is) / 1000, DAY), nano = sub_capped(nano_of(is), nano_of(was));
	char room[ROLLUP_LABEL_MAX + 1];

	for (size_t i = 0; is->keyed && i < sizeof kinds / sizeof kinds[0]; i++) {
		slice name = rollup_label(is, kinds[i], room);
		if (name.len == 0)
			continue;
		rollup_cell *c = rollup_cell_of(&s->spending, day, kinds[i], name);
		if (!c)
			return false;
		c->sums.cost = add_capped(c->sums.cost, nano);
		c->sums.input = add_capped(c->sums.input, tokens_of(is) - (was ? tokens_of(was) : 0));
		c->sums.requests += !was;
	}
	return settle(s, is, nano, was != NULL);
}

int spending_write(store *s)
{
	sqlite3_stmt *st = s->statements[ST_SPENDING];
	int rc = SQLITE_OK;

	for (size_t i = 0; rc == SQLITE_OK && i < s->spending.count; i++) {
		const rollup_cell *c = &s->spending.cells[i];
		sqlite3_bind_int(st, 1, c->kind);
		sqlite3_bind_text(st, 2, c->label.ptr, (int)c->label.len, SQLITE_STATIC);
		sqlite3_bind_int64(st, 3, c->hour);
		sqlite3_bind_int64(st, 4, c->sums.cost);
		sqlite3_bind_int64(st, 5, c->sums.input);
		sqlite3_bind_int64(st, 6, c->sums.requests);
		rc = store_run(st);
	}
	return rc;
}

void spending_tell(store *s, const store_join *join)
{
	for (size_t i = 0; i < s->settled_count; i++)
		join->settled(join->ctx, s->settled[i].r, s->settled[i].nano);
}

int spending_prune(store *s, int64_t upto_ms, int64_t now_ms)
{
	sqlite3_stmt *st = NULL;
	int64_t oldest_ms = now_ms - SPENDING_DAYS * DAY * INT64_C(1000);
	int rc = store_prepare(s,
			       "DELETE FROM spending WHERE (kind, name, day) IN"
			       " (SELECT kind, name, day FROM spending WHERE day < ?1 ORDER BY day LIMIT ?2)",
			       &st);

	if (rc == SQLITE_OK) {
		/* Of the day in which `upto_ms` lies, rows are left that `ledger verify` compares. */
		sqlite3_bind_int64(st, 1, store_floor((upto_ms < oldest_ms ? upto_ms : oldest_ms) / 1000, DAY));
		sqlite3_bind_int(st, 2, STORE_PRUNE_ROWS);
		rc = store_run(st);
	}
	sqlite3_finalize(st);
	return rc;
}

store_result store_spent(store *s, bool project, slice name, int64_t from_s, int64_t *nano, err *e)
{
	sqlite3_stmt *st = NULL;

	*nano = 0;
	store_result result = store_ready(s, e);
	if (result != STORE_OK)
		return result;
	int rc = store_prepare(s, "SELECT ssum(cost) FROM spending WHERE kind = ?1 AND name = ?2 AND day >= ?3", &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int(st, 1, project ? KIND_PROJECT : KIND_CLIENT);
		sqlite3_bind_text(st, 2, name.len ? name.ptr : "", (int)name.len, SQLITE_STATIC);
		sqlite3_bind_int64(st, 3, from_s);
		rc = sqlite3_step(st);
		*nano = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
		rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "reading what was spent", e);
}

/* ---- compared with the rows */

#define BY_DAY(kind, name) \
	"SELECT " kind " AS kind, " name " AS name, time_ms / 86400000 * 86400 AS day, ssum(cost + charged)," \
	" ssum(coalesce(input, 0) + coalesce(output, 0) + coalesce(cache_read, 0) + coalesce(cache_write, 0)), count(*)" \
	" FROM requests WHERE keyed AND time_ms >= ?1 AND " name " <> '' GROUP BY name, day"
#define FROM_ROWS "SELECT * FROM (" BY_DAY("3", "project") " UNION ALL " BY_DAY("4", "client") ")"
#define FROM_TABLE "SELECT kind, name, day, cost, tokens, requests FROM spending WHERE day >= ?1 / 1000"

int spending_compare(store *s, int64_t from_ms, bool (*each)(void *ctx, int kind, const char *name, int64_t day),
		     void *ctx)
{
	sqlite3_stmt *st = NULL;
	/* A sum that is wrong is in both differences, so it comes twice: UNION takes one. */
	int rc = store_prepare(s,
			       "SELECT kind, name, day FROM (" FROM_ROWS " EXCEPT " FROM_TABLE ")"
			       " UNION SELECT kind, name, day FROM (" FROM_TABLE " EXCEPT " FROM_ROWS
			       ") ORDER BY 3, 1, 2",
			       &st);

	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, from_ms);
		while ((rc = sqlite3_step(st)) == SQLITE_ROW &&
		       each(ctx, sqlite3_column_int(st, 0), (const char *)sqlite3_column_text(st, 1),
			    sqlite3_column_int64(st, 2)))
			;
		rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	sqlite3_finalize(st);
	return rc;
}

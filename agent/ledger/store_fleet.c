/* SPDX-License-Identifier: MIT
 *
 * What the budgets of a fleet need of the ledger: what each client and project spent here, for `spoa-llm ship` to tell
 * the others; and what others spent, which the agent notes for its next start and for commands. */
#include "ledger/store_impl.h"

/* What was spent in the three periods, ?1 to ?3, and in the periods before them, ?4 to ?6. */
#define SINCE(from) "ssum(CASE WHEN day >= " from " THEN cost ELSE 0 END)"
#define BETWEEN(from, to) "ssum(CASE WHEN day >= " from " AND day < " to " THEN cost ELSE 0 END)"
#define SUMS \
	SINCE("?1") \
	", " SINCE("?2") ", " SINCE("?3") ", " BETWEEN("?4", "?1") ", " BETWEEN("?5", "?2") ", " BETWEEN("?6", "?3")
#define OLDEST " WHERE day >= min(?4, ?5, ?6)"
#define OF_ALL "SELECT kind, name, " SUMS " FROM spending" OLDEST " GROUP BY kind, name"
/* CROSS JOIN has SQLite begin with the accounts, which are few. */
#define OF_CHANGED \
	"SELECT s.kind, s.name, " SUMS \
	" FROM (SELECT 4 AS kind, client AS name FROM requests WHERE rowid > ?7 AND keyed" \
	" UNION SELECT 3, project FROM requests WHERE rowid > ?7 AND keyed AND project <> '') AS changed" \
	" CROSS JOIN spending AS s ON s.kind = changed.kind AND s.name = changed.name" OLDEST \
	" GROUP BY s.kind, s.name"

_Static_assert(KIND_PROJECT == 3 && KIND_CLIENT == 4, "as the statements have them");

store_result store_spendings(store *s, int64_t after, const store_periods *periods,
			     bool (*each)(void *ctx, const store_spending *account), void *ctx, err *e)
{
	sqlite3_stmt *st = NULL;
	store_result result = store_ready(s, e);

	if (result != STORE_OK)
		return result;
	int rc = store_prepare(s, after < 0 ? OF_ALL : OF_CHANGED, &st);
	for (int i = 0; rc == SQLITE_OK && i < 3; i++) {
		sqlite3_bind_int64(st, i + 1, periods->first_s[i]);
		sqlite3_bind_int64(st, i + 4, periods->before_s[i]);
	}
	if (rc == SQLITE_OK && after >= 0)
		sqlite3_bind_int64(st, 7, after);
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		const unsigned char *name = sqlite3_column_text(st, 1);
		store_spending a = { .project = sqlite3_column_int(st, 0) == KIND_PROJECT,
				     .name = name ? (const char *)name : "" };
		for (int i = 0; i < 3; i++) {
			a.nano[i] = sqlite3_column_int64(st, i + 2);
			a.before[i] = sqlite3_column_int64(st, i + 5);
		}
		rc = each(ctx, &a) ? SQLITE_OK : SQLITE_DONE;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? STORE_OK : store_fail(s, rc, "reading what was spent", e);
}

/* ---- what others spent */

static int keep(store *s, const store_elsewhere *items, size_t count, int64_t gateways)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(s, "INSERT OR REPLACE INTO elsewhere VALUES (?1, ?2, ?3, ?4, ?5)", &st);

	for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
		sqlite3_bind_int(st, 1, items[i].project ? KIND_PROJECT : KIND_CLIENT);
		sqlite3_bind_text(st, 2, items[i].name, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 3, items[i].until_s);
		sqlite3_bind_int64(st, 4, items[i].nano);
		sqlite3_bind_int64(st, 5, items[i].withheld);
		rc = store_run(st);
	}
	sqlite3_finalize(st);
	if (rc == SQLITE_OK)
		rc = store_prepare(s, "INSERT OR REPLACE INTO meta VALUES ('fleet_gateways', ?1)", &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, gateways);
		rc = store_run(st);
		sqlite3_finalize(st);
	}
	return rc;
}

store_result store_keep_elsewhere(store *s, const store_elsewhere *items, size_t count, int64_t gateways, err *e)
{
	store_result result = store_ready_to_write(s, e);

	if (result != STORE_OK)
		return result;
	int rc = store_exec(s, "BEGIN IMMEDIATE");
	if (rc == SQLITE_OK) {
		rc = keep(s, items, count, gateways);
		int ended = store_exec(s, rc == SQLITE_OK ? "COMMIT" : "ROLLBACK");
		rc = rc == SQLITE_OK ? ended : rc;
	}
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "noting what was spent elsewhere", e);
}

store_result store_elsewhere_of(store *s, store_elsewhere *item, err *e)
{
	sqlite3_stmt *st = NULL;
	store_result result = store_ready(s, e);

	item->nano = item->withheld = 0;
	if (result != STORE_OK)
		return result;
	int rc = store_prepare(s, "SELECT cost, withheld FROM elsewhere WHERE kind = ?1 AND name = ?2 AND until = ?3",
			       &st);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int(st, 1, item->project ? KIND_PROJECT : KIND_CLIENT);
		sqlite3_bind_text(st, 2, item->name, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 3, item->until_s);
		rc = sqlite3_step(st);
	}
	if (rc == SQLITE_ROW) {
		item->nano = sqlite3_column_int64(st, 0);
		item->withheld = sqlite3_column_int64(st, 1);
	}
	sqlite3_finalize(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? STORE_OK :
						       store_fail(s, rc, "reading what was spent elsewhere", e);
}

store_result store_gateways(store *s, int64_t *gateways, err *e)
{
	store_result result = store_ready(s, e);

	*gateways = 0;
	if (result != STORE_OK)
		return result;
	int rc = store_int(s, "SELECT value FROM meta WHERE key = 'fleet_gateways'", gateways);
	return rc == SQLITE_OK ? STORE_OK : store_fail(s, rc, "reading how many gateways there were", e);
}

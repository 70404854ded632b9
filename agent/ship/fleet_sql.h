/* SPDX-License-Identifier: MIT
 *
 * The statements by which rows of a ledger get into PostgreSQL, and the sums of hours with them. `ship` and `fleet
 * resend` use the same ones, in a transaction:
 *
 *   stage, once a connection      a temporary table, which each COMMIT empties
 *   BEGIN, and lock               the gateway's row: one transaction at a time writes for a gateway
 *   copy, with fleet_copy_row()   COPY does not write to a table with row level security
 *   merge                         the rows that are newer than what is there, and the sums of their hours
 *   UPDATE of the position, COMMIT */
#ifndef SHIP_FLEET_SQL_H
#define SHIP_FLEET_SQL_H

#include "base/buf.h"
#include "ledger/store.h"

enum { FLEET_SQL_MAX = 16384 };

typedef struct fleet_sql {
	char stage[FLEET_SQL_MAX];
	char copy[FLEET_SQL_MAX];
	/* $1: the gateway's number, $2: its epoch, $3: true writes rows again that are
	 * there with the same epoch and sequence, too. One row: how many rows
	 * are new, how many replaced another, and how many were left out because their time was dropped. A row that is
	 * there as new as it comes counts nowhere. */
	char merge[FLEET_SQL_MAX];
	/* $1: the gateway's number, $2 and $3: seconds, from and to. Makes the sums of those hours anew from the rows.
	 */
	char clear[FLEET_SQL_MAX], recount[FLEET_SQL_MAX];
} fleet_sql;

/* $1: the gateway's number. One row: epoch, position, position_id, ledger_epoch. */
#define FLEET_LOCK_GATEWAY \
	"SELECT epoch, position, position_id, ledger_epoch FROM spoa_llm.gateways WHERE no = $1 FOR UPDATE"

/* Returns the statements, which are made once. Call it first while the process has one thread. */
const fleet_sql *fleet_statements(void);

/* Appends `r`, with its sequence, as a line of the COPY. What PostgreSQL takes for no text becomes U+FFFD. False: the
 * buffer is full or there is no memory; nothing was appended. */
MUST_CHECK bool fleet_copy_row(buf *to, int64_t sequence, const record *r);

/* Lists for SELECT, each with a comma in front: what rows add to the sums of their hour, as store_sums_add() has it
 * (the row's columns have no qualifier); the sums of the table `hourly`; and those of several of its rows added up. */
extern const char fleet_sums_of_rows[], fleet_sums_names[], fleet_sums_sums[];
/* The sums in store_sums, in the same order: their number, and the `i`th one. */
enum { FLEET_SUMS_COUNT = (sizeof(store_sums) - offsetof(store_sums, requests)) / sizeof(int64_t) };
static inline int64_t *fleet_sum(store_sums *s, size_t i)
{
	return (int64_t *)(void *)((char *)s + offsetof(store_sums, requests) + i * sizeof(int64_t));
}
/* A condition: all sums are 0. */
extern const char fleet_sums_all_zero[];
/* What a row is counted by, and a row for each kind of it, with its label: see ledger/store_impl.h. */
#define FLEET_LABELS "model, route, project, client, member"
#define FLEET_KINDS \
	" CROSS JOIN LATERAL (VALUES (0, ''), (1, model), (2, route), (3, project), (4, client)," \
	" (5, CASE WHEN member = '' THEN '' ELSE route || '/' || member END)) AS kinds (kind, label)"
/* The hour in which a row's time lies, in seconds. */
#define FLEET_HOUR "(greatest(0, least(time_ms, 253402300799999)) / 3600000 * 3600)"
/* The rows of the hours from $2 up to $3, in seconds. The bounds of time_ms alone let PostgreSQL leave months out; the
 * first and the last hour have the rows of clocks before 1970 and after 9999. */
#define FLEET_ROWS_OF_HOURS \
	"(" FLEET_HOUR " >= $2::bigint AND " FLEET_HOUR \
	" < $3::bigint AND ($2::bigint <= 0 OR time_ms >= $2::bigint * 1000)" \
	" AND ($3::bigint >= 253402300800 OR time_ms < $3::bigint * 1000))"
/* The last hour ends here, in seconds: clocks beyond it count as this hour. */
#define FLEET_HOURS_END INT64_C(253402300800)

/* The same bounds for store_export(). */
static inline int64_t fleet_from_ms(int64_t from_s)
{
	return from_s <= 0 ? INT64_MIN : from_s * 1000;
}

static inline int64_t fleet_to_ms(int64_t to_s)
{
	return to_s >= FLEET_HOURS_END ? INT64_MAX : to_s * 1000;
}

#endif

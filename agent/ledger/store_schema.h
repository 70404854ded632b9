/* SPDX-License-Identifier: MIT
 *
 * The schema of the database, by versions. An entry of store_schema[] is never changed once it was released: a new
 * version adds entries, whose SQL turns the version before it into the new one. */
#ifndef LEDGER_STORE_SCHEMA_H
#define LEDGER_STORE_SCHEMA_H

#define STORE_APPLICATION_ID 0x534c4c4d /* "SLLM" */

/* The columns of `hourly` and `daily`, in the order of store_sums. */
/* clang-format off */
#define STORE_SUMS(X) \
	X(requests) X(streams) X(refused) X(failed) X(input) X(output) X(cache_read) X(cache_write) X(saved) X(cost) \
	X(saved_compression) X(saved_cache) X(saved_routing) X(bytes_in) X(bytes_out) X(estimated_requests) \
	X(estimated_output) X(estimated_cost) X(partial_requests) X(unpriced_requests) X(unpriced_tokens) \
	X(unknown_requests) X(partly_priced_requests) X(untold_requests) \
	X(estimated_saved_compression) X(estimated_saved_cache) X(estimated_saved_routing)
/* clang-format on */

/* The tables `hourly` and `daily`. `kind` is 0 all, 1 model, 2 route, 3 project, 4 client, 5 member (since version 4),
 * 6 facet (since version 6); `bucket` is when the hour or day begins, in seconds since 1970. They are not STRICT on
 * purpose: so a sum beyond 64 bits becomes a REAL, where an error would refuse every later record. */
#define SCHEMA_ROLLUP(name) \
	"CREATE TABLE " name " (" \
	" kind INTEGER NOT NULL, bucket INTEGER NOT NULL, label TEXT NOT NULL," \
	" requests INTEGER NOT NULL, streams INTEGER NOT NULL, refused INTEGER NOT NULL, failed INTEGER NOT NULL," \
	" input INTEGER NOT NULL, output INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL," \
	" saved INTEGER NOT NULL," \
	" cost INTEGER NOT NULL, saved_compression INTEGER NOT NULL, saved_cache INTEGER NOT NULL," \
	" saved_routing INTEGER NOT NULL," \
	" bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL," \
	" estimated_requests INTEGER NOT NULL, estimated_output INTEGER NOT NULL, estimated_cost INTEGER NOT NULL," \
	" partial_requests INTEGER NOT NULL, unpriced_requests INTEGER NOT NULL, unpriced_tokens INTEGER NOT NULL," \
	" PRIMARY KEY (kind, bucket, label)) WITHOUT ROWID;"

#define SCHEMA_ROLLUP_VIEW(name, of, when) \
	"CREATE VIEW " name " AS SELECT strftime('" when "', bucket, 'unixepoch') AS time," \
	" CASE kind WHEN 0 THEN 'all' WHEN 1 THEN 'model' WHEN 2 THEN 'route' WHEN 3 THEN 'project' ELSE 'client' END" \
	" AS kind," \
	" label, requests, streams, refused, failed, input, output, cache_read, cache_write, saved," \
	" cost / 1e9 AS cost_usd, saved_compression / 1e9 AS saved_compression_usd," \
	" saved_cache / 1e9 AS saved_cache_usd, saved_routing / 1e9 AS saved_routing_usd, bytes_in, bytes_out," \
	" estimated_requests, estimated_output, estimated_cost / 1e9 AS estimated_cost_usd, partial_requests," \
	" unpriced_requests, unpriced_tokens FROM " of ";"

/* Version 2. What requests with estimated tokens saved is not known yet for the hours and days that are there: at most
 * all that was saved in them. store_catch_up() counts it. */
#define SCHEMA_ROLLUP_2(name) \
	"ALTER TABLE " name " ADD COLUMN unknown_requests INTEGER NOT NULL DEFAULT 0;" \
	"ALTER TABLE " name " ADD COLUMN partly_priced_requests INTEGER NOT NULL DEFAULT 0;" \
	"ALTER TABLE " name " ADD COLUMN estimated_saved_compression INTEGER NOT NULL DEFAULT 0;" \
	"ALTER TABLE " name " ADD COLUMN estimated_saved_cache INTEGER NOT NULL DEFAULT 0;" \
	"ALTER TABLE " name " ADD COLUMN estimated_saved_routing INTEGER NOT NULL DEFAULT 0;" \
	"UPDATE " name " SET estimated_saved_compression = saved_compression, estimated_saved_cache = saved_cache," \
	" estimated_saved_routing = saved_routing WHERE estimated_requests > 0;"

/* The views of version 2, and of later ones with other words for the last `kinds`, and `more` columns. */
#define SCHEMA_ROLLUP_VIEW_WITH(name, of, when, kinds, more) \
	"DROP VIEW " name ";" \
	"CREATE VIEW " name " AS SELECT strftime('" when "', bucket, 'unixepoch') AS time," \
	" CASE kind WHEN 0 THEN 'all' WHEN 1 THEN 'model' WHEN 2 THEN 'route' WHEN 3 THEN 'project' " kinds " END" \
	" AS kind," \
	" label, requests, streams, refused, failed, input, output, cache_read, cache_write, saved," \
	" cost / 1e9 AS cost_usd, saved_compression / 1e9 AS saved_compression_usd," \
	" saved_cache / 1e9 AS saved_cache_usd, saved_routing / 1e9 AS saved_routing_usd, bytes_in, bytes_out," \
	" estimated_requests, estimated_output, estimated_cost / 1e9 AS estimated_cost_usd, partial_requests," \
	" unpriced_requests, unpriced_tokens, unknown_requests, partly_priced_requests," \
	" estimated_saved_compression / 1e9 AS estimated_saved_compression_usd," \
	" estimated_saved_cache / 1e9 AS estimated_saved_cache_usd," \
	" estimated_saved_routing / 1e9 AS estimated_saved_routing_usd" more " FROM " of ";"

/* Version 3 adds the tap's reports. Before it no answer went through the tap, so its sum is 0. */
#define SCHEMA_ROLLUP_VIEW_2(name, of, when) SCHEMA_ROLLUP_VIEW_WITH(name, of, when, "ELSE 'client'", "")
#define SCHEMA_ROLLUP_VIEW_3(name, of, when) \
	SCHEMA_ROLLUP_VIEW_WITH(name, of, when, "ELSE 'client'", ", untold_requests")
#define SCHEMA_ROLLUP_VIEW_4(name, of, when) \
	SCHEMA_ROLLUP_VIEW_WITH(name, of, when, "WHEN 4 THEN 'client' ELSE 'member'", ", untold_requests")

/* Version 4 adds the sums of members. All requests before it went to no pool, so they have the label "". */
#define SCHEMA_SUMS_3 \
	" requests, streams, refused, failed, input, output, cache_read, cache_write, saved, cost, saved_compression," \
	" saved_cache, saved_routing, bytes_in, bytes_out, estimated_requests, estimated_output, estimated_cost," \
	" partial_requests, unpriced_requests, unpriced_tokens, unknown_requests, partly_priced_requests," \
	" estimated_saved_compression, estimated_saved_cache, estimated_saved_routing, untold_requests"
#define SCHEMA_ROLLUP_4(name) \
	"INSERT INTO " name " (kind, bucket, label," SCHEMA_SUMS_3 ") SELECT 5, bucket, ''," SCHEMA_SUMS_3 \
	" FROM " name " WHERE kind = 0;"

/* The view `ledger` of version 3, and of later ones with `more` columns. */
#define SCHEMA_LEDGER_VIEW_WITH(more) \
	"DROP VIEW ledger;" \
	"CREATE VIEW ledger AS SELECT strftime('%Y-%m-%dT%H:%M:%fZ', time_ms / 1000.0, 'unixepoch') AS time," \
	" id, route, backend, protocol, model, project, client, status, code, termination," \
	" CASE stream WHEN 0 THEN 'no' ELSE 'yes' END AS stream, bytes_in, bytes_out, ttfb_ms, total_ms," \
	" input, output, cache_read, cache_write, saved," \
	" CASE usage WHEN 0 THEN 'none' WHEN 1 THEN 'reported' WHEN 2 THEN 'partial' WHEN 3 THEN 'estimated'" \
	" WHEN 4 THEN 'unknown' ELSE 'stream' END AS usage_from," \
	" CASE WHEN price IN (1, 3) THEN cost / 1e9 END AS cost_usd," \
	" CASE WHEN price IN (1, 3) THEN saved_compression / 1e9 END AS saved_compression_usd," \
	" CASE WHEN price IN (1, 3) THEN saved_cache / 1e9 END AS saved_cache_usd," \
	" CASE WHEN price IN (1, 3) THEN saved_routing / 1e9 END AS saved_routing_usd," \
	" CASE price WHEN 0 THEN 'none' WHEN 1 THEN 'table' WHEN 2 THEN 'unpriced' ELSE 'partial' END AS price_from," \
	" price_missing, CASE tap WHEN 0 THEN 'no' WHEN 1 THEN 'told' WHEN 2 THEN 'untold' WHEN 3 THEN 'missing'" \
	" ELSE 'nothing' END AS tap" more " FROM requests;"

/* Version 6 adds facets (kind 6, see store_facets.h), which have the time of the last request, and a histogram of
 * times. `facet_log` has what is not in their sums yet. They are not for people, so the views leave them out. Those of
 * the rows that are there are made by store_catch_up(), while meta has `facets_fill`. `facets_from` and
 * `facet_hours_from` are the hours, in seconds, from which on facets have all requests, and from which on facets of
 * hours are kept. */
#define SCHEMA_ROLLUP_VIEW_6(name, of, when) \
	SCHEMA_ROLLUP_VIEW_WITH(name, of " WHERE kind < 6", when, "WHEN 4 THEN 'client' ELSE 'member'", \
				", untold_requests")
#define SCHEMA_ROLLUP_6(name) \
	"ALTER TABLE " name " ADD COLUMN last_ms INTEGER;" \
	"ALTER TABLE " name " ADD COLUMN times BLOB;"

/* Rows are in the order in which they came to the ledger, so inserts go to the end of the table; ids begin with the
 * time, so they go near the end of their index. The comment in store.c compares other layouts. A count that is not
 * known is NULL. usage: 0 none, 1 reported, 2 partial, 3 estimated, 4 unknown, 5 stream; price: 0 none, 1 table, 2
 * unpriced, 3 partial; tap: 0 no, 1 told, 2 untold, 3 missing, 4 nothing; money in nano-dollars. `member`, `attempts`
 * and `tried` are empty and 0 for a request that went to no pool. `reports` has the tap's reports whose rows have not
 * come, in the order in which they came. `spending` has what requests with the key of a client took of the budgets of
 * their projects (kind 3) and clients (kind 4), by the day (UTC, in seconds) on which they arrived. meta:
 * `pruned_before`, the time in milliseconds before which rows were removed; `estimates_before`, the day, in seconds,
 * that store_catch_up() has come to. From version 5 on a row's rowid is its sequence: the number of its last change, so
 * that a row that changes moves to the end of the table. meta has the last one, `sequence`, and which copy of which
 * ledger this is: `uuid`, and `epoch`, which is drawn anew where rows have got other numbers or may have; and
 * `shipped`, the sequence up to which rows were known to be shipped when rows were pruned last. `elsewhere` has what
 * clients and projects spent on other gateways of the fleet in the period that ends at `until` (in seconds), by the
 * shipper's last message, and what the agent withholds of the budgets; and meta has `fleet_gateways`, how many gateways
 * the fleet had then. */
static const struct store_schema {
	int version;
	const char *sql;
} store_schema[] = {
	{ 1,
	  "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	  "CREATE TABLE requests ("
	  " id TEXT NOT NULL, time_ms INTEGER NOT NULL,"
	  " route TEXT NOT NULL, backend TEXT NOT NULL, protocol TEXT NOT NULL, model TEXT NOT NULL, project TEXT NOT NULL,"
	  " client TEXT NOT NULL, code TEXT NOT NULL, termination TEXT NOT NULL,"
	  " status INTEGER NOT NULL, stream INTEGER NOT NULL,"
	  " bytes_in INTEGER, bytes_out INTEGER, ttfb_ms INTEGER, total_ms INTEGER,"
	  " input INTEGER, output INTEGER, cache_read INTEGER, cache_write INTEGER, saved INTEGER, usage INTEGER NOT NULL,"
	  " cost INTEGER NOT NULL, saved_compression INTEGER NOT NULL, saved_cache INTEGER NOT NULL,"
	  " saved_routing INTEGER NOT NULL, price INTEGER NOT NULL);"
	  "CREATE UNIQUE INDEX requests_id ON requests (id);"
	  "CREATE INDEX requests_time ON requests (time_ms);" },
	{ 1, SCHEMA_ROLLUP("hourly") SCHEMA_ROLLUP("daily") },
	{ 1,
	  "CREATE VIEW ledger AS SELECT strftime('%Y-%m-%dT%H:%M:%fZ', time_ms / 1000.0, 'unixepoch') AS time,"
	  " id, route, backend, protocol, model, project, client, status, code, termination,"
	  " CASE stream WHEN 0 THEN 'no' ELSE 'yes' END AS stream, bytes_in, bytes_out, ttfb_ms, total_ms,"
	  " input, output, cache_read, cache_write, saved,"
	  " CASE usage WHEN 0 THEN 'none' WHEN 1 THEN 'reported' WHEN 2 THEN 'partial' ELSE 'estimated' END AS usage_from,"
	  " CASE price WHEN 1 THEN cost / 1e9 END AS cost_usd,"
	  " CASE price WHEN 1 THEN saved_compression / 1e9 END AS saved_compression_usd,"
	  " CASE price WHEN 1 THEN saved_cache / 1e9 END AS saved_cache_usd,"
	  " CASE price WHEN 1 THEN saved_routing / 1e9 END AS saved_routing_usd,"
	  " CASE price WHEN 0 THEN 'none' WHEN 1 THEN 'table' ELSE 'unpriced' END AS price_from FROM requests;" },
	{ 1, SCHEMA_ROLLUP_VIEW("ledger_hourly", "hourly", "%Y-%m-%dT%H:00Z")
		     SCHEMA_ROLLUP_VIEW("ledger_daily", "daily", "%Y-%m-%d") },
	{ 2, "ALTER TABLE requests ADD COLUMN price_missing TEXT NOT NULL DEFAULT '';"
	     "INSERT INTO meta SELECT 'estimates_before', 9223372036854775807 WHERE EXISTS (SELECT 1 FROM daily);" },
	{ 2, SCHEMA_ROLLUP_2("hourly") SCHEMA_ROLLUP_2("daily") },
	{ 2,
	  "DROP VIEW ledger;"
	  "CREATE VIEW ledger AS SELECT strftime('%Y-%m-%dT%H:%M:%fZ', time_ms / 1000.0, 'unixepoch') AS time,"
	  " id, route, backend, protocol, model, project, client, status, code, termination,"
	  " CASE stream WHEN 0 THEN 'no' ELSE 'yes' END AS stream, bytes_in, bytes_out, ttfb_ms, total_ms,"
	  " input, output, cache_read, cache_write, saved,"
	  " CASE usage WHEN 0 THEN 'none' WHEN 1 THEN 'reported' WHEN 2 THEN 'partial' WHEN 3 THEN 'estimated'"
	  " ELSE 'unknown' END AS usage_from,"
	  " CASE WHEN price IN (1, 3) THEN cost / 1e9 END AS cost_usd,"
	  " CASE WHEN price IN (1, 3) THEN saved_compression / 1e9 END AS saved_compression_usd,"
	  " CASE WHEN price IN (1, 3) THEN saved_cache / 1e9 END AS saved_cache_usd,"
	  " CASE WHEN price IN (1, 3) THEN saved_routing / 1e9 END AS saved_routing_usd,"
	  " CASE price WHEN 0 THEN 'none' WHEN 1 THEN 'table' WHEN 2 THEN 'unpriced' ELSE 'partial' END AS price_from,"
	  " price_missing FROM requests;" },
	{ 2, SCHEMA_ROLLUP_VIEW_2("ledger_hourly", "hourly", "%Y-%m-%dT%H:00Z")
		     SCHEMA_ROLLUP_VIEW_2("ledger_daily", "daily", "%Y-%m-%d") },
	{ 3, "ALTER TABLE requests ADD COLUMN tap INTEGER NOT NULL DEFAULT 0;"
	     "CREATE TABLE reports (id TEXT NOT NULL UNIQUE, time_ms INTEGER NOT NULL, ended INTEGER NOT NULL,"
	     " status INTEGER NOT NULL, final INTEGER NOT NULL, content INTEGER NOT NULL, tier TEXT NOT NULL,"
	     " first TEXT NOT NULL, last TEXT NOT NULL);"
	     "ALTER TABLE hourly ADD COLUMN untold_requests INTEGER NOT NULL DEFAULT 0;"
	     "ALTER TABLE daily ADD COLUMN untold_requests INTEGER NOT NULL DEFAULT 0;" },
	{ 3, SCHEMA_LEDGER_VIEW_WITH("") },
	{ 3, SCHEMA_ROLLUP_VIEW_3("ledger_hourly", "hourly", "%Y-%m-%dT%H:00Z")
		     SCHEMA_ROLLUP_VIEW_3("ledger_daily", "daily", "%Y-%m-%d") },
	{ 4, "ALTER TABLE requests ADD COLUMN member TEXT NOT NULL DEFAULT '';"
	     "ALTER TABLE requests ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;"
	     "ALTER TABLE requests ADD COLUMN tried TEXT NOT NULL DEFAULT '';"
	     "ALTER TABLE requests ADD COLUMN keyed INTEGER NOT NULL DEFAULT 0;"
	     "ALTER TABLE requests ADD COLUMN charged INTEGER NOT NULL DEFAULT 0;"
	     "CREATE TABLE spending (kind INTEGER NOT NULL, name TEXT NOT NULL, day INTEGER NOT NULL,"
	     " cost INTEGER NOT NULL, tokens INTEGER NOT NULL, requests INTEGER NOT NULL,"
	     " PRIMARY KEY (kind, name, day)) WITHOUT ROWID;"
	     "CREATE INDEX spending_by_day ON spending (day);" },
	{ 4, SCHEMA_ROLLUP_4("hourly") SCHEMA_ROLLUP_4("daily") },
	{ 4, SCHEMA_LEDGER_VIEW_WITH(", member, attempts, tried, CASE keyed WHEN 0 THEN 'no' ELSE 'yes' END AS keyed,"
				     " charged / 1e9 AS charged_usd") },
	{ 4, SCHEMA_ROLLUP_VIEW_4("ledger_hourly", "hourly", "%Y-%m-%dT%H:00Z")
		     SCHEMA_ROLLUP_VIEW_4("ledger_daily", "daily", "%Y-%m-%d") },
	{ 5, "INSERT INTO meta SELECT 'sequence', coalesce(max(rowid), 0) FROM requests;"
	     "CREATE INDEX IF NOT EXISTS spending_by_day ON spending (day);"
	     "ALTER TABLE requests ADD COLUMN operation TEXT NOT NULL DEFAULT '';"
	     "ALTER TABLE requests ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';"
	     "CREATE TABLE elsewhere (kind INTEGER NOT NULL, name TEXT NOT NULL, until INTEGER NOT NULL,"
	     " cost INTEGER NOT NULL, withheld INTEGER NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;" },
	{ 5, SCHEMA_LEDGER_VIEW_WITH(", member, attempts, tried, CASE keyed WHEN 0 THEN 'no' ELSE 'yes' END AS keyed,"
				     " charged / 1e9 AS charged_usd, operation, traceparent") },
	{ 6, SCHEMA_ROLLUP_6("hourly") SCHEMA_ROLLUP_6("daily") },
	{ 6, "CREATE TABLE facet_log (cells INTEGER NOT NULL, data BLOB NOT NULL);" },
	{ 6, SCHEMA_ROLLUP_VIEW_6("ledger_hourly", "hourly", "%Y-%m-%dT%H:00Z")
		     SCHEMA_ROLLUP_VIEW_6("ledger_daily", "daily", "%Y-%m-%d") },
	{ 6, "INSERT INTO meta SELECT key, 9223372036854775807 FROM"
	     " (SELECT 'facets_from' AS key UNION SELECT 'facets_fill') WHERE EXISTS (SELECT 1 FROM daily);" },
};

enum { STORE_SCHEMA_VERSION = 6 };

#endif

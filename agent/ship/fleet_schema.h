/* SPDX-License-Identifier: MIT
 *
 * The schema `spoa_llm` in PostgreSQL, by versions. An entry of fleet_schema[] is never changed once it was released: a
 * new version adds entries, whose SQL turns the version before it into the new one.
 *
 * A new version may add columns with defaults, tables and functions, because a writer of the version before goes on: it
 * names its columns. A version that such a writer would break raises `oldest_writer` in `meta`. */
#ifndef SHIP_FLEET_SCHEMA_H
#define SHIP_FLEET_SCHEMA_H

/* The first key of advisory locks; the second is the number of the gateway that a shipper writes for, or 0 for the
 * first `fleet init`. */
#define FLEET_LOCK "1397509709"

#include "ship/fleet_schema_2.h"

/* clang-format off */
/* The columns of `requests` that are those of the local ledger, in the order of record_columns[] (ledger/columns.h). No
 * column is a timestamptz, because a clock may be anywhere: the view `ledger` shows times. */
#define FLEET_ROW_1 \
	" id text NOT NULL, time_ms bigint NOT NULL," \
	" route text NOT NULL, backend text NOT NULL, protocol text NOT NULL, model text NOT NULL, project text NOT NULL," \
	" client text NOT NULL, status int NOT NULL, code text NOT NULL, termination text NOT NULL," \
	" stream smallint NOT NULL, bytes_in bigint, bytes_out bigint, ttfb_ms bigint, total_ms bigint," \
	" input bigint, output bigint, cache_read bigint, cache_write bigint, saved bigint NOT NULL," \
	" usage smallint NOT NULL, price smallint NOT NULL, cost bigint NOT NULL, saved_compression bigint NOT NULL," \
	" saved_cache bigint NOT NULL, saved_routing bigint NOT NULL, price_missing text NOT NULL DEFAULT ''," \
	" tap smallint NOT NULL DEFAULT 0, member text NOT NULL DEFAULT '', attempts bigint NOT NULL DEFAULT 0," \
	" tried text NOT NULL DEFAULT '', keyed smallint NOT NULL DEFAULT 0, charged bigint NOT NULL DEFAULT 0," \
	" operation text NOT NULL DEFAULT '', traceparent text NOT NULL DEFAULT ''"

/* The sums of an hour, in the order of store_sums (ledger/store_schema.h). They are numeric, so that no sum is too
 * large. */
#define FLEET_SUMS_1 \
	" requests numeric NOT NULL, streams numeric NOT NULL, refused numeric NOT NULL, failed numeric NOT NULL," \
	" input numeric NOT NULL, output numeric NOT NULL, cache_read numeric NOT NULL, cache_write numeric NOT NULL," \
	" saved numeric NOT NULL, cost numeric NOT NULL, saved_compression numeric NOT NULL, saved_cache numeric NOT NULL," \
	" saved_routing numeric NOT NULL, bytes_in numeric NOT NULL, bytes_out numeric NOT NULL," \
	" estimated_requests numeric NOT NULL, estimated_output numeric NOT NULL, estimated_cost numeric NOT NULL," \
	" partial_requests numeric NOT NULL, unpriced_requests numeric NOT NULL, unpriced_tokens numeric NOT NULL," \
	" unknown_requests numeric NOT NULL, partly_priced_requests numeric NOT NULL, untold_requests numeric NOT NULL," \
	" estimated_saved_compression numeric NOT NULL, estimated_saved_cache numeric NOT NULL," \
	" estimated_saved_routing numeric NOT NULL"

/* A gateway is a ledger: its UUID. `name` is for people, `writer` is the role that writes its rows. `epoch` goes up
 * when its ledger turns out to be another copy (`ledger_epoch`, by which a ledger knows itself). `position` is the
 * sequence of the last row that is here, and `position_id` and `position_ms` are its id and
 * time. `behind` and `lag_ms` are what the
 * shipper said last: rows that are not here yet, and the age of the oldest of them.
 *
 * `gateways` and `hourly` are updated all the time, and have room in their pages for that. A writer may put any values
 * into its own rows; the checks keep out those that would make a statement fail, or a sum useless, for all readers.
 *
 * `rejected` has rows that PostgreSQL refused for themselves, which should not be possible. */
#define FLEET_TABLES_1 \
	"CREATE TABLE spoa_llm.meta (key text PRIMARY KEY, value text NOT NULL);" \
	"INSERT INTO spoa_llm.meta VALUES ('version', '1'), ('oldest_writer', '1'), ('kept_since_ms', '-9223372036854775808');" \
	"CREATE TABLE spoa_llm.gateways (no int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, uuid uuid NOT NULL UNIQUE," \
	" name text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'), writer name UNIQUE, ledger_epoch text NOT NULL CHECK (length(ledger_epoch) <= 64), epoch int NOT NULL DEFAULT 1," \
	" position bigint NOT NULL DEFAULT 0, position_id text NOT NULL DEFAULT '' CHECK (length(position_id) <= 1000), position_ms bigint NOT NULL DEFAULT 0," \
	" rows bigint NOT NULL DEFAULT 0," \
	" behind bigint NOT NULL DEFAULT 0, lag_ms bigint NOT NULL DEFAULT 0, version text NOT NULL DEFAULT '' CHECK (version ~ '^[ -~]{0,40}$')," \
	" schema int NOT NULL DEFAULT 1, routes_hash text NOT NULL DEFAULT '' CHECK (routes_hash ~ '^[0-9a-f]{0,16}$')," \
	" clients_hash text NOT NULL DEFAULT '' CHECK (clients_hash ~ '^[0-9a-f]{0,16}$'), routes_since timestamptz NOT NULL DEFAULT now()," \
	" clients_since timestamptz NOT NULL DEFAULT now(), spent_sequence bigint NOT NULL DEFAULT 0," \
	" seen timestamptz NOT NULL DEFAULT now() CHECK (isfinite(seen))," \
	" registered timestamptz NOT NULL DEFAULT now()) WITH (fillfactor = 50);" \
	"CREATE TABLE spoa_llm.requests (gateway int NOT NULL, epoch int NOT NULL, sequence bigint NOT NULL," FLEET_ROW_1 \
	", PRIMARY KEY (time_ms, gateway, id)) PARTITION BY RANGE (time_ms);" \
	"CREATE TABLE spoa_llm.requests_default PARTITION OF spoa_llm.requests DEFAULT;" \
	"CREATE TABLE spoa_llm.hourly (gateway int NOT NULL, kind smallint NOT NULL, bucket bigint NOT NULL," \
	" label text NOT NULL," FLEET_SUMS_1 ", PRIMARY KEY (kind, bucket, gateway, label)) WITH (fillfactor = 70);" \
	"CREATE INDEX hourly_gateway ON spoa_llm.hourly (gateway, bucket);" \
	"CREATE TABLE spoa_llm.rejected (gateway int NOT NULL, epoch int NOT NULL, sequence bigint NOT NULL, id text NOT NULL," \
	" problem text NOT NULL, time timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (gateway, epoch, sequence));"

#define FLEET_CHECKS_1 \
	"ALTER TABLE spoa_llm.hourly ADD CHECK (kind BETWEEN 0 AND 5 AND bucket BETWEEN 0 AND 253402297200 AND bucket % 3600 = 0)," \
	/* NaN is greater than Infinity, and what is added to either of them stays so. */ \
	" ADD CHECK (abs(requests) + abs(streams) + abs(refused) + abs(failed) + abs(input) + abs(output) + abs(cache_read) + abs(cache_write)" \
	" + abs(saved) + abs(cost) + abs(saved_compression) + abs(saved_cache) + abs(saved_routing) + abs(bytes_in) + abs(bytes_out)" \
	" + abs(estimated_requests) + abs(estimated_output) + abs(estimated_cost) + abs(partial_requests) + abs(unpriced_requests)" \
	" + abs(unpriced_tokens) + abs(unknown_requests) + abs(partly_priced_requests) + abs(untold_requests)" \
	" + abs(estimated_saved_compression) + abs(estimated_saved_cache) + abs(estimated_saved_routing) < 'Infinity');"

/* register() makes or finds the gateway of the role that calls it, one at a time: the lock is one that a writer cannot
 * take by itself, to keep others out. Its refusals have SQLSTATEs of their own, SL001 to
 * SL005, and a hint that says what to do. */
#define FLEET_REGISTER_1 \
	"CREATE FUNCTION spoa_llm.register(my_uuid uuid, my_name text, my_ledger_epoch text, my_version text, my_schema int)" \
	" RETURNS spoa_llm.gateways LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$" \
	" DECLARE g spoa_llm.gateways; other spoa_llm.gateways;" \
	" here int = (SELECT value FROM spoa_llm.meta WHERE key = 'version');" \
	" oldest int = (SELECT value FROM spoa_llm.meta WHERE key = 'oldest_writer');" \
	" BEGIN" \
	" IF my_schema > here THEN RAISE EXCEPTION 'the schema here has version %, and this program writes version %'," \
	" here, my_schema USING ERRCODE = 'SL001', HINT = 'run `spoa-llm fleet init` of the newer program as the owner of the schema';" \
	" END IF;" \
	" IF my_schema < oldest THEN RAISE EXCEPTION 'the schema here has version % and takes writers from version % on, and this" \
	" program writes version %', here, oldest, my_schema USING ERRCODE = 'SL002', HINT = 'upgrade spoa-llm on this gateway';" \
	" END IF;" \
	" IF (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN" \
	" RAISE EXCEPTION 'the role % is a superuser, whose rows could not be told from those of others', session_user" \
	" USING ERRCODE = 'SL003', HINT = 'connect as the role that `spoa-llm fleet add NAME` has made for this gateway'; END IF;" \
	" LOCK TABLE spoa_llm.gateways IN SHARE UPDATE EXCLUSIVE MODE;" \
	" SELECT * INTO g FROM spoa_llm.gateways WHERE uuid = my_uuid;" \
	" IF g.writer IS NULL AND g.no IS NOT NULL THEN RAISE EXCEPTION 'the gateway % (%) has retired', g.name, g.uuid USING ERRCODE = 'SL004'," \
	" HINT = format('if it is to write again, the owner of the schema runs: UPDATE spoa_llm.gateways SET writer = %L WHERE no = %s', session_user, g.no); END IF;" \
	" IF g.writer <> session_user THEN" \
	" RAISE EXCEPTION 'the gateway % (%) is written by the role %, not by %', g.name, g.uuid," \
	" g.writer, session_user USING ERRCODE = 'SL004'," \
	" HINT = 'connect as that role; `spoa-llm fleet add NAME --replace` gives it a new password'; END IF;" \
	" SELECT * INTO other FROM spoa_llm.gateways o WHERE o.uuid <> my_uuid AND (o.name = my_name OR o.writer = session_user);" \
	" IF other.no IS NOT NULL THEN" \
	" RAISE EXCEPTION 'the % has another ledger here, %, named %', CASE WHEN other.name = my_name" \
	" THEN 'name ' || my_name ELSE 'role ' || session_user END, other.uuid, other.name USING ERRCODE = 'SL005'," \
	" HINT = CASE WHEN other.writer = session_user THEN 'if that ledger is gone: `spoa-llm fleet retire ' || other.name ||" \
	" '` keeps its rows; if not: `spoa-llm fleet add NAME` makes a role for this one'" \
	" ELSE 'set fleet_name to another name; if that ledger is gone: `spoa-llm fleet retire ' || other.name || '` keeps its" \
	" rows and frees the name' END; END IF;" \
	" IF g.no IS NULL THEN" \
	" INSERT INTO spoa_llm.gateways (uuid, name, writer, ledger_epoch, version, schema)" \
	" VALUES (my_uuid, my_name, session_user, my_ledger_epoch, my_version, my_schema) RETURNING * INTO g;" \
	" ELSE UPDATE spoa_llm.gateways SET name = my_name, version = my_version, schema = my_schema, seen = now()" \
	" WHERE no = g.no RETURNING * INTO g; END IF;" \
	" RETURN g; END $body$;"

/* ensure_partition() makes the partition of the month (UTC) in which `at_ms` lies, unless it lies before 2023 or more
 * than three months ahead, where rows go to the default partition. Rows of that month which a clock that was ahead has
 * put into the default partition move. False: there is none, because those rows are too many to be moved while writers
 * wait, or because other sessions hold the table. So that this happens to no month that begins, it makes the partition
 * of the month after this one, too.
 *
 * drop_before() waits for the table two seconds at a time, because all writers wait behind it. A month that has not begun is refused, because nothing would be written any more until then. */
#define FLEET_PARTITIONS_1 \
	"CREATE FUNCTION spoa_llm.ensure_partition(at_ms bigint) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER" \
	" SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET timezone = 'UTC' AS $body$" \
	" DECLARE this timestamptz = date_trunc('month', now()); first timestamptz; wanted timestamptz; part text; low bigint; high bigint;" \
	" BEGIN" \
	" IF at_ms >= 1672531200000 AND at_ms < extract(epoch FROM this + interval '4 months') * 1000 THEN" \
	" wanted = date_trunc('month', to_timestamp(at_ms / 1000)); END IF;" \
	" FOREACH first IN ARRAY ARRAY[wanted, this + interval '1 month'] LOOP" \
	" part = to_char(first, '\"requests_\"YYYY_MM');" \
	" low = extract(epoch FROM first) * 1000; high = extract(epoch FROM first + interval '1 month') * 1000;" \
	" CONTINUE WHEN first IS NULL OR to_regclass('spoa_llm.' || part) IS NOT NULL" \
	" OR low < (SELECT value::bigint FROM spoa_llm.meta WHERE key = 'kept_since_ms');" \
	" CONTINUE WHEN (SELECT count(*) FROM (SELECT FROM spoa_llm.requests_default WHERE time_ms >= low AND time_ms < high LIMIT 10001) r) > 10000;" \
	" BEGIN LOCK TABLE spoa_llm.requests IN SHARE UPDATE EXCLUSIVE MODE; LOCK TABLE spoa_llm.requests_default IN ACCESS EXCLUSIVE MODE;" \
	" EXECUTE format('CREATE TABLE spoa_llm.%I (LIKE spoa_llm.requests INCLUDING ALL)', part);" \
	" EXECUTE format('WITH moved AS (DELETE FROM spoa_llm.requests_default WHERE time_ms >= %s AND time_ms < %s RETURNING *)" \
	" INSERT INTO spoa_llm.%I SELECT * FROM moved', low, high, part);" \
	" EXECUTE format('ALTER TABLE spoa_llm.requests ATTACH PARTITION spoa_llm.%I FOR VALUES FROM (%s) TO (%s)', part, low, high);" \
	" EXCEPTION WHEN check_violation OR lock_not_available OR deadlock_detected OR duplicate_table THEN NULL; END;" \
	" END LOOP;" \
	" RETURN wanted IS NOT NULL AND to_regclass('spoa_llm.' || to_char(wanted, '\"requests_\"YYYY_MM')) IS NOT NULL;" \
	" END $body$;" \
	"CREATE FUNCTION spoa_llm.drop_before(at_ms bigint) RETURNS int LANGUAGE plpgsql" \
	" SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $body$" \
	" DECLARE part record; dropped int = 0;" \
	" BEGIN" \
	" IF at_ms > extract(epoch FROM now()) * 1000 THEN RAISE EXCEPTION 'a month that has not begun cannot be the first whose rows stay'" \
	" USING ERRCODE = 'SL006', HINT = 'writers would leave out all rows until then'; END IF;" \
	" UPDATE spoa_llm.meta SET value = greatest(value::bigint, at_ms)::text WHERE key = 'kept_since_ms';" \
	" DELETE FROM spoa_llm.requests_default WHERE time_ms < at_ms;" \
	" FOR part IN SELECT c.oid::regclass AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid" \
	" WHERE i.inhparent = 'spoa_llm.requests'::regclass AND c.relname ~ '^requests_[0-9]{4}_[0-9]{2}$'" \
	" AND (extract(epoch FROM to_timestamp(c.relname, '\"requests_\"YYYY_MM') + interval '1 month') * 1000)::bigint <= at_ms LOOP" \
	" FOR try IN 1 .. 100 LOOP" \
	" BEGIN EXECUTE format('DROP TABLE %s', part.name); EXIT;" \
	" EXCEPTION WHEN lock_not_available THEN IF try = 100 THEN RAISE; END IF; PERFORM pg_sleep(3); END;" \
	" END LOOP; dropped = dropped + 1; END LOOP;" \
	" RETURN dropped; END $body$;"

/* A writer reads and writes the rows of its gateway, a reader reads all, and nobody but the owner deletes. The inner
 * SELECT does not depend on the row, so PostgreSQL evaluates it once for a statement. */
#define FLEET_OWN_1 "gateway = (SELECT no FROM spoa_llm.gateways WHERE writer = current_user)"
#define FLEET_POLICIES_1(table) \
	"ALTER TABLE spoa_llm." table " ENABLE ROW LEVEL SECURITY;" \
	"CREATE POLICY read ON spoa_llm." table " FOR SELECT TO spoa_llm_reader USING (true);" \
	"CREATE POLICY own ON spoa_llm." table " TO spoa_llm_writer" \
	" USING (" FLEET_OWN_1 ") WITH CHECK (" FLEET_OWN_1 ");"
#define FLEET_RIGHTS_1 \
	FLEET_POLICIES_1("requests") \
	FLEET_POLICIES_1("hourly") \
	FLEET_POLICIES_1("rejected") \
	"ALTER TABLE spoa_llm.gateways ENABLE ROW LEVEL SECURITY;" \
	"CREATE POLICY read ON spoa_llm.gateways FOR SELECT TO spoa_llm_reader USING (true);" \
	"CREATE POLICY own ON spoa_llm.gateways TO spoa_llm_writer USING (writer = current_user)" \
	" WITH CHECK (writer = current_user);" \
	"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA spoa_llm FROM PUBLIC;" \
	"GRANT USAGE ON SCHEMA spoa_llm TO spoa_llm_writer, spoa_llm_reader;" \
	"GRANT SELECT ON spoa_llm.meta, spoa_llm.gateways, spoa_llm.requests, spoa_llm.hourly, spoa_llm.rejected" \
	" TO spoa_llm_writer, spoa_llm_reader;" \
	"GRANT INSERT ON spoa_llm.requests, spoa_llm.hourly TO spoa_llm_writer;" \
	/* By the column, because who may update a whole table may lock it against all others, too. */ \
	"DO $body$ DECLARE one record; BEGIN FOR one IN SELECT attrelid::regclass AS name, string_agg(quote_ident(attname), ', ') AS list" \
	" FROM pg_attribute WHERE attrelid IN ('spoa_llm.requests'::regclass, 'spoa_llm.hourly'::regclass) AND attnum > 0" \
	" AND attname NOT IN ('gateway', 'time_ms', 'id', 'kind', 'bucket') GROUP BY attrelid LOOP" \
	" EXECUTE format('GRANT UPDATE (%s) ON %s TO spoa_llm_writer', one.list, one.name); END LOOP; END $body$;" \
	"GRANT INSERT ON spoa_llm.rejected TO spoa_llm_writer;" \
	"GRANT UPDATE (ledger_epoch, epoch, position, position_id, position_ms, rows, behind, lag_ms, version, spent_sequence, seen)" \
	" ON spoa_llm.gateways TO spoa_llm_writer;" \
	"GRANT EXECUTE ON FUNCTION spoa_llm.register, spoa_llm.ensure_partition, spoa_llm.compare TO spoa_llm_writer;"

/* compare() notes the hashes of the routes and clients of the gateway whose role calls it, and that the gateway is
 * there; `even`: and that all of its rows are here. Of the other gateways that were heard of in the last five minutes it
 * tells how many there are, and how many of them have other routes or other clients. "": not known, and no other. */
#define FLEET_COMPARE_1 \
	"CREATE FUNCTION spoa_llm.compare(my_routes text, my_clients text, even boolean, OUT gateways int, OUT routes int, OUT clients int)" \
	" LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$" \
	" BEGIN" \
	" UPDATE spoa_llm.gateways g SET seen = now(), behind = CASE WHEN even THEN 0 ELSE g.behind END," \
	" lag_ms = CASE WHEN even THEN 0 ELSE g.lag_ms END, routes_hash = my_routes, clients_hash = my_clients," \
	" routes_since = CASE WHEN g.routes_hash = my_routes THEN g.routes_since ELSE now() END," \
	" clients_since = CASE WHEN g.clients_hash = my_clients THEN g.clients_since ELSE now() END" \
	" WHERE g.writer = session_user;" \
	" SELECT count(*), count(*) FILTER (WHERE my_routes <> '' AND o.routes_hash NOT IN ('', my_routes))," \
	" count(*) FILTER (WHERE my_clients <> '' AND o.clients_hash NOT IN ('', my_clients)) INTO gateways, routes, clients" \
	" FROM spoa_llm.gateways o WHERE o.writer <> session_user AND o.seen > now() - interval '5 minutes';" \
	" END $body$;"

/* `spending` has what each client (kind 4) and project (kind 3) spent on a gateway, in nano-dollars: on the `day` (since
 * 1970, UTC) on which that was told last, in the week and the month of that day, and in the day, week and month before
 * these, for gateways whose clocks are behind. `sequence` is that of the change, by gateway; `spent_sequence` in
 * `gateways` is the last one. */
#define FLEET_SPENDING_1 \
	"CREATE TABLE spoa_llm.spending (gateway int NOT NULL, kind smallint NOT NULL CHECK (kind IN (3, 4)), name text NOT NULL," \
	" day int NOT NULL, day_nano bigint NOT NULL CHECK (day_nano >= 0), week_nano bigint NOT NULL CHECK (week_nano >= 0)," \
	" month_nano bigint NOT NULL CHECK (month_nano >= 0), day_before bigint NOT NULL CHECK (day_before >= 0)," \
	" week_before bigint NOT NULL CHECK (week_before >= 0), month_before bigint NOT NULL CHECK (month_before >= 0)," \
	" sequence bigint NOT NULL, PRIMARY KEY (kind, name, gateway)) WITH (fillfactor = 70);" \
	"CREATE INDEX spending_sequence ON spoa_llm.spending (gateway, sequence);" \
	FLEET_POLICIES_1("spending") \
	"GRANT SELECT ON spoa_llm.spending TO spoa_llm_writer, spoa_llm_reader;" \
	"GRANT INSERT, UPDATE (day, day_nano, week_nano, month_nano, day_before, week_before, month_before, sequence)" \
	" ON spoa_llm.spending TO spoa_llm_writer;"

/* spent_elsewhere() tells a writer what clients and projects spent on the other gateways, all together, in the day, the
 * week and the month that `my_day` is in: those accounts of which something has changed since the sequences that the
 * writer knows, `known_sequence` of the gateways `known`; all, if it knows none. Before them come the other gateways,
 * each with its sequence, and whether it was seen in the last minute.
 *
 * Each gateway asks once a second. OFFSET 0 keeps the planner from reading the whole table for a few accounts, and to
 * compile the plan would take a hundred times as long as to run it. */
#define FLEET_BUDGETS_1 \
	"CREATE FUNCTION spoa_llm.spent_elsewhere(my_day int, known int[], known_sequence bigint[])" \
	" RETURNS TABLE (gateway int, sequence bigint, near boolean, kind int, name text, day_nano bigint, week_nano bigint," \
	" month_nano bigint) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $body$" \
	" WITH at AS (SELECT (date '1970-01-01' + my_day)::timestamp AS d)," \
	" bounds AS (SELECT (SELECT m.no FROM spoa_llm.gateways m WHERE m.writer = session_user) AS me," \
	" date_trunc('week', d)::date - date '1970-01-01' AS week," \
	" date_trunc('month', d)::date - date '1970-01-01' AS month," \
	" (date_trunc('month', d) + interval '1 month')::date - date '1970-01-01' AS next," \
	" (date_trunc('month', d) + interval '2 months')::date - date '1970-01-01' AS after FROM at)," \
	" marks AS (SELECT g.no, g.spent_sequence, g.seen > now() - interval '1 minute' AS near," \
	" coalesce(k.sequence, -1) AS told FROM spoa_llm.gateways g" \
	" LEFT JOIN unnest(known, known_sequence) AS k (no, sequence) ON k.no = g.no WHERE g.no <> (SELECT me FROM bounds))," \
	" changed AS MATERIALIZED (SELECT DISTINCT c.kind, c.name FROM marks m CROSS JOIN LATERAL (SELECT s.kind, s.name" \
	" FROM spoa_llm.spending s WHERE s.gateway = m.no AND s.sequence > m.told OFFSET 0) AS c" \
	" WHERE m.spent_sequence > m.told AND cardinality(known) > 0)," \
	" parts AS (SELECT s.* FROM spoa_llm.spending s WHERE cardinality(known) = 0 UNION ALL SELECT s.* FROM changed c" \
	" CROSS JOIN LATERAL (SELECT s.* FROM spoa_llm.spending s WHERE s.kind = c.kind AND s.name = c.name OFFSET 0) AS s)," \
	" sums AS (SELECT s.kind, s.name," \
	" sum(CASE s.day WHEN my_day THEN s.day_nano WHEN my_day + 1 THEN s.day_before ELSE 0 END) AS of_day," \
	" sum(CASE WHEN s.day < b.week OR s.day >= b.week + 14 THEN 0 WHEN s.day < b.week + 7 THEN s.week_nano" \
	" ELSE s.week_before END) AS of_week," \
	" sum(CASE WHEN s.day < b.month OR s.day >= b.after THEN 0 WHEN s.day < b.next THEN s.month_nano" \
	" ELSE s.month_before END) AS of_month FROM parts s CROSS JOIN bounds b WHERE s.gateway <> b.me GROUP BY s.kind, s.name)" \
	" SELECT * FROM (SELECT no, spent_sequence, near, NULL::int, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint FROM marks" \
	" UNION ALL SELECT NULL, NULL, NULL, s.kind, s.name, least(of_day, 1152921504606846976)::bigint," \
	" least(of_week, 1152921504606846976)::bigint, least(of_month, 1152921504606846976)::bigint FROM sums s)" \
	" AS r (g, sequence, near, kind, name, d, w, m) ORDER BY r.g, r.kind, r.name COLLATE \"C\" $body$;" \
	"REVOKE ALL ON FUNCTION spoa_llm.spent_elsewhere FROM PUBLIC;" \
	"GRANT EXECUTE ON FUNCTION spoa_llm.spent_elsewhere TO spoa_llm_writer;"

/* For people and Grafana. `security_invoker`, a setting since PostgreSQL 15, has row level security look at who reads.
 */
#define FLEET_VIEW_1 \
	"CREATE VIEW spoa_llm.ledger WITH (security_invoker = true) AS" \
	" SELECT CASE WHEN r.time_ms BETWEEN -62135596800000 AND 253402300799999 THEN to_timestamp(r.time_ms / 1000.0) END AS time," \
	" g.name AS gateway, r.id, r.route, r.backend, r.protocol, r.model, r.project, r.client, r.status, r.code," \
	" r.termination, r.stream = 1 AS stream, r.bytes_in, r.bytes_out, r.ttfb_ms, r.total_ms, r.input, r.output," \
	" r.cache_read, r.cache_write, r.saved, (ARRAY['none', 'reported', 'partial', 'estimated', 'unknown', 'stream'])" \
	"[r.usage + 1] AS usage_from, (ARRAY['none', 'table', 'unpriced', 'partial'])[r.price + 1] AS price_from," \
	" CASE WHEN r.price IN (1, 3) THEN r.cost / 1e9 END AS cost_usd," \
	" CASE WHEN r.price IN (1, 3) THEN r.saved_compression / 1e9 END AS saved_compression_usd," \
	" CASE WHEN r.price IN (1, 3) THEN r.saved_cache / 1e9 END AS saved_cache_usd," \
	" CASE WHEN r.price IN (1, 3) THEN r.saved_routing / 1e9 END AS saved_routing_usd, r.price_missing," \
	" (ARRAY['no', 'told', 'untold', 'missing', 'nothing'])[r.tap + 1] AS tap, r.member, r.attempts, r.tried," \
	" r.keyed = 1 AS keyed, r.charged / 1e9 AS charged_usd, r.operation, r.traceparent, r.time_ms" \
	" FROM spoa_llm.requests r JOIN spoa_llm.gateways g ON g.no = r.gateway;" \
	"CREATE VIEW spoa_llm.ledger_hourly WITH (security_invoker = true) AS" \
	" SELECT to_timestamp(h.bucket) AS time, g.name AS gateway_name," \
	" (ARRAY['all', 'model', 'route', 'project', 'client', 'member'])[h.kind + 1] AS kind_name, h.cost / 1e9 AS cost_usd, h.*" \
	" FROM spoa_llm.hourly h JOIN spoa_llm.gateways g ON g.no = h.gateway;" \
	"GRANT SELECT ON spoa_llm.ledger, spoa_llm.ledger_hourly TO spoa_llm_writer, spoa_llm_reader;"

/* What a writer may see of other gateways: the sums of their hours, and how far behind each is, but no request. These views
 * have the rights of their owner, and nobody may write to them. */
#define FLEET_SHARED_1 \
	"CREATE VIEW spoa_llm.fleet_sums AS SELECT * FROM spoa_llm.hourly;" \
	"CREATE VIEW spoa_llm.fleet_gateways AS SELECT no, name, uuid, writer, epoch, position, rows, behind, lag_ms, seen, version" \
	" FROM spoa_llm.gateways;" \
	"GRANT SELECT ON spoa_llm.fleet_sums, spoa_llm.fleet_gateways TO spoa_llm_writer, spoa_llm_reader;"

/* A line for each gateway and each of `routes` and `clients`, whose hash is known: whether it differs from what most of
 * the gateways have that were heard of in the last five minutes, and since when. Where as many have the one as the
 * other, the newer one counts as what most have. As those of FLEET_SHARED_1, it has the rights
 * of its owner. */
#define FLEET_DRIFT_1 \
	"CREATE VIEW spoa_llm.drift AS" \
	" WITH told AS (SELECT g.no, g.name, p.part, p.hash, p.since, g.seen > now() - interval '5 minutes' AS here FROM spoa_llm.gateways g," \
	" LATERAL (VALUES ('routes', g.routes_hash, g.routes_since), ('clients', g.clients_hash, g.clients_since)) AS p (part, hash, since)" \
	" WHERE g.writer IS NOT NULL AND p.hash <> '')," \
	" most AS (SELECT DISTINCT ON (part) part, hash, min(since) AS since FROM told WHERE here GROUP BY part, hash" \
	" ORDER BY part, count(*) DESC, max(since) DESC)" \
	" SELECT t.no AS gateway, t.name AS gateway_name, t.part, t.hash, t.here, coalesce(t.hash <> m.hash, false) AS differs," \
	" CASE WHEN t.hash <> m.hash THEN greatest(t.since, m.since) END AS since FROM told t LEFT JOIN most m USING (part);" \
	"GRANT SELECT ON spoa_llm.drift TO spoa_llm_writer, spoa_llm_reader;"
/* clang-format on */

/* Each list of sums stands several times in the functions of version 2. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"
static const struct fleet_schema {
	int version;
	const char *sql;
} fleet_schema[] = {
	{ 1, FLEET_TABLES_1 },   { 1, FLEET_CHECKS_1 },   { 1, FLEET_REGISTER_1 }, { 1, FLEET_PARTITIONS_1 },
	{ 1, FLEET_COMPARE_1 },  { 1, FLEET_RIGHTS_1 },   { 1, FLEET_VIEW_1 },     { 1, FLEET_SHARED_1 },
	{ 1, FLEET_DRIFT_1 },    { 1, FLEET_SPENDING_1 }, { 1, FLEET_BUDGETS_1 },  { 2, FLEET_TABLES_2 },
	{ 2, FLEET_TRIGGERS_2 }, { 2, FLEET_FILL_2 },     { 2, FLEET_SHARED_2 },
};
#pragma GCC diagnostic pop

enum { FLEET_SCHEMA_VERSION = 2 };

#endif

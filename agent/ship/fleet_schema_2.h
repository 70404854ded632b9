/* SPDX-License-Identifier: MIT
 *
 * Version 2 of the fleet's schema: sums by day, and facets, which are sums by all labels of a request together, with
 * the times of its answers. Triggers keep them, so that they are right whichever version of a writer writes, and a
 * writer cannot change them by itself. */
#ifndef SHIP_FLEET_SCHEMA_2_H
#define SHIP_FLEET_SCHEMA_2_H

#include "ship/fleet_sql.h"
#include "ship/fleet_sums.h"

/* clang-format off */
#define FLEET_NAMES_OF_2(name, value) ", " name
#define FLEET_ADDED_2(name, value) ", " name " = h." name " + EXCLUDED." name
#define FLEET_COUNTED_2(name, value) ", my_sign * sum(" value ") AS " name
/* Numeric before it is negated, because the least bigint has no negative: a row that has it would end all questions. */
#define FLEET_WAITING_2(name, value) ", sign * (" value ")::numeric AS " name
#define FLEET_SUMMED_2(name, value) ", sum(sign * " name ") AS " name
#define FLEET_SUM_2(name, value) ", sum(" name ") AS " name
#define FLEET_NAMES_2 FLEET_SUMS(FLEET_NAMES_OF_2)

/* `daily` has the sums of `hourly` by days, whose buckets begin at midnight, UTC.
 *
 * A facet is a gateway and the labels of a request. `facets` has its sums: `unit` 0 of an hour, 1 of a day; `last_ms`,
 * when its last request came; and how long answers took to their first byte and to their end, each an array of numbers
 * (time << 28) + count. A time is in milliseconds, rounded to two digits; it may stand in an array several times, and a
 * count may be negative there: only the sum of all counts of a time means something.
 *
 * Of gateways that were there before this version, `daily` has the days from `daily_from` on, and `facets` those from
 * `facets_from` on, in seconds: see fill(). Facets of days are there for days before `days_until`: see fold().
 *
 * Rows that came and are not in `facets` yet wait in `facet_log`, with `sign` 1, or -1 for what an update has replaced;
 * an entry has up to 10,000 rows of a statement. The view fleet_facets has both. An entry is one value, so that readers
 * do not search what was deleted. It is compressed by lz4, or not at all in a server without it: PostgreSQL's own
 * compression takes longer than writing it. */
#define FLEET_TABLES_2 \
	"ALTER TABLE spoa_llm.gateways ADD COLUMN daily_from bigint NOT NULL DEFAULT 0, ADD COLUMN facets_from bigint NOT NULL DEFAULT 0," \
	" ADD COLUMN days_until bigint NOT NULL DEFAULT 0;" \
	"CREATE TABLE spoa_llm.daily (gateway int NOT NULL, kind smallint NOT NULL, bucket bigint NOT NULL, label text NOT NULL," \
	FLEET_SUMS_1 ", PRIMARY KEY (kind, bucket, gateway, label)) WITH (fillfactor = 70);" \
	"CREATE INDEX daily_gateway ON spoa_llm.daily (gateway, bucket);" \
	"CREATE TABLE spoa_llm.facet_labels (facet int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, gateway int NOT NULL," \
	" route text NOT NULL, backend text NOT NULL, model text NOT NULL, project text NOT NULL, client text NOT NULL," \
	" member text NOT NULL, status int NOT NULL, code text NOT NULL, UNIQUE (gateway, " FLEET_FACET_2 "));" \
	"CREATE TABLE spoa_llm.facets (facet int NOT NULL, unit smallint NOT NULL, bucket bigint NOT NULL, last_ms bigint," \
	" first_byte bigint[], whole bigint[]," FLEET_SUMS_1 ", PRIMARY KEY (unit, bucket, facet)) WITH (fillfactor = 70);" \
	"CREATE TYPE spoa_llm.facet_row AS (time_ms bigint, model text, route text, backend text, project text, client text, member text," \
	" status int, code text, termination text, stream smallint, bytes_in bigint, bytes_out bigint, ttfb_ms bigint, total_ms bigint," \
	" input bigint, output bigint, cache_read bigint, cache_write bigint, saved bigint, usage smallint, price smallint, cost bigint," \
	" saved_compression bigint, saved_cache bigint, saved_routing bigint, tap smallint);" \
	"CREATE TABLE spoa_llm.facet_log (gateway int NOT NULL, no bigint GENERATED ALWAYS AS IDENTITY, sign smallint NOT NULL," \
	" count bigint NOT NULL, rows spoa_llm.facet_row[] NOT NULL, PRIMARY KEY (gateway, no));" \
	"DO $body$ BEGIN ALTER TABLE spoa_llm.facet_log ALTER rows SET COMPRESSION lz4;" \
	" EXCEPTION WHEN feature_not_supported THEN ALTER TABLE spoa_llm.facet_log ALTER rows SET STORAGE EXTERNAL; END $body$;" \
	/* Only views show them. */ \
	"ALTER TABLE spoa_llm.facet_log ENABLE ROW LEVEL SECURITY;" \
	"ALTER TABLE spoa_llm.daily ENABLE ROW LEVEL SECURITY; ALTER TABLE spoa_llm.facets ENABLE ROW LEVEL SECURITY;" \
	"ALTER TABLE spoa_llm.facet_labels ENABLE ROW LEVEL SECURITY;"
#define FLEET_ROW_2 \
	"time_ms, " FLEET_FACET_2 ", termination, stream, bytes_in, bytes_out, ttfb_ms, total_ms, input, output, cache_read, cache_write," \
	" saved, usage, price, cost, saved_compression, saved_cache, saved_routing, tap"
#define FLEET_FACET_2 "model, route, backend, project, client, member, status, code"

/* A time of an answer in an array of times, in the bins of ledger/store_times.h. */
#define FLEET_TIME_2(ms) \
	"(CASE WHEN " ms " < 100 THEN " ms " WHEN " ms " < 1000 THEN (" ms " + 5) / 10 * 10" \
	" WHEN " ms " < 10000 THEN (" ms " + 50) / 100 * 100 WHEN " ms " < 100000 THEN (" ms " + 500) / 1000 * 1000" \
	" WHEN " ms " < 1000000 THEN (" ms " + 5000) / 10000 * 10000" \
	" WHEN " ms " < 10000000 THEN (" ms " + 50000) / 100000 * 100000" \
	" WHEN " ms " < 100000000 THEN (" ms " + 500000) / 1000000 * 1000000" \
	" WHEN " ms " < 1000000000 THEN (" ms " + 5000000) / 10000000 * 10000000" \
	" WHEN " ms " < 9950000000 THEN (" ms " + 50000000) / 100000000 * 100000000 ELSE 9900000000 END << 28) + my_sign"
#define FLEET_HAS_TIME_2(ms) "code = '' AND " ms " >= 0"
#define FLEET_TIMES_2(ms) " array_agg(" FLEET_TIME_2(ms) ") FILTER (WHERE " FLEET_HAS_TIME_2(ms) ") AS "
/* The time and the count of `t`, which is in such an array. */
#define FLEET_TIME_MS_2 "(t + 134217728) >> 28"
#define FLEET_TIME_COUNT_2 "t - ((t + 134217728) >> 28 << 28)"
/* An array of times, added up. */
#define FLEET_TIMES_OF_2(array) \
	"(SELECT array_agg((ms << 28) + count) FROM (SELECT " FLEET_TIME_MS_2 " AS ms, sum(" FLEET_TIME_COUNT_2 ")::bigint AS count" \
	" FROM unnest(" array ") AS t GROUP BY 1) AS n WHERE count <> 0)"
/* Both arrays one after the other, or once that is long, added up. */
#define FLEET_TIMES_ADDED_2(times) \
	times " = CASE WHEN cardinality(h." times ") + cardinality(EXCLUDED." times ") > 60 THEN " \
	FLEET_TIMES_OF_2("h." times " || EXCLUDED." times) " ELSE h." times " || EXCLUDED." times " END"
/* An array that is long, added up. */
#define FLEET_TIMES_PACKED_2(times) \
	", CASE WHEN cardinality(" times ") > 60 THEN " FLEET_TIMES_OF_2(times) " ELSE " times " END AS " times
#define FLEET_FACETS_ADDED_2 \
	" ON CONFLICT (facet, unit, bucket) DO UPDATE SET last_ms = greatest(h.last_ms, EXCLUDED.last_ms), " \
	FLEET_TIMES_ADDED_2("first_byte") ", " FLEET_TIMES_ADDED_2("whole") FLEET_SUMS(FLEET_ADDED_2)

/* Hashes, because a sort by eight labels takes half as long as all the rest. */
#define FLEET_HASHES_2 " SET enable_sort = off SET enable_mergejoin = off SET enable_nestloop = off SET jit = off"

/* Adds the rows of `source` to the facets of hours, and to those of days where these are there; my_sign -1 takes them
 * away. `before` are expressions of WITH. The labels are looked up one by one, because a hash of all labels takes longer
 * than a batch. */
#define FLEET_COUNT_FACETS_2(before, source) \
	" WITH " before " changes AS MATERIALIZED (SELECT gateway, hour, " FLEET_FACET_2 FLEET_NAMES_2 ", last_ms" \
	FLEET_TIMES_PACKED_2("first_byte") FLEET_TIMES_PACKED_2("whole") \
	" FROM (SELECT gateway, " FLEET_HOUR " AS hour, " FLEET_FACET_2 FLEET_SUMS(FLEET_COUNTED_2) ", CASE my_sign WHEN 1 THEN max(time_ms) END AS last_ms," \
	FLEET_TIMES_2("ttfb_ms") "first_byte," FLEET_TIMES_2("total_ms") "whole FROM (" source ") AS r GROUP BY gateway, hour, " FLEET_FACET_2 ") AS s)," \
	" named AS MATERIALIZED (SELECT l.facet, c.* FROM changes c LEFT JOIN LATERAL (SELECT l.facet FROM spoa_llm.facet_labels l" \
	" WHERE (l.gateway, l.model, l.route, l.backend, l.project, l.client, l.member, l.status, l.code)" \
	" = (c.gateway, c.model, c.route, c.backend, c.project, c.client, c.member, c.status, c.code) LIMIT 1) l ON true)," \
	" added AS (INSERT INTO spoa_llm.facet_labels (gateway, " FLEET_FACET_2 ") SELECT DISTINCT gateway, " FLEET_FACET_2 \
	" FROM named WHERE facet IS NULL RETURNING facet, gateway, " FLEET_FACET_2 ")," \
	" counted AS (SELECT facet, gateway, hour, last_ms, first_byte, whole" FLEET_NAMES_2 " FROM named WHERE facet IS NOT NULL" \
	" UNION ALL SELECT a.facet, gateway, hour, last_ms, first_byte, whole" FLEET_NAMES_2 " FROM added a" \
	" JOIN (SELECT * FROM named WHERE facet IS NULL) n USING (gateway, " FLEET_FACET_2 "))," \
	" hours AS (INSERT INTO spoa_llm.facets AS h (facet, unit, bucket, last_ms, first_byte, whole" FLEET_NAMES_2 ")" \
	" SELECT facet, 0, hour, last_ms, first_byte, whole" FLEET_NAMES_2 " FROM counted" FLEET_FACETS_ADDED_2 ")" \
	" INSERT INTO spoa_llm.facets AS h (facet, unit, bucket, last_ms, first_byte, whole" FLEET_NAMES_2 ")" \
	" SELECT facet, 1, hour - hour % 86400 AS of_day, max(last_ms), spoa_llm.together(first_byte), spoa_llm.together(whole)" FLEET_SUMS(FLEET_SUM_2) \
	" FROM counted JOIN spoa_llm.gateways ON no = gateway WHERE hour < days_until GROUP BY facet, of_day" FLEET_FACETS_ADDED_2 ";"

/* Adds the sums of the hours of `source`, each with its `sign`, to those of their days. */
#define FLEET_COUNT_DAYS_2(source) \
	" INSERT INTO spoa_llm.daily AS h (gateway, kind, bucket, label" FLEET_NAMES_2 ")" \
	" SELECT gateway, kind, bucket - bucket % 86400 AS day, label" FLEET_SUMS(FLEET_SUMMED_2) " FROM (" source ") AS r" \
	" GROUP BY gateway, kind, day, label" \
	" ON CONFLICT (kind, bucket, gateway, label) DO UPDATE SET label = EXCLUDED.label" FLEET_SUMS(FLEET_ADDED_2) ";"

/* Appends the rows of `source`, each with its `sign`, to `facet_log`. To add those of each statement to `facets` at once
 * took half as long as to write them. What waits is bounded for readers, whichever version writes: where it is much, the
 * oldest of it is added to `facets`, in proportion to what came, so that a statement that failed for taking too long has
 * less to do when it comes again with fewer rows. */
#define FLEET_LOG_FACETS_2(source) \
	" FOR own IN WITH added AS (INSERT INTO spoa_llm.facet_log AS l (gateway, sign, count, rows)" \
	" SELECT gateway, sign, count(*), array_agg(ROW(" FLEET_ROW_2 ")::spoa_llm.facet_row) FROM (" source ") AS r" \
	" GROUP BY gateway, sign, sequence / 10000 RETURNING l.gateway, l.count)" \
	" SELECT gateway, sum(count)::bigint AS count FROM added GROUP BY gateway LOOP" \
	" IF (SELECT sum(count) FILTER (WHERE gateway = own.gateway) >= least(100000, greatest(20000, 200000 / count(DISTINCT gateway)))" \
	" OR count(*) FILTER (WHERE gateway = own.gateway) >= 200 FROM spoa_llm.facet_log)" \
	" THEN PERFORM spoa_llm.fold_log(own.gateway, 20 * own.count); END IF; END LOOP;"

/* fold_log() adds the oldest `most` rows of what waits of a gateway to its facets, or some more, because it takes whole
 * entries; none if another session holds the gateway's row. It tells how many. */
#define FLEET_FOLD_LOG_2 \
	"CREATE FUNCTION spoa_llm.fold_log(my_gateway int, most bigint, OUT done bigint) LANGUAGE plpgsql SECURITY DEFINER" \
	" SET search_path = pg_catalog, pg_temp" FLEET_HASHES_2 " SET work_mem = '32MB' AS $body$" \
	" DECLARE upto bigint; my_sign int;" \
	" BEGIN" \
	" PERFORM FROM spoa_llm.gateways WHERE no = my_gateway FOR UPDATE SKIP LOCKED;" \
	" IF NOT FOUND THEN done = 0; RETURN; END IF;" \
	" SELECT max(no), coalesce(sum(count), 0) INTO upto, done FROM (SELECT no, count, sum(count) OVER (ORDER BY no) - count AS earlier" \
	" FROM spoa_llm.facet_log WHERE gateway = my_gateway) AS l WHERE earlier < most;" \
	" FOR my_sign IN SELECT DISTINCT sign FROM spoa_llm.facet_log WHERE gateway = my_gateway AND no <= upto LOOP" \
	FLEET_COUNT_FACETS_2( \
		"taken AS (DELETE FROM spoa_llm.facet_log WHERE gateway = my_gateway AND no <= upto AND sign = my_sign RETURNING gateway, rows),", \
		"SELECT gateway, c.* FROM taken CROSS JOIN LATERAL unnest(rows) AS c") \
	" END LOOP; END $body$;" \
	"REVOKE ALL ON FUNCTION spoa_llm.fold_log FROM PUBLIC;"

#define FLEET_TRIGGER_2(name, table, event, tables, count, source) \
	"CREATE FUNCTION spoa_llm." name "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp" \
	FLEET_HASHES_2 " SET work_mem = '16MB' AS $body$ DECLARE own record; BEGIN IF EXISTS (SELECT FROM came) THEN" count(source) " END IF; RETURN NULL; END $body$;" \
	"REVOKE ALL ON FUNCTION spoa_llm." name " FROM PUBLIC;" \
	"CREATE TRIGGER " name " AFTER " event " ON spoa_llm." table " REFERENCING " tables " FOR EACH STATEMENT EXECUTE FUNCTION spoa_llm." name "();"
#define FLEET_CAME_2 "SELECT 1 AS sign, * FROM came"
#define FLEET_CHANGED_2 "SELECT 1 AS sign, * FROM came UNION ALL SELECT -1, * FROM went"
/* In the order in which a writer locks these tables. Rows that are moved or deleted in a partition itself change no sum,
 * because these triggers are those of the whole table. */
#define FLEET_TRIGGERS_2 \
	"CREATE AGGREGATE spoa_llm.together(bigint[]) (SFUNC = array_cat, STYPE = bigint[]);" \
	"REVOKE ALL ON FUNCTION spoa_llm.together FROM PUBLIC;" \
	FLEET_FOLD_LOG_2 \
	FLEET_TRIGGER_2("rows_came", "requests", "INSERT", "NEW TABLE AS came", FLEET_LOG_FACETS_2, FLEET_CAME_2) \
	FLEET_TRIGGER_2("rows_changed", "requests", "UPDATE", "NEW TABLE AS came OLD TABLE AS went", FLEET_LOG_FACETS_2, FLEET_CHANGED_2) \
	FLEET_TRIGGER_2("hours_came", "hourly", "INSERT", "NEW TABLE AS came", FLEET_COUNT_DAYS_2, FLEET_CAME_2) \
	FLEET_TRIGGER_2("hours_changed", "hourly", "UPDATE", "NEW TABLE AS came OLD TABLE AS went", FLEET_COUNT_DAYS_2, FLEET_CHANGED_2)

/* fold() adds what waits in `facet_log` to `facets`, and after that makes the facets of the next day that is over since
 * an hour from those of its hours, so that a report of a year reads no hours. It does so for the gateway of the role
 * that calls it, for gateways that were not seen for an hour, and for the owner those of all. It tells whose, and the
 * day if it made one; NULL: nothing is left to do. A day while its hours are written would be one more row for each of
 * them, so a gateway that has rows to send has its days made later. */
#define FLEET_SUM_NAMED_2(name, value) ", sum(" name ") AS " name
#define FLEET_FOLD_2 \
	"CREATE FUNCTION spoa_llm.fold(OUT name text, OUT day bigint) LANGUAGE plpgsql SECURITY DEFINER" \
	" SET search_path = pg_catalog, pg_temp" FLEET_HASHES_2 " SET work_mem = '32MB' AS $body$" \
	" DECLARE g spoa_llm.gateways; over bigint = (extract(epoch FROM now())::bigint - 90000) / 86400 * 86400;" \
	" gone timestamptz = now() - interval '1 hour'; owner boolean = pg_has_role(session_user, current_user, 'MEMBER');" \
	" BEGIN" \
	" FOR g IN SELECT * FROM spoa_llm.gateways o WHERE (writer = session_user OR seen < gone OR owner)" \
	" AND EXISTS (SELECT FROM spoa_llm.facet_log l WHERE l.gateway = o.no) LOOP" \
	" IF spoa_llm.fold_log(g.no, 50000) > 0 THEN name = g.name; RETURN; END IF; END LOOP;" \
	" LOOP SELECT * INTO g FROM spoa_llm.gateways WHERE days_until <= over AND (writer = session_user OR seen < gone OR owner)" \
	" AND (behind < 10000 OR seen < gone) ORDER BY days_until LIMIT 1 FOR UPDATE SKIP LOCKED;" \
	" EXIT WHEN g.no IS NULL;" \
	" SELECT min(bucket) / 86400 * 86400 INTO day FROM spoa_llm.hourly WHERE gateway = g.no AND bucket >= g.days_until;" \
	" IF day <= over THEN" \
	" DELETE FROM spoa_llm.facets f USING spoa_llm.facet_labels l WHERE l.gateway = g.no AND f.facet = l.facet AND f.unit = 1 AND f.bucket = day;" \
	" INSERT INTO spoa_llm.facets (facet, unit, bucket, last_ms, first_byte, whole" FLEET_NAMES_2 ")" \
	" SELECT facet, 1, day, last_ms, " FLEET_TIMES_OF_2("first_byte") ", " FLEET_TIMES_OF_2("whole") FLEET_NAMES_2 " FROM (" \
	"SELECT f.facet, max(last_ms) AS last_ms, spoa_llm.together(first_byte) AS first_byte, spoa_llm.together(whole) AS whole" \
	FLEET_SUMS(FLEET_SUM_NAMED_2) " FROM spoa_llm.facets f JOIN spoa_llm.facet_labels l USING (facet)" \
	" WHERE l.gateway = g.no AND f.unit = 0 AND f.bucket >= day AND f.bucket < day + 86400 GROUP BY f.facet) AS s;" \
	" name = g.name; END IF;" \
	" UPDATE spoa_llm.gateways SET days_until = coalesce(least(day, over), over) + 86400 WHERE no = g.no;" \
	" EXIT WHEN name IS NOT NULL; END LOOP; END $body$;"

/* recount() makes the sums of the day that begins at `day`, in seconds, anew, and the facets of its hours if its rows
 * were not dropped. For the gateway's own role, or the owner. The lock on the gateway's row keeps its writers out.
 *
 * fill() does so for the next of the days that were there before this version, newest first, and tells which; NULL: none
 * is left. */
#define FLEET_FILL_2 \
	/* A plan that takes the rows of a day for one would compare each combination of labels with each. */ \
	"CREATE FUNCTION spoa_llm.rows_of(int, bigint, bigint) RETURNS SETOF spoa_llm.requests LANGUAGE plpgsql STABLE ROWS 5000" \
	" SET search_path = pg_catalog, pg_temp AS $body$" \
	" BEGIN RETURN QUERY SELECT * FROM spoa_llm.requests WHERE gateway = $1 AND " FLEET_ROWS_OF_HOURS "; END $body$;" \
	"CREATE FUNCTION spoa_llm.recount(my_gateway int, day bigint, next bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER" \
	" SET search_path = pg_catalog, pg_temp" FLEET_HASHES_2 " SET work_mem = '32MB' AS $body$" \
	" DECLARE my_sign int = 1;" \
	" BEGIN" \
	" PERFORM FROM spoa_llm.gateways WHERE no = my_gateway AND (writer = session_user OR pg_has_role(session_user, current_user, 'MEMBER')) FOR UPDATE;" \
	" IF NOT FOUND THEN RAISE EXCEPTION 'no gateway % of the role %', my_gateway, session_user USING ERRCODE = 'SL007'; END IF;" \
	" IF day % 86400 <> 0 OR next <> day + 86400 THEN RAISE EXCEPTION 'no day' USING ERRCODE = 'SL008'; END IF;" \
	" DELETE FROM spoa_llm.daily WHERE gateway = my_gateway AND bucket = day;" \
	FLEET_COUNT_DAYS_2("SELECT 1 AS sign, * FROM spoa_llm.hourly WHERE gateway = $1 AND hourly.bucket >= $2 AND hourly.bucket < $3") \
	" IF day >= (SELECT value::numeric / 1000 FROM spoa_llm.meta WHERE key = 'kept_since_ms') THEN" \
	/* What waits would be counted once more after this. */ \
	" PERFORM spoa_llm.fold_log(my_gateway, 9223372036854775807);" \
	" DELETE FROM spoa_llm.facets f USING spoa_llm.facet_labels l WHERE l.gateway = my_gateway AND f.facet = l.facet" \
	" AND f.unit IN (0, 1) AND f.bucket >= day AND f.bucket < next;" \
	FLEET_COUNT_FACETS_2("", "SELECT * FROM spoa_llm.rows_of($1, $2, $3)") \
	" END IF; END $body$;" \
	"CREATE FUNCTION spoa_llm.fill(OUT name text, OUT day bigint) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$" \
	" DECLARE g spoa_llm.gateways; kept numeric = (SELECT ceil(value::numeric / 86400000) * 86400 FROM spoa_llm.meta WHERE key = 'kept_since_ms');" \
	" BEGIN" \
	" LOOP SELECT * INTO g FROM spoa_llm.gateways WHERE daily_from > 0 ORDER BY daily_from DESC LIMIT 1 FOR UPDATE;" \
	" EXIT WHEN g.no IS NULL;" \
	" SELECT max(bucket - bucket % 86400) INTO day FROM spoa_llm.hourly WHERE gateway = g.no AND bucket < g.daily_from;" \
	" IF day IS NOT NULL THEN PERFORM spoa_llm.recount(g.no, day, day + 86400); name = g.name; END IF;" \
	" UPDATE spoa_llm.gateways SET daily_from = coalesce(day, 0), facets_from = least(facets_from, greatest(coalesce(day, 0), kept))" \
	" WHERE no = g.no;" \
	" EXIT WHEN day IS NOT NULL; END LOOP; END $body$;" \
	FLEET_FOLD_2 \
	"REVOKE ALL ON FUNCTION spoa_llm.recount, spoa_llm.fill, spoa_llm.fold, spoa_llm.rows_of FROM PUBLIC;" \
	"GRANT EXECUTE ON FUNCTION spoa_llm.recount, spoa_llm.fold TO spoa_llm_writer;" \
	"UPDATE spoa_llm.gateways g SET (daily_from, facets_from) = (SELECT day, day FROM (SELECT greatest(" \
	" extract(epoch FROM date_trunc('day', now(), 'UTC'))::bigint, max(bucket - bucket % 86400)) + 86400 AS day" \
	" FROM spoa_llm.hourly WHERE gateway = g.no) AS last);"

/* As FLEET_SHARED_1: sums of all gateways, and no request, for every role. */
#define FLEET_SHARED_2 \
	"CREATE VIEW spoa_llm.fleet_daily AS SELECT * FROM spoa_llm.daily;" \
	"CREATE VIEW spoa_llm.fleet_facets AS SELECT l.gateway, l.model, l.route, l.backend, l.project, l.client, l.member, l.status, l.code, f.*" \
	" FROM spoa_llm.facets f JOIN spoa_llm.facet_labels l USING (facet)" \
	/* What waits counts for its hour, and for its day where there are facets of the day. */ \
	" UNION ALL SELECT gateway, " FLEET_FACET_2 ", NULL::int, unit, CASE unit WHEN 0 THEN hour ELSE hour - hour % 86400 END," \
	" CASE sign WHEN 1 THEN time_ms END, CASE WHEN " FLEET_HAS_TIME_2("ttfb_ms") " THEN ARRAY[" FLEET_TIME_2("ttfb_ms") "] END," \
	" CASE WHEN " FLEET_HAS_TIME_2("total_ms") " THEN ARRAY[" FLEET_TIME_2("total_ms") "] END" FLEET_SUMS(FLEET_WAITING_2) \
	" FROM (SELECT l.gateway, l.sign, l.sign AS my_sign, " FLEET_HOUR " AS hour, r.*, g.days_until FROM spoa_llm.facet_log l" \
	" JOIN spoa_llm.gateways g ON g.no = l.gateway CROSS JOIN LATERAL unnest(l.rows) AS r) AS waiting" \
	" CROSS JOIN (VALUES (0::smallint), (1::smallint)) AS u (unit) WHERE unit = 0 OR hour < days_until;" \
	"CREATE OR REPLACE VIEW spoa_llm.fleet_gateways AS SELECT no, name, uuid, writer, epoch, position, rows, behind, lag_ms, seen, version," \
	" daily_from, facets_from, days_until FROM spoa_llm.gateways;" \
	"GRANT SELECT ON spoa_llm.fleet_daily, spoa_llm.fleet_facets TO spoa_llm_writer, spoa_llm_reader;"
/* clang-format on */

#endif

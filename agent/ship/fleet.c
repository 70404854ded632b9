/* SPDX-License-Identifier: MIT */
#include "ship/fleet.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"
#include "config/fleet.h"
#include "ship/fleet_schema.h"

enum { FLEET_SERVER_MIN = 150000, STEPS = sizeof fleet_schema / sizeof fleet_schema[0] };

/* Ends the transaction: by COMMIT if `result` is PQ_OK, else by ROLLBACK. */
static pq_result end(pq *c, pq_result result, err *e)
{
	err ignored;

	if (result == PQ_OK)
		return pq_script(c, "COMMIT", e);
	if (result == PQ_FAILED && pq_script(c, "ROLLBACK", &ignored) == PQ_LOST)
		return PQ_LOST;
	return result;
}

/* Runs a query of one number. */
static pq_result number(pq *c, const char *sql, int64_t *n, err *e)
{
	pq_rows *rows;
	pq_result result = pq_run(c, sql, 0, NULL, &rows, e);

	*n = result == PQ_OK && pq_rows_count(rows) ? pq_int(rows, 0, 0) : 0;
	if (result == PQ_OK)
		pq_rows_free(rows);
	return result;
}

/* ---- the schema */

/* What comes before the first version. The groups may be there already, because roles belong to the server, not to the
 * database. */
#define FOUNDATION \
	"DO $body$ BEGIN" \
	" IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'spoa_llm_writer') THEN CREATE ROLE spoa_llm_writer; END IF;" \
	" IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'spoa_llm_reader') THEN CREATE ROLE spoa_llm_reader; END IF;" \
	" EXECUTE format('GRANT CONNECT ON DATABASE %I TO spoa_llm_writer, spoa_llm_reader', current_database());" \
	" EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO spoa_llm_writer', current_database());" \
	" END $body$; CREATE SCHEMA spoa_llm"

#define SCHEMAS "SELECT count(*) FROM pg_namespace WHERE nspname = 'spoa_llm'"

/* Says what of the server or the database cannot be used. */
static pq_result check_server(pq *c, err *e)
{
	char version[40], encoding[40];
	pq_rows *rows;
	pq_result result = pq_run(c,
				  "SELECT current_setting('server_version_num'), current_setting('server_version'),"
				  " pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()",
				  0, NULL, &rows, e);

	if (result != PQ_OK)
		return result;
	text_plain(version, sizeof version, pq_text(rows, 0, 1));
	text_plain(encoding, sizeof encoding, pq_text(rows, 0, 2));
	if (pq_int(rows, 0, 0) < FLEET_SERVER_MIN)
		err_set(e, "the server is PostgreSQL %s: version %d or later is needed", version,
			FLEET_SERVER_MIN / 10000);
	else if (strcmp(pq_text(rows, 0, 2), "UTF8") != 0)
		err_set(e,
			"the database has the encoding %s, which has no place for many names: make it by CREATE DATABASE ..."
			" ENCODING 'UTF8' TEMPLATE template0",
			encoding);
	else
		*e->text = '\0';
	pq_rows_free(rows);
	return *e->text ? PQ_FAILED : PQ_OK;
}

static pq_result migrate(pq *c, int *was, int *is, err *e)
{
	int64_t there = 0, version = 0;
	char sql[128];

	pq_result result = check_server(c, e);
	if (result == PQ_OK)
		result = number(c, SCHEMAS, &there, e);
	/* One at a time. Once there is a schema, by a lock that no writer can take. */
	if (result == PQ_OK && !there)
		result = pq_script(c, "SELECT pg_advisory_xact_lock(" FLEET_LOCK ", 0)", e);
	if (result == PQ_OK && !there)
		result = number(c, SCHEMAS, &there, e);
	if (result == PQ_OK && there)
		result = pq_script(c, "LOCK TABLE spoa_llm.meta IN EXCLUSIVE MODE", e);
	if (result == PQ_OK)
		result = there ? number(c, "SELECT value FROM spoa_llm.meta WHERE key = 'version'", &version, e) :
				 pq_script(c, FOUNDATION, e);
	if (result != PQ_OK)
		return result;
	*was = *is = (int)version;
	if (version > FLEET_SCHEMA_VERSION) {
		err_set(e,
			"the schema there has version %d, which a newer spoa-llm has made: this one knows versions up to %d",
			*was, FLEET_SCHEMA_VERSION);
		return PQ_FAILED;
	}
	for (size_t i = 0; i < STEPS && result == PQ_OK; i++)
		if (fleet_schema[i].version > version)
			result = pq_script(c, fleet_schema[i].sql, e);
	*is = FLEET_SCHEMA_VERSION;
	snprintf(sql, sizeof sql, "UPDATE spoa_llm.meta SET value = '%d' WHERE key = 'version'", *is);
	return result == PQ_OK ? pq_script(c, sql, e) : result;
}

pq_result fleet_init(pq *c, int *was, int *is, err *e)
{
	pq_result result = pq_script(c, "BEGIN", e);

	*was = *is = 0;
	if (result == PQ_OK)
		result = end(c, migrate(c, was, is, e), e);
	/* After the COMMIT, so that a table in use, which puts off a month's partition, does not put off the schema. */
	if (result == PQ_OK)
		result = pq_script(c,
				   "SELECT spoa_llm.ensure_partition((extract(epoch FROM date_trunc('month', now())"
				   " + n * interval '1 month') * 1000)::bigint) FROM generate_series(-3, 3) AS n",
				   e);
	return result;
}

pq_result fleet_fill(pq *c, bool (*each)(void *ctx, const char *gateway, int64_t day_s), void *ctx, err *e)
{
	pq_result result = PQ_OK;
	bool more = true;

	while (more && result == PQ_OK) {
		pq_rows *rows = NULL;
		result = pq_run(c, "SELECT name, day FROM spoa_llm.fill()", 0, NULL, &rows, e);
		more = result == PQ_OK && pq_rows_count(rows) && !pq_is_null(rows, 0, 1) &&
		       each(ctx, pq_text(rows, 0, 0), pq_int(rows, 0, 1));
		pq_rows_free(rows);
	}
	return result;
}

/* ---- roles */

/* Of one gateway at a time: `ship` has two, a command one. So no gateway can take all that the server has. */
#define CONNECTIONS "16"

/* Checks that the role can be made, or that it can get a new password if `replace`. */
static pq_result check_role(pq *c, const char *role, bool reader, bool replace, bool *there, err *e)
{
	const char *values[] = { role, reader ? "spoa_llm_reader" : "spoa_llm_writer" };
	pq_rows *rows;

	/* Not the groups themselves, and not the owner of the schema, whom PostgreSQL 16 and later make a member of the
	 * groups that it made. */
	pq_result result = pq_run(c,
				  "SELECT pg_has_role(oid, $2, 'member') AND rolcanlogin AND NOT rolcreaterole"
				  " AND NOT rolsuper FROM pg_roles WHERE rolname = $1",
				  2, values, &rows, e);
	if (result != PQ_OK)
		return result;
	*there = pq_rows_count(rows) > 0;
	bool ours = *there && *pq_text(rows, 0, 0) == 't';
	pq_rows_free(rows);
	if (*there && !ours)
		err_set(e, "the role %s is there and is no %s of the fleet: choose another name", role,
			reader ? "reader" : "writer");
	else if (*there && !replace)
		err_set(e, "the role %s is there already: --replace gives it a new password", role);
	else if (!*there && replace)
		err_set(e, "there is no role %s whose password could be replaced", role);
	else
		return PQ_OK;
	return PQ_FAILED;
}

pq_result fleet_add(pq *c, const char *name, bool reader, bool replace, const char *password, err *e)
{
	char role[sizeof FLEET_ROLE + FLEET_NAME_MAX + 1], quoted[2 * sizeof role + 3], sql[1024];
	bool there = false;

	if (!fleet_name_check(slice_cstr(name), e))
		return PQ_FAILED;
	snprintf(role, sizeof role, FLEET_ROLE "%s", name);
	pq_result result = check_role(c, role, reader, replace, &there, e);
	if (result != PQ_OK)
		return result;
	char *verifier = pq_verifier(c, role, password, e);
	if (!verifier)
		return PQ_FAILED;
	pq_quote(quoted, role);
	/* A verifier has letters, digits and "$:+/=-", so it needs no quotes of its own. */
	if (there)
		snprintf(sql, sizeof sql, "ALTER ROLE %s PASSWORD '%s'", quoted, verifier);
	else
		snprintf(sql, sizeof sql, "CREATE ROLE %s LOGIN PASSWORD '%s' IN ROLE %s", quoted, verifier,
			 reader ? "spoa_llm_reader" : "spoa_llm_writer CONNECTION LIMIT " CONNECTIONS);
	free(verifier);
	return pq_script(c, sql, e);
}

/* ---- gateways */

pq_result fleet_gateways(pq *c, void (*each)(void *ctx, const fleet_gateway *g), void *ctx, err *e)
{
	pq_rows *rows;
	pq_result result = pq_run(c,
				  "SELECT no, name, uuid, writer, epoch, position, rows, behind, lag_ms,"
				  " (extract(epoch FROM seen) * 1000)::bigint,"
				  " greatest(0, extract(epoch FROM now() - seen) * 1000)::bigint, version,"
				  " r.hash, c.hash, (extract(epoch FROM r.since) * 1000)::bigint,"
				  " (extract(epoch FROM c.since) * 1000)::bigint FROM spoa_llm.fleet_gateways g"
				  " LEFT JOIN spoa_llm.drift r ON r.gateway = g.no AND r.part = 'routes'"
				  " LEFT JOIN spoa_llm.drift c ON c.gateway = g.no AND c.part = 'clients'"
				  " ORDER BY name COLLATE \"C\"",
				  0, NULL, &rows, e);

	if (result != PQ_OK)
		return result;
	for (size_t i = 0; i < pq_rows_count(rows); i++) {
		const fleet_gateway g = {
			.no = pq_int(rows, i, 0),
			.name = pq_text(rows, i, 1),
			.uuid = pq_text(rows, i, 2),
			.writer = pq_text(rows, i, 3),
			.epoch = pq_int(rows, i, 4),
			.position = pq_int(rows, i, 5),
			.rows = pq_int(rows, i, 6),
			.behind = pq_int(rows, i, 7),
			.lag_ms = pq_int(rows, i, 8),
			.seen_ms = pq_int(rows, i, 9),
			.quiet_ms = pq_int(rows, i, 10),
			.version = pq_text(rows, i, 11),
			.routes_hash = pq_text(rows, i, 12),
			.clients_hash = pq_text(rows, i, 13),
			.routes_since_ms = pq_int(rows, i, 14),
			.clients_since_ms = pq_int(rows, i, 15),
		};
		each(ctx, &g);
	}
	pq_rows_free(rows);
	return PQ_OK;
}

pq_result fleet_retire(pq *c, const char *name, bool *was, err *e)
{
	pq_rows *rows;
	pq_result result = pq_run(c,
				  "UPDATE spoa_llm.gateways SET name = name || '.' || no, writer = NULL"
				  " WHERE name = $1 AND writer IS NOT NULL",
				  1, &name, &rows, e);

	if (result != PQ_OK)
		return result;
	*was = pq_rows_touched(rows) > 0;
	pq_rows_free(rows);
	return PQ_OK;
}

/* ---- months */

pq_result fleet_droppable(pq *c, int64_t before_ms, void (*each)(void *ctx, const char *name), void *ctx, err *e)
{
	char text[24];
	const char *value = text;
	pq_rows *rows;

	snprintf(text, sizeof text, "%" PRId64, before_ms);
	pq_result result = pq_run(
		c,
		"SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
		" WHERE i.inhparent = 'spoa_llm.requests'::regclass AND c.relname ~ '^requests_[0-9]{4}_[0-9]{2}$'"
		" AND c.relname < to_char(to_timestamp($1::bigint / 1000), '\"requests_\"YYYY_MM') ORDER BY 1",
		1, &value, &rows, e);
	if (result != PQ_OK)
		return result;
	for (size_t i = 0; i < pq_rows_count(rows); i++)
		each(ctx, pq_text(rows, i, 0));
	pq_rows_free(rows);
	return PQ_OK;
}

pq_result fleet_drop(pq *c, int64_t before_ms, err *e)
{
	char text[24];
	const char *value = text;

	snprintf(text, sizeof text, "%" PRId64, before_ms);
	return pq_run(c, "SELECT spoa_llm.drop_before($1::bigint)", 1, &value, NULL, e);
}

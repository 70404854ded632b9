/* SPDX-License-Identifier: MIT */
#include "ship/fleet_sql.h"

#include <assert.h>
#include <inttypes.h>

#include "base/text.h"
#include "ledger/columns.h"
#include "ship/fleet_sums.h"

/* ---- lists of sums */

#define OF_ROWS(name, value) ", sum(" value ") AS " name
#define NAME(name, value) ", " name
#define SUM(name, value) ", sum(" name ") AS " name
#define SIGNED(name, value) ", sum(sign * " name ") AS " name
#define ADDED(name, value) ", " name " = h." name " + EXCLUDED." name
#define ZERO(name, value) ", " name " = 0"
#define ALL_ZERO(name, value) name " = 0 AND "
const char fleet_sums_of_rows[] = FLEET_SUMS(OF_ROWS);
const char fleet_sums_names[] = FLEET_SUMS(NAME);
const char fleet_sums_sums[] = FLEET_SUMS(SUM);
const char fleet_sums_all_zero[] = FLEET_SUMS(ALL_ZERO) "true";
static const char sums_signed[] = FLEET_SUMS(SIGNED);
static const char sums_added[] = FLEET_SUMS(ADDED);
static const char sums_zero[] = FLEET_SUMS(ZERO);

/* ---- the statements */

static fleet_sql made;

/* Writes the names of the local ledger's columns; with `taken`, as "name = EXCLUDED.name", without those of the key,
 * which a writer may not change. */
static void columns(char *out, size_t room, bool taken)
{
	size_t len = 0;

	for (size_t i = 0; i < RECORD_COLUMNS && len < room; i++) {
		const char *name = record_columns[i].stored;
		if (taken && (strcmp(name, "id") == 0 || strcmp(name, "time_ms") == 0))
			continue;
		len += (size_t)snprintf(out + len, room - len, "%s%s%s%s", len ? ", " : "", name,
					taken ? " = EXCLUDED." : "", taken ? name : "");
	}
	assert(len < room);
}

/* What each kind of label of what was added up in `changes`, a row for each hour and combination of labels, adds to
 * `hourly`. %s: the sums' names, the sums, and how they are added to what is there. */
#define INTO_HOURLY \
	"INSERT INTO spoa_llm.hourly AS h (gateway, kind, bucket, label%s)" \
	" SELECT $1::int, kind, bucket, label%s FROM changes" FLEET_KINDS \
	" GROUP BY kind, bucket, label ORDER BY kind, bucket, label" \
	" ON CONFLICT (kind, bucket, gateway, label) DO UPDATE SET label = EXCLUDED.label%s"

static void make_merge(const char *names, const char *taken)
{
	/* A batch has an hour or two and a few labels, so rows are added up before each is counted for all kinds. A row
	 * that is replaced is read as it was before this statement. */
	int len = snprintf(
		made.merge, sizeof made.merge,
		"WITH kept AS (SELECT value::bigint AS since FROM spoa_llm.meta WHERE key = 'kept_since_ms'),"
		" incoming AS MATERIALIZED (SELECT DISTINCT ON (time_ms, id) * FROM pg_temp.stage"
		" WHERE time_ms >= (SELECT since FROM kept) ORDER BY time_ms, id, sequence DESC),"
		" old AS MATERIALIZED (SELECT r.* FROM incoming i CROSS JOIN LATERAL (SELECT * FROM spoa_llm.requests r"
		" WHERE r.time_ms = i.time_ms AND r.gateway = $1::int AND r.id = i.id LIMIT 1) r),"
		" written AS (INSERT INTO spoa_llm.requests AS r (gateway, epoch, sequence, %s)"
		" SELECT $1::int, $2::int, sequence, %s FROM incoming ON CONFLICT (time_ms, gateway, id) DO UPDATE SET"
		" epoch = EXCLUDED.epoch, sequence = EXCLUDED.sequence, %s"
		" WHERE (EXCLUDED.epoch, EXCLUDED.sequence) > (r.epoch, r.sequence)"
		" OR ($3::boolean AND (EXCLUDED.epoch, EXCLUDED.sequence) = (r.epoch, r.sequence)) RETURNING time_ms, id),"
		" replaced AS (SELECT old.* FROM old JOIN written USING (time_ms, id)),"
		" changes AS (SELECT 1 AS sign, " FLEET_HOUR " AS bucket, " FLEET_LABELS
		"%s FROM incoming JOIN written USING (time_ms, id) GROUP BY bucket, " FLEET_LABELS
		" UNION ALL SELECT -1, " FLEET_HOUR " AS bucket, " FLEET_LABELS
		"%s FROM replaced GROUP BY bucket, " FLEET_LABELS "), added AS (" INTO_HOURLY
		") SELECT (SELECT count(*) FROM written) - (SELECT count(*) FROM replaced),"
		" (SELECT count(*) FROM replaced),"
		" (SELECT count(*) FROM pg_temp.stage WHERE time_ms < (SELECT since FROM kept))",
		names, names, taken, fleet_sums_of_rows, fleet_sums_of_rows, fleet_sums_names, sums_signed, sums_added);
	assert(len > 0 && (size_t)len < sizeof made.merge);
}

const fleet_sql *fleet_statements(void)
{
	char names[2048], taken[4096];

	if (*made.stage)
		return &made;
	columns(names, sizeof names, false);
	columns(taken, sizeof taken, true);
	make_merge(names, taken);
	snprintf(made.copy, sizeof made.copy, "COPY pg_temp.stage (sequence, %s) FROM STDIN", names);
	snprintf(made.clear, sizeof made.clear,
		 "UPDATE spoa_llm.hourly SET label = label%s"
		 " WHERE gateway = $1::int AND bucket >= $2::bigint AND bucket < $3::bigint",
		 sums_zero);
	snprintf(made.recount, sizeof made.recount,
		 "WITH changes AS (SELECT " FLEET_HOUR " AS bucket, " FLEET_LABELS "%s FROM spoa_llm.requests"
		 " WHERE gateway = $1::int AND " FLEET_ROWS_OF_HOURS " GROUP BY bucket, " FLEET_LABELS ") " INTO_HOURLY,
		 fleet_sums_of_rows, fleet_sums_names, fleet_sums_sums, sums_added);
	snprintf(made.stage, sizeof made.stage,
		 "CREATE TEMPORARY TABLE stage ON COMMIT DELETE ROWS AS SELECT sequence, %s FROM spoa_llm.requests"
		 " WITH NO DATA",
		 names);
	return &made;
}

/* ---- rows of the COPY */

static bool append(buf *to, const char *text, size_t len)
{
	return buf_append(to, text, len);
}

/* Appends text as COPY's format has it. */
static bool append_text(buf *to, const char *text)
{
	const char *at = text, *plain = text;

	while (*at) {
		const char *before = at, *instead = NULL;
		uint32_t c = utf8_next(&at);
		switch (c) {
		case '\t':
			instead = "\\t";
			break;
		case '\n':
			instead = "\\n";
			break;
		case '\r':
			instead = "\\r";
			break;
		case '\\':
			instead = "\\\\";
			break;
		case 0xfffd:
			instead = "\xef\xbf\xbd";
			break;
		default:
			continue;
		}
		if (!append(to, plain, (size_t)(before - plain)) || !append(to, instead, strlen(instead)))
			return false;
		plain = at;
	}
	return append(to, plain, (size_t)(at - plain));
}

static bool append_number(buf *to, int64_t n)
{
	char text[24];
	int len = snprintf(text, sizeof text, "%" PRId64, n);

	return append(to, text, (size_t)len);
}

static bool append_column(buf *to, const record *r, const record_column *c)
{
	const void *field = column_of(r, c);

	switch (c->kind) {
	case COLUMN_TEXT:
		return append_text(to, field);
	case COLUMN_STATUS:
		return append_number(to, r->status);
	case COLUMN_FLAG:
		return append_number(to, *(const bool *)field);
	case COLUMN_COUNT:
		if (*(const int64_t *)field < 0)
			return append(to, "\\N", 2);
		return append_number(to, *(const int64_t *)field);
	case COLUMN_TIME:
	case COLUMN_NUMBER:
	case COLUMN_MONEY:
	case COLUMN_COST:
		return append_number(to, *(const int64_t *)field);
	case COLUMN_USAGE:
		return append_number(to, r->usage);
	case COLUMN_PRICE:
		return append_number(to, r->price);
	case COLUMN_TAP:
		break;
	}
	return append_number(to, r->tap);
}

bool fleet_copy_row(buf *to, int64_t sequence, const record *r)
{
	size_t begin = buf_len(to);
	bool ok = append_number(to, sequence);

	for (size_t i = 0; ok && i < RECORD_COLUMNS; i++)
		ok = append(to, "\t", 1) && append_column(to, r, &record_columns[i]);
	ok = ok && append(to, "\n", 1);
	if (!ok)
		to->end = to->start + begin;
	return ok;
}

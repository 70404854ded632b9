/* SPDX-License-Identifier: MIT */
#include "ship/fleet_span.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "ship/fleet_sql.h"

enum { DAY = 86400 };

/* Returns the bucket of the first hour that does not begin before `ms`. */
static int64_t first_hour(int64_t ms)
{
	int64_t s = (ms / HOUR_MS + (ms % HOUR_MS > 0)) * 3600;

	return s < FLEET_HOURS_END ? s : FLEET_HOURS_END;
}

int64_t fleet_within(int64_t s)
{
	return s < 0 ? 0 : s < FLEET_HOURS_END ? s : FLEET_HOURS_END;
}

pq_result fleet_span_of(pq *c, int64_t from_ms, int64_t to_ms, bool days, fleet_span *span, err *e)
{
	pq_rows *rows = NULL;
	pq_result result = pq_run(c, "SELECT max(daily_from), max(facets_from) FROM spoa_llm.fleet_gateways", 0, NULL,
				  &rows, e);

	*span = (fleet_span){ .from_s = first_hour(from_ms), .to_s = first_hour(to_ms) };
	if (result != PQ_OK)
		return result;
	int64_t daily_s = fleet_within(pq_int(rows, 0, 0));
	span->facets_s = fleet_within(pq_int(rows, 0, 1));
	pq_rows_free(rows);
	span->days_s = ((span->from_s > daily_s ? span->from_s : daily_s) + DAY - 1) / DAY * DAY;
	span->days_end_s = span->to_s / DAY * DAY;
	if (!days || span->days_s >= span->days_end_s)
		span->days_s = span->days_end_s = span->to_s;
	return PQ_OK;
}

void fleet_bounds_of(fleet_bounds *out, const fleet_span *span)
{
	const int64_t bounds[] = { span->from_s, span->to_s, span->days_s, span->days_end_s };

	for (size_t i = 0; i < 4; i++)
		snprintf(out->text[i], sizeof out->text[i], "%" PRId64, bounds[i]);
}

/* SPDX-License-Identifier: MIT */
#include "ledger/columns.h"

#define COLUMN_AS(name, stored, kind, field) \
	{ \
		name, stored, kind, offsetof(record, field), sizeof(((record *)0)->field) \
	}
#define COLUMN(field, kind) COLUMN_AS(#field, #field, kind, field)

const record_column record_columns[RECORD_COLUMNS] = {
	COLUMN(id, COLUMN_TEXT),
	COLUMN_AS("time", "time_ms", COLUMN_TIME, time_ms),
	COLUMN(route, COLUMN_TEXT),
	COLUMN(backend, COLUMN_TEXT),
	COLUMN(protocol, COLUMN_TEXT),
	COLUMN(model, COLUMN_TEXT),
	COLUMN(project, COLUMN_TEXT),
	COLUMN(client, COLUMN_TEXT),
	COLUMN(status, COLUMN_STATUS),
	COLUMN(code, COLUMN_TEXT),
	COLUMN(termination, COLUMN_TEXT),
	COLUMN(stream, COLUMN_FLAG),
	COLUMN(bytes_in, COLUMN_COUNT),
	COLUMN(bytes_out, COLUMN_COUNT),
	COLUMN(ttfb_ms, COLUMN_COUNT),
	COLUMN(total_ms, COLUMN_COUNT),
	COLUMN(input, COLUMN_COUNT),
	COLUMN(output, COLUMN_COUNT),
	COLUMN(cache_read, COLUMN_COUNT),
	COLUMN(cache_write, COLUMN_COUNT),
	COLUMN(saved, COLUMN_NUMBER),
	COLUMN_AS("usage_from", "usage", COLUMN_USAGE, usage),
	COLUMN_AS("price_from", "price", COLUMN_PRICE, price),
	COLUMN(cost, COLUMN_COST),
	COLUMN(saved_compression, COLUMN_COST),
	COLUMN(saved_cache, COLUMN_COST),
	COLUMN(saved_routing, COLUMN_COST),
	COLUMN(price_missing, COLUMN_TEXT),
	COLUMN(tap, COLUMN_TAP),
	COLUMN(member, COLUMN_TEXT),
	COLUMN(attempts, COLUMN_NUMBER),
	COLUMN(tried, COLUMN_TEXT),
	COLUMN(keyed, COLUMN_FLAG),
	COLUMN(charged, COLUMN_MONEY),
	COLUMN(operation, COLUMN_TEXT),
	COLUMN(traceparent, COLUMN_TEXT),
};

void column_set(record *r, const record_column *c, int64_t number)
{
	void *field = (char *)r + c->offset;

	switch (c->kind) {
	case COLUMN_TEXT:
		break;
	case COLUMN_STATUS:
		r->status = (int32_t)number;
		break;
	case COLUMN_FLAG:
		*(bool *)field = number != 0;
		break;
	case COLUMN_COUNT:
	case COLUMN_TIME:
	case COLUMN_NUMBER:
	case COLUMN_MONEY:
	case COLUMN_COST:
		*(int64_t *)field = number;
		break;
	case COLUMN_USAGE:
		r->usage = number >= USAGE_NONE && number <= USAGE_STREAM ? (usage_from)number : USAGE_NONE;
		break;
	case COLUMN_PRICE:
		r->price = number >= PRICE_NONE && number <= PRICE_PARTIAL ? (price_from)number : PRICE_NONE;
		break;
	case COLUMN_TAP:
		r->tap = number >= TAP_NOT && number <= TAP_NOTHING ? (tap_state)number : TAP_NOT;
		break;
	}
}

/* SPDX-License-Identifier: MIT
 *
 * Rows of a ledger go to PostgreSQL once more, by the statements of the shipper. It may run meanwhile: the lock on the
 * gateway's row lets one transaction at a time write for a gateway. */
#include <inttypes.h>
#include <stdlib.h>

#include "ship/fleet_sql.h"
#include "ship/fleet_verify.h"

enum { BATCH_ROWS = 5000, BATCH_BYTES = 4 << 20, BATCH_ROOM = BATCH_BYTES + (1 << 20), DAY = 86400 };

typedef struct resending {
	pq *c;
	const fleet_place *place;
	fleet_resent *sent;
	bool (*goes_on)(void *ctx, int64_t rows);
	void *ctx;
	buf batch;
	int count;
	err *e;
} resending;

/* Begins a transaction that writes for the gateway, if that is still the one that was found. */
static pq_result begin(const resending *r)
{
	pq_rows *rows = NULL;
	const char *no = r->place->no;

	pq_result result = pq_script(r->c, "BEGIN", r->e);
	if (result == PQ_OK)
		result = pq_run(r->c, FLEET_LOCK_GATEWAY, 1, &no, &rows, r->e);
	if (result != PQ_OK)
		return result;
	if (!pq_rows_count(rows) || strcmp(pq_text(rows, 0, 0), r->place->epoch) != 0) {
		err_set(r->e, "the gateway has another epoch than before: run the command again");
		result = PQ_FAILED;
	}
	pq_rows_free(rows);
	return result;
}

static pq_result end(const resending *r, pq_result result)
{
	err ignored;

	if (result == PQ_OK)
		return pq_script(r->c, "COMMIT", r->e);
	if (result == PQ_FAILED && pq_script(r->c, "ROLLBACK", &ignored) != PQ_OK)
		return PQ_LOST;
	return result;
}

static pq_result write_batch(const resending *r)
{
	const fleet_sql *sql = fleet_statements();
	const char *values[] = { r->place->no, r->place->epoch, "true" };
	slice bytes = buf_slice(&r->batch);
	pq_rows *rows = NULL;

	pq_result result = begin(r);
	if (result == PQ_OK)
		result = pq_copy_begin(r->c, sql->copy, r->e);
	if (result == PQ_OK)
		result = pq_copy_put(r->c, bytes.ptr, bytes.len, r->e);
	if (result == PQ_OK)
		result = pq_copy_end(r->c, r->e);
	if (result == PQ_OK)
		result = pq_run(r->c, sql->merge, 3, values, &rows, r->e);
	result = end(r, result);
	if (result == PQ_OK) {
		r->sent->added += pq_int(rows, 0, 0);
		r->sent->replaced += pq_int(rows, 0, 1);
		r->sent->dropped += pq_int(rows, 0, 2);
	}
	pq_rows_free(rows);
	return result;
}

static bool flush(resending *r)
{
	if (r->count)
		r->sent->result = write_batch(r);
	buf_consume(&r->batch, buf_len(&r->batch), BATCH_ROOM);
	r->count = 0;
	return r->sent->result == PQ_OK;
}

static bool take(void *ctx, const record *row)
{
	resending *r = ctx;

	if (!fleet_copy_row(&r->batch, row->sequence, row)) {
		err_memory(r->e);
		r->sent->result = PQ_FAILED;
		return false;
	}
	r->sent->rows++;
	r->count++;
	if (!r->goes_on(r->ctx, r->sent->rows)) {
		r->sent->next_s = row->time_ms / 3600000 * 3600;
		return false;
	}
	return (r->count < BATCH_ROWS && buf_len(&r->batch) < BATCH_BYTES) || flush(r);
}

/* Makes the sums of the hours in [from_s, to_s) anew, a day in a transaction. */
static pq_result recount(const resending *r, int64_t from_s, int64_t to_s)
{
	const fleet_sql *sql = fleet_statements();
	char from[24], to[24];
	const char *values[] = { r->place->no, from, to };
	pq_rows *days = NULL;

	snprintf(from, sizeof from, "%" PRId64, from_s);
	snprintf(to, sizeof to, "%" PRId64, to_s);
	pq_result result = pq_run(r->c,
				  "SELECT DISTINCT bucket - bucket % 86400 FROM spoa_llm.hourly WHERE gateway = $1::int"
				  " AND bucket >= $2::bigint AND bucket < $3::bigint ORDER BY 1",
				  3, values, &days, r->e);
	bool stopped = r->sent->next_s != FLEET_RESENT_ALL;
	for (size_t i = 0; result == PQ_OK && i < pq_rows_count(days); i++) {
		int64_t day = pq_int(days, i, 0);
		if (!stopped && !r->goes_on(r->ctx, r->sent->rows)) {
			r->sent->next_s = day > from_s ? day : from_s;
			break;
		}
		snprintf(from, sizeof from, "%" PRId64, day > from_s ? day : from_s);
		snprintf(to, sizeof to, "%" PRId64, day + DAY < to_s ? day + DAY : to_s);
		result = begin(r);
		if (result == PQ_OK)
			result = pq_run(r->c, sql->clear, 3, values, NULL, r->e);
		if (result == PQ_OK)
			result = pq_run(r->c, sql->recount, 3, values, NULL, r->e);
		snprintf(from, sizeof from, "%" PRId64, day);
		snprintf(to, sizeof to, "%" PRId64, day + DAY);
		if (result == PQ_OK)
			result = pq_run(r->c, "SELECT spoa_llm.recount($1::int, $2::bigint, $3::bigint)", 3, values,
					NULL, r->e);
		result = end(r, result);
	}
	pq_rows_free(days);
	return result;
}

store_result fleet_resend(pq *c, store *s, const fleet_place *place, int64_t from_s, int64_t to_s,
			  bool (*goes_on)(void *ctx, int64_t rows), void *ctx, fleet_resent *sent, err *e)
{
	resending r = { .c = c, .place = place, .sent = sent, .goes_on = goes_on, .ctx = ctx, .e = e };
	store_result result = STORE_OK;

	*sent = (fleet_resent){ .next_s = FLEET_RESENT_ALL, .result = pq_script(c, fleet_statements()->stage, e) };
	buf_init(&r.batch, BATCH_ROOM);
	if (sent->result == PQ_OK)
		result = store_export(s, fleet_from_ms(from_s), fleet_to_ms(to_s), take, &r, e);
	if (result == STORE_OK && sent->result == PQ_OK && flush(&r))
		sent->result = recount(&r, from_s, sent->next_s < to_s ? sent->next_s : to_s);
	buf_deinit(&r.batch);
	return result;
}

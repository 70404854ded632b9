/* SPDX-License-Identifier: MIT */
#include "ship/batch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "ship/fleet_sql.h"

bool batch_init(batch *b, err *e)
{
	memset(b, 0, sizeof *b);
	b->after = -1;
	buf_init(&b->text, BATCH_BYTES);
	b->rows = malloc(BATCH_ROWS * sizeof *b->rows);
	return b->rows || err_memory(e);
}

void batch_deinit(batch *b)
{
	buf_deinit(&b->text);
	free(b->rows);
}

void batch_id(char out[RECORD_ID_MAX + 1], const char *id)
{
	size_t i = 0;

	for (; i < RECORD_ID_MAX && id[i]; i++)
		out[i] = (char)(id[i] > ' ' && id[i] < 0x7f ? id[i] : '?');
	out[i] = '\0';
}

/* ---- reading */

static bool take(void *ctx, const record *r)
{
	batch *b = ctx;
	size_t begin = buf_len(&b->text);

	/* The buffer has room for thousands of rows, so that the first one always fits. */
	b->more = b->count == BATCH_ROWS || !fleet_copy_row(&b->text, r->sequence, r);
	if (b->more)
		return false;
	batch_row *row = &b->rows[b->count++];
	row->begin = begin;
	row->sequence = r->sequence;
	row->time_ms = r->time_ms;
	batch_id(row->id, r->id);
	return true;
}

bool batch_settle(const char *db, err *e)
{
	char path[4096];

	snprintf(path, sizeof path, "%s-wal", db);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || err_set(e, "ledger %s: %s", path, strerror(errno));
	bool ok = fsync(fd) == 0 || err_set(e, "ledger %s: %s", path, strerror(errno));
	close(fd);
	return ok;
}

store_result batch_read(batch *b, store *s, const char *db, int64_t after, err *e)
{
	b->after = -1;
	b->count = 0;
	b->more = false;
	b->text.start = b->text.end = 0;
	store_result result = store_changes(s, after, BATCH_ROWS + 1, take, b, e);
	if (result == STORE_OK && b->count && !batch_settle(db, e))
		result = STORE_ERROR;
	b->after = result == STORE_OK ? after : -1;
	return result;
}

/* ---- sending */

typedef struct sending {
	pq *c;
	place *at;
	const batch *b;
	batch_beside beside;
	batch_sent *sent;
	pq_result result;
	char state[6]; /* the SQLSTATE of PQ_FAILED */
	err *e;
} sending;

/* Notes what a statement resulted in, and the SQLSTATE of a failure. True: it did not fail. */
static bool is_ok(sending *s, pq_result result)
{
	s->result = result;
	if (result == PQ_FAILED)
		snprintf(s->state, sizeof s->state, "%s", pq_sqlstate(s->c));
	return result == PQ_OK;
}

static void number(char out[24], int64_t n)
{
	snprintf(out, 24, "%" PRId64, n);
}

/* Locks the gateway's row, and compares its epoch and position with what this process knows. */
static batch_result lock_gateway(sending *s)
{
	const char *values[] = { s->at->no };
	pq_rows *rows = NULL;

	if (!is_ok(s, pq_run(s->c, FLEET_LOCK_GATEWAY, 1, values, &rows, s->e)))
		return BATCH_PQ;
	bool same = pq_rows_count(rows) == 1 && pq_int(rows, 0, 0) == s->at->epoch &&
		    pq_int(rows, 0, 1) == s->at->position;
	pq_rows_free(rows);
	return same ? BATCH_OK : BATCH_MOVED;
}

/* Copies and merges the rows [from, to). */
static bool put_rows(sending *s, size_t from, size_t to, batch_sent *sent)
{
	const fleet_sql *sql = fleet_statements();
	const char *text = (const char *)s->b->text.data;
	size_t begin = s->b->rows[from].begin, end = to < s->b->count ? s->b->rows[to].begin : buf_len(&s->b->text);
	char epoch[24];
	const char *values[] = { s->at->no, epoch, "false" };
	void (*meanwhile)(void *ctx) = s->beside.meanwhile;
	pq_rows *rows = NULL;

	s->beside.meanwhile = NULL;
	number(epoch, s->at->epoch);
	if (!is_ok(s, pq_copy_begin(s->c, sql->copy, s->e)) ||
	    !is_ok(s, pq_copy_put(s->c, text + begin, end - begin, s->e)) || !is_ok(s, pq_copy_end(s->c, s->e)) ||
	    !is_ok(s, pq_run_beside(s->c, sql->merge, 3, values, &rows, meanwhile, s->beside.ctx, s->e)))
		return false;
	*sent = (batch_sent){ .added = pq_int(rows, 0, 0),
			      .replaced = pq_int(rows, 0, 1),
			      .dropped = pq_int(rows, 0, 2) };
	pq_rows_free(rows);
	return true;
}

/* Notes the row in the table of those that were refused. */
static bool put_rejected(sending *s, const batch_row *row, const char *problem)
{
	char epoch[24], sequence[24], most[24], why[sizeof((err){ 0 }).text];
	const char *values[] = { s->at->no, epoch, sequence, row->id, why, most };

	number(epoch, s->at->epoch);
	number(sequence, row->sequence);
	number(most, BATCH_REJECTED);
	size_t i = 0;
	for (; i < sizeof why - 1 && problem[i]; i++)
		why[i] = (char)(problem[i] >= ' ' && problem[i] < 0x7f ? problem[i] : '?');
	why[i] = '\0';
	return is_ok(s,
		     pq_run(s->c,
			    "INSERT INTO spoa_llm.rejected (gateway, epoch, sequence, id, problem)"
			    " SELECT $1::int, $2::int, $3::bigint, $4, $5 WHERE (SELECT count(*) FROM spoa_llm.rejected"
			    " WHERE gateway = $1::int) < $6::bigint ON CONFLICT DO NOTHING",
			    6, values, NULL, s->e));
}

/* Moves the position to `row`, after which `left` rows of the batch are to be sent. */
static bool move(sending *s, const batch_row *row, size_t left, int64_t added)
{
	char position[24], time_ms[24], behind[24], rows[24], lag[24];
	const char *values[] = { s->at->no, position, row->id, time_ms, behind, rows, lag };

	int64_t after = s->beside.behind + (int64_t)left;
	number(position, row->sequence);
	number(time_ms, row->time_ms);
	number(behind, after);
	number(rows, added);
	number(lag, after ? s->beside.lag_ms : 0);
	return is_ok(
		s,
		pq_run(s->c,
		       "UPDATE spoa_llm.gateways SET position = $2::bigint, position_id = $3,"
		       " position_ms = $4::bigint, behind = $5::bigint, rows = rows + $6::bigint, lag_ms = $7::bigint,"
		       " seen = now()"
		       " WHERE no = $1::int",
		       7, values, NULL, s->e));
}

/* Runs one transaction, which sends the rows [from, to), or with a `problem` notes the one row as rejected. */
static batch_result transact(sending *s, size_t from, size_t to, const char *problem)
{
	const batch_row *last = &s->b->rows[to - 1];
	batch_sent sent = { .rejected = problem != NULL };
	batch_result result = BATCH_PQ;
	err ignored;

	if (is_ok(s, pq_script(s->c, "BEGIN", s->e)))
		result = lock_gateway(s);
	if (result == BATCH_OK) {
		bool ok = problem ? put_rejected(s, last, problem) : put_rows(s, from, to, &sent);
		ok = ok && move(s, last, s->b->count - to, sent.added) && is_ok(s, pq_script(s->c, "COMMIT", s->e));
		result = ok ? BATCH_OK : BATCH_PQ;
	}
	if (result != BATCH_OK && (s->result == PQ_OK || s->result == PQ_FAILED) &&
	    pq_script(s->c, "ROLLBACK", &ignored) != PQ_OK)
		s->result = PQ_LOST;
	if (result != BATCH_OK)
		return result;
	s->at->rejected = problem ? s->at->rejected + 1 : 0;
	s->at->position = last->sequence;
	s->at->time_ms = last->time_ms;
	memcpy(s->at->id, last->id, sizeof last->id);
	s->sent->added += sent.added;
	s->sent->replaced += sent.replaced;
	s->sent->dropped += sent.dropped;
	s->sent->rejected += sent.rejected;
	return BATCH_OK;
}

bool batch_is_rows_fault(const char *state)
{
	return strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 || strncmp(state, "54", 2) == 0;
}

/* Sends the rows [from, to). Where that fails for one of them, sends either half apart. */
static batch_result send(sending *s, size_t from, size_t to)
{
	char problem[sizeof s->e->text];

	batch_result result = transact(s, from, to, NULL);
	if (result != BATCH_PQ || s->result != PQ_FAILED)
		return result;
	if (!batch_is_rows_fault(s->state))
		return result;
	if (to - from == 1) {
		snprintf(problem, sizeof problem, "%s", s->e->text);
		if (s->at->rejected >= BATCH_REJECTED_RUN) {
			err_set(s->e,
				"%zu rows, one after the other, were refused as this one is: %.300s; when that is fixed, "
				"`spoa-llm fleet resend` sends them again",
				s->at->rejected, problem);
			return result;
		}
		result = transact(s, from, to, problem);
		if (result == BATCH_OK)
			log_event(ship_rejected, LOG_C("id", s->b->rows[from].id), LOG_C("problem", problem));
		return result;
	}
	size_t middle = from + (to - from) / 2;
	result = send(s, from, middle);
	return result == BATCH_OK ? send(s, middle, to) : result;
}

batch_result batch_send(const batch *b, pq *c, place *at, const batch_beside *beside, batch_sent *sent,
			pq_result *result, err *e)
{
	sending s = { .c = c, .at = at, .b = b, .beside = *beside, .sent = sent, .e = e };

	*sent = (batch_sent){ .added = 0 };
	batch_result done = BATCH_OK;
	for (size_t from = 0, to; from < b->count && done == BATCH_OK; from = to) {
		to = b->count - from < at->most ? b->count : from + at->most;
		done = send(&s, from, to);
		/* What is too much for a slow link or server within the time that a statement has would never get
		 * there. */
		if (done == BATCH_OK && to - from == at->most && at->most < BATCH_ROWS)
			at->most += at->most / 8 + 1;
		if (done == BATCH_PQ && s.result != PQ_STOPPED && to - from > 1)
			at->most = (to - from) / 2;
	}
	*result = s.result;
	return done;
}

/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm requests`: the last requests, of this gateway or of the fleet, and with --follow those that end from now
 * on. */
#include "report/requests.h"

#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "base/clock.h"
#include "commands/fleet_command.h"
#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "report/export.h"
#include "report/ledger_store.h"
#include "report/period.h"
#include "ship/fleet_facets.h"

enum {
	LAST_DEFAULT = 20,
	LAST_MAX = 10000,
	FOLLOW_MS = 500, /* between two looks into the ledger */
	SHOWN_MAX = 512, /* ids that are remembered, because a row that a report of the tap changes comes again */
};

typedef struct listing {
	terminal terminal;
	bool json, one;
	size_t count;
	char shown[SHOWN_MAX][RECORD_ID_MAX + 1]; /* a ring of ids */
} listing;

static bool was_shown(const listing *l, const char *id)
{
	for (size_t i = 0; i < SHOWN_MAX && i < l->count; i++)
		if (strcmp(l->shown[i], id) == 0)
			return true;
	return false;
}

static bool show(void *ctx, const record *r)
{
	listing *l = ctx;

	if (was_shown(l, r->id))
		return true;
	memcpy(l->shown[l->count++ % SHOWN_MAX], r->id, sizeof r->id);
	if (l->json)
		export_write_row(stdout, r, NULL, false);
	else if (l->one)
		requests_one(&l->terminal, r, NULL);
	else
		requests_line(&l->terminal, r, NULL);
	return !output_failed() && !interrupted();
}

/* Shows the requests that come, until a signal or until standard output fails. */
static store_result follow(store *s, int64_t after, const row_filter *only, listing *l, err *e)
{
	const struct timespec pause = { 0, FOLLOW_MS * 1000000L };
	store_result result = STORE_OK;
	int tries = 0;

	while (!interrupted() && fflush(stdout) == 0) {
		result = store_newer(s, &after, only, show, l, e);
		if (result != STORE_OK && !ledger_store_retry(result, &tries))
			return result;
		tries = result == STORE_OK ? 0 : tries;
		nanosleep(&pause, NULL);
	}
	return STORE_OK;
}

static bool last_of(const char *text, size_t *last, err *e)
{
	char *end;

	*last = LAST_DEFAULT;
	if (!text)
		return true;
	unsigned long n = strtoul(text, &end, 10);
	*last = n;
	return (*text >= '0' && *text <= '9' && !*end && n <= LAST_MAX) ||
	       err_set(e, "--last \"%.60s\": a whole number from 0 to %d is expected", text, LAST_MAX);
}

static store_result list(store *s, const ledger_request *ask, period p, const row_filter *only, size_t last, listing *l,
			 err *e)
{
	store_result result;
	store_id id = { .sequence = 0 };
	int tries = 0;

	/* Reads the sequence before the rows, so that no request is left out that comes in between. */
	do
		result = ask->follow ? store_identity(s, &id, e) : STORE_OK;
	while (ledger_store_retry(result, &tries));
	if (result == STORE_OK && !l->json && !l->one)
		requests_heading(&l->terminal, false);
	do
		if (result == STORE_OK || result == STORE_BUSY)
			result = store_last(s, p.from_ms, p.to_ms, only, last, show, l, e);
	while (ledger_store_retry(result, &tries));
	if (result == STORE_OK && ask->follow)
		result = follow(s, id.sequence, only, l, e);
	return result;
}

/* Says that there is no such request. That is a failure where one request was asked for. Returns the exit code. */
static int none_found(const listing *l, const char *where, int code)
{
	if (!l->json)
		fprintf(stderr, "spoa-llm: no such request is in %s\n", where);
	return l->one && code == EX_OK ? EX_NOINPUT : code;
}

/* ---- of the fleet */

typedef struct found {
	record row;
	char gateway[128];
} found;

typedef struct gathering {
	found *rows; /* room for `max`, newest first */
	size_t count, max;
	int64_t got;  /* of this page */
	bool stopped; /* too many requests would have to be looked at */
	period p;
} gathering;

static bool gather(void *ctx, const record *r, const char *gateway)
{
	gathering *g = ctx;

	g->got++;
	/* PostgreSQL is asked for whole hours. */
	if (r->time_ms >= g->p.from_ms && r->time_ms < g->p.to_ms && g->count < g->max) {
		found *f = &g->rows[g->count++];
		f->row = *r;
		snprintf(f->gateway, sizeof f->gateway, "%s", gateway);
	}
	return !interrupted();
}

/* Gathers the last requests of all gateways. */
static pq_result gather_pages(pq *conn, gathering *g, const row_filter *only, err *e)
{
	store_page_question q = { .from_ms = g->p.from_ms / HOUR_MS * HOUR_MS,
				  .to_ms = g->p.to_ms < INT64_MAX - HOUR_MS ?
						   (g->p.to_ms + HOUR_MS - 1) / HOUR_MS * HOUR_MS :
						   g->p.to_ms,
				  .only = only,
				  .limit = (int64_t)g->max };
	store_page_told told;
	pq_result result;

	do {
		g->got = 0;
		result = fleet_page(conn, NULL, &q, gather, g, &told, e);
		q.offset += g->got;
		g->stopped = told.stopped;
	} while (result == PQ_OK && g->got == q.limit && g->count < g->max && q.limit);
	return result;
}

static int of_fleet(const config *c, const row_filter *only, period p, size_t last, listing *l)
{
	progress shown = progress_begin("asking PostgreSQL");
	gathering g = { .rows = calloc(last ? last : 1, sizeof *g.rows), .max = last, .p = p };
	int code = EX_OSERR;
	err e = { 0 };

	if (!g.rows) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		return code;
	}
	pq *conn = fleet_command_open_long(c, FLEET_REPORT_S, &shown, &code);
	pq_result result = conn ? gather_pages(conn, &g, only, &e) : PQ_OK;
	pq_close(conn);
	progress_end(&shown);
	if (conn && result == PQ_OK) {
		if (!l->json && !l->one)
			requests_heading(&l->terminal, true);
		for (size_t i = g.count; i > 0; i--) {
			const found *f = &g.rows[i - 1];
			if (l->json)
				export_write_row(stdout, &f->row, f->gateway, false);
			else if (l->one)
				requests_one(&l->terminal, &f->row, f->gateway);
			else
				requests_line(&l->terminal, &f->row, f->gateway);
		}
		code = finish_output();
		if (g.stopped)
			fprintf(stderr,
				"spoa-llm: only the newest requests of the period were looked at, because there are too many; --until shows earlier ones\n");
		if (!g.count)
			code = none_found(l, g.stopped ? "what was looked at of PostgreSQL" : "PostgreSQL", code);
	} else if (conn) {
		code = fleet_command_failed(result, &e);
	}
	free(g.rows);
	return code;
}

int command_requests(const config *c, const ledger_request *ask)
{
	row_filter only = ask->only;
	size_t last;
	period p;
	int code = EX_OSERR;
	err e = { 0 };

	if (!last_of(ask->last, &last, &e) || !period_parse(ask->since, ask->until, "all", &p, &e) ||
	    (ask->status && !filter_status(&only, ask->status, &e))) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_USAGE;
	}
	if (ask->fleet && ask->follow) {
		fprintf(stderr, "spoa-llm: --follow shows the requests of this gateway; give --fleet or --follow\n");
		return EX_USAGE;
	}
	listing *l = calloc(1, sizeof *l);
	if (!l) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		return code;
	}
	l->terminal = terminal_of(stdout);
	l->json = ask->json;
	l->one = only.id && *only.id && only.id[strlen(only.id) - 1] != '*' && !ask->follow;
	if (ask->fleet) {
		code = of_fleet(c, &only, p, last, l);
		free(l);
		return code;
	}
	interrupt_begin();
	store *s = ledger_command_open(c, false, false, &code, &e);
	if (s) {
		store_stop_if(s, interrupted);
		store_result result = list(s, ask, p, &only, last, l, &e);
		store_close(s);
		code = finish_output();
		if (result != STORE_OK)
			code = ledger_command_failed(result, &e);
		else if (interrupted() && !ask->follow)
			code = ledger_command_stopped();
		else if (!l->count && !ask->follow)
			code = none_found(l, "the ledger", code);
	}
	free(l);
	return code;
}

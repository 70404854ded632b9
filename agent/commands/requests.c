/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm requests`: the last requests, and with --follow those that end from now on. */
#include "report/requests.h"

#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "report/export.h"
#include "report/ledger_store.h"
#include "report/period.h"

enum {
	LAST_DEFAULT = 20,
	LAST_MAX = 10000,
	FOLLOW_MS = 500, /* between two looks into the ledger */
	SHOWN_MAX = 512, /* a request whose row changes in that time, because the tap reports, is shown once */
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
		requests_one(&l->terminal, r);
	else
		requests_line(&l->terminal, r);
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

	/* First, so that nothing that comes between the two is left out. */
	do
		result = ask->follow ? store_identity(s, &id, e) : STORE_OK;
	while (ledger_store_retry(result, &tries));
	if (result == STORE_OK && !l->json && !l->one)
		requests_heading(&l->terminal);
	do
		if (result == STORE_OK || result == STORE_BUSY)
			result = store_last(s, p.from_ms, p.to_ms, only, last, show, l, e);
	while (ledger_store_retry(result, &tries));
	if (result == STORE_OK && ask->follow)
		result = follow(s, id.sequence, only, l, e);
	return result;
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
	listing *l = calloc(1, sizeof *l);
	if (!l) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		return code;
	}
	l->terminal = terminal_of(stdout);
	l->json = ask->json;
	l->one = only.id && *only.id && only.id[strlen(only.id) - 1] != '*' && !ask->follow;
	store *s = ledger_command_open(c, false, false, &code, &e);
	if (s) {
		interrupt_begin();
		store_result result = list(s, ask, p, &only, last, l, &e);
		store_close(s);
		code = finish_output();
		if (result != STORE_OK)
			code = ledger_command_failed(result, &e);
		else if (!l->count && !ask->json && !ask->follow)
			fprintf(stderr, "spoa-llm: no such request is in the ledger\n");
	}
	free(l);
	return code;
}

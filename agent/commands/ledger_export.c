/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger export`: every recorded request, of the ledger or of the fleet, as JSON lines or CSV. */
#include "report/export.h"

#include <sysexits.h>
#include <unistd.h>

#include "commands/fleet_command.h"
#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "commands/progress.h"
#include "report/print.h"

typedef struct watch {
	progress progress;
	int64_t rows, last_ms;
	bool shows; /* the rows do not go to a terminal, where progress would stand between them */
} watch;

static bool told(void *ctx, const record *r)
{
	watch *w = ctx;

	w->rows++;
	w->last_ms = r->time_ms;
	if (w->shows)
		progress_rate(&w->progress, w->rows, 0, 0);
	return !interrupted();
}

/* Says where an export that was stopped goes on. Returns the exit code. */
static int end(watch *w, int code)
{
	char count[PRINT_NUMBER], time[PRINT_NUMBER];

	progress_end(&w->progress);
	if (!interrupted() || code != EX_OK)
		return code;
	if (w->rows)
		fprintf(stderr,
			"spoa-llm: stopped after %s requests; --since %s goes on, with those of this second again\n",
			print_count(count, w->rows), print_time(time, w->last_ms));
	else
		fprintf(stderr,
			"spoa-llm: stopped before the first request was found; run it again, which begins anew\n");
	return EXIT_INTERRUPTED;
}

static int export_fleet(const config *c, period p, const row_filter *only, bool csv, watch *w)
{
	int code = EX_OK;
	err e = { 0 };
	pq *conn = fleet_command_open_long(c, FLEET_EXPORT_S, &w->progress, &code);

	if (!conn)
		return code;
	pq_result result = export_print_fleet(conn, p, only, csv, told, w, &e);
	pq_close(conn);
	code = end(w, finish_output());
	return result == PQ_OK || result == PQ_STOPPED ? code : fleet_command_failed(result, &e);
}

int command_ledger_export(const config *c, const ledger_request *ask)
{
	watch w = { .progress = progress_begin("exporting"), .shows = !isatty(STDOUT_FILENO) };
	row_filter only = ask->only;
	period p;
	int code;
	err e = { 0 };

	if (ask->csv && ask->jsonl) {
		fprintf(stderr, "spoa-llm: give --csv or --jsonl, not both\n");
		return EX_USAGE;
	}
	if (!period_parse(ask->since, ask->until, "all", &p, &e) ||
	    (ask->status && !filter_status(&only, ask->status, &e))) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_USAGE;
	}
	interrupt_begin();
	if (ask->fleet)
		return export_fleet(c, p, &only, ask->csv, &w);
	store *s = ledger_command_open(c, false, false, &code, &e);
	if (!s)
		return code;
	store_stop_if(s, interrupted);
	store_result result = export_print(s, p, &only, ask->csv, told, &w, &e);
	store_close(s);
	code = end(&w, finish_output());
	return result == STORE_OK ? code : ledger_command_failed(result, &e);
}

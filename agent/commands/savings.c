/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm savings`: what the requests of a period cost and saved, by the ledger or by the fleet's PostgreSQL. */
#include "report/savings.h"

#include <sysexits.h>

#include "commands/fleet_command.h"
#include "commands/interrupt.h"
#include "commands/ledger_command.h"

/* Both return false if there are no figures: why was said, and `*code` is the exit code. */
static bool read_ledger(const config *c, savings_report *r, int *code)
{
	err e = { 0 };
	progress p = progress_begin("reading");

	interrupt_begin();
	store *s = ledger_command_open(c, false, false, code, &e);
	if (!s)
		return false;
	store_stop_if(s, interrupted);
	store_on_progress(s, progress_requests, &p);
	store_result result = savings_read(s, r, &e);
	store_close(s);
	progress_end(&p);
	if (result != STORE_OK)
		*code = ledger_command_failed(result, &e);
	else if (interrupted())
		*code = ledger_command_stopped();
	return result == STORE_OK && !interrupted();
}

static bool read_fleet(const config *c, savings_report *r, int *code)
{
	err e = { 0 };
	progress p = progress_begin("asking PostgreSQL");
	pq *conn = fleet_command_open_long(c, FLEET_REPORT_S, &p, code);

	if (!conn)
		return false;
	pq_result result = savings_read_fleet(conn, r, &e);
	pq_close(conn);
	progress_end(&p);
	if (result != PQ_OK)
		*code = fleet_command_failed(result, &e);
	return result == PQ_OK;
}

int command_savings(const config *c, const ledger_request *ask)
{
	savings_report r;
	int code = EX_OK;
	err e = { 0 };

	if (ask->json && ask->csv) {
		fprintf(stderr, "spoa-llm: give --json or --csv, not both\n");
		return EX_USAGE;
	}
	if (ask->compare && ask->csv) {
		fprintf(stderr, "spoa-llm: --csv has rows only; give --compare without it, or with --json\n");
		return EX_USAGE;
	}
	if (!savings_prepare(&r, ask->since, ask->until, ask->by, ask->fleet, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_USAGE;
	}
	r.terminal = terminal_of(stdout);
	r.only = ask->only;
	r.compare = ask->compare;
	if (ask->status && !filter_status(&r.only, ask->status, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_USAGE;
	}

	if (!(ask->fleet ? read_fleet(c, &r, &code) : read_ledger(c, &r, &code))) {
		savings_deinit(&r);
		return code;
	}
	if (ask->json || ask->csv)
		savings_write(stdout, &r, ask->csv);
	else
		savings_print(&r);
	savings_deinit(&r);
	return finish_output();
}

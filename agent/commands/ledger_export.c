/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger export`: every recorded request, of the ledger or of the fleet, as JSON lines or CSV. */
#include "report/export.h"

#include <sysexits.h>

#include "commands/fleet_command.h"
#include "commands/ledger_command.h"
#include "report/print.h"

static int export_fleet(const config *c, period p, const row_filter *only, bool csv)
{
	int code = EX_OK;
	err e = { 0 };
	pq *conn = fleet_command_open(c, false, FLEET_EXPORT_S, &code);

	if (!conn)
		return code;
	pq_result result = export_print_fleet(conn, p, only, csv, &e);
	pq_close(conn);
	code = finish_output();
	return result == PQ_OK ? code : fleet_command_failed(result, &e);
}

int command_ledger_export(const config *c, const ledger_request *ask)
{
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
	if (ask->fleet)
		return export_fleet(c, p, &only, ask->csv);
	store *s = ledger_command_open(c, false, false, &code, &e);
	if (!s)
		return code;
	store_result result = export_print(s, p, &only, ask->csv, &e);
	store_close(s);
	code = finish_output();
	return result == STORE_OK ? code : ledger_command_failed(result, &e);
}

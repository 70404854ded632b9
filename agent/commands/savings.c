/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm savings`: what the requests of a period cost and saved. */
#include "report/savings.h"

#include <sysexits.h>

#include "commands/ledger_command.h"

int command_savings(const config *c, const ledger_request *ask)
{
	savings_report r;
	int code;
	err e = { 0 };

	if (ask->json && ask->csv) {
		fprintf(stderr, "spoa-llm: give --json or --csv, not both\n");
		return EX_USAGE;
	}
	if (!savings_prepare(&r, ask->since, ask->until, ask->by, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_USAGE;
	}
	r.terminal = terminal_of(stdout);

	store *s = ledger_command_open(c, false, false, &code, &e);
	if (!s)
		return code;
	store_result result = savings_read(s, &r, &e);
	store_close(s);
	if (result != STORE_OK)
		code = ledger_command_failed(result, &e);
	else if (ask->json || ask->csv)
		savings_write(stdout, &r, ask->csv);
	else
		savings_print(&r);
	if (code == EX_OK)
		code = finish_output();
	savings_deinit(&r);
	return code;
}

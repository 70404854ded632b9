/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm upstreams`: what upstreams answered in a period, and how long that took. */
#include "report/upstreams.h"

#include <stdlib.h>
#include <sysexits.h>

#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "commands/progress.h"

int command_upstreams(const config *c, const ledger_request *ask)
{
	terminal t = terminal_of(stdout);
	int code;
	err e = { 0 };

	if (ask->json && ask->csv) {
		fprintf(stderr, "spoa-llm: give --json or --csv, not both\n");
		return EX_USAGE;
	}
	upstreams_report *r = calloc(1, sizeof *r);
	if (!r) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		return EX_OSERR;
	}
	r->by_member = ask->by && strcmp(ask->by, "member") == 0;
	if (!period_parse(ask->since, ask->until, "24h", &r->period, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		free(r);
		return EX_USAGE;
	}
	progress p = progress_begin("reading");
	interrupt_begin();
	store *s = ledger_command_open(c, false, false, &code, &e);
	if (s) {
		store_stop_if(s, interrupted);
		store_on_progress(s, progress_requests, &p);
		store_result result = upstreams_read(s, r, &e);
		store_close(s);
		progress_end(&p);
		if (result != STORE_OK)
			code = ledger_command_failed(result, &e);
		else if (interrupted())
			code = ledger_command_stopped();
		else if (ask->json || ask->csv)
			upstreams_write(stdout, r, ask->csv);
		else
			upstreams_print(r, &t);
		if (code == EX_OK)
			code = finish_output();
	}
	upstreams_deinit(r);
	free(r);
	return code;
}

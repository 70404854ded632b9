/* SPDX-License-Identifier: MIT */
#include "commands/ledger_command.h"

#include <signal.h>

#include "commands/interrupt.h"
#include "report/ledger_store.h"

int ledger_command_failed(store_result result, const err *e)
{
	fprintf(stderr, "spoa-llm: %s\n", e->text);
	return ledger_store_exit_code(result);
}

int ledger_command_stopped(void)
{
	fprintf(stderr, "spoa-llm: stopped before all was read; run it again, with --since for fewer requests\n");
	return EXIT_INTERRUPTED;
}

store *ledger_command_open(const config *c, bool writer, bool make, int *code, err *e)
{
	/* A reader that closes the pipe makes writing fail, which finish_output() reports: the process is not killed.
	 */
	signal(SIGPIPE, SIG_IGN);
	store *s = ledger_store_open(c->ledger, writer, make, code, e);
	if (!s)
		fprintf(stderr, "spoa-llm: %s\n", e->text);
	return s;
}

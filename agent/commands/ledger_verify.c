/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger verify`: is the ledger whole, and when was there no request? Exits with 1 if anything is wrong. */
#include "report/verify.h"

#include <sysexits.h>

#include "commands/ledger_command.h"
#include "commands/progress.h"
#include "report/print.h"

int command_ledger_verify(const config *c, const ledger_request *ask)
{
	size_t problems = 0;
	int code;
	err e = { 0 };

	store *s = ledger_command_open(c, false, false, &code, &e);
	if (!s)
		return code == EX_DATAERR && e.kind != ERR_NEWER ? 1 : code; /* too damaged to be opened */
	progress p = progress_begin("verifying");
	store_on_progress(s, progress_show, &p);
	store_result result = verify_print(s, ask->json, ask->gaps, &problems, &e);
	progress_end(&p);
	store_close(s);
	code = finish_output();
	if (result != STORE_OK)
		return ledger_command_failed(result, &e);
	return code == EX_OK && problems ? 1 : code;
}

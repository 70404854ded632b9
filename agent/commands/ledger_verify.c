/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger verify`: is the ledger whole, and when was there no request? Exits with 1 if anything is wrong. */
#include "report/verify.h"

#include <sysexits.h>

#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "commands/progress.h"
#include "report/print.h"

typedef struct watch {
	progress progress;
	int64_t rows, all;
} watch;

static void told(void *ctx, int64_t rows, int64_t all)
{
	watch *w = ctx;

	w->rows = rows;
	w->all = all;
	progress_requests(&w->progress, rows, all);
}

/* Returns the exit code. */
static int stopped(const watch *w, size_t problems)
{
	char rows[PRINT_NUMBER], all[PRINT_NUMBER];

	finish_output();
	fprintf(stderr, "spoa-llm: stopped after %s", print_count(rows, w->rows));
	if (w->all) /* 0 until they were counted */
		fprintf(stderr, " of about %s", print_count(all, w->all));
	fprintf(stderr,
		" requests, with %zu problems found; run it again to verify the whole ledger, which begins anew\n",
		problems);
	return EXIT_INTERRUPTED;
}

int command_ledger_verify(const config *c, const ledger_request *ask)
{
	size_t problems = 0;
	int code;
	err e = { 0 };

	interrupt_begin();
	store *s = ledger_command_open(c, false, false, &code, &e);
	if (!s)
		return code == EX_DATAERR && e.kind != ERR_NEWER ? 1 : code; /* too damaged to be opened */
	watch w = { .progress = progress_begin("verifying") };
	store_on_progress(s, told, &w);
	store_stop_if(s, interrupted);
	store_result result = verify_print(s, ask->json, ask->gaps, &problems, &e);
	progress_end(&w.progress);
	store_close(s);
	if (interrupted() && result != STORE_OK)
		return stopped(&w, problems);
	code = finish_output();
	if (result != STORE_OK)
		return ledger_command_failed(result, &e);
	return code == EX_OK && problems ? 1 : code;
}

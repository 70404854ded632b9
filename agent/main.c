/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sysexits.h>

#include "commands/line.h"
#include "proc/master.h"
#include "serve/run.h"

static int complain(const err *e, int code)
{
	fprintf(stderr, "spoa-llm: %s\n", e->text);
	return code;
}

/* Loads the configuration and runs the command with it. `master`: for `run`, the worker's link to its master. */
static int run_with_config(control *master)
{
	config c;
	err e = { 0 };
	int code;

	config_init();
	if (line.command->check)
		return line.command->check(line.file, line.flags, line.flags_count, &line.check);
	if (!config_load(&c, line.file, line.flags, line.flags_count, &e))
		return complain(&e, e.kind == ERR_MEMORY ? EX_OSERR : EX_CONFIG);
	if (line.command->backends)
		code = line.command->backends(&c, line.ledger.output);
	else if (line.command->explain)
		code = line.command->explain(&c, &line.ask);
	else if (line.command->client)
		code = line.command->client(&c, &line.client);
	else if (line.command->ledger)
		code = line.command->ledger(&c, &line.ledger);
	else
		code = run(&c, line.flags, line.flags_count, master);
	config_deinit(&c);
	return code;
}

/* `spoa-llm run`. The process that was started by hand or by a service manager is the master, which starts this program
 * with the same `argv` again as its worker. */
static int run_agent(int argc, char **argv)
{
	control master;
	err e = { 0 };

	/* Forbid core files, and debuggers of the same user, because there are credentials in the environment. */
	prctl(PR_SET_DUMPABLE, 0);
	if (control_init(&master, &e))
		return run_with_config(&master);
	return *e.text ? complain(&e, EX_SOFTWARE) : master_run(argc, argv);
}

int main(int argc, char **argv)
{
	/* getopt_long() reorders argv; the worker gets the words in the order in which they were given. */
	char **given = calloc((size_t)argc + 1, sizeof *given);
	if (!given) {
		fputs("spoa-llm: out of memory\n", stderr);
		return EX_OSERR;
	}
	memcpy(given, argv, (size_t)argc * sizeof *given);
	line.tap.argv = given;
	signal(SIGXFSZ, SIG_IGN); /* beyond the limit of a file's size, write() fails with EFBIG instead */
	int code = line_parse(argc, argv);
	if (code == LINE_GO_ON)
		code = strcmp(line.command->name, "run") == 0 ? run_agent(argc, given) :
		       line.command->tap  ? line.command->tap(line.flags, line.flags_count, &line.tap) :
		       line.command->file ? line.command->file(line.ledger.file) :
					    run_with_config(NULL);
	free(given);
	return code;
}

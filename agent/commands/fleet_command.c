/* SPDX-License-Identifier: MIT */
#include "commands/fleet_command.h"

#include <signal.h>
#include <sysexits.h>

#include "commands/interrupt.h"

int fleet_command_failed(pq_result result, const err *e)
{
	fprintf(stderr, "spoa-llm: %s%s\n", e->text,
		result == PQ_STOPPED ? ", and nothing was changed; run it again, which begins anew" : "");
	switch (result) {
	case PQ_OK:
		return EX_OK;
	case PQ_LOST:
		return EX_TEMPFAIL;
	case PQ_REFUSED:
		return EX_NOPERM;
	case PQ_SETTING:
		return EX_CONFIG;
	case PQ_STOPPED:
		return EXIT_INTERRUPTED;
	case PQ_FAILED:
		break;
	}
	return EX_UNAVAILABLE;
}

static void show_waiting(void *ctx)
{
	progress_time(ctx, 0, 0);
}

/* `p` NULL: nobody is shown anything, and no signal ends it. */
static pq *open_as(const config *c, bool write, int statement_s, progress *p, int *code)
{
	const pq_settings s = { .uri = c->fleet_uri,
				.password_file = c->fleet_password_file,
				.write = write,
				.stop_fd = p ? interrupt_fd() : -1,
				.statement_s = statement_s,
				.waiting = p ? show_waiting : NULL,
				.waiting_ctx = p };
	pq *conn = NULL;
	err e;

	/* As for the ledger's commands: finish_output() reports a pipe that was closed. */
	signal(SIGPIPE, SIG_IGN);
	if (!*c->fleet_uri) {
		fprintf(stderr,
			"spoa-llm: no fleet is configured: name its PostgreSQL by `fleet_uri` in the configuration, by "
			"--fleet-uri or by SPOA_LLM_FLEET_URI\n");
		*code = EX_CONFIG;
		return NULL;
	}
	pq_result result = pq_open(&s, &conn, &e);
	if (result != PQ_OK)
		*code = fleet_command_failed(result, &e);
	return conn;
}

pq *fleet_command_open(const config *c, bool write, int statement_s, int *code)
{
	return open_as(c, write, statement_s, NULL, code);
}

pq *fleet_command_open_long(const config *c, int statement_s, progress *p, int *code)
{
	interrupt_begin();
	return open_as(c, false, statement_s, p, code);
}

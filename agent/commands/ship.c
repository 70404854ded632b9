/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ship`: sends the ledger's rows to the fleet's PostgreSQL, and as spans to an OpenTelemetry collector, until
 * it is told to stop. */
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/cli.h"
#include "config/fleet.h"
#include "report/fleet_question.h"
#include "ship/ship.h"

int command_ship(const config *c, const ledger_request *ask)
{
	char db[4096], host[256] = "";
	err e;

	(void)ask;
	/* Passwords are in the memory: no core file, and no other process of the same user looks into it. */
	prctl(PR_SET_DUMPABLE, 0);
	if (!*c->ledger || (!*c->fleet_uri && !*c->otlp_endpoint)) {
		fprintf(stderr,
			"spoa-llm: ship needs a ledger, and a PostgreSQL or an OpenTelemetry collector: set `ledger`, "
			"and `fleet_uri` or `otlp_endpoint`\n");
		return EX_CONFIG;
	}
	gethostname(host, sizeof host - 1);
	const char *name = *c->fleet_name ? c->fleet_name : host;
	const otlp_settings spans = { .db = db,
				      .endpoint = c->otlp_endpoint,
				      .headers_file = c->otlp_headers_file,
				      .ca_file = c->otlp_ca_file,
				      .dir = c->otlp_state,
				      .sampled_only = c->otlp_sampled_only,
				      .from = { .version = SPOA_LLM_VERSION, .name = name, .host = host } };
	const ship_settings s = { .db = db,
				  .name = name,
				  .otlp = *c->otlp_endpoint ? &spans : NULL,
				  .uri = c->fleet_uri,
				  .password_file = c->fleet_password_file,
				  .agents = (const char *const *)c->fleet_listen.items,
				  .agents_count = c->fleet_listen.count,
				  .listen = c->ship_listen,
				  .answer = fleet_question_answer };
	if (*c->fleet_uri && !fleet_name_check(slice_cstr(s.name), &e)) {
		fprintf(stderr, "spoa-llm: the name of this gateway is \"%.60s\": %s; set `fleet_name`\n", s.name,
			e.text);
		return EX_CONFIG;
	}
	snprintf(db, sizeof db, "%s/ledger.db", c->ledger);
	return ship_run(&s);
}

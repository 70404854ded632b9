/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm backends`: prints the HAProxy backends for the routes and targets. */
#include "report/backends.h"

#include <sysexits.h>

#include "commands/cli.h"

int command_backends(config *c)
{
	backends_settings settings = {
		.ca_file = c->ca_file,
		.addresses = (unsigned)c->upstream_addresses,
		.name_servers = (const char *const *)c->name_servers.items,
		.name_servers_count = c->name_servers.count,
	};

	if (!backends_write(stdout, c->table, &settings)) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		return EX_OSERR;
	}
	return EX_OK;
}

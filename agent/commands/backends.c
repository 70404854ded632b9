/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm backends`: writes the HAProxy backends for the routes and targets. */
#include "report/backends.h"

#include <sysexits.h>

#include "base/whole_file.h"
#include "commands/cli.h"
#include "report/print.h"

static bool write_output(const config *c, FILE *f, err *e)
{
	backends_settings settings = {
		.ca_file = c->ca_file,
		.addresses = (unsigned)c->upstream_addresses,
		.name_servers = (const char *const *)c->name_servers.items,
		.name_servers_count = c->name_servers.count,
	};

	return backends_write(f, c->table, &settings) || err_memory(e);
}

static bool write_file(const config *c, const char *path, err *e)
{
	whole_file w;

	if (!whole_file_begin(&w, path, e))
		return false;
	if (write_output(c, w.f, e))
		return whole_file_end(&w, e);
	whole_file_drop(&w);
	return false;
}

int command_backends(config *c, const char *output)
{
	err e = { 0 };
	bool to_file = output && strcmp(output, "-") != 0;

	if (to_file ? write_file(c, output, &e) : write_output(c, stdout, &e))
		return to_file ? EX_OK : finish_output();
	fprintf(stderr, "spoa-llm: %s%s\n", to_file ? "--output " : "", e.text);
	return e.kind == ERR_MEMORY ? EX_OSERR : EX_CANTCREAT;
}

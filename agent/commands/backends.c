/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm backends`: writes the HAProxy backends for the routes and targets. */
#include "report/backends.h"

#include <sysexits.h>

#include "base/whole_file.h"
#include "commands/cli.h"
#include "report/print.h"

static bool write_file(const config *c, const char *path, err *e)
{
	whole_file w;

	if (!whole_file_begin(&w, path, e))
		return false;
	if (backends_write(w.f, c))
		return whole_file_end(&w, e);
	whole_file_drop(&w);
	return err_memory(e);
}

int command_backends(config *c, const char *output)
{
	err e = { 0 };
	bool to_file = output && strcmp(output, "-") != 0;

	if (to_file ? write_file(c, output, &e) : (backends_write(stdout, c) || err_memory(&e)))
		return to_file ? EX_OK : finish_output();
	fprintf(stderr, "spoa-llm: %s%s\n", to_file ? "--output " : "", e.text);
	return e.kind == ERR_MEMORY ? EX_OSERR : EX_CANTCREAT;
}

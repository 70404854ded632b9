/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger headroom`: writes Headroom's proxy_savings.json. */
#include "report/headroom.h"

#include <sysexits.h>

#include "base/whole_file.h"
#include "commands/ledger_command.h"
#include "report/print.h"

static int write_file(const char *path, const headroom *x)
{
	whole_file w;
	err e = { 0 };

	if (whole_file_begin(&w, path, &e)) {
		headroom_write(w.f, x);
		if (whole_file_end(&w, &e))
			return EX_OK;
	}
	fprintf(stderr, "spoa-llm: --output %s\n", e.text);
	return e.kind == ERR_MEMORY ? EX_OSERR : EX_CANTCREAT;
}

int command_ledger_headroom(const config *c, const ledger_request *ask)
{
	store_result result = STORE_OK;
	int code = EX_OSERR;
	err e = { 0 };

	price_table *prices = price_table_load(*c->prices ? c->prices : NULL, &e);
	if (!prices) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_CONFIG;
	}
	store *s = ledger_command_open(c, false, false, &code, &e);
	headroom *x = s ? headroom_read(s, prices, &result, &e) : NULL;
	if (s && result != STORE_OK) {
		code = ledger_command_failed(result, &e);
	} else if (s && ask->output && strcmp(ask->output, "-") != 0) {
		code = write_file(ask->output, x);
	} else if (s) {
		headroom_write(stdout, x);
		code = finish_output();
	}
	headroom_free(x);
	store_close(s);
	price_table_unref(prices);
	return code;
}

/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm prices`: puts what standard input holds into a price file, if the agent can use it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/whole_file.h"
#include "commands/cli.h"
#include "ledger/price.h"
#include "report/print.h"

/* Copies standard input to `f`. False: `e` says what is wrong, with standard input or, where `f` has an error, with
 * `f`. */
static bool copy(FILE *f, err *e)
{
	char part[65536];
	size_t all = 0, len;

	while ((len = fread(part, 1, sizeof part, stdin)) > 0) {
		all += len;
		if (all > PRICE_FILE_MAX)
			return err_set(e, "standard input is larger than %u MB", PRICE_FILE_MAX >> 20);
		if (fwrite(part, 1, len, f) != len)
			return err_set(e, "%s", strerror(errno));
	}
	if (ferror(stdin))
		return err_set(e, "standard input cannot be read");
	return fflush(f) == 0 || err_set(e, "%s", strerror(errno));
}

int command_prices(const char *path)
{
	whole_file w;
	err e = { 0 };

	if (!whole_file_begin(&w, path, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_CANTCREAT;
	}
	bool copied = copy(w.f, &e);
	if (ferror(w.f)) {
		fprintf(stderr, "spoa-llm: %s: %s\n", path, e.text);
		whole_file_drop(&w);
		return EX_CANTCREAT;
	}
	price_table *prices = copied ? price_table_load(w.beside, &e) : NULL;
	if (!prices) {
		fprintf(stderr, "spoa-llm: the agent cannot use what standard input holds, so %s stays as it is: %s\n",
			path, e.text);
		whole_file_drop(&w);
		return EX_DATAERR;
	}
	size_t count = price_table_count(prices), bad = price_table_bad(prices);
	price_table_unref(prices);
	if (!whole_file_end(&w, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_CANTCREAT;
	}
	printf("%s: %zu models, and %zu with an invalid name or price\n", path, count, bad);
	return finish_output();
}

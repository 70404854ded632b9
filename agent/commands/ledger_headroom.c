/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger headroom`: writes Headroom's proxy_savings.json. */
#include "report/headroom.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/ledger_command.h"
#include "report/print.h"

/* Writes a new file and renames it, so that a reader sees the old one or the new one, never a part. Returns the exit
 * code, and says what went wrong. */
static int write_file(const char *path, const headroom *x)
{
	struct stat old;
	char *beside = NULL;
	bool ok = false;
	FILE *f = NULL;

	if (asprintf(&beside, "%s.XXXXXX", path) < 0)
		return EX_OSERR;
	int fd = mkstemp(beside);
	if (fd >= 0) {
		mode_t mask = umask(0);
		umask(mask);
		/* Keep the permissions of the file that is replaced. */
		fchmod(fd, stat(path, &old) == 0 ? old.st_mode & 0777 : 0666 & ~mask);
		f = fdopen(fd, "w");
	}
	if (f) {
		headroom_write(f, x);
		ok = fflush(f) == 0 && !ferror(f) && fsync(fd) == 0;
		ok = fclose(f) == 0 && ok;
		ok = ok && rename(beside, path) == 0;
	}
	if (!ok) {
		fprintf(stderr, "spoa-llm: --output %s: %s\n", path, strerror(errno));
		if (fd >= 0)
			unlink(beside);
	}
	free(beside);
	return ok ? EX_OK : EX_CANTCREAT;
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

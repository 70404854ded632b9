/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger compact`: gives the unused room of a ledger back to the disk. */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sysexits.h>

#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "commands/progress.h"
#include "report/ledger_store.h"
#include "report/print.h"

enum { BYTES_A_SECOND = 20 << 20 }; /* that VACUUM does on a plain disk; measured: 20 to 60 MB */

/* Says what it will take. EX_OK: there is room for that. */
static int say_before(const config *c, int64_t bytes, int64_t unused)
{
	char sizes[4][PRINT_NUMBER];
	struct statvfs disk;
	int64_t used = bytes - unused, needed = 2 * used,
		available = statvfs(c->ledger, &disk) == 0 ? (int64_t)(disk.f_bavail * disk.f_frsize) : 0;

	printf("the ledger has %s, %s of them unused; compacting it takes about %" PRId64
	       " s and meanwhile %s more on its disk, which has %s free\n",
	       print_bytes(sizes[0], bytes), print_bytes(sizes[1], unused), 1 + used / BYTES_A_SECOND,
	       print_bytes(sizes[2], needed), print_bytes(sizes[3], available));
	puts("an agent that runs keeps its records in the journal meanwhile, and stores them afterwards");
	fflush(stdout);
	if (available >= needed)
		return EX_OK;
	fprintf(stderr, "spoa-llm: there is too little room for that; nothing was changed\n");
	return EX_IOERR;
}

int command_ledger_compact(const config *c, const ledger_request *ask)
{
	int64_t bytes = 0, unused = 0, after = 0;
	char sizes[2][PRINT_NUMBER];
	int code, tries = 0;
	err e = { 0 };

	/* SQLite would put its temporary copy on the disk of /var/tmp. */
	setenv("SQLITE_TMPDIR", c->ledger, 1);
	interrupt_begin();
	store *s = ledger_command_open(c, true, false, &code, &e);
	if (!s)
		return code;
	store_result result = store_room(s, &bytes, &unused, &e);
	code = result == STORE_OK ? say_before(c, bytes, unused) : EX_OK;
	if (result == STORE_OK && code == EX_OK && !ask->dry_run) {
		progress p = progress_begin("compacting");
		store_on_progress(s, progress_time, &p);
		store_stop_if(s, interrupted);
		do
			result = store_compact(s, &e);
		while (ledger_store_retry(result, &tries));
		progress_end(&p);
		if (result == STORE_OK)
			result = store_room(s, &after, &unused, &e);
		if (result == STORE_OK)
			printf("the ledger has %s now, %s less\n", print_bytes(sizes[0], after),
			       print_bytes(sizes[1], bytes - after));
	}
	store_close(s);
	if (interrupted() && result != STORE_OK) {
		fprintf(stderr, "spoa-llm: stopped; the ledger is as it was; run it again, which begins anew\n");
		return EXIT_INTERRUPTED;
	}
	if (result != STORE_OK)
		return ledger_command_failed(result, &e);
	return code == EX_OK ? finish_output() : code;
}

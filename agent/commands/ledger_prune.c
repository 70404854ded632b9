/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger prune`: removes old rows and keeps their sums. */
#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/clock.h"
#include "commands/ask.h"
#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "commands/progress.h"
#include "report/ledger_store.h"
#include "report/period.h"
#include "report/print.h"

/* Waits as long as the step before took, so that an agent that waits for the lock gets it. */
static void make_way(int64_t began_ms)
{
	struct timespec pause = clock_timespec(clock_mono_ms() - began_ms + 5);
	nanosleep(&pause, NULL);
}

static store_result remove_rows(store *s, int64_t before, int64_t upto, int64_t *total, err *e)
{
	progress p = progress_begin("removing");
	int64_t removed = 0, began;
	store_result result;
	int tries = 0;

	do {
		began = clock_mono_ms();
		result = store_prune(s, before, upto, &removed, e);
		*total += removed;
		progress_requests(&p, *total, 0);
		if (removed)
			make_way(began);
	} while (!interrupted() && ((result == STORE_OK && removed > 0) || ledger_store_retry(result, &tries)));
	progress_end(&p);
	return result;
}

/* Sets `*bytes` to what the disk got back, and `*unused` to what the file keeps unused because it cannot give it back.
 */
static store_result give_back(store *s, int64_t *bytes, int64_t *unused, err *e)
{
	progress p = progress_begin("giving room back");
	int64_t size = 0, began;
	bool more = false;
	int tries = 0;

	store_result result = store_room(s, bytes, unused, e);
	while (result == STORE_OK) {
		do {
			began = clock_mono_ms();
			result = store_shrink(s, 0, &more, e);
		} while (ledger_store_retry(result, &tries));
		progress_time(&p, 0, 0);
		if (!more || interrupted())
			break;
		make_way(began);
	}
	if (result == STORE_OK)
		result = store_room(s, &size, unused, e);
	*bytes -= size;
	progress_end(&p);
	return result;
}

/* Reads --before or --days, or takes retention_days. 0, or the exit code. */
static int read_before(const config *c, const ledger_request *ask, int64_t *before)
{
	int64_t now = clock_wall_ms();
	char *end = NULL;
	err e = { 0 };

	if (ask->before && ask->days) {
		fprintf(stderr, "spoa-llm: give --before or --days, not both\n");
		return EX_USAGE;
	}
	if (ask->before) {
		if (period_point(ask->before, now, false, before, &e) && strcmp(ask->before, "all") != 0)
			return EX_OK;
		fprintf(stderr, "spoa-llm: --before %s\n",
			e.text[0] ? e.text : "all: a day, a time or a span is expected");
		return EX_USAGE;
	}
	long days = ask->days ? strtol(ask->days, &end, 10) : (long)c->retention_days;
	if (ask->days && (*ask->days < '0' || *ask->days > '9' || *end || days < 1 || days > 36500)) {
		fprintf(stderr, "spoa-llm: --days \"%s\": a whole number from 1 to 36500 is expected\n", ask->days);
		return EX_USAGE;
	}
	if (!days) {
		fprintf(stderr,
			"spoa-llm: retention_days is 0, so requests are kept for ever; give --days or --before to remove some\n");
		return EX_USAGE;
	}
	*before = now - days * DAY_MS;
	return EX_OK;
}

typedef struct pruning {
	int64_t before, upto;
	int64_t rows;          /* that were removed, or would be */
	int64_t bytes, unused; /* see give_back() */
	bool declined;
} pruning;

/* Says how many requests would be removed. `told`: what ends the sentence. */
static void print_would(const pruning *p, FILE *f, const char *told)
{
	char text[PRINT_NUMBER], count[PRINT_NUMBER];

	fprintf(f, "%s requests older than %s%s; the sums by hour and day stay\n", print_count(count, p->rows),
		print_time(text, p->before), told);
}

static store_result prune(store *s, const ledger_request *ask, pruning *p, err *e)
{
	store_result result = STORE_OK;
	int tries = 0;

	if (ask->dry_run || (!ask->yes && ask_possible())) {
		do
			result = store_prunable(s, p->before, p->upto, &p->rows, e);
		while (ledger_store_retry(result, &tries));
		if (result != STORE_OK || ask->dry_run)
			return result;
		print_would(p, stderr, " are going to be removed");
		p->declined = p->rows > 0 && !ask_yes("Remove them for ever?");
		p->rows = 0;
		if (p->declined)
			return STORE_OK;
	}
	interrupt_begin();
	result = remove_rows(s, p->before, p->upto, &p->rows, e);
	if (result == STORE_OK && !interrupted())
		result = give_back(s, &p->bytes, &p->unused, e);
	return result;
}

static void print_json(const pruning *p, bool dry_run)
{
	char text[PRINT_NUMBER];

	if (dry_run)
		printf("{\"before\":\"%s\",\"would_remove\":%" PRId64 "}\n", print_time(text, p->before), p->rows);
	else
		printf("{\"before\":\"%s\",\"removed\":%" PRId64 ",\"freed_bytes\":%" PRId64
		       ",\"unused_bytes\":%" PRId64 "}\n",
		       print_time(text, p->before), p->rows, p->bytes, p->unused);
}

static void print_result(const pruning *p, bool dry_run)
{
	char room[PRINT_NUMBER];

	print_would(p, stdout, dry_run ? " would be removed" : " removed");
	if (dry_run)
		return;
	if (interrupted())
		printf("stopped: the others are still there; run it again to go on\n");
	else
		printf("%s given back to the disk%s\n", print_bytes(room, p->bytes),
		       p->unused > 0 ? "; `spoa-llm ledger compact` gives back what is unused in this older ledger" :
				       "");
}

int command_ledger_prune(const config *c, const ledger_request *ask)
{
	pruning p = { .upto = INT64_MAX };
	err e = { 0 };

	int code = read_before(c, ask, &p.before);
	if (code != EX_OK)
		return code;
	store *s = ledger_command_open(c, !ask->dry_run, false, &code, &e);
	if (!s)
		return code;
	/* Where rows are shipped, those that PostgreSQL may not have stay. */
	store_result result = *c->fleet_uri ? store_shipped(s, &p.upto, &e) : STORE_OK;
	if (result == STORE_OK)
		result = prune(s, ask, &p, &e);
	store_close(s);
	if (p.declined) {
		fprintf(stderr, "spoa-llm: nothing is removed\n");
		return EX_USAGE;
	}
	if (ask->json)
		print_json(&p, ask->dry_run);
	else
		print_result(&p, ask->dry_run);
	code = finish_output();
	if (result != STORE_OK)
		return ledger_command_failed(result, &e);
	return interrupted() ? EXIT_INTERRUPTED : code;
}

/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger prune`: removes old rows and keeps their sums. */
#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/clock.h"
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
		progress_show(&p, 0, 0);
		if (removed)
			make_way(began);
	} while ((result == STORE_OK && removed > 0) || ledger_store_retry(result, &tries));
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
		progress_show(&p, 0, 0);
		if (!more)
			break;
		make_way(began);
	}
	if (result == STORE_OK)
		result = store_room(s, &size, unused, e);
	*bytes -= size;
	progress_end(&p);
	return result;
}

int command_ledger_prune(const config *c, const ledger_request *ask)
{
	int64_t now = clock_wall_ms(), before = 0, total = 0, bytes = 0, unused = 0, upto = INT64_MAX;
	store_result result;
	char *end = NULL, text[PRINT_NUMBER], count[PRINT_NUMBER], room[PRINT_NUMBER];
	int code;
	err e = { 0 };

	if (ask->before && ask->days) {
		fprintf(stderr, "spoa-llm: give --before or --days, not both\n");
		return EX_USAGE;
	}
	if (ask->before) {
		if (!period_point(ask->before, now, false, &before, &e) || strcmp(ask->before, "all") == 0) {
			fprintf(stderr, "spoa-llm: --before %s\n",
				e.text[0] ? e.text : "all: a day, a time or a span is expected");
			return EX_USAGE;
		}
	} else {
		long days = ask->days ? strtol(ask->days, &end, 10) : (long)c->retention_days;
		if (ask->days && (*ask->days < '0' || *ask->days > '9' || *end || days < 1 || days > 36500)) {
			fprintf(stderr, "spoa-llm: --days \"%s\": a whole number from 1 to 36500 is expected\n",
				ask->days);
			return EX_USAGE;
		}
		if (!days) {
			fprintf(stderr,
				"spoa-llm: retention_days is 0, so rows are kept for ever; give --days or --before to remove some\n");
			return EX_USAGE;
		}
		before = now - days * DAY_MS;
	}
	store *s = ledger_command_open(c, true, false, &code, &e);
	if (!s)
		return code;
	/* Where rows are shipped, those that PostgreSQL may not have stay. */
	result = *c->fleet_uri ? store_shipped(s, &upto, &e) : STORE_OK;
	if (result == STORE_OK)
		result = remove_rows(s, before, upto, &total, &e);
	if (result == STORE_OK)
		result = give_back(s, &bytes, &unused, &e);
	store_close(s);
	if (ask->json)
		printf("{\"before\":\"%s\",\"removed\":%" PRId64 ",\"freed_bytes\":%" PRId64
		       ",\"unused_bytes\":%" PRId64 "}\n",
		       print_time(text, before), total, bytes, unused);
	else
		printf("%s rows older than %s removed; the sums by hour and day stay\n%s bytes given back to the disk%s\n",
		       print_count(count, total), print_time(text, before), print_short(room, bytes),
		       unused > 0 ? "; `spoa-llm ledger compact` gives back what is unused in this older ledger" : "");
	code = finish_output();
	return result == STORE_OK ? code : ledger_command_failed(result, &e);
}
